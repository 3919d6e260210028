"""``python -m vxlab``: the command line."""

import sys

from vxlab.cli import main

if __name__ == "__main__":
    sys.exit(main())
