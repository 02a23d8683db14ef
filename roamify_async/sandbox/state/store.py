"""Balance, orders and eSIMs in SQLite; each change is one transaction."""

import math
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, Final
from uuid import uuid4

from attrs import evolve

from .clock import Clock
from .database import Database
from .records import FAILURES, DelayedRequest, Esim, EsimEvent, Item, Kind, Order, OrderStatus, Usage, iccid_of

_HIDDEN: Final = (
    "SELECT order_id FROM hidden WHERE visible_at > :seen_at"
    " UNION ALL SELECT id FROM orders WHERE booked_at > :booked_by"
)
_VISIBLE: Final = f"NOT IN ({_HIDDEN})"
DELIVERED: Final = f"NOT IN ({_HIDDEN} UNION ALL SELECT id FROM orders WHERE completes_at > :seen_at)"  # noqa: S608
"""The condition for an order id whose contents are visible; its parameters are `Store.visibility()`."""

_STATUS: Final = "CASE WHEN status = 'PENDING' AND completes_at <= :now THEN 'COMPLETED' ELSE status END"
_NO_FAILED_TOP_UP: Final = (
    f"NOT EXISTS (SELECT * FROM orders WHERE orders.id = items.order_id AND kind = 'topup' AND status IN {FAILURES})"  # noqa: S608
)
_UPDATED_AT: Final = "CASE WHEN completes_at BETWEEN 1 AND :now THEN CAST(completes_at AS INTEGER) ELSE created_at END"
_EVENTS_OF: Final = {"INSTALLED": ("DOWNLOADED", "INSTALLED"), "REVOKED": ("DELETED",), "EXPIRED": ("INACTIVE",)}

STATUSES: Final = ("READY", "INSTALLED", "REVOKED", "EXPIRED")
"""The statuses that an applied eSIM can be moved to."""


class InsufficientBalanceError(Exception):
    """The balance does not cover the order; nothing was booked."""


class DuplicateReferenceError(Exception):
    """The referenceId is used already and must be unique; nothing was booked."""


