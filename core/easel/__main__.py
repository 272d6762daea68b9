"""`python -m easel` is the command `easel`."""

import sys

from easel.cli import main

if __name__ == "__main__":
    sys.exit(main())
