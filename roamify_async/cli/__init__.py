"""The command ``roamify``, which needs the extra ``cli``.

``main`` is its entry point. ``table`` lists all commands, ``app`` parses the global options, ``accounts`` finds the
token, ``output`` and ``failures`` print. The other modules are the commands.
"""

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code.

    Args:
        arguments: The arguments; by default those of the process.
    """
    try:
        from .app import run
    except ModuleNotFoundError as missing:
        name = (missing.name or "").partition(".")[0]
        if name not in {"cyclopts", "rich"}:
            raise
        sys.stderr.write(f"roamify needs {name}: pip install 'roamify-async[cli]'\n")
        return 2
    return run(sys.argv[1:] if arguments is None else arguments)