class Store:
    """The account of one partner, for use by one thread at a time."""

    def __init__(self, path: Path | None, clock: Clock, *, catalogue: str, balance: int) -> None:
        """Open a file, or a database in memory for None; raises ValueError if the file has another catalogue."""
        self._clock = clock
        self.db: Database = Database(path, catalogue=catalogue, balance=balance)
        self._as_of: float | None = None
        self._lag = 0.0
        self._restore_clock()

    def close(self) -> None:
        """Close the database."""
        self.db.close()

    def reset(self, balance: int) -> None:
        """Delete all orders, eSIMs and delayed requests, restore the time, and set the balance in cents."""
        self.db.clear(balance)
        self._restore_clock()

    def dry_run(self) -> AbstractContextManager[None]:
        """Roll back all changes of the block."""
        return self.db.dry_run()

    def delay(self, request: str, seconds: float) -> None:
        """Store a request that is carried out this many seconds later."""
        self.db.execute("INSERT INTO delayed (due, request) VALUES (?, ?)", (self._clock.now() + seconds, request))

    def due(self) -> DelayedRequest | None:
        """Return the earliest delayed request that is due."""
        found = self.db.execute(
            "SELECT n, due, request FROM delayed WHERE due <= ? ORDER BY due, n", (self._clock.now(),)
        )
        row = found.fetchone()
        return DelayedRequest(*row) if row else None

    @contextmanager
    def carry_out(self, late: DelayedRequest) -> Generator[None, None, None]:
        """Run the block as of the time the request was due, and delete the request in the same transaction."""
        with self.at(late.due), self.db.transaction():
            self.db.execute("DELETE FROM delayed WHERE n = ?", (late.n,))
            yield

    @contextmanager
    def at(self, moment: float) -> Generator[None, None, None]:
        """Run the block as of this time."""
        before, self._as_of = self._as_of, moment
        try:
            yield
        finally:
            self._as_of = before

    def now(self) -> float:
        """Return the Unix time, which for a delayed request is the time it was due."""
        return self._clock.now() if self._as_of is None else self._as_of

    @contextmanager
    def advance(self, seconds: float) -> Generator[float, None, None]:
        """Advance the clock and run the block in one transaction; yields the time up to which eSIMs were simulated."""
        since = float(self.db.scalar("SELECT simulated FROM clock"))
        self._clock.ahead += seconds
        try:
            with self.db.transaction():
                yield since
                self.db.execute("UPDATE clock SET ahead = ?, simulated = ?", (self._clock.ahead, self.now()))
        except BaseException:
            self._clock.ahead -= seconds
            raise

    @property
    def ahead(self) -> float:
        """How many seconds the clock is ahead of the system time."""
        return self._clock.ahead

    def balance(self) -> int:
        """Return the balance in cents."""
        return int(self.db.scalar("SELECT balance FROM account"))

    def credit(self, amount: int) -> None:
        """Add an amount in cents to the balance."""
        self.db.execute("UPDATE account SET balance = balance + ?", (amount,))

    def book(
        self,
        kind: Kind,
        reference_id: str,
        lines: Sequence[tuple[str, int]],
        *,
        esim_id: str = "",
        requested_reference_id: str = "",
        unique: bool = False,
        ready_in: float = 0.0,
        hidden_for: float = 0.0,
        status: OrderStatus = "COMPLETED",
        completes_in: float = 0.0,
        credit_failures: bool = True,
    ) -> Order:
        """Book an order in one transaction and return it.

        *lines* are package ids and prices in cents. Each line creates an eSIM, unless *esim_id* names an existing one;
        for insurance only the ids of the policies are created here. *requested_reference_id* is the reference of the
        request if the server changed it. A PENDING order is completed after *completes_in* seconds; the eSIMs of a
        failed one are revoked, and its price is credited if *credit_failures* is true.
        """
        now, total = self.now(), sum(price for _, price in lines)
        items = [Item(esim_id or str(uuid4()), package_id, price, int(now)) for package_id, price in lines]
        requested = requested_reference_id or reference_id
        order = Order(str(uuid4()), reference_id, requested, kind, total, status, int(now), int(now), items)
        with self.db.transaction():
            insurance = kind == "insurance"
            if unique and reference_id and self.orders(reference_id=reference_id, insurance=insurance, hidden=True):
                raise DuplicateReferenceError
            if total > self.balance():
                raise InsufficientBalanceError
            completes_at = now + completes_in if status == "PENDING" else 0.0
            self._insert(order, now, completes_at, new_esims=kind not in {"topup", "insurance"})
            if hidden_for:
                self.db.execute("INSERT INTO hidden VALUES (?, ?)", (order.id, self._clock.now() + hidden_for))
            if kind == "instant" and status not in FAILURES:
                self._apply([item.esim_id for item in items], ready_in=max(ready_in, completes_in))
            if status in FAILURES:
                self.db.execute("UPDATE esims SET status = 'REVOKED' WHERE order_id = ?", (order.id,))
                self.credit(total if credit_failures else 0)
        return order

    def orders(
        self,
        *,
        id: str | None = None,
        reference_id: str | None = None,
        prefix: bool = False,
        status: str | None = None,
        insurance: bool = False,
        limit: int = -1,
        hidden: bool = False,
    ) -> list[Order]:
        """Return the orders of eSIMs, or those of insurance, newest first; hidden ones only if *hidden* is true.

        With *prefix* the referenceId need only begin with *reference_id*. The items of a PENDING order are hidden.
        """
        wanted = {"id": id, "reference_id": reference_id, "status": status}
        tests = {
            "id": "id = :id",
            "reference_id": matching_reference(prefix=prefix),
            "status": f"{_STATUS} = :status",
        }
        where = "".join(f" AND {tests[name]}" for name, value in wanted.items() if value is not None)
        rows = self.db.execute(
            f"SELECT id, reference_id, requested_reference_id, kind, total, {_STATUS}, created_at, {_UPDATED_AT}"  # noqa: S608
            f" FROM orders WHERE id {_VISIBLE} AND (kind = 'insurance') = :insurance{where}"
            " ORDER BY n DESC LIMIT :limit",
            self.visibility(hidden) | wanted | {"now": self._clock.now(), "insurance": insurance, "limit": limit},
        )
        return [evolve(Order(*row), items=self._items("order_id", row[0], hidden=hidden)) for row in rows.fetchall()]

    def history(self, esim_id: str, *, hidden: bool = False) -> list[Item]:
        """Return the order items of an eSIM, oldest first, without top-ups that failed."""
        return self._items(f"{_NO_FAILED_TOP_UP} AND esim_id", esim_id, hidden=hidden)

    def esim(self, *, id: str | None = None, iccid: str | None = None, hidden: bool = False) -> Esim | None:
        """Return an eSIM by id or ICCID; a profile that is still being generated has no ICCID yet."""
        test = "id = :id" if id is not None else "iccid = :iccid"
        found = next(self._esims(test, hidden=hidden, id=id, iccid=iccid), None)
        return found if found and (id is not None or found.iccid) else None

    def esims(
        self,
        *,
        reference_id: str | None = None,
        prefix: bool = False,
        order_id: str | None = None,
        hidden: bool = False,
    ) -> Iterator[Esim]:
        """Return the eSIMs, newest first; those of hidden and PENDING orders only if *hidden* is true.

        With *prefix* the referenceId need only begin with *reference_id*.
        """
        if order_id is not None:
            return self._esims("order_id = :order_id", hidden=hidden, order_id=order_id)
        test = "TRUE" if reference_id is None else matching_reference(prefix=prefix)
        return self._esims(test, hidden=hidden, reference_id=reference_id)

    def apply(self, esims: Sequence[Esim], start_date: str = "", ready_in: float = 0.0) -> None:
        """Generate the profiles of new eSIMs, ready after this many seconds; other eSIMs are left unchanged."""
        with self.db.transaction():
            self._apply([esim.id for esim in esims if esim.status == "NEW" and not esim.pending], start_date, ready_in)

    def move(self, esim: Esim, status: str, megabytes: int) -> None:
        """Set the status of an applied eSIM, and add data usage for today."""
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
                "UPDATE esims SET status = :status, updated_at = :now, started_at ="
                " CASE WHEN started_at = 0 AND :status = 'INSTALLED' THEN :now ELSE started_at END WHERE id = :id",
                {"status": status, "now": now, "id": esim.id},
            )

    def use(self, esim_id: str, megabytes: int) -> None:
        """Add data usage of an eSIM for today."""
        self.db.execute(
            "INSERT INTO usages VALUES (?, ?, ?)"
            " ON CONFLICT (esim_id, date) DO UPDATE SET megabytes = megabytes + excluded.megabytes",
            (esim_id, time.strftime("%Y%m%d", time.gmtime(self.now())), megabytes),
        )

    def usages(self, esim_id: str) -> list[Usage]:
        """Return the daily usage of an eSIM."""
        rows = self.db.execute("SELECT date, megabytes FROM usages WHERE esim_id = ? ORDER BY date", (esim_id,))
        return [Usage(*row) for row in rows]

    def events(self, esim_id: str) -> list[EsimEvent]:
        """Return the events of an eSIM, oldest first."""
        rows = self.db.execute("SELECT status, at FROM events WHERE esim_id = ? ORDER BY n", (esim_id,))
        return [EsimEvent(*row) for row in rows]

    def _restore_clock(self) -> None:
        self._clock.ahead = 0.0
        self.db.execute("INSERT OR IGNORE INTO clock VALUES (1, 0, ?)", (self._clock.now(),))
        self._clock.ahead = float(self.db.scalar("SELECT ahead FROM clock"))

    def _insert(self, order: Order, booked_at: float, completes_at: float, *, new_esims: bool) -> None:
        self.db.execute("UPDATE account SET balance = balance - ?", (order.total,))
        self.db.execute(
            "INSERT INTO orders (id, reference_id, requested_reference_id, kind, total, status, created_at, booked_at,"
            " completes_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
            [
                *(order.id, order.reference_id, order.requested_reference_id, order.kind, order.total, order.status),
                *(order.created_at, booked_at, completes_at),
            ],
        )
        for item in order.items:
            self.db.execute(
                "INSERT INTO items (order_id, esim_id, package_id, price, created_at) VALUES (?, ?, ?, ?, ?)",
                (order.id, item.esim_id, item.package_id, item.price, item.created_at),
            )
            if new_esims:
                self.db.execute(
                    "INSERT INTO esims (id, order_id, reference_id, package_id, iccid, status, ready_at, start_date,"
                    " created_at, updated_at, started_at) VALUES (?, ?, ?, ?, '', 'NEW', 0, '', ?, ?, 0)",
                    [
                        *(item.esim_id, order.id, order.reference_id, item.package_id),
                        *(item.created_at, item.created_at),
                    ],
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
            f" WHERE order_id {DELIVERED} AND {column} = :value ORDER BY n",
            self.visibility(hidden) | {"value": value},
        )
        return [Item(*row) for row in rows]

    def _esims(self, test: str, *, hidden: bool, **values: str | None) -> Iterator[Esim]:
        rows = self.db.execute(
            "SELECT id, order_id, reference_id, package_id, iccid, status, ready_at, start_date, created_at,"  # noqa: S608
            f" updated_at, started_at FROM esims WHERE order_id {DELIVERED} AND {test} ORDER BY n DESC",
            self.visibility(hidden) | values,
        )
        return map(self._esim, rows)

    def _esim(self, row: tuple[Any, ...]) -> Esim:
        id, order_id, reference_id, package_id, iccid, status, ready_at, *rest = row
        pending = ready_at > self._clock.now()
        iccid, status = ("", "NEW") if pending else (iccid, status)
        return Esim(id, order_id, reference_id, package_id, iccid, status, pending, *rest)

    def visibility(self, hidden: bool) -> dict[str, object]:  # noqa: FBT001
        """Return the parameters of `DELIVERED`, which leave nothing out if *hidden* is true."""
        now = math.inf if hidden else self._clock.now()
        return {"seen_at": now, "booked_by": now - self._lag if self._lag else math.inf}

    @contextmanager
    def lagging(self, seconds: float) -> Generator[None, None, None]:
        """Hide the orders of the latest seconds within the block."""
        self._lag = seconds
        try:
            yield
        finally:
            self._lag = 0.0


def matching_reference(*, prefix: bool) -> str:
    """Return the condition for a record with this `reference_id`, or with one that begins so."""
    return "instr(reference_id, :reference_id) = 1" if prefix else "reference_id = :reference_id"
