"""What a ledger needs of a database, and how its schema is brought to this version."""

import re
from collections.abc import Callable
from concurrent.futures import Future
from functools import lru_cache
from typing import Any, Final, Protocol, TypeVar

import attrs

from roamify_async.errors import LedgerError

from .statements import MIGRATIONS, VERSION

T = TypeVar("T")

_PARAMETER: Final = re.compile(r":([a-z_][a-z_0-9]*)")


@attrs.frozen
class Dialect:
    """How a database spells what differs."""

    now: str
    """Expression of the database's clock, in seconds since 1970."""
    greatest: str
    """Name of the function that returns the greatest of its arguments."""
    tokens: str
    """Query of the texts in the JSON list that is the parameter ``tokens``."""
    has_table: str
    """Query that returns a row if the table ``facts`` exists."""
    skip_locked: str = ""
    """Clause of a query that locks its rows, and skips those that others have locked."""
    table: str = ""
    """Prefix of the tables."""
    parameter: str = r":\1"
    """Replacement for the ``:name`` of a parameter."""


@lru_cache(maxsize=256)
def spell(statement: str, dialect: Dialect) -> str:
    """Return a statement as a database spells it."""
    text = statement.format(
        now=dialect.now, greatest=dialect.greatest, tokens=dialect.tokens, table=dialect.table,
        skip_locked=dialect.skip_locked,
    )  # fmt: skip
    return _PARAMETER.sub(dialect.parameter, text)


class Session(Protocol):
    """A transaction under way."""

    def rows(self, statement: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
        """Execute a statement, and return its rows."""
        ...

    @property
    def dialect(self) -> Dialect:
        """How the database spells what differs."""
        ...


class Database(Protocol):
    """A database, whose work is done by threads."""

    def submit(self, work: Callable[[Session], T], *, is_atomic: bool = True) -> "Future[T]":
        """Run *work* in a thread. With *is_atomic* all of it is one transaction.

        *work* must be repeatable: it may run again if the connection was lost.
        """
        ...

    def close(self) -> None:
        """Finish the work that was submitted, and close the connections."""
        ...


def version_of(session: Session) -> int:
    """Return the version of the schema, 0 if there is none. Raises ``LedgerError`` if it is newer than this one."""
    if not session.rows(session.dialect.has_table):
        return 0
    rows = session.rows("SELECT value FROM {table}facts WHERE name = 'version'")
    version = int(rows[0][0]) if rows else 0
    if version > VERSION:
        raise LedgerError(
            f"the ledger has version {version} of its tables, and this roamify_async knows {VERSION}: upgrade it"
        )
    return version


def migrate(session: Session) -> None:
    """Bring the schema to this version. Nobody else may do so at the same time."""
    version = version_of(session)
    if version == VERSION:
        return
    session.rows("CREATE TABLE IF NOT EXISTS {table}facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)")
    for statements in MIGRATIONS[version:]:
        for statement in statements:
            session.rows(statement)
    session.rows(
        "INSERT INTO {table}facts VALUES ('version', :value) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        value=str(VERSION),
    )


def bind(session: Session, base_url: str) -> None:
    """Bind the ledger to a host at its first purchase. Raises ``LedgerError`` if it belongs to another host."""
    session.rows(
        "INSERT INTO {table}facts VALUES ('base_url', :value) ON CONFLICT (name) DO NOTHING", value=base_url
    )  # fmt: skip
    ((host,),) = session.rows("SELECT value FROM {table}facts WHERE name = 'base_url'")
    if host != base_url:
        raise LedgerError(f"the ledger belongs to {host}, not to {base_url}: use another one; nothing was sent")
