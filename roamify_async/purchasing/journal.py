"""The journal of a bulk order: what is about to be sent, and its outcome, on disk before and after.

One SQLite file, readable by its owner only, written by one runner at a time. It uses a rollback journal rather than a
write-ahead log, which needs shared memory that network file systems lack. Commits are grouped: the task that waits for
the disk writes the lines of all that came meanwhile.
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

APPLICATION_ID: Final = 0x526F616D
"""SQLite application id of a journal."""
VERSION: Final = 3
"""Version of the schema."""

SCHEMA: Final = """
CREATE TABLE lines (
    position INTEGER PRIMARY KEY,
    digest TEXT NOT NULL,
    request TEXT NOT NULL,
    reference TEXT NOT NULL,
    status TEXT NOT NULL,
    final INTEGER NOT NULL DEFAULT 0,
    first_sent TEXT,
    looked_first INTEGER NOT NULL DEFAULT 0,
    resent INTEGER NOT NULL DEFAULT 0,
    order_id TEXT,
    total TEXT,
    was_found INTEGER NOT NULL DEFAULT 0,
    answer TEXT,
    esims TEXT,
    error TEXT
);
CREATE INDEX by_reference ON lines (reference);
CREATE INDEX by_status ON lines (status);
"""
MIGRATIONS: Final = {
    2: (
        "ALTER TABLE lines ADD COLUMN looked_first INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE lines ADD COLUMN order_id TEXT",
        "ALTER TABLE lines ADD COLUMN was_found INTEGER NOT NULL DEFAULT 0",
        "UPDATE lines SET order_id = json_extract(answer, '$.id')",
    ),
}
"""The statements that lead from each older version to the next."""


@attrs.define(kw_only=True)
class Entry:
    """A line in the journal. Requests, responses and errors are JSON."""

    position: int
    digest: str
    """Digest of the items and the caller's reference."""
    request: str
    reference: str
    """The caller's reference, or the one created for the line."""
    status: Status
    final: bool = False
    """Whether later runs skip the line."""
    first_sent: str | None = None
    """ISO time at which it was first about to be sent."""
    looked_first: bool = False
    """Whether the reference was new, or was looked up before it was sent."""
    resent: bool = False
    """Whether it may have been sent more than once. Later runs check whether it was booked more than once."""
    order_id: str | None = None
    total: str | None = None
    """Its cost, or its cost if it was booked."""
    was_found: bool = False
    """Whether the order existed before the line was sent."""
    answer: str | None = None
    esims: str | None = None
    error: str | None = None


COLUMNS: Final = tuple(field.name for field in attrs.fields(Entry))
_row: Final = operator.attrgetter(*COLUMNS)
_PUT: Final = f"INSERT OR REPLACE INTO lines ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
_GET: Final = f"SELECT {', '.join(COLUMNS)} FROM lines"  # noqa: S608


