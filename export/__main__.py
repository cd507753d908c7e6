"""`python -m export SOURCE --out NAME.edgemeta`, the same as `edgemeta export`."""

import sys

from edgemeta.cli import main

sys.exit(main(["export", *sys.argv[1:]]))
