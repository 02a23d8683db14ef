"""What the sandbox remembers: balance, orders and eSIMs, in SQLite, each change one transaction."""

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from .clock import Clock
from .database import Database
from .records import Esim, Happening, Item, Kind, Late, Order, Usage, iccid_of

SHOWN: Final = "NOT IN (SELECT order_id FROM hidden WHERE visible_at > ?)"
_EVENTS_OF: Final = {"INSTALLED": ("DOWNLOADED", "INSTALLED"), "REVOKED": ("DELETED",), "EXPIRED": ("INACTIVE",)}

STATUSES: Final = ("READY", "INSTALLED", "REVOKED", "EXPIRED")
"""Where an applied eSIM can be moved to."""


class TooPoorError(Exception):
    """Raised when the balance does not cover an order; nothing was booked."""


class DuplicateError(Exception):
    """Raised when the referenceId is taken and that is not accepted; nothing was booked."""


class Store:
    """The account of one partner; used by one thread at a time."""

    def __init__(self, path: Path | None, clock: Clock, *, catalogue: str, balance: int) -> None:
        """Open the file, or memory; a file keeps to the catalogue it was first opened with."""
        self._clock = clock
        self.db: Database = Database(path, catalogue=catalogue, balance=balance)
        self._opening = balance
        self._as_of: float | None = None
        self._wind()

    def close(self) -> None:
        """Close the file; what was committed stays."""
        self.db.close()

    def reset(self) -> None:
        """Forget every order and eSIM and what was to be done late, and restore the balance and the time."""
        self.db.empty(self._opening)
        self._wind()

    def rehearsal(self) -> AbstractContextManager[None]:
        """Keep nothing of what the block changes."""
        return self.db.rehearsal()

    def postpone(self, request: str, seconds: float) -> None:
        """Remember a request that is to be carried out some seconds later."""
        self.db.execute("INSERT INTO late (due, request) VALUES (?, ?)", (self._clock.now() + seconds, request))

    def due(self) -> Late | None:
        """Find what was to be done by now and is not done, the earliest first."""
        found = self.db.execute("SELECT n, due, request FROM late WHERE due <= ? ORDER BY due, n", (self._clock.now(),))
        row = found.fetchone()
        return Late(*row) if row else None

    @contextmanager
    def doing(self, late: Late) -> Generator[None, None, None]:
        """Do in the block what was to be done late, as of its time; it is done and forgotten, or neither."""
        with self.at(late.due), self.db.transaction():
            self.db.execute("DELETE FROM late WHERE n = ?", (late.n,))
            yield

    @contextmanager
    def at(self, moment: float) -> Generator[None, None, None]:
        """Let what the block does be done at that moment."""
        before, self._as_of = self._as_of, moment
        try:
            yield
        finally:
            self._as_of = before

    def now(self) -> float:
        """Tell the time: what is done late happens at the time it was due."""
        return self._clock.now() if self._as_of is None else self._as_of

    @contextmanager
    def advance(self, seconds: float) -> Generator[float, None, None]:
        """Move the clock forward; the block does what time brings since the moment it is given: all of it, or none."""
        since = float(self.db.one("SELECT lived FROM clock"))
        self._clock.ahead += seconds
        try:
            with self.db.transaction():
                yield since
                self.db.execute("UPDATE clock SET ahead = ?, lived = ?", (self._clock.ahead, self.now()))
        except BaseException:
            self._clock.ahead -= seconds
            raise

    @property
    def ahead(self) -> float:
        """How many seconds the clock was moved ahead."""
        return self._clock.ahead

    def balance(self) -> int:
        """Count the cents left."""
        return int(self.db.one("SELECT balance FROM account"))

    def credit(self, amount: int) -> None:
        """Add cents to the balance."""
        self.db.execute("UPDATE account SET balance = balance + ?", (amount,))

    def book(
        self,
        kind: Kind,
        reference_id: str,
        lines: Sequence[tuple[str, int]],
        *,
        esim_id: str = "",
        unique: bool = False,
        ready_in: float = 0.0,
        hidden_for: float = 0.0,
    ) -> Order:
        """Book an order of packages at prices, one eSIM or policy for each unless they go to the eSIM named.

        All or nothing; policies are not made here, only their ids.
        """
        now, total = int(self.now()), sum(price for _, price in lines)
        items = [Item(esim_id or str(uuid4()), package_id, price, now) for package_id, price in lines]
        order = Order(str(uuid4()), reference_id, kind, total, now, items)
        with self.db.transaction():
            insurance = kind == "insurance"
            if unique and reference_id and self.orders(reference_id=reference_id, insurance=insurance, hidden=True):
                raise DuplicateError
            if total > self.balance():
                raise TooPoorError
            self._insert(order, new_esims=kind not in {"topup", "insurance"})
            if hidden_for:
                self.db.execute("INSERT INTO hidden VALUES (?, ?)", (order.id, self._clock.now() + hidden_for))
            if kind == "instant":
                self._apply([item.esim_id for item in items], ready_in=ready_in)
        return order

    def orders(
        self,
        *,
        id: str | None = None,
        reference_id: str | None = None,
        insurance: bool = False,
        limit: int = -1,
        hidden: bool = False,
    ) -> list[Order]:
        """List orders, those of eSIMs or of insurance, newest first, with or without those that are hidden."""
        named = {"id": id, "reference_id": reference_id}
        where = "".join(f" AND {column} = ?" for column, value in named.items() if value is not None)
        rows = self.db.execute(
            "SELECT id, reference_id, kind, total, created_at FROM orders"  # noqa: S608 - columns of this module
            f" WHERE id {SHOWN} AND (kind = 'insurance') = ?{where} ORDER BY n DESC LIMIT ?",
            (self.until(hidden), insurance, *(value for value in named.values() if value is not None), limit),
        )
        return [
            Order(id, reference, kind, total, created_at, self._items("order_id", id, hidden=hidden))
            for id, reference, kind, total, created_at in rows.fetchall()
        ]

    def history(self, esim_id: str, *, hidden: bool = False) -> list[Item]:
        """List what was bought for an eSIM, oldest first."""
        return self._items("esim_id", esim_id, hidden=hidden)

    def esim(self, *, id: str | None = None, iccid: str | None = None, hidden: bool = False) -> Esim | None:
        """Find an eSIM by one of its names; nobody knows the ICCID of a profile that is still being made."""
        column, value = ("id", id) if id is not None else ("iccid", iccid)
        found = next(self._esims(column, value, hidden=hidden), None)
        return found if found and (id is not None or found.iccid) else None

    def esims(
        self, *, reference_id: str | None = None, order_id: str | None = None, hidden: bool = False
    ) -> Iterator[Esim]:
        """Go through eSIMs, newest first, with or without those of hidden orders."""
        column, value = ("order_id", order_id) if order_id is not None else ("reference_id", reference_id)
        return self._esims(column, value, hidden=hidden)

    def apply(self, esims: Sequence[Esim], start_date: str = "", ready_in: float = 0.0) -> None:
        """Make the profiles of new eSIMs, ready after some seconds; the others stay as they are."""
        with self.db.transaction():
            self._apply([esim.id for esim in esims if esim.status == "NEW" and not esim.pending], start_date, ready_in)

    def move(self, esim: Esim, status: str, megabytes: int) -> None:
        """Move an applied eSIM to a status and let it use data today."""
        now = int(self.now())
        with self.db.transaction():
            first_use = megabytes and not self.usages(esim.id)
            if status != esim.status:
                self._record(esim.id, *_EVENTS_OF.get(status, ()), at=now)
            if first_use:
                self._record(esim.id, "ACTIVATED", at=now)
            if megabytes:
                self.use(esim.id, megabytes)
            self.db.execute(
                "UPDATE esims SET status = ?1, updated_at = ?2,"
                " started_at = CASE WHEN started_at = 0 AND ?1 = 'INSTALLED' THEN ?2 ELSE started_at END WHERE id = ?3",
                (status, now, esim.id),
            )

    def use(self, esim_id: str, megabytes: int) -> None:
        """Let an eSIM use data today."""
        self.db.execute(
            "INSERT INTO usages VALUES (?, ?, ?)"
            " ON CONFLICT (esim_id, date) DO UPDATE SET megabytes = megabytes + excluded.megabytes",
            (esim_id, time.strftime("%Y%m%d", time.gmtime(self.now())), megabytes),
        )

    def usages(self, esim_id: str) -> list[Usage]:
        """List what an eSIM used, day by day."""
        rows = self.db.execute("SELECT date, megabytes FROM usages WHERE esim_id = ? ORDER BY date", (esim_id,))
        return [Usage(*row) for row in rows]

    def events(self, esim_id: str) -> list[Happening]:
        """List the life of an eSIM, oldest first."""
        rows = self.db.execute("SELECT status, at FROM events WHERE esim_id = ? ORDER BY n", (esim_id,))
        return [Happening(*row) for row in rows]

    def _wind(self) -> None:
        self._clock.ahead = 0.0
        self.db.execute("INSERT OR IGNORE INTO clock VALUES (1, 0, ?)", (self._clock.now(),))
        self._clock.ahead = float(self.db.one("SELECT ahead FROM clock"))

    def _insert(self, order: Order, *, new_esims: bool) -> None:
        self.db.execute("UPDATE account SET balance = balance - ?", (order.total,))
        self.db.execute(
            "INSERT INTO orders (id, reference_id, kind, total, created_at) VALUES (?, ?, ?, ?, ?)",
            (order.id, order.reference_id, order.kind, order.total, order.created_at),
        )
        for item in order.items:
            self.db.execute(
                "INSERT INTO items (order_id, esim_id, package_id, price, created_at) VALUES (?, ?, ?, ?, ?)",
                (order.id, item.esim_id, item.package_id, item.price, item.created_at),
            )
            if new_esims:
                self.db.execute(
                    "INSERT INTO esims (id, order_id, reference_id, package_id, iccid, status, ready_at, start_date,"
                    " created_at, updated_at, started_at) VALUES (?1, ?2, ?3, ?4, '', 'NEW', 0, '', ?5, ?5, 0)",
                    (item.esim_id, order.id, order.reference_id, item.package_id, item.created_at),
                )
                self._record(item.esim_id, "NEW", at=item.created_at)

    def _apply(self, ids: Sequence[str], start_date: str = "", ready_in: float = 0.0) -> None:
        now = self.now()
        self.db.executemany(
            "UPDATE esims SET iccid = ?, status = 'READY', ready_at = ?, start_date = ?, updated_at = ? WHERE id = ?",
            [(iccid_of(id), now + ready_in if ready_in else 0, start_date, int(now), id) for id in ids],
        )

    def _record(self, esim_id: str, *statuses: str, at: int) -> None:
        self.db.executemany(
            "INSERT INTO events (esim_id, status, at) VALUES (?, ?, ?)", [(esim_id, status, at) for status in statuses]
        )

    def _items(self, column: str, value: str, *, hidden: bool) -> list[Item]:
        rows = self.db.execute(
            "SELECT esim_id, package_id, price, created_at FROM items"  # noqa: S608
            f" WHERE order_id {SHOWN} AND {column} = ? ORDER BY n",
            (self.until(hidden), value),
        )
        return [Item(*row) for row in rows]

    def _esims(self, column: str, value: str | None, *, hidden: bool) -> Iterator[Esim]:
        where = f" AND {column} = ?" if value is not None else ""
        rows = self.db.execute(
            "SELECT id, order_id, reference_id, package_id, iccid, status, ready_at, start_date, created_at,"  # noqa: S608
            f" updated_at, started_at FROM esims WHERE order_id {SHOWN}{where} ORDER BY n DESC",
            (self.until(hidden), value) if value is not None else (self.until(hidden),),
        )
        return map(self._esim, rows)

    def _esim(self, row: tuple[Any, ...]) -> Esim:
        id, order_id, reference_id, package_id, iccid, status, ready_at, *rest = row
        pending = ready_at > self._clock.now()
        iccid, status = ("", "NEW") if pending else (iccid, status)
        return Esim(id, order_id, reference_id, package_id, iccid, status, pending, *rest)

    def until(self, hidden: bool) -> float:  # noqa: FBT001
        """Give the time up to which what is hidden is looked at all the same."""
        return math.inf if hidden else self._clock.now()
