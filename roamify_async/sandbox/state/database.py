"""The SQLite database of a sandbox, in a file or in memory: its schema and its transactions."""

import sqlite3
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS account (one INTEGER PRIMARY KEY CHECK (one = 1), balance INTEGER, catalogue TEXT);
CREATE TABLE IF NOT EXISTS clock (one INTEGER PRIMARY KEY CHECK (one = 1), ahead REAL, simulated REAL);
CREATE TABLE IF NOT EXISTS orders (
    n INTEGER PRIMARY KEY, id TEXT UNIQUE, reference_id TEXT, requested_reference_id TEXT, kind TEXT, total INTEGER,
    status TEXT, created_at INTEGER, booked_at REAL, completes_at REAL);
CREATE TABLE IF NOT EXISTS items (
    n INTEGER PRIMARY KEY, order_id TEXT, esim_id TEXT, package_id TEXT, price INTEGER, created_at INTEGER);
CREATE TABLE IF NOT EXISTS esims (
    n INTEGER PRIMARY KEY, id TEXT UNIQUE, order_id TEXT, reference_id TEXT, package_id TEXT, iccid TEXT, status TEXT,
    ready_at REAL, start_date TEXT, created_at INTEGER, updated_at INTEGER, started_at INTEGER);
CREATE TABLE IF NOT EXISTS events (n INTEGER PRIMARY KEY, esim_id TEXT, status TEXT, at INTEGER);
CREATE TABLE IF NOT EXISTS usages (esim_id TEXT, date TEXT, megabytes INTEGER, PRIMARY KEY (esim_id, date));
CREATE TABLE IF NOT EXISTS hidden (order_id TEXT PRIMARY KEY, visible_at REAL);
CREATE TABLE IF NOT EXISTS delayed (n INTEGER PRIMARY KEY, due REAL, request TEXT);
CREATE TABLE IF NOT EXISTS vouchers (
    n INTEGER PRIMARY KEY, id TEXT UNIQUE, code TEXT UNIQUE, status TEXT, reference_id TEXT,
    requested_reference_id TEXT, package_id TEXT, price INTEGER, esim_id TEXT, order_id TEXT, notes TEXT,
    redeemed_at INTEGER, created_at INTEGER, updated_at INTEGER);
CREATE TABLE IF NOT EXISTS policies (
    n INTEGER PRIMARY KEY, id TEXT UNIQUE, order_id TEXT, package_id TEXT, start_date TEXT, end_date TEXT,
    insurer_name TEXT, issued_at REAL, created_at INTEGER, updated_at INTEGER);
CREATE TABLE IF NOT EXISTS refunds (
    n INTEGER PRIMARY KEY, id TEXT UNIQUE, esim_id TEXT, amount INTEGER, status TEXT, reason TEXT,
    rejection_reason TEXT, created_at INTEGER, updated_at INTEGER);
CREATE TABLE IF NOT EXISTS links (
    n INTEGER PRIMARY KEY, esim_id TEXT, key TEXT UNIQUE, access_code TEXT, created_at INTEGER);
CREATE TABLE IF NOT EXISTS destinations (n INTEGER PRIMARY KEY, name TEXT, packages INTEGER, position INTEGER);
CREATE TABLE IF NOT EXISTS messages (n INTEGER PRIMARY KEY, esim_id TEXT, text TEXT, at INTEGER);
CREATE INDEX IF NOT EXISTS orders_reference ON orders (reference_id);
CREATE INDEX IF NOT EXISTS orders_booked ON orders (booked_at);
CREATE INDEX IF NOT EXISTS orders_completes ON orders (completes_at);
CREATE INDEX IF NOT EXISTS items_order ON items (order_id);
CREATE INDEX IF NOT EXISTS items_esim ON items (esim_id);
CREATE INDEX IF NOT EXISTS esims_order ON esims (order_id);
CREATE INDEX IF NOT EXISTS esims_iccid ON esims (iccid);
CREATE INDEX IF NOT EXISTS events_esim ON events (esim_id);
CREATE INDEX IF NOT EXISTS vouchers_reference ON vouchers (reference_id);
CREATE INDEX IF NOT EXISTS policies_order ON policies (order_id);
CREATE INDEX IF NOT EXISTS refunds_esim ON refunds (esim_id);
CREATE INDEX IF NOT EXISTS links_esim ON links (esim_id);
"""
_VERSION: Final = 2  # of the schema; 0 is a new file
_CLEARED: Final = (
    "clock", "orders", "items", "esims", "events", "usages", "hidden", "delayed", "vouchers", "policies", "refunds",
    "links", "messages", "destinations",
)  # fmt: skip


class Database:
    """One connection, for use by one thread at a time."""

    def __init__(self, path: Path | None, *, catalogue: str, balance: int) -> None:
        """Open a file, or a database in memory for None.

        Raises ValueError if the file was created with another catalogue, or by another version of the sandbox.
        """
        self._connection = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        try:
            self._prepare(path, catalogue, balance)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def clear(self, balance: int) -> None:
        """Delete everything but the name of the catalogue, and set the balance."""
        with self.transaction():
            for table in _CLEARED:
                self.execute(f"DELETE FROM {table}")  # noqa: S608 - names of this module
            self.execute("UPDATE account SET balance = ?", (balance,))

    def execute(self, query: str, values: Sequence[object] | Mapping[str, object] = ()) -> sqlite3.Cursor:
        """Execute one statement with the values of its `?` placeholders, or of its `:name` placeholders."""
        return self._connection.execute(query, values)

    def executemany(self, query: str, values: Iterable[Sequence[object]]) -> None:
        """Execute one statement for each row of values."""
        self._connection.executemany(query, values)

    def scalar(self, query: str) -> Any:  # a value of SQLite is of any type
        """Return the single value of a query."""
        return self.execute(query).fetchone()[0]

    @contextmanager
    def transaction(self) -> Generator[None, None, None]:
        """Commit the changes of the block, or roll them back if it raises; nested blocks are savepoints."""
        nested = self._connection.in_transaction
        self.execute("SAVEPOINT nested" if nested else "BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self.execute("ROLLBACK TO nested" if nested else "ROLLBACK")
            if nested:
                # Otherwise a rollback of the outer block would end at this savepoint.
                self.execute("RELEASE nested")
            raise
        self.execute("RELEASE nested" if nested else "COMMIT")

    @contextmanager
    def dry_run(self) -> Generator[None, None, None]:
        """Roll back all changes of the block."""
        self.execute("BEGIN IMMEDIATE")
        try:
            yield
        finally:
            self.execute("ROLLBACK")

    def _prepare(self, path: Path | None, catalogue: str, balance: int) -> None:
        if path is not None:
            self.execute("PRAGMA journal_mode = WAL")
            self.execute("PRAGMA synchronous = NORMAL")
        tables = self.scalar("SELECT count(*) FROM sqlite_master")
        if tables and self.scalar("PRAGMA user_version") != _VERSION:
            raise ValueError(f"db {path} was created by another version of the sandbox: delete it, or use another file")
        self._connection.executescript(_SCHEMA)
        self.execute(f"PRAGMA user_version = {_VERSION}")
        self.execute("INSERT OR IGNORE INTO account VALUES (1, ?, ?)", (balance, catalogue))
        stored = str(self.scalar("SELECT catalogue FROM account"))
        if stored != catalogue:
            raise ValueError(f"db {path} was created with {stored}, not {catalogue}")
