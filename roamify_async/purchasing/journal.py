"""The journal of a bulk order: what is about to be sent, and its outcome, on disk before and after.

One SQLite file, readable by its owner only, written by one runner at a time. It uses a rollback journal rather than a
write-ahead log, which needs shared memory that network file systems lack. Commits are grouped: the task that waits for
the disk writes the lines of all that came meanwhile.
"""

import hashlib
import json
import logging
import operator
import os
import shutil
import sqlite3
import stat
import sys
import tempfile
import threading
import weakref
import zlib
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Self, get_args
from uuid import UUID, uuid4, uuid5

import anyio
import anyio.to_thread
import attrs

from roamify_async._http.credentials import Credentials
from roamify_async.errors import JournalError

log: logging.Logger = logging.getLogger("roamify_async")

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
    error TEXT,
    checksum INTEGER NOT NULL
);
CREATE INDEX by_reference ON lines (reference);
CREATE INDEX by_status ON lines (status);
CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL);
"""
MIGRATIONS: Final = {
    2: (
        "ALTER TABLE lines ADD COLUMN looked_first INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE lines ADD COLUMN order_id TEXT",
        "ALTER TABLE lines ADD COLUMN was_found INTEGER NOT NULL DEFAULT 0",
        "ALTER TABLE lines ADD COLUMN checksum INTEGER NOT NULL DEFAULT 0",
        "UPDATE lines SET order_id = json_extract(answer, '$.id')",
        "CREATE TABLE facts (name TEXT PRIMARY KEY, value TEXT NOT NULL)",
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
FLAGS: Final = ("final", "looked_first", "resent", "was_found")
_row: Final = operator.attrgetter(*COLUMNS)
_PUT: Final = (
    f"INSERT OR REPLACE INTO lines ({', '.join(COLUMNS)}, checksum) VALUES ({', '.join('?' * (len(COLUMNS) + 1))})"  # noqa: S608
)
_GET: Final = f"SELECT {', '.join(COLUMNS)}, checksum FROM lines"  # noqa: S608
BUSY_TIMEOUT: Final = 5.0
"""Seconds for which a reader waits for a commit of the runner."""
RUNNER_TIMEOUT: Final = 60.0
"""Seconds for which the runner waits for readers, such as a query in another program that takes long."""


class JournalFile:
    """An open journal file: of a runner, or for reading.

    A runner holds a lock of its own on a file beside the journal: SQLite's locks are dropped when any part of the
    process opens and closes the journal, for a copy for example. Readers need no lock, and may read at any time.
    """

    def __init__(self, path: Path, *, durable: bool = True, run: bool = True) -> None:
        _check_name(path)
        self.path = path
        self.is_kept = durable
        """Whether it is the caller's file, which outlives its run in any case."""
        self.is_new: bool = False
        """Whether the file was created by this run, so that no line of it was sent before."""
        self._mutex = threading.Lock()
        self._pending: list[_Change] = []
        self._turn: anyio.Lock | None = None
        self._runner_lock: RunnerLock | None = None
        with _journal_errors(path):
            try:
                self._connection = self._open_runner(durable=durable) if run else _open_reader(path)
                self._identity = _identity(path)
                self._verify()
            except BaseException:
                self.close()
                raise

    def _open_runner(self, *, durable: bool) -> sqlite3.Connection:
        _check_owner(self.path)
        self._runner_lock = RunnerLock(self.path)
        self.is_new = _create(self.path)
        connection = _connect(self.path, timeout=RUNNER_TIMEOUT)
        self._connection = connection
        _check(connection, self.path)
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
            self._write("UPDATE facts SET value = ? WHERE name = 'token'", [(mark,)])

    def _fact(self, name: str, default: str) -> str:
        rows = self._rows("SELECT value FROM facts WHERE name = ?", name)
        if not rows:
            self._write("INSERT INTO facts VALUES (?, ?)", [(name, default)])
        return rows[0][0] if rows else default

    # ---------------------------------------------------------------- writing

    async def put(self, entry: Entry) -> None:
        """Write a line in its current state, and wait until it is on disk."""
        row = _row(entry)
        change = _Change((*row, _checksum(row)))
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
        self._write(_PUT, [change.row for change in batch])
        for change in batch:
            change.is_written = True

    def _write(self, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
        with self._mutex, _journal_errors(self.path):
            if _identity(self.path) != self._identity:
                raise JournalError(
                    f"the journal {str(self.path)!r} was moved, replaced or removed in its run: nothing more is "
                    "sent. Put it back, and run it again"
                )
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                self._connection.executemany(statement, rows)
                self._connection.execute("COMMIT")
            except BaseException:
                if self._connection.in_transaction:
                    self._connection.execute("ROLLBACK")
                raise

    # ---------------------------------------------------------------- reading

    def get(self, position: int) -> Entry | None:
        """Return the line at a position."""
        rows = self._rows(f"{_GET} WHERE position = ?", position)
        return self._entry(rows[0]) if rows else None

    def reference_for(self, position: int, digest: str) -> str:
        """Return the reference of a line whose caller gave none.

        It depends on nothing else, so that an older copy of the journal gives the same one.
        """
        return str(uuid5(UUID(self.id), f"{position}:{digest}"))

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
        with _journal_errors(self.path):
            return sum((Decimal(total) * count for total, count in totals), Decimal(0))

    def _rows(self, query: str, *values: Any) -> list[Any]:
        with self._mutex, _journal_errors(self.path):
            return self._connection.execute(query, values).fetchall()

    def _entry(self, row: Sequence[Any]) -> Entry:
        values = dict(zip(COLUMNS, row[:-1], strict=True))
        for name in FLAGS:
            values[name] = bool(values[name])
        if row[-1] != _checksum(tuple(values.values())):
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


STATUSES: Final = frozenset(get_args(Status))
ADVICE: Final = "restore it from a backup, or look up what was bought with orders.list(); nothing was sent"


@attrs.define(eq=False)
class _Change:
    row: tuple[Any, ...]
    is_written: bool = False


def _checksum(row: tuple[Any, ...]) -> int:
    return zlib.crc32(json.dumps(row).encode())


# ---------------------------------------------------------------- the file


def _identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one at the same path."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _check_name(path: Path) -> None:
    """Refuse a path that the system cannot write."""
    try:
        is_valid = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:
        is_valid = False
    if not is_valid:
        raise JournalError(
            f"the path {str(path)!r} of the journal cannot be written in the encoding of the locale, "
            f"{sys.getfilesystemencoding()}: use another path, or set PYTHONUTF8=1; nothing was sent"
        )


def _check_owner(path: Path) -> None:
    """Refuse a link to another user's file, and warn of a file that others can read."""
    try:
        link, target = path.lstat(), path.stat()
    except FileNotFoundError:
        return
    if not hasattr(os, "geteuid"):
        return
    if stat.S_ISLNK(link.st_mode) and target.st_uid != os.geteuid():
        raise JournalError(f"the journal {str(path)!r} is a symbolic link to another user's file: use another file")
    if stat.S_ISREG(target.st_mode) and target.st_mode & 0o077:
        log.warning("the journal %s can be read by others: chmod 600 it; it holds what was bought", path)


def _create(path: Path) -> bool:
    """Create the journal, readable by its owner only, unless there is a file. Return whether it was created.

    It appears complete: after a crash there is either no file, or a journal.
    """
    if os.path.lexists(path):
        return False
    draft = path.with_name(f"{path.name}-new")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = _connect(draft)
    try:
        connection.executescript(f"PRAGMA journal_mode = OFF; {SCHEMA}")
        connection.execute("INSERT INTO facts VALUES ('id', ?)", (str(uuid4()),))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    finally:
        connection.close()
    draft.rename(path)
    return True


def _connect(path: Path, mode: str = "rw", *, timeout: float | None = None) -> sqlite3.Connection:
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    timeout = BUSY_TIMEOUT if timeout is None else timeout
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


def _open_reader(path: Path) -> sqlite3.Connection:
    """Open a journal for reading, also while it is run.

    A crash may have left a transaction half written. Then, if nobody runs the journal, it is rolled back first.
    """
    if not path.is_file():
        raise JournalError(f"there is no journal at {str(path)!r}")
    connection = _connect(path, "ro")
    try:
        try:
            _check(connection, path)
        except sqlite3.OperationalError:
            _roll_back(path)
            _check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _roll_back(path: Path) -> None:
    lock = RunnerLock(path)
    try:
        connection = _connect(path)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    finally:
        lock.release()


def _check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not a journal of this version; lead an older one to it."""
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if mark == APPLICATION_ID and version in MIGRATIONS:
        _migrate(path, version)
        version = VERSION
    if (mark, version) != (APPLICATION_ID, VERSION):
        raise JournalError(f"{str(path)!r} is not a journal of this version, or is damaged: use another file")


def _migrate(path: Path, version: int) -> None:
    """Lead an older file to the current version, in one transaction."""
    connection = _connect(path)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        while version in MIGRATIONS:
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
            version += 1
        for row in connection.execute(f"SELECT {', '.join(COLUMNS)} FROM lines").fetchall():  # noqa: S608
            values = dict(zip(COLUMNS, row, strict=True))
            flags = {name: bool(values[name]) for name in FLAGS}
            checksum = _checksum(tuple({**values, **flags}.values()))
            connection.execute("UPDATE lines SET checksum = ? WHERE position = ?", (checksum, row[0]))
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    finally:
        connection.close()


@contextmanager
def _journal_errors(path: Path) -> Generator[None, None, None]:
    """Convert errors of SQLite, of the system and of damaged content to a ``JournalError`` that names the file."""
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if isinstance(error, sqlite3.OperationalError) and "locked" in str(error):
            raise JournalError(f"the journal {str(path)!r} is locked by another program for too long") from None
        raise JournalError(f"the journal {str(path)!r} cannot be used: {error}") from None
    except (ValueError, KeyError, TypeError, ArithmeticError) as error:
        raise JournalError(f"the journal {str(path)!r} is damaged ({error!r}): {ADVICE}") from None


# ---------------------------------------------------------------- one runner at a time


class RunnerLock:
    """A lock on a file beside the journal, held by its runner. It ends with the process, however that ends."""

    def __init__(self, path: Path) -> None:
        self._path = path.with_name(f"{path.name}-lock")
        self._pid = os.getpid()
        self._file = self._acquire(path)
        _locks.add(self)

    def _acquire(self, path: Path) -> int | None:
        while True:
            file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
            try:
                _lock(file)
                if self._path.exists() and os.path.samestat(os.fstat(file), self._path.stat()):
                    return file
            except BlockingIOError:
                os.close(file)
                raise JournalError(f"the journal {str(path)!r} is in use: one runner at a time") from None
            except BaseException:
                os.close(file)
                raise
            os.close(file)  # Another runner removed it as it ended.

    def release(self) -> None:
        """Remove the file, and with it the lock. Releasing twice does nothing."""
        file, self._file = self._file, None
        if file is None:
            return
        if os.getpid() == self._pid:
            with suppress(OSError):
                self._path.unlink()
        os.close(file)


_locks: "weakref.WeakSet[RunnerLock]" = weakref.WeakSet()


def _release_in_child() -> None:
    """Close the locks that a forked process inherits, or they would outlive their runner."""
    for lock in [*_locks]:
        lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)


if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        try:
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        except OSError:
            raise BlockingIOError from None
else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
