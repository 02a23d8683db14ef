"""The operations of a ledger, as work for a database."""

import asyncio
import itertools
import os
import threading
import weakref
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from decimal import Decimal
from functools import partial
from typing import Any, Final, Self, TypeVar
from uuid import uuid4

import anyio

from roamify_async.errors import LedgerError, RoamifyError

from . import statements as sql
from .database import Database, Session, bind
from .lease import Lease, LeaseLostError, Renewal, clock
from .limits import SharedLimits
from .operations import claim_row, key_of, renew_rows, settle_row, start_row, text_of
from .protocol import Claim
from .rows import MICROS, Outcome, Row, Start, Status, Verdict, Wanted

T = TypeVar("T")

LEASE: Final = 30.0
"""Seconds for which a reference is claimed; renewed while its process lives."""
TIMEOUT: Final = 10.0
"""Seconds to wait for the database."""


class Handle:
    """What one process has open of a ledger."""

    def __init__(self, database: Database, lease: float, timeout: float) -> None:
        self.pid: int = os.getpid()
        self.database = database
        self.renewal: Renewal = Renewal(self._renew, lease)
        self._lease = lease
        self._timeout = timeout
        self.base_url: str | None = None
        """The host that the ledger is known to be bound to."""
        self._name = uuid4().hex
        self._numbers = itertools.count()

    def new_token(self) -> str:
        """Return a unique name of a claim."""
        return f"{self._name}-{next(self._numbers)}"

    def ask_now(self, work: Callable[[Session], T], *, is_atomic: bool = False) -> T:
        """Run *work*, and block until it is done."""
        future = self.database.submit(work, is_atomic=is_atomic)
        try:
            return future.result(self._timeout)
        except TimeoutError:
            future.cancel()
            raise LedgerError(f"the ledger did not respond within {self._timeout:g} s") from None

    def _renew(self, leases: Collection[Lease]) -> None:
        """Renew leases, in the thread of the renewal."""
        at = clock()
        held = self.ask_now(partial(renew_rows, tokens=[lease.token for lease in leases], seconds=self._lease))
        for lease in leases:
            if lease.token in held:
                lease.until = max(lease.until, at + self._lease)


