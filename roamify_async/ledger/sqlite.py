"""A ledger in a SQLite file, for the processes of one machine.

The file uses a write-ahead log. The processes of one machine share memory anyway, and a commit waits for the disk once.
On a file system without shared memory it is refused.

What is recorded in a log that was removed is seen by nobody else. SQLite removes the log when the last process closes
the file, which it detects by POSIX locks. A process loses these locks when it closes any descriptor of the file, as a
copy does, and does not inherit them in a fork. So the file is opened through SQLite only, no connection is open during
a fork, and each commit checks that the log is still there.

One thread of each process writes, and commits together what was submitted meanwhile.
"""

import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import suppress
from pathlib import Path
from typing import Any, Final, Generic, TypeVar

import attrs

from roamify_async.errors import LedgerError

from .database import Dialect, migrate, spell, version_of
from .limits import SharedLimits
from .statements import APPLICATION_ID, VERSION
from .store import LEASE, TIMEOUT, SqlLedger

T = TypeVar("T")

DIALECT: Final = Dialect(
    now="((julianday('now') - 2440587.5) * 86400.0)",
    greatest="max",
    tokens="SELECT value FROM json_each(:tokens)",
    has_table="SELECT 1 FROM sqlite_master WHERE name = 'facts'",
)
_LOG_REMOVED: Final = "the log of {!r} was removed while it was written: start this process anew"
IDLE: Final = 0.5
"""Seconds without work after which the thread ends."""


