"""The file of a journal: created whole, checked before it is used, and locked by its runner."""

import logging
import os
import sqlite3
import stat
import sys
import weakref
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final
from uuid import uuid4

from roamify_async.errors import JournalError

from .journal_rows import COLUMNS, FLAGS, checksum

log: logging.Logger = logging.getLogger("roamify_async")

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
"""The statements that migrate each older version to the next."""
BUSY_TIMEOUT: Final = 5.0
"""Seconds for which a reader waits for a commit of the runner."""
RUNNER_TIMEOUT: Final = 60.0
"""Seconds for which the runner waits for readers, such as a query in another program that takes long."""
ADVICE: Final = "restore it from a backup, or look up what was bought with orders.list(); nothing was sent"
"""What to do about a damaged file."""


def identity(path: Path) -> tuple[int, int] | None:
    """Return what tells a file from another one at the same path."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino


def check_name(path: Path) -> None:
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


def check_owner(path: Path) -> None:
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


def create(path: Path) -> bool:
    """Create the journal, readable by its owner only, unless there is a file. Return whether it was created.

    It appears complete: after a crash there is either no file, or a journal.
    """
    if os.path.lexists(path):
        return False
    draft = path.with_name(f"{path.name}-new")
    draft.unlink(missing_ok=True)
    os.close(os.open(draft, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    connection = connect(draft)
    try:
        connection.executescript(f"PRAGMA journal_mode = OFF; {SCHEMA}")
        connection.execute("INSERT INTO facts VALUES ('id', ?)", (str(uuid4()),))
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {VERSION}")
    finally:
        connection.close()
    draft.rename(path)
    return True


def connect(path: Path, mode: str = "rw", *, timeout: float | None = None) -> sqlite3.Connection:
    """Open a file; unlike SQLite itself, never create one."""
    uri = f"{path.resolve().as_uri()}?mode={mode}"
    timeout = BUSY_TIMEOUT if timeout is None else timeout
    return sqlite3.connect(uri, uri=True, timeout=timeout, isolation_level=None, check_same_thread=False)


def open_reader(path: Path) -> sqlite3.Connection:
    """Open a journal for reading, even while it is run.

    A crash may have left a transaction half written. Then, if nobody runs the journal, it is rolled back first.
    """
    if not path.is_file():
        raise JournalError(f"there is no journal at {str(path)!r}")
    connection = connect(path, "ro")
    try:
        try:
            check(connection, path)
        except sqlite3.OperationalError:
            _roll_back(path)
            check(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _roll_back(path: Path) -> None:
    lock = RunnerLock(path)
    try:
        connection = connect(path)
        try:
            connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        finally:
            connection.close()
    finally:
        lock.release()


def check(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse what is not a journal; migrate one of an older version."""
    mark = connection.execute("PRAGMA application_id").fetchone()[0]
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if mark == APPLICATION_ID and version in MIGRATIONS:
        _migrate(path, version)
        version = VERSION
    if (mark, version) != (APPLICATION_ID, VERSION):
        raise JournalError(f"{str(path)!r} is not a journal of this version, or is damaged: use another file")


def _migrate(path: Path, version: int) -> None:
    """Lead an older file to the current version, in one transaction."""
    connection = connect(path)
    try:
        connection.execute("BEGIN EXCLUSIVE")
        while version in MIGRATIONS:
            for statement in MIGRATIONS[version]:
                connection.execute(statement)
            version += 1
        for row in connection.execute(f"SELECT {', '.join(COLUMNS)} FROM lines").fetchall():  # noqa: S608
            values = dict(zip(COLUMNS, row, strict=True))
            flags = {name: bool(values[name]) for name in FLAGS}
            new = checksum(tuple({**values, **flags}.values()))
            connection.execute("UPDATE lines SET checksum = ? WHERE position = ?", (new, row[0]))
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute("COMMIT")
    finally:
        connection.close()


@contextmanager
def journal_errors(path: Path) -> Generator[None, None, None]:
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
