"""The journal of a bulk order: what is about to be sent and what came of it, on disk before and after.

One SQLite file, readable by its owner only, written by one runner at a time. Its own rollback journal and not a
write-ahead log keeps it whole, since a log needs shared memory that network folders do not give. Commits are grouped:
whoever waits for the disk writes for all who came meanwhile.
"""

import operator
import os
import sqlite3
import tempfile
import threading
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal, Self

import anyio
import anyio.to_thread
import attrs

from roamify_async.errors import JournalError

Status = Literal["sending", "ordered", "refused", "in_doubt", "not_sent"]

MARK: Final = 0x526F616D
"""What SQLite keeps as the file's application id."""
VERSION: Final = 2
"""Of the table below."""

SCHEMA: Final = """
CREATE TABLE lines (
    position INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,
    request TEXT NOT NULL,
    reference TEXT NOT NULL,
    status TEXT NOT NULL,
    final INTEGER NOT NULL DEFAULT 0,
    first_sent TEXT,
    resent INTEGER NOT NULL DEFAULT 0,
    total TEXT,
    answer TEXT,
    esims TEXT,
    error TEXT
);
CREATE INDEX by_reference ON lines (reference);
CREATE INDEX by_status ON lines (status);
"""


@attrs.define(kw_only=True)
class Entry:
    """One line as the journal holds it; requests, answers and errors are JSON texts."""

    position: int
    digest: str
    """Of the items and the caller's own reference."""
    request: str
    reference: str
    """The caller's, or the one made for it."""
    status: Status
    final: bool = False
    """Whether a later run leaves it alone."""
    first_sent: str | None = None
    """ISO time at which it was about to be sent first."""
    resent: bool = False
    """Whether it may have been sent more than once: later runs look whether it was booked more than once."""
    total: str | None = None
    """What it cost, or will have cost if it was booked."""
    answer: str | None = None
    esims: str | None = None
    error: str | None = None


COLUMNS: Final = tuple(field.name for field in attrs.fields(Entry))
_row: Final = operator.attrgetter(*COLUMNS)
_PUT: Final = f"INSERT OR REPLACE INTO lines ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_GET: Final = f"SELECT {', '.join(COLUMNS)} FROM lines"  # noqa: S608


