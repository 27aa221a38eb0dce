"""``python -m lenssr``: command line without an installed script, for example under torchrun."""

import sys

from lenssr.cli import main

if __name__ == "__main__":
    sys.exit(main())
