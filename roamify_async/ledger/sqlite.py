"""A ledger in a SQLite file, for the processes of one machine.

The file uses a write-ahead log. The processes of one machine share memory anyway, a commit waits for the disk once,
and SQLite's locks are then on a file of their own, so that they survive a copy of the ledger within the process: any
``close`` of a file drops all POSIX locks of the process on it. On a file system without shared memory it is refused.

One thread of each process writes, and commits together what was submitted meanwhile.
"""

import os
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
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
IDLE: Final = 0.5
"""Seconds without work after which the thread ends."""


class SqliteLedger(SqlLedger):
    """A ledger in a SQLite file, which the processes of one machine share.

    Args:
        path: Path of the file, on a local disk. It is created readable by its owner only.
        limits: Limits that all processes share.
        lease: Seconds, after a process was killed, until another one may take over its purchases.
        timeout: Seconds to wait for the database.
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
        self._timeout = timeout
        self._changed = threading.Condition()
        self._queue: list[_Call[Any]] = []
        self._thread: threading.Thread | None = None
        self._is_closed = False
        self._connection: sqlite3.Connection | None = None
        self._identity: tuple[int, int] | None = None

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
        self._disconnect()

    def __del__(self) -> None:
        """Close the connection."""
        self._disconnect()

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
            connection = self._connection or self._connect()
            self._check_identity()
            connection.execute("BEGIN IMMEDIATE")
            try:
                for call in batch:
                    call.run(_Session(connection))
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise
        except BaseException as error:  # noqa: BLE001 -- raised where it is awaited
            if isinstance(error, LedgerError | sqlite3.DatabaseError):
                self._disconnect()
            for call in batch:
                call.finish(error)
        else:
            for call in batch:
                call.finish()

    # ---------------------------------------------------------------- connecting

    def _connect(self) -> sqlite3.Connection:
        """Open the file, which is created if there is none, and bring its tables to this version."""
        file = os.open(self._path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o600)
        os.close(file)
        connection = sqlite3.connect(
            self._path, timeout=self._timeout, isolation_level=None, check_same_thread=False
        )  # fmt: skip
        try:
            self._identity = _identity(self._path)
            self._check(connection)
            self._use_log(connection)
            connection.execute("PRAGMA synchronous = FULL")
            if version_of(_Session(connection)) < VERSION:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
                migrate(_Session(connection))
                connection.execute("COMMIT")
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
        if _identity(self._path) != self._identity:
            raise LedgerError(f"{str(self._path)!r} was moved, replaced or removed: nothing is sent without it")

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

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()


def _identity(path: Path) -> tuple[int, int] | None:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def _to_ledger_error(error: BaseException) -> BaseException:
    if isinstance(error, sqlite3.Error | OSError):
        return LedgerError(f"the ledger cannot be used: {error}")
    return error