class SqlLedger:
    """The operations of a ledger in an SQL database. Each process opens it by itself, also after a fork."""

    def __init__(
        self, connect: Callable[[], Database], limits: SharedLimits | None, *, lease: float, timeout: float
    ) -> None:
        self.limits = limits
        self.lease = lease
        self._connect = connect
        self._timeout = timeout
        self._lock = threading.Lock()
        self._opened: Handle | None = None
        _instances.add(self)

    def __enter__(self) -> Self:
        """Return the ledger itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the ledger."""
        self.close()

    def close(self) -> None:
        """Write what is left, and close the connections. It opens anew at the next use."""
        with self._lock:
            handle, self._opened = self._opened, None
        if handle is not None and handle.pid == os.getpid():
            handle.renewal.close()
            handle.database.close()

    def migrate(self) -> None:
        """Bring the tables to this version."""
        self.get("")

    @property
    def _handle(self) -> Handle:
        handle = self._opened
        if handle is None:
            with self._lock:
                handle = self._opened
                if handle is None:
                    self._opened = handle = Handle(self._connect(), self.lease, self._timeout)
        if handle.pid != os.getpid():
            raise LedgerError(
                "the ledger was open when this process was forked without Python's hooks, and belongs to the parent: "
                "open it, and make the client, in each process; nothing was sent"
            )
        return handle

    def leave_to_parent(self) -> list[object]:
        """Open anew after a fork. Return what belongs to the parent, which must not be closed here."""
        handle, self._opened, self._lock = self._opened, None, threading.Lock()
        return [] if handle is None else [handle]

    # ---------------------------------------------------------------- running work

    async def _ask(
        self,
        work: Callable[[Session], T],
        *,
        undo: Callable[[Session, T], object] | None = None,
        on_leave: "Callable[[Future[T]], object] | None" = None,
        must_run: bool = False,
        is_atomic: bool = True,
    ) -> T:
        """Run *work*, and wait for it. If the caller leaves before, it does not run, or is undone, unless it must."""
        database = self._handle.database
        future = database.submit(work, is_atomic=is_atomic)
        result = asyncio.wrap_future(future)
        try:
            with anyio.fail_after(self._timeout):
                return await asyncio.shield(result)
        except BaseException as error:
            result.add_done_callback(_retrieve)
            if on_leave is not None:
                on_leave(future)
            if not must_run and not future.cancel() and undo is not None:
                # Submitted now, since what is submitted is done before the database closes.
                with suppress(LedgerError):
                    database.submit(lambda session: undo(session, future.result()))
            if isinstance(error, TimeoutError):
                raise LedgerError(f"the ledger did not respond within {self._timeout:g} s") from None
            raise

    # ---------------------------------------------------------------- a purchase

    async def claim(self, wanted: Wanted) -> Claim:
        """Claim a reference, or return what stands in the way."""
        handle, at = self._handle, clock()
        token = handle.new_token()
        await self._bind(handle, wanted.base_url)
        claimed = partial(claim_row, wanted=wanted, token=token, lease=self.lease)
        verdict, row, is_taken = await self._ask(claimed, undo=partial(_give_back, wanted, token), is_atomic=False)
        if not is_taken:
            return Claim(verdict=verdict, row=row)
        lease = self._lease(wanted, token, at, row)
        handle.renewal.add(lease)
        return Claim(verdict=verdict, row=row, lease=lease)

    def promise(self, wanted: Wanted) -> Lease:
        """Return the lease of a reference that was just created. ``start`` writes its row."""
        lease = self._lease(wanted, self._handle.new_token(), clock(), None)
        lease.is_written = False
        return lease

    def _lease(self, wanted: Wanted, token: str, at: float, row: Row | None) -> Lease:
        return Lease(
            reference=wanted.reference,
            action=wanted.action,
            token=token,
            until=at + self.lease,
            account=None if row is None else row.account,
            reserved=0 if row is None else row.reserved,
        )

    async def _bind(self, handle: Handle, base_url: str) -> None:
        if handle.base_url != base_url:
            await self._ask(lambda session: bind(session, base_url))
            handle.base_url = base_url

    async def start(self, lease: Lease, wanted: Wanted, start: Start) -> None:
        """Record that a purchase may be sent from now on, and reserve its cost."""
        handle = self._handle
        await self._bind(handle, wanted.base_url)
        at = clock()
        has_budget = self.limits is not None and self.limits.max_spend is not None
        work = partial(start_row, lease=lease, wanted=wanted, start=start, limits=self.limits, seconds=self.lease)
        # A caller that leaves settles its purchase, unless it does not know of its row yet.
        undo = None if lease.is_written else partial(_forget, lease)
        lease.account, lease.reserved = await self._ask(
            work, undo=undo, on_leave=partial(setattr, lease, "starting"), is_atomic=has_budget
        )
        lease.until = max(lease.until, at + self.lease)
        if not lease.is_written:
            lease.is_written = True
            handle.renewal.add(lease)
        lease.is_started = True

    async def renew(self, lease: Lease) -> None:
        """Renew a lease now. Raises ``LeaseLostError`` if another process took it over."""
        at = clock()
        work = partial(renew_rows, tokens=[lease.token], seconds=self.lease)
        if lease.token not in await self._ask(work, is_atomic=False):
            raise LeaseLostError(f"another process took over the purchase {lease.reference!r}")
        lease.until = max(lease.until, at + self.lease)

    async def settle(self, lease: Lease, outcome: Outcome, *, keeps: bool = False) -> bool:
        """Record what became of a purchase, and give its reference back unless *keeps*."""
        handle = self._handle
        if not keeps:
            handle.renewal.discard(lease)
        if not lease.is_written or handle.pid != lease.pid:
            return False
        has_budget = lease.account is not None or lease.starting is not None
        work = partial(_settle, lease=lease, outcome=outcome, keeps=keeps)
        return await self._ask(work, must_run=True, is_atomic=has_budget)

    async def release(self, lease: Lease) -> None:
        """Release a reference that ``settle`` kept."""
        self._handle.renewal.discard(lease)
        await self._ask(lambda session: session.rows(sql.RELEASE, **key_of(lease)), must_run=True, is_atomic=False)

    async def resolve(self, reference: str, order_id: str, total: Decimal | None) -> bool:
        """Record that a purchase in doubt was found. Return whether one was in doubt."""
        facts = {"reference": reference, "order_id": order_id, "total": text_of(total)}
        return bool(await self._ask(lambda session: session.rows(sql.RESOLVE, **facts), is_atomic=False))

    # ---------------------------------------------------------------- batches

    async def bind(self, base_url: str) -> None:
        """Bind the ledger to a host. Raises ``LedgerError`` if it belongs to another host."""
        await self._bind(self._handle, base_url)

    async def run(self, work: Callable[[Session], T], *, must_run: bool = False) -> T:
        """Run *work* in a transaction. If the caller leaves before, it does not run, unless it must."""
        return await self._ask(work, must_run=must_run)

    def read(self, work: Callable[[Session], T]) -> T:
        """Run a query. Blocks."""
        return self._handle.ask_now(work)

    def hold_lines(self) -> Lease:
        """Return a lease for lines of a batch, which is renewed until they are dropped."""
        handle = self._handle
        lease = Lease(reference="", action="buy", token=handle.new_token(), until=clock() + self.lease)
        handle.renewal.add(lease)
        return lease

    def drop_lines(self, lease: Lease) -> None:
        """Stop renewing the lease of lines."""
        self._handle.renewal.discard(lease)

    # ---------------------------------------------------------------- shared limits

    async def turn(self) -> float:
        """Take a turn to send by the shared rate, and return the seconds until then."""
        limits = self.limits
        if limits is None:
            return 0.0
        interval = 0.0 if limits.rate is None else 1 / limits.rate

        def take(session: Session) -> float:
            while not (rows := session.rows(sql.TURN, account=limits.account, interval=interval)):
                session.rows(sql.ADD_ACCOUNT, account=limits.account)
            return float(rows[0][0])

        return max(0.0, await self._ask(take, is_atomic=False))

    async def pause(self, seconds: float) -> None:
        """Keep all processes from sending for some seconds, since the server is busy."""
        if self.limits is not None:
            facts: dict[str, Any] = {"account": self.limits.account, "seconds": seconds}
            await self._ask(lambda session: session.rows(sql.PAUSE, **facts), is_atomic=False)

    # ---------------------------------------------------------------- reading

    def get(self, reference: str) -> Row | None:
        """Return the row of a reference."""
        rows = self._handle.ask_now(lambda session: session.rows(sql.SELECT, reference=reference, action="buy"))
        return sql.read_row(rows[0]) if rows else None

    def doubts(self) -> tuple[Row, ...]:
        """Return the purchases that may or may not be booked and on which nobody works, oldest first."""
        return tuple(sql.read_row(row) for row in self._handle.ask_now(lambda session: session.rows(sql.OPEN)))

    def counts(self) -> Mapping[Status, int]:
        """Return the number of purchases in each state."""
        return dict(self._handle.ask_now(lambda session: session.rows(sql.COUNTS)))

    def spent(self) -> Mapping[str, Decimal]:
        """Return what is spent or reserved of each account of the shared limits."""
        rows = self._handle.ask_now(lambda session: session.rows(sql.LIMITS))
        return {account: Decimal(spent) / MICROS for account, spent in rows}

    def purge(self, seconds: float) -> int:
        """Delete the purchases that are not in doubt and that ended more than some seconds ago. Return their number.

        Their references can be bought again where the server does not show them any more. So can the batches that were
        begun before and have no line in doubt.
        """

        def delete(session: Session) -> int:
            session.rows(sql.PURGE_LINES, seconds=seconds)
            session.rows(sql.PURGE_BATCHES, seconds=seconds)
            return len(session.rows(sql.PURGE, seconds=seconds))

        return self._handle.ask_now(delete, is_atomic=True)


