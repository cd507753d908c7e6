"""torch -> bundle. Installed as `edgemeta.export`; in a checkout `python -m export` runs it.

`from edgemeta.export.bundling import export_checkpoint`, `from edgemeta.export.verifying import verify`. Nothing is
imported here, so that verifying a bundle on a device needs no torch.
"""