class SqliteLedger(SqlLedger):
    """A ledger in a SQLite file, which the processes of one machine share.

    Args:
        path: Path of the file, on a local disk. It is created readable by its owner only.
        limits: Limits that all processes share.
        lease: Seconds, after a process was killed, until another one may take over its purchases.
        timeout: Seconds to wait for the database, before a purchase fails with ``LedgerError`` and nothing is sent.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        limits: SharedLimits | None = None,
        lease: float = LEASE,
        timeout: float = TIMEOUT,
    ) -> None:
        self.path: Path = Path(path)
        super().__init__(lambda: SqliteDatabase(self.path, timeout), limits, lease=lease, timeout=timeout)

    def __repr__(self) -> str:
        """Return the path."""
        return f"SqliteLedger({str(self.path)!r})"


@attrs.define
class _Session:
    connection: sqlite3.Connection
    dialect: Dialect = DIALECT

    def rows(self, statement: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
        return self.connection.execute(spell(statement, DIALECT), parameters).fetchall()


class _Call(Generic[T]):
    """Work that was submitted."""

    def __init__(self, work: Callable[[_Session], T]) -> None:
        self.future: Future[T] = Future()
        self._work = work
        self._result: list[T] = []
        self._error: BaseException | None = None

    def run(self, session: _Session) -> None:
        """Do the work. If it fails, what it changed is undone."""
        session.connection.execute("SAVEPOINT work")
        try:
            self._result = [self._work(session)]
        except BaseException as error:  # noqa: BLE001 -- raised where it is awaited
            self._error = error
            session.connection.execute("ROLLBACK TO work")
        session.connection.execute("RELEASE work")

    def finish(self, failure: BaseException | None = None) -> None:
        """Report the result, which is committed, or the failure."""
        error = failure or self._error
        if error is None:
            self.future.set_result(self._result[0])
        else:
            self.future.set_exception(_to_ledger_error(error))


class SqliteDatabase:
    """A SQLite file, and the thread that works on it."""

    def __init__(self, path: Path, timeout: float) -> None:
        self._path = path
        self._log_paths = tuple(path.with_name(f"{path.name}{suffix}") for suffix in ("-wal", "-shm"))
        self._timeout = timeout
        self._changed = threading.Condition()
        self._queue: list[_Call[Any]] = []
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None
        self._log_identity: tuple[tuple[int, int] | None, ...] = ()
        self.working: threading.Lock = threading.Lock()
        """Held while the connection is used."""
        _add(self)

    def submit(self, work: Callable[[_Session], T], *, is_atomic: bool = True) -> "Future[T]":
        """Run *work* in the thread; all of it is one transaction."""
        del is_atomic
        call = _Call(work)
        with self._changed:
            if self._is_closed:
                raise LedgerError("the ledger was closed")
            self._queue.append(call)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="roamify_async sqlite", daemon=True)
                self._thread.start()
            self._changed.notify()
        return call.future

    def close(self) -> None:
        """Finish the work that was submitted, and close the connection."""
        with self._changed:
            self._is_closed = True
            thread = self._thread
            self._changed.notify()
        if thread is not None:
            thread.join()
        self.disconnect()

    def __del__(self) -> None:
        """Close the connection."""
        self.disconnect()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._queue or self._is_closed, IDLE)
                batch, self._queue = self._queue, []
                if not batch:
                    self._thread = None
                    return
            self._commit([call for call in batch if call.future.set_running_or_notify_cancel()])

    def _commit(self, batch: Sequence[_Call[Any]]) -> None:
        try:
            if self.has_lost_log():
                _drop_lost()
            with self.working:
                self._write(batch)
        except BaseException as error:  # noqa: BLE001 -- raised where it is awaited
            for call in batch:
                call.finish(error)
        else:
            for call in batch:
                call.finish()

    def _write(self, batch: Sequence[_Call[Any]]) -> None:
        try:
            self._check_identity()
            connection = self._connection or self._connect()
            connection.execute("BEGIN IMMEDIATE")
            try:
                for call in batch:
                    call.run(_Session(connection))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
            self._check_log()
        except (LedgerError, sqlite3.DatabaseError):
            self.disconnect()
            raise

    # ---------------------------------------------------------------- connecting

    def _connect(self) -> sqlite3.Connection:
        """Open the file, which is created if there is none, and bring its tables to this version."""
        _create(self._path)
        identity = _identity(self._path)
        if identity in _lost:
            raise LedgerError(_LOG_REMOVED.format(str(self._path)))
        connection = sqlite3.connect(
            self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )  # fmt: skip
        try:
            self._check(connection)
            self._use_log(connection)
            connection.execute("PRAGMA synchronous = FULL")
            if version_of(_Session(connection)) < VERSION:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                migrate(_Session(connection))
                connection.execute("COMMIT")
            self._identity, self._log_identity = identity, self._identify_log()
        except BaseException:
            connection.close()
            raise
        self._connection = connection
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        # In this order: another process may commit both in between.
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (mark,) = connection.execute("PRAGMA application_id").fetchone()
        if mark != APPLICATION_ID and tables:
            raise LedgerError(f"{str(self._path)!r} is not a ledger: use another file")

    def _check_identity(self) -> None:
        """Raise if the file is not the one that was first opened, whose purchases another one would lack."""
        if self._identity is not None and _identity(self._path) != self._identity:
            raise LedgerError(
                f"{str(self._path)!r} was moved, replaced or removed: nothing is sent until it is back, or the client "
                "is opened anew"
            )

    def has_lost_log(self) -> bool:
        """Return whether the log of the connection was removed. All that was committed before is in the file."""
        return self._connection is not None and self._identify_log() != self._log_identity

    def _identify_log(self) -> tuple[tuple[int, int] | None, ...]:
        return tuple(_identity(path) for path in self._log_paths)

    def _check_log(self) -> None:
        """Raise if the log was removed during a commit, which is lost then."""
        if self._connection is not None and self.has_lost_log():
            _lost[self._identity] = self._connection
            self._connection = None
            raise LedgerError(_LOG_REMOVED.format(str(self._path)))

    def _use_log(self, connection: sqlite3.Connection) -> None:
        """Use a write-ahead log. SQLite waits for no other process that is about to do the same."""
        end = time.monotonic() + self._timeout
        while True:
            try:
                (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
            except sqlite3.OperationalError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.01)
                continue
            if mode != "wal":
                raise LedgerError(f"{str(self._path)!r} is on a file system without shared memory: use a local disk")
            return

    def disconnect(self) -> None:
        """Close the connection. The next work opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _create(path: Path) -> None:
    """Create a file, readable by its owner only, if there is none. A file that exists is not opened."""
    if path.is_symlink():
        raise LedgerError(f"{str(path)!r} is a symbolic link: pass the path of the file itself")
    with _databases_lock, suppress(FileExistsError):  # Before another thread locks it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _to_ledger_error(error: BaseException) -> BaseException:
    if isinstance(error, sqlite3.Error | OSError):
        return LedgerError(f"the ledger cannot be used: {error}")
    return error


# ---------------------------------------------------------------- all databases of the process

_databases: "weakref.WeakSet[SqliteDatabase]" = weakref.WeakSet()
_databases_lock = threading.Lock()
_lost: dict[tuple[int, int] | None, sqlite3.Connection] = {}
"""Connections whose log was removed during a commit, by file. Closing one would write its log over others' work."""
_paused: list[SqliteDatabase] = []
"""Databases that wait for the end of a fork."""


def _add(database: SqliteDatabase) -> None:
    with _databases_lock:
        _databases.add(database)


def _drop_lost() -> None:
    """Close all connections whose log was removed. As long as one is open, SQLite gives its shared memory to others."""
    with _databases_lock:
        databases = [*_databases]
    for database in databases:
        with database.working:
            if database.has_lost_log():
                database.disconnect()


def _before_fork() -> None:
    """Close all connections: in a child, SQLite would take the locks of its parent for its own."""
    _databases_lock.acquire()
    for database in [*_databases]:
        database.working.acquire()
        database.disconnect()
        _paused.append(database)


def _after_fork() -> None:
    while _paused:
        _paused.pop().working.release()
    _databases_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork)
