"""Shipped bundles; each stands beside its licence."""
