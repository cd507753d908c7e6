"""Learning numbers: exact sums of targets, ridge regression, and its Bayesian twin with a learned prior."""
