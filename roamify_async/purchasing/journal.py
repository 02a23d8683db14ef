"""The journal of a bulk order: what is about to be sent, and its outcome, on disk before and after.

One SQLite file, readable by its owner only, written by one runner at a time. It uses a rollback journal rather than a
write-ahead log, which needs shared memory that network file systems lack. Commits are grouped: the task that waits for
the disk writes the lines of all that came meanwhile, in one statement.
"""

import hashlib
import logging
import operator
import shutil
import sqlite3
import tempfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from functools import cache, cached_property
from pathlib import Path
from typing import Any, Final, Self
from uuid import UUID, uuid4, uuid5

import anyio
import anyio.lowlevel
import anyio.to_thread
import attrs

from roamify_async._http.credentials import Credentials
from roamify_async.errors import JournalError

from .journal_rows import COLUMNS, FLAGS, STATUSES, Entry, checksum
from .journal_storage import (
    ADVICE,
    RUNNER_TIMEOUT,
    RunnerLock,
    check,
    check_name,
    check_owner,
    connect,
    create,
    identity,
    journal_errors,
    open_reader,
)

log: logging.Logger = logging.getLogger("roamify_async")

_row: Final = operator.attrgetter(*COLUMNS)
_GET: Final = f"SELECT {', '.join(COLUMNS)}, checksum FROM lines"  # noqa: S608
FIXED: Final = ("position", "digest", "request", "reference")
"""Columns that never change, so that an update leaves their index alone."""
REFERENCE_BITS: Final = 1 << 23
"""Size of the filter of known references: 1 MB."""


@cache
def _put_statement(lines: int) -> str:
    """Return the statement that writes a number of lines.

    One statement is one transaction, and one wait for the interpreter's lock, whatever its number of lines.
    """
    columns = (*COLUMNS, "checksum")
    values = ", ".join([f"({', '.join('?' * len(columns))})"] * lines)
    updates = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in FIXED)
    return f"INSERT INTO lines ({', '.join(columns)}) VALUES {values} ON CONFLICT (position) DO UPDATE SET {updates}"  # noqa: S608


