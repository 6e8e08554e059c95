"""``python -m reshim`` is ``reshim``."""

import sys

from reshim.cli import main

if __name__ == "__main__":
    sys.exit(main())
