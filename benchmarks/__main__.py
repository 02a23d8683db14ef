"""All benchmarks in one go: ``python -m benchmarks``."""

import sys

from .table import main

sys.exit(main())
