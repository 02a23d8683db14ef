"""Which hosts clients may call: all, unless a test run restricts them.

This module imports nothing of the package, since test runs import it at their start.
"""

from collections.abc import Callable

check: Callable[[str], None] | None = None
"""Raises ``ConfigurationError`` for a base URL that must not be called."""
