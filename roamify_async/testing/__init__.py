"""Tests of programs that use the clients: the types of what the pytest plugin's fixtures return.

The fixtures are those of ``roamify_async.testing.plugin``, which pytest loads by itself. Names are imported at first
use, since pytest imports this package at its start.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .clock import Clock as Clock
    from .inbox import (
        Delivery as Delivery,
        WebhookInbox as WebhookInbox,
    )

_MODULES: Final = {"Clock": "clock", "Delivery": "inbox", "WebhookInbox": "inbox"}

if not TYPE_CHECKING:  # Type checkers read the imports above, and would take any name for one that __getattr__ knows.
    __all__ = [*_MODULES]  # noqa: PLE0604 -- they are strings

    def __getattr__(name: str) -> object:
        """Import a name at its first use."""
        if name in _MODULES:
            globals()[name] = value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
            return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