class JournalFile:
    """An open journal file: of a runner, or for reading."""

    def __init__(self, path: Path, *, durable: bool = True, run: bool = True) -> None:
        self.path = path
        self.is_kept = durable
        """Whether the file outlives its run."""
        self._lock = threading.Lock()
        self._pending: list[_Change] = []
        self._turn: anyio.Lock | None = None
        self._connection = _connect(path, durable=durable, run=run)

    @classmethod
    def temporary(cls) -> Self:
        """Create a file that no later run resumes; ``discard`` removes it with its folder."""
        return cls(Path(tempfile.mkdtemp(prefix="roamify-bulk-")) / "lines.db", durable=False)

    def discard(self) -> None:
        """Close the file, and remove it with its folder."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.path.parent.rmdir()

    async def put(self, entry: Entry) -> None:
        """Write a line in its current state, and wait until it is on disk."""
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
            except BaseException:  # The next task of the group writes the others.
                self._pending = [other for other in batch if other is not change] + self._pending
                raise

    def _commit(self, batch: "list[_Change]") -> None:
        with self._lock, _journal_errors(self.path):
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
        """Return the line at a position."""
        rows = self._rows(f"{_GET} WHERE position = ?", position)
        return _entry(rows[0]) if rows else None

    def holder(self, reference: str) -> int | None:
        """Return the position of the first line with a reference."""
        rows = self._rows("SELECT min(position) FROM lines WHERE reference = ?", reference)
        position: int | None = rows[0][0]
        return position

    @property
    def end(self) -> int:
        """The position after the last line. After a crash, lines before it may be missing."""
        return int(self._rows("SELECT coalesce(max(position) + 1, 0) FROM lines")[0][0])

    def entries(self, *statuses: str, final: bool | None = None) -> Iterator[Entry]:
        """Yield the lines with some statuses, or all, in order, with a few at a time in memory."""
        where = f"status IN ({', '.join('?' * len(statuses))})" if statuses else "1"
        where += "" if final is None else f" AND final = {int(final)}"
        after = -1
        while rows := self._rows(
            f"{_GET} WHERE {where} AND position > ? ORDER BY position LIMIT 200", *statuses, after
        ):
            yield from map(_entry, rows)
            after = rows[-1][0]

    def nth(self, index: int, *statuses: str) -> Entry:
        """Return the line at an index among those with some statuses."""
        where = f"status IN ({', '.join('?' * len(statuses))})" if statuses else "1"
        return _entry(self._rows(f"{_GET} WHERE {where} ORDER BY position LIMIT 1 OFFSET ?", *statuses, index)[0])

    def count(self, *statuses: str) -> int:
        """Count the lines with some statuses."""
        counts = self.counts
        return sum(counts.get(status, 0) for status in statuses) if statuses else sum(counts.values())

    @property
    def counts(self) -> Mapping[str, int]:
        """Number of lines by status."""
        return dict(self._rows("SELECT status, count(*) FROM lines GROUP BY status"))

    @property
    def spent(self) -> Decimal:
        """Total cost of the ordered lines."""
        return self.cost("ordered")

    def cost(self, *statuses: str, bought_only: bool = False) -> Decimal:
        """Return the total cost of the lines with some statuses; with *bought_only* without orders that were found."""
        where = f"status IN ({', '.join('?' * len(statuses))}) AND total IS NOT NULL"
        where += " AND NOT was_found" if bought_only else ""
        totals = self._rows(f"SELECT total, count(*) FROM lines WHERE {where} GROUP BY total", *statuses)  # noqa: S608
        return sum((Decimal(total) * count for total, count in totals), Decimal(0))

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._lock, _journal_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    def close(self) -> None:
        """Close the file, so that another runner may open it."""
        with self._lock:
            self._connection.close()


@attrs.define(eq=False)
class _Change:
    row: tuple[Any, ...]
    is_written: bool = False


def _entry(row: Sequence[Any]) -> Entry:
    values = dict(zip(COLUMNS, row, strict=True))
    for name in ("final", "looked_first", "resent", "was_found"):
        values[name] = bool(values[name])
    return Entry(**values)


def _connect(path: Path, *, durable: bool, run: bool) -> sqlite3.Connection:
    with _journal_errors(path):
        if run:
            _create(path)
        elif not path.is_file():
            raise JournalError(f"there is no journal at {str(path)!r}")
        # Readers need to write: SQLite may have to roll back what a crash left half written.
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


def _create(path: Path) -> None:
    """Create the file, since SQLite would let others read it.

    An existing file is not opened: closing it again would drop the locks that this process has on it.
    """
    with suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _is_new(connection: sqlite3.Connection) -> bool:
    return not connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]


def _begin_run(connection: sqlite3.Connection, *, durable: bool) -> None:
    """Lock the file for one runner, and create its table if it is new."""
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute(f"PRAGMA journal_mode = {'TRUNCATE' if durable else 'OFF'}")
    connection.execute(f"PRAGMA synchronous = {'EXTRA' if durable else 'OFF'}")
    connection.execute("BEGIN EXCLUSIVE")
    if _is_new(connection):
        for statement in filter(str.strip, SCHEMA.split(";")):
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    connection.execute("COMMIT")


def _check(connection: sqlite3.Connection, path: Path) -> None:
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if mark == APPLICATION_ID and version in MIGRATIONS:
        version = _migrate(connection, version)
    if (mark, version) != (APPLICATION_ID, VERSION):
        raise JournalError(f"{str(path)!r} is not a journal of this version: use another file")


def _migrate(connection: sqlite3.Connection, version: int) -> int:
    """Lead an older file to the current version, in one transaction."""
    connection.execute("BEGIN EXCLUSIVE")
    while version in MIGRATIONS:
        for statement in MIGRATIONS[version]:
            connection.execute(statement)
        version += 1
    connection.execute(f"PRAGMA user_version = {version}")
    connection.execute("COMMIT")
    return version


@contextmanager
def _journal_errors(path: Path) -> Generator[None, None, None]:
    """Convert errors of SQLite and of the system to a ``JournalError`` that names the file."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise JournalError(f"the journal {str(path)!r} is in use: one runner at a time") from None
        raise JournalError(f"the journal {str(path)!r} cannot be used: {error}") from None
