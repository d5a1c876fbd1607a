"""`python -m ipuc`: the command line without an installed script."""

import sys

from ipuc.cli import main

if __name__ == "__main__":
    sys.exit(main(prog_name="ipuc"))
