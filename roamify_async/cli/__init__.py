"""The command ``roamify``, which needs the extra ``cli``.

``main`` is its entry point. ``table`` lists all commands, ``app`` parses the global options, ``accounts`` finds the
token, ``output`` and ``failures`` print. The other modules are the commands.
"""

import os
import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: The arguments; by default those of the process.
    """
    _open_streams()
    try:
        from .app import run
    except ModuleNotFoundError as missing:
        name = (missing.name or "").partition(".")[0]
        if name not in {"cyclopts", "rich"}:
            raise
        sys.stderr.write(f"roamify needs {name}: pip install 'roamify-async[cli]'\n")
        return 2
    return run(sys.argv[1:] if arguments is None else arguments)


def _open_streams() -> None:
    """Open the null device in place of a standard stream that is closed, or a connection would take its number."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
        if getattr(sys, name) is None:
            setattr(sys, name, open(number, "r" if number == 0 else "w", closefd=False))  # noqa: SIM115
