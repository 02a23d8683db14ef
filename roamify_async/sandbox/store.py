"""What the sandbox remembers: balance, orders and eSIMs, in SQLite, each change one transaction."""

import sqlite3
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from .records import Esim, Happening, Item, Kind, Order, Usage, iccid_of

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS account (one INTEGER PRIMARY KEY CHECK (one = 1), balance INTEGER, catalogue TEXT);
CREATE TABLE IF NOT EXISTS orders (
    n INTEGER PRIMARY KEY, id TEXT UNIQUE, reference_id TEXT, kind TEXT, total INTEGER, created_at INTEGER);
CREATE TABLE IF NOT EXISTS items (
    n INTEGER PRIMARY KEY, order_id TEXT, esim_id TEXT, package_id TEXT, price INTEGER, created_at INTEGER);
CREATE TABLE IF NOT EXISTS esims (
    n INTEGER PRIMARY KEY, id TEXT UNIQUE, order_id TEXT, reference_id TEXT, package_id TEXT, iccid TEXT, status TEXT,
    ready_at REAL, start_date TEXT, created_at INTEGER, updated_at INTEGER, started_at INTEGER);
CREATE TABLE IF NOT EXISTS events (n INTEGER PRIMARY KEY, esim_id TEXT, status TEXT, at INTEGER);
CREATE TABLE IF NOT EXISTS usages (esim_id TEXT, date TEXT, megabytes INTEGER, PRIMARY KEY (esim_id, date));
CREATE INDEX IF NOT EXISTS orders_reference ON orders (reference_id);
CREATE INDEX IF NOT EXISTS items_order ON items (order_id);
CREATE INDEX IF NOT EXISTS items_esim ON items (esim_id);
CREATE INDEX IF NOT EXISTS esims_order ON esims (order_id);
CREATE INDEX IF NOT EXISTS esims_iccid ON esims (iccid);
CREATE INDEX IF NOT EXISTS events_esim ON events (esim_id);
"""
_EVENTS_OF: Final = {"INSTALLED": ("DOWNLOADED", "INSTALLED"), "REVOKED": ("DELETED",), "EXPIRED": ("INACTIVE",)}

STATUSES: Final = ("READY", "INSTALLED", "REVOKED", "EXPIRED")
"""Where an applied eSIM can be moved to."""


class TooPoorError(Exception):
    """Raised when the balance does not cover an order; nothing was booked."""


class DuplicateError(Exception):
    """Raised when the referenceId is taken and that is not accepted; nothing was booked."""


class Store:
    """The account of one partner; used by one thread at a time."""

    def __init__(self, path: Path | None, *, catalogue: str, balance: int) -> None:
        """Open the file, or memory; a file keeps to the catalogue it was first opened with."""
        self._db = sqlite3.connect(path or ":memory:", isolation_level=None, check_same_thread=False)
        self._opening = balance
        try:
            self._prepare(path, catalogue)
        except BaseException:
            self._db.close()
            raise

    def close(self) -> None:
        """Close the file; what was committed stays."""
        self._db.close()

    def reset(self) -> None:
        """Forget every order and eSIM, and restore the balance."""
        with self._transaction():
            for table in ("orders", "items", "esims", "events", "usages"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 - names of this module
            self._db.execute("UPDATE account SET balance = ?", (self._opening,))

    def balance(self) -> int:
        """Count the cents left."""
        return int(self._one("SELECT balance FROM account"))

    def book(
        self,
        kind: Kind,
        reference_id: str,
        lines: Sequence[tuple[str, int]],
        *,
        esim_id: str = "",
        unique: bool = False,
        ready_in: float = 0.0,
    ) -> Order:
        """Book an order of packages at prices, one eSIM for each unless they go to the one named: all or nothing."""
        now, total = int(time.time()), sum(price for _, price in lines)
        items = [Item(esim_id or str(uuid4()), package_id, price, now) for package_id, price in lines]
        order = Order(str(uuid4()), reference_id, kind, total, now, items)
        with self._transaction():
            if unique and reference_id and self.orders(reference_id=reference_id):
                raise DuplicateError
            if total > self.balance():
                raise TooPoorError
            self._insert(order, new_esims=not esim_id)
            if kind == "instant":
                self._apply([item.esim_id for item in items], ready_in=ready_in)
        return order

    def orders(self, *, id: str | None = None, reference_id: str | None = None, limit: int = -1) -> list[Order]:
        """List orders, newest first."""
        named = {"id": id, "reference_id": reference_id}
        where = " AND ".join(f"{column} = ?" for column, value in named.items() if value is not None) or "TRUE"
        rows = self._db.execute(
            "SELECT id, reference_id, kind, total, created_at FROM orders"  # noqa: S608 - columns of this module
            f" WHERE {where} ORDER BY n DESC LIMIT ?",
            (*(value for value in named.values() if value is not None), limit),
        )
        return [
            Order(id, reference, kind, total, created_at, self._items("order_id", id))
            for id, reference, kind, total, created_at in rows.fetchall()
        ]

    def history(self, esim_id: str) -> list[Item]:
        """List what was bought for an eSIM, oldest first."""
        return self._items("esim_id", esim_id)

    def esim(self, *, id: str | None = None, iccid: str | None = None) -> Esim | None:
        """Find an eSIM by one of its names; nobody knows the ICCID of a profile that is still being made."""
        found = next(self._esims("id", id) if id is not None else self._esims("iccid", iccid), None)
        return found if found and (id is not None or found.iccid) else None

    def esims(self, *, reference_id: str | None = None, order_id: str | None = None) -> Iterator[Esim]:
        """Go through eSIMs, newest first."""
        if order_id is not None:
            return self._esims("order_id", order_id)
        return self._esims("reference_id", reference_id)

    def apply(self, esims: Sequence[Esim], start_date: str = "", ready_in: float = 0.0) -> None:
        """Make the profiles of new eSIMs, ready after some seconds; the others stay as they are."""
        with self._transaction():
            self._apply([esim.id for esim in esims if esim.status == "NEW" and not esim.pending], start_date, ready_in)

    def move(self, esim: Esim, status: str, megabytes: int) -> None:
        """Move an applied eSIM to a status and let it use data today."""
        now = int(time.time())
        with self._transaction():
            first_use = megabytes and not self.usages(esim.id)
            if status != esim.status:
                self._record(esim.id, *_EVENTS_OF.get(status, ()), at=now)
            if first_use:
                self._record(esim.id, "ACTIVATED", at=now)
            if megabytes:
                self._use(esim.id, megabytes, time.strftime("%Y%m%d", time.gmtime(now)))
            self._db.execute(
                "UPDATE esims SET status = ?1, updated_at = ?2,"
                " started_at = CASE WHEN started_at = 0 AND ?1 = 'INSTALLED' THEN ?2 ELSE started_at END WHERE id = ?3",
                (status, now, esim.id),
            )

    def usages(self, esim_id: str) -> list[Usage]:
        """List what an eSIM used, day by day."""
        rows = self._db.execute("SELECT date, megabytes FROM usages WHERE esim_id = ? ORDER BY date", (esim_id,))
        return [Usage(*row) for row in rows]

    def events(self, esim_id: str) -> list[Happening]:
        """List the life of an eSIM, oldest first."""
        rows = self._db.execute("SELECT status, at FROM events WHERE esim_id = ? ORDER BY n", (esim_id,))
        return [Happening(*row) for row in rows]

    def _prepare(self, path: Path | None, catalogue: str) -> None:
        if path is not None:
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("PRAGMA synchronous = NORMAL")
        self._db.executescript(_TABLES)
        self._db.execute("INSERT OR IGNORE INTO account VALUES (1, ?, ?)", (self._opening, catalogue))
        kept = str(self._one("SELECT catalogue FROM account"))
        if kept != catalogue:
            raise ValueError(f"db {path} belongs to a sandbox with {kept}, not {catalogue}")

    def _insert(self, order: Order, *, new_esims: bool) -> None:
        self._db.execute("UPDATE account SET balance = balance - ?", (order.total,))
        self._db.execute(
            "INSERT INTO orders (id, reference_id, kind, total, created_at) VALUES (?, ?, ?, ?, ?)",
            (order.id, order.reference_id, order.kind, order.total, order.created_at),
        )
        for item in order.items:
            self._db.execute(
                "INSERT INTO items (order_id, esim_id, package_id, price, created_at) VALUES (?, ?, ?, ?, ?)",
                (order.id, item.esim_id, item.package_id, item.price, item.created_at),
            )
            if new_esims:
                self._db.execute(
                    "INSERT INTO esims (id, order_id, reference_id, package_id, iccid, status, ready_at, start_date,"
                    " created_at, updated_at, started_at) VALUES (?1, ?2, ?3, ?4, '', 'NEW', 0, '', ?5, ?5, 0)",
                    (item.esim_id, order.id, order.reference_id, item.package_id, item.created_at),
                )
                self._record(item.esim_id, "NEW", at=item.created_at)

    def _apply(self, ids: Sequence[str], start_date: str = "", ready_in: float = 0.0) -> None:
        now = time.time()
        self._db.executemany(
            "UPDATE esims SET iccid = ?, status = 'READY', ready_at = ?, start_date = ?, updated_at = ? WHERE id = ?",
            [(iccid_of(id), now + ready_in if ready_in else 0, start_date, int(now), id) for id in ids],
        )

    def _record(self, esim_id: str, *statuses: str, at: int) -> None:
        self._db.executemany(
            "INSERT INTO events (esim_id, status, at) VALUES (?, ?, ?)", [(esim_id, status, at) for status in statuses]
        )

    def _use(self, esim_id: str, megabytes: int, date: str) -> None:
        self._db.execute(
            "INSERT INTO usages VALUES (?, ?, ?)"
            " ON CONFLICT (esim_id, date) DO UPDATE SET megabytes = megabytes + excluded.megabytes",
            (esim_id, date, megabytes),
        )

    def _items(self, column: str, value: str) -> list[Item]:
        rows = self._db.execute(
            f"SELECT esim_id, package_id, price, created_at FROM items WHERE {column} = ? ORDER BY n",  # noqa: S608
            (value,),
        )
        return [Item(*row) for row in rows]

    def _esims(self, column: str, value: str | None) -> Iterator[Esim]:
        where = f" WHERE {column} = ?" if value is not None else ""
        rows = self._db.execute(
            "SELECT id, order_id, reference_id, package_id, iccid, status, ready_at, start_date, created_at,"  # noqa: S608
            f" updated_at, started_at FROM esims{where} ORDER BY n DESC",
            (value,) if value is not None else (),
        )
        return map(_esim, rows)

    def _one(self, query: str) -> Any:  # a cell of SQLite is of any type
        return self._db.execute(query).fetchone()[0]

    @contextmanager
    def _transaction(self) -> Generator[None, None, None]:
        self._db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        self._db.execute("COMMIT")


def _esim(row: tuple[Any, ...]) -> Esim:
    id, order_id, reference_id, package_id, iccid, status, ready_at, *rest = row
    pending = ready_at > time.time()
    return Esim(
        id, order_id, reference_id, package_id, "" if pending else iccid, "NEW" if pending else status, pending, *rest
    )