class Ledger:
    """The file, open: for one runner, or for readers."""

    def __init__(self, path: Path, *, durable: bool = True, run: bool = True) -> None:
        self.path = path
        self.is_kept = durable
        """Whether it outlives its run."""
        self._lock = threading.Lock()
        self._pending: list[_Change] = []
        self._turn: anyio.Lock | None = None
        self._connection = _connect(path, durable=durable, run=run)

    @classmethod
    def temporary(cls) -> Self:
        """Make one that nobody resumes; its folder is removed by ``discard``."""
        return cls(Path(tempfile.mkdtemp(prefix="roamify-bulk-")) / "lines.db", durable=False)

    def discard(self) -> None:
        """Close it and remove its file and folder."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.path.parent.rmdir()

    async def put(self, entry: Entry) -> None:
        """Write a line as it is now, and wait until it is on the disk."""
        change = _Change(_row(entry))
        self._pending.append(change)
        if self._turn is None:
            self._turn = anyio.Lock()
        async with self._turn:
            if change.is_written:
                return
            batch, self._pending = self._pending, []
            try:
                await anyio.to_thread.run_sync(self._commit, batch)
            except BaseException:  # The others of the group are written by the next of them.
                self._pending = [other for other in batch if other is not change] + self._pending
                raise

    def _commit(self, batch: "list[_Change]") -> None:
        with self._lock, _explained(self.path):
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(_PUT, [change.row for change in batch])
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise
        for change in batch:
            change.is_written = True

    def get(self, position: int) -> Entry | None:
        """Give the line of a position."""
        rows = self._rows(f"{_GET} WHERE position = ?", position)
        return _entry(rows[0]) if rows else None

    def holder(self, reference: str) -> int | None:
        """Give the position of the first line with a reference."""
        rows = self._rows("SELECT min(position) FROM lines WHERE reference = ?", reference)
        position: int | None = rows[0][0]
        return position

    @property
    def end(self) -> int:
        """The position after the last line; a crash may have come before the one or other line below was written."""
        return int(self._rows("SELECT coalesce(max(position) + 1, 0) FROM lines")[0][0])

    def entries(self, *statuses: str, final: bool | None = None) -> Iterator[Entry]:
        """Give the lines of some statuses, or all, in the order of their positions, a few at a time in memory."""
        where = f"status IN ({', '.join('?' * len(statuses))})" if statuses else "1"
        where += "" if final is None else f" AND final = {int(final)}"
        after = -1
        while rows := self._rows(
            f"{_GET} WHERE {where} AND position > ? ORDER BY position LIMIT 200", *statuses, after
        ):
            yield from map(_entry, rows)
            after = rows[-1][0]

    def nth(self, place: int, *statuses: str) -> Entry:
        """Give the line at a place among those of some statuses."""
        where = f"status IN ({', '.join('?' * len(statuses))})" if statuses else "1"
        return _entry(self._rows(f"{_GET} WHERE {where} ORDER BY position LIMIT 1 OFFSET ?", *statuses, place)[0])

    def count(self, *statuses: str) -> int:
        """Count the lines of some statuses."""
        counts = self.counts
        return sum(counts.get(status, 0) for status in statuses) if statuses else sum(counts.values())

    @property
    def counts(self) -> Mapping[str, int]:
        """How many lines have each status."""
        return dict(self._rows("SELECT status, count(*) FROM lines GROUP BY status"))

    @property
    def spent(self) -> Decimal:
        """What the ordered lines cost together."""
        return self.cost("ordered")

    def cost(self, *statuses: str) -> Decimal:
        """Give what the lines of some statuses cost together."""
        where = f"status IN ({', '.join('?' * len(statuses))}) AND total IS NOT NULL"
        totals = self._rows(f"SELECT total, count(*) FROM lines WHERE {where} GROUP BY total", *statuses)  # noqa: S608
        return sum((Decimal(total) * count for total, count in totals), Decimal(0))

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._lock, _explained(self.path):
            return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the file; another runner may open it then."""
        with self._lock:
            self._connection.close()


@attrs.define(eq=False)
class _Change:
    row: tuple[Any, ...]
    is_written: bool = False


def _entry(row: Sequence[Any]) -> Entry:
    values = dict(zip(COLUMNS, row, strict=True))
    values["final"], values["resent"] = bool(values["final"]), bool(values["resent"])
    return Entry(**values)


def _connect(path: Path, *, durable: bool, run: bool) -> sqlite3.Connection:
    with _explained(path):
        if run:
            _make(path)
        elif not path.is_file():
            raise JournalError(f"there is no journal at {str(path)!r}")
        # Readers too: SQLite may have to take back what a crash left half written.
        uri = f"{path.resolve().as_uri()}?mode=rw"
        connection = sqlite3.connect(uri, uri=True, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            if not (run and _is_new(connection)):
                _check(connection, path)
            if run:
                _begin_run(connection, durable=durable)
        except BaseException:
            connection.close()
            raise
        return connection


def _make(path: Path) -> None:
    """Make the file, for SQLite would let others read it.

    One that is there is not opened: to close it again would end the locks that this process has on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _is_new(connection: sqlite3.Connection) -> bool:
    return not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _begin_run(connection: sqlite3.Connection, *, durable: bool) -> None:
    """Take the file for one runner, and make its table where it is new."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute(f"PRAGMA journal_mode = {'TRUNCATE' if durable else 'OFF'}")
    connection.execute(f"PRAGMA synchronous = {'EXTRA' if durable else 'OFF'}")
    connection.execute("BEGIN EXCLUSIVE")
    if _is_new(connection):
        for statement in filter(str.strip, SCHEMA.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {MARK}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if (mark, version) != (MARK, VERSION):
        raise JournalError(f"{str(path)!r} is no journal of this version: name another file")


@contextmanager
def _explained(path: Path) -> Generator[None, None, None]:
    """Turn the errors of SQLite and of the system into a ``JournalError`` that says what is wrong with the file."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise JournalError(f"the journal {str(path)!r} is in use: one runner at a time") from None
        raise JournalError(f"the journal {str(path)!r} cannot be used: {error}") from None
