"""The exit codes, and the failures of the command itself."""

from typing import Final

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
NO_TOKEN: Final = 3
IN_DOUBT: Final = 4
NOT_SENT: Final = 5
PARTLY: Final = 6
INTERRUPTED: Final = 130

EXIT_CODES: Final = """\
Exit codes: 0 done; 1 refused, or not found; 2 wrong usage; 3 no token, or it was refused; 4 in doubt: money may have \
moved, and the error names the command that looks again; 5 network failure, nothing was bought; 6 done in part; \
130 interrupted."""


class CommandError(Exception):
    """A failure of the command itself, with its exit code.

    Args:
        message: What is wrong, in one line.
        code: The exit code.
        hint: What to do about it.
    """

    def __init__(self, message: str, code: int = USAGE, hint: str | None = None) -> None:
        super().__init__(message)
        self.code: int = code
        self.hint: str | None = hint
