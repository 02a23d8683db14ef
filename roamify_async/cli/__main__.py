"""``python -m roamify_async.cli``, the same as ``roamify``."""

import sys

from . import main

if __name__ == "__main__":
    sys.exit(main())