class JournalFile:
    """An open journal file: of a runner, or for reading.

    A runner holds a lock of its own on a file beside the journal: SQLite's locks are dropped when any part of the
    process opens and closes the journal, for a copy for example. Readers need no lock, and may read at any time.
    """

    def __init__(self, path: Path, *, durable: bool = True, run: bool = True) -> None:
        check_name(path)
        self.path = path
        self.is_kept = durable
        """Whether it is the caller's file, which outlives its run in any case."""
        self.is_new: bool = False
        """Whether the file was created by this run, so that no line of it was sent before."""
        self._mutex = threading.Lock()
        self._pending: list[_Change] = []
        self._committed: anyio.Event | None = None
        """Set when the commit that is under way has ended."""
        self._known_references = bytearray(REFERENCE_BITS // 8)
        """A filter: a reference whose bit is not set is in no line."""
        self._runner_lock: RunnerLock | None = None
        with journal_errors(path):
            try:
                self._connection = self._open_runner(durable=durable) if run else open_reader(path)
                self._identity = identity(path)
                self._verify()
            except BaseException:
                self.close()
                raise

    def _open_runner(self, *, durable: bool) -> sqlite3.Connection:
        check_owner(self.path)
        self._runner_lock = RunnerLock(self.path)
        self.is_new = create(self.path)
        connection = connect(self.path, timeout=RUNNER_TIMEOUT)
        self._connection = connection
        check(connection, self.path)
        connection.execute(f"PRAGMA journal_mode = {'TRUNCATE' if durable else 'MEMORY'}")
        connection.execute(f"PRAGMA synchronous = {'EXTRA' if durable else 'OFF'}")
        return connection

    def _verify(self) -> None:
        """Raise ``JournalError`` if anything in the file is damaged."""
        (result,) = self._connection.execute("PRAGMA integrity_check(1)").fetchone()
        if result != "ok":
            raise JournalError(f"the journal {str(self.path)!r} is damaged ({result}): {ADVICE}")
        for entry in self.entries():
            if entry.status not in STATUSES:
                raise JournalError(f"the journal {str(self.path)!r} is damaged at line {entry.position}: {ADVICE}")
            self._note_reference(entry.reference)

    @classmethod
    def temporary(cls) -> Self:
        """Create a file of a run without a journal; ``discard`` removes it with its folder."""
        try:
            folder = tempfile.mkdtemp(prefix="roamify-bulk-")
        except (OSError, ValueError) as error:
            raise JournalError(
                f"no temporary file can be created for the lines: {error}. Pass journal=, or set TMPDIR to a folder "
                "that is writable; nothing was sent"
            ) from None
        try:
            return cls(Path(folder) / "lines.db", durable=False)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise

    @property
    def is_worth_keeping(self) -> bool:
        """Whether it is the caller's file, or holds lines."""
        try:
            return self.is_kept or self.end > 0
        except JournalError:
            return True

    def discard(self) -> None:
        """Close the file, and remove it with its folder."""
        self.close()
        self.path.unlink(missing_ok=True)
        self.path.parent.rmdir()

    # ---------------------------------------------------------------- what it belongs to

    @cached_property
    def id(self) -> str:
        """A random id of the journal, which copies share."""
        return self._fact("id", str(uuid4()))

    def bind(self, credentials: Credentials) -> None:
        """Bind the journal to a host at its first run.

        Raises ``JournalError`` if it belongs to another host. Another token is a warning, since tokens are rotated.
        """
        host = self._fact("base_url", credentials.base_url)
        if host != credentials.base_url:
            raise JournalError(
                f"the journal {str(self.path)!r} belongs to {host}, not to {credentials.base_url}: use another file; "
                "nothing was sent"
            )
        salt = self._fact("salt", uuid4().hex)
        mark = hashlib.blake2b(credentials.token.encode(), key=salt.encode(), digest_size=8).hexdigest()
        if self._fact("token", mark) != mark:
            log.warning("the journal %s was run with another token before; is it the same account?", self.path)
            self._write("UPDATE facts SET value = ? WHERE name = 'token'", [mark])

    def _fact(self, name: str, default: str) -> str:
        rows = self._rows("SELECT value FROM facts WHERE name = ?", name)
        if not rows:
            self._write("INSERT INTO facts VALUES (?, ?)", [name, default])
        return rows[0][0] if rows else default

    # ---------------------------------------------------------------- writing

    async def put(self, entry: Entry) -> None:
        """Write a line in its current state, and wait until it is on disk."""
        row = _row(entry)
        change = _Change((*row, checksum(row)))
        self._note_reference(entry.reference)
        self._pending.append(change)
        while not change.is_written:
            if self._committed is None:
                await self._commit_pending(change)
            else:
                await self._committed.wait()

    async def _commit_pending(self, change: "_Change") -> None:
        """Write all lines that are pending. If that fails, *change* fails, and the next task writes the others."""
        committed = self._committed = anyio.Event()
        batch: list[_Change] = []
        try:
            await anyio.lowlevel.checkpoint()  # Others that come at the same time are written, too.
            batch, self._pending = self._pending[: self._max_batch], self._pending[self._max_batch :]
            await anyio.to_thread.run_sync(self._commit, batch)
        except BaseException:
            self._pending = [one for one in batch + self._pending if one is not change and not one.is_written]
            raise
        finally:
            self._committed = None
            committed.set()

    @cached_property
    def _max_batch(self) -> int:
        """Maximum number of lines in a statement."""
        return self._connection.getlimit(sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER) // (len(COLUMNS) + 1)

    def _commit(self, batch: "list[_Change]") -> None:
        self._write(_put_statement(len(batch)), [value for change in batch for value in change.row])
        for change in batch:
            change.is_written = True

    def remove(self, position: int) -> None:
        """Remove a line of which nothing was sent."""
        self._write("DELETE FROM lines WHERE position = ?", [position])

    def _write(self, statement: str, values: Sequence[Any]) -> None:
        """Execute a statement, in a transaction of its own."""
        with self._mutex, journal_errors(self.path):
            if identity(self.path) != self._identity:
                raise JournalError(
                    f"the journal {str(self.path)!r} was moved, replaced or removed in its run: nothing more is "
                    "sent. Put it back, and run it again"
                )
            self._connection.execute(statement, values)

    # ---------------------------------------------------------------- reading

    def get(self, position: int) -> Entry | None:
        """Return the line at a position."""
        rows = self._rows(f"{_GET} WHERE position = ?", position)
        return self._entry(rows[0]) if rows else None

    def reference_for(self, position: int, digest: str) -> str:
        """Return the reference of a line whose caller gave none.

        It depends on nothing else, so that an older copy of the journal gives the same one.
        """
        return str(uuid5(self._namespace, f"{position}:{digest}"))

    @cached_property
    def _namespace(self) -> UUID:
        return UUID(self.id)

    def is_first(self, _: Entry) -> bool:
        """Return whether no earlier run can have sent a line."""
        return self.is_new

    def is_own(self, _: Entry) -> bool:
        """Return whether a line is one of this run."""
        return True

    async def finish(self, _: Entry) -> None:
        """Do nothing: nobody else waits for a line of a file."""

    def _note_reference(self, reference: str) -> None:
        index, bit = divmod(hash(reference) % REFERENCE_BITS, 8)
        self._known_references[index] |= 1 << bit

    def _may_know(self, reference: str) -> bool:
        index, bit = divmod(hash(reference) % REFERENCE_BITS, 8)
        return bool(self._known_references[index] & 1 << bit)

    def holder(self, reference: str) -> int | None:
        """Return the position of the first line with a reference.

        A new reference needs no query, which would wait for the commit that is under way.
        """
        if not self._may_know(reference):
            return None
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
        last = -1
        while rows := self._rows(f"{_GET} WHERE {where} AND position > ? ORDER BY position LIMIT 200", *statuses, last):
            for entry in map(self._entry, rows):
                if entry.position <= last:
                    raise JournalError(f"the journal {str(self.path)!r} is damaged at line {last}: {ADVICE}")
                last = entry.position
                yield entry

    def nth(self, index: int, *statuses: str) -> Entry:
        """Return the line at an index among those with some statuses."""
        where = f"status IN ({', '.join('?' * len(statuses))})" if statuses else "1"
        return self._entry(self._rows(f"{_GET} WHERE {where} ORDER BY position LIMIT 1 OFFSET ?", *statuses, index)[0])

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
        with journal_errors(self.path):
            return sum((Decimal(total) * count for total, count in totals), Decimal(0))

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._mutex, journal_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    def _entry(self, row: Sequence[Any]) -> Entry:
        values = dict(zip(COLUMNS, row[:-1], strict=True))
        for name in FLAGS:
            values[name] = bool(values[name])
        if row[-1] != checksum(tuple(values.values())):
            raise JournalError(f"the journal {str(self.path)!r} is damaged at line {row[0]}: {ADVICE}")
        return Entry(**values)

    def close(self) -> None:
        """Close the file, so that another runner may open it."""
        with self._mutex:
            connection: sqlite3.Connection | None = getattr(self, "_connection", None)
            if connection is not None:
                connection.close()
            if self._runner_lock is not None:
                self._runner_lock.release()


@attrs.define(eq=False)
class _Change:
    row: tuple[Any, ...]
    is_written: bool = False
