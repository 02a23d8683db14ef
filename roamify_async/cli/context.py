"""What the global options say: the account, the output, and how much is printed beside it."""

import os
import shlex
import sys
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, Literal

import attrs

from .accounts import Account, Choice, ledger_file, resolve

if TYPE_CHECKING:
    from roamify_async import Roamify

Format = Literal["table", "tsv", "csv", "json", "jsonl"]


@attrs.frozen(kw_only=True)
class Context:
    """The global options of one run."""

    choice: Choice = attrs.field(factory=Choice)
    """Where the token and the base URL come from."""
    format: Format = "tsv"
    columns: tuple[str, ...] = ()
    """The columns that ``--columns`` names; empty for those of the command."""
    quiet: bool = False
    verbose: int = 0
    window: float | None = None
    """Seconds for which a purchase in doubt is looked up; ``None`` for the default of the settings."""
    paid: list[str] = attrs.field(factory=list[str], init=False, repr=False)
    """The commands that show again what this run has bought."""

    @property
    def is_json(self) -> bool:
        """Whether errors are JSON too."""
        return self.format in {"json", "jsonl"}

    @property
    def can_ask(self) -> bool:
        """Whether somebody is there to answer a question."""
        return sys.stdin.isatty() and sys.stderr.isatty()

    @property
    def has_progress(self) -> bool:
        """Whether progress is shown."""
        return sys.stderr.isatty() and not self.quiet

    def say(self, text: str, *, always: bool = False) -> None:
        """Print a line on the standard error, unless ``--quiet`` is given. With *always*, print it in any case."""
        if self.quiet and not always:
            return
        encoding, line = sys.stderr.encoding or "ascii", printable(text)
        sys.stderr.write(line.encode(encoding, "backslashreplace").decode(encoding) + "\n")
        sys.stderr.flush()

    def command(self, *words: str) -> str:
        """Return a command for a shell, with the account options of this run."""
        return shlex.join(("roamify", *words, *self.choice.words()))

    @contextmanager
    def account(self) -> Generator[Account, None, None]:
        """Return the token and the base URL; with ``--sandbox``, those of a sandbox that runs meanwhile."""
        with ExitStack() as stack:
            if not self.choice.sandbox:
                yield resolve(self.choice)
                return
            from .embedded import run_sandbox

            yield stack.enter_context(run_sandbox())

    @contextmanager
    def client(self, **settings: Any) -> Generator["Roamify", None, None]:
        """Open a client. *settings* are those of ``Settings``."""
        from roamify_async import Roamify, Settings

        if self.window is not None:
            settings["reconcile_window"] = self.window
        with self.account() as account:
            self.debug(f"token from {account.source}")
            ledger = None if os.environ.get("ROAMIFY_LEDGER") else ledger_file(account.base_url)
            with Roamify(
                account.token, base_url=account.base_url, settings=Settings(**settings), ledger=ledger
            ) as client:
                yield client

    def debug(self, text: str) -> None:
        """Print a line with ``--verbose``."""
        if self.verbose:
            self.say(text)


_current: Final[ContextVar[Context]] = ContextVar("context")


def current() -> Context:
    """Return the context of the run."""
    return _current.get()


@contextmanager
def using(context: Context) -> Generator[None, None, None]:
    """Make a context the current one in the block."""
    before = _current.set(context)
    try:
        yield
    finally:
        _current.reset(before)


def printable(text: str) -> str:
    """Return text without control characters, with which a server could change what a terminal shows."""
    return text if text.isprintable() else "".join(char if char.isprintable() else "\ufffd" for char in text)


def split_columns(names: Sequence[str]) -> tuple[str, ...]:
    """Return the names of columns, which commas or repeated options separate."""
    return tuple(name.strip() for text in names for name in text.split(",") if name.strip())
