"""Runs of the command ``roamify``."""

import json
import sys
from collections.abc import Callable
from typing import Any

import attrs

PROGRAM = (sys.executable, "-m", "roamify_async.cli")


@attrs.frozen
class Ran:
    """A run of the command."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The JSON document that it printed."""
        return json.loads(self.out)

    @property
    def error(self) -> dict[str, Any]:
        """The error that it printed with ``--json``."""
        found: dict[str, Any] = json.loads(self.err.splitlines()[-1])["error"]
        return found


Run = Callable[..., Ran]