def _settle(session: Session, *, lease: Lease, outcome: Outcome, keeps: bool) -> bool:
    """Settle a purchase; if its caller left while it was started, wait for that, which reserves its cost."""
    if lease.starting is not None:
        with suppress(RoamifyError, CancelledError):
            lease.account, lease.reserved = lease.starting.result()
    return settle_row(session, lease=lease, outcome=outcome, keeps=keeps)


# ---------------------------------------------------------------- callers that left


def _give_back(wanted: Wanted, token: str, session: Session, claimed: tuple[Verdict, Row | None, bool]) -> None:
    """Release what was claimed for a caller that had left."""
    if claimed[2]:
        session.rows(sql.RELEASE, reference=wanted.reference, action=wanted.action, token=token)


def _forget(lease: Lease, session: Session, started: tuple[str | None, int]) -> None:
    """Release what was started for a caller that had left: it was not sent."""
    lease.account, lease.reserved = started
    settle_row(session, lease=lease, outcome=Outcome(status="not_sent"), keeps=False)


def _retrieve(result: "asyncio.Future[T]") -> None:
    """Retrieve a failure that nobody awaits any more, which asyncio would report."""
    if not result.cancelled():
        result.exception()


# ---------------------------------------------------------------- forks

_instances: "weakref.WeakSet[SqlLedger]" = weakref.WeakSet()
_of_parent: list[object] = []
"""What a forked process inherited. It is kept, since closing it would disturb the parent."""


def _after_fork() -> None:
    for ledger in [*_instances]:
        _of_parent.extend(ledger.leave_to_parent())


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
