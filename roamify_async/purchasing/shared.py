"""Purchases that several processes share: a reference is claimed in the ledger before it is looked up.

The row is committed before the first byte leaves, and settled when the outcome is known. What a process left behind is
looked up by whoever asks next.
"""

import logging
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, ClassVar, Final, cast

import anyio
import attrs
from anyio import CancelScope

from roamify_async._core.endpoint import Endpoint
from roamify_async._core.engine import Engine
from roamify_async._http.messages import SendState
from roamify_async._serde.converter import unstructure
from roamify_async.errors import (
    APIStatusError,
    ConflictError,
    EsimsNotReadyError,
    LedgerError,
    PurchaseFailedError,
    RateLimitError,
    RoamifyError,
)
from roamify_async.ledger.lease import Lease, LeaseLostError
from roamify_async.ledger.protocol import Claim, PurchaseLedger
from roamify_async.ledger.rows import Action, Outcome, Row, Start, Verdict, Wanted, digest_of
from roamify_async.models.orders import RepeatOrder

from .classify import Booked, Outcome as Meaning, PurchaseRequest, classify
from .recorded import RecordedPurchase

log: logging.Logger = logging.getLogger("roamify_async")

FIRST_PAUSE: Final = 0.05
"""Seconds between the first two looks at a purchase that another process makes. Each further pause is longer."""
LONGEST_PAUSE: Final = 0.5
"""Longest pause in seconds between two looks."""
MIN_PAUSE: Final = 2.0
"""Seconds for which a 429 pauses all processes, at least."""
IGNORED: Final = frozenset({"referenceId", "items", "notes"})
"""Fields that do not tell what is bought: the key, what ``packages()`` counts, and free text."""


@attrs.define
class Hold:
    """A reference that is held in the ledger beyond its purchase."""

    lease: Lease | None = None


@asynccontextmanager
async def holding(engine: Engine) -> AsyncGenerator[Hold, None]:
    """Hold the reference of a purchase in the ledger until the end of the block."""
    hold = Hold()
    try:
        yield hold
    finally:
        await release(engine, hold)


async def release(engine: Engine, hold: Hold) -> None:
    """Release a reference in the ledger, if it is held. Releasing twice does nothing."""
    ledger, lease, hold.lease = engine.memory.ledger, hold.lease, None
    if ledger is not None and lease is not None:
        with CancelScope(shield=True):
            await _or_later(ledger.release(lease), lease.reference)


class SharedClaim:
    """A reference that is claimed in the ledger. It guards each send of its purchase."""

    def __init__(
        self,
        ledger: PurchaseLedger,
        wanted: Wanted,
        claim: Claim,
        send_state: SendState,
        price: Callable[[], Awaitable[Decimal]] | None,
        hold: Hold | None,
    ) -> None:
        self.verdict: Verdict = claim.verdict
        self.had_row: bool = claim.row is not None
        """Whether somebody asked for the reference before."""
        self.booked_id: str | None = None
        """Id of what was booked under the reference, even if it was cancelled, refunded or failed."""
        self._ledger = ledger
        self._wanted = wanted
        self._lease = claim.lease
        self._state = send_state
        self.price: Decimal | None = None
        """Its expected cost, if a budget needs it."""
        self._find_price = price
        self._hold = hold
        if claim.verdict is Verdict.BOUGHT and claim.row is not None:
            self.booked_id = claim.row.order_id
        if claim.row is not None and claim.row.sent_ago is not None and claim.verdict is Verdict.TAKE_OVER:
            _recall(send_state, claim.row, claim.row.sent_ago)

    # ---------------------------------------------------------------- the guard of the sends

    async def find_price(self) -> None:
        """Find out what the purchase will cost, if a budget needs it. This sends requests of its own."""
        limits = self._ledger.limits
        is_needed = limits is not None and limits.max_spend is not None and self.price is None
        if is_needed and self._find_price is not None:
            self.price = await self._find_price()

    async def ready(self) -> None:
        """Wait for a turn by the shared rate, and record that the purchase may be sent from now on."""
        lease, ledger = self._lease, self._ledger
        if lease is None:
            raise LeaseLostError(f"the purchase {self._wanted.reference!r} is booked already")
        if ledger.limits is not None:
            await anyio.sleep(await ledger.turn())
        start = Start(price=self.price, looked_first=self._state.looked_first, resent=self._state.resent)
        await ledger.start(lease, self._wanted, start)

    def check(self) -> None:
        """Raise ``LeaseLostError`` if another process may hold the reference."""
        if self._lease is not None:
            self._lease.check()

    async def throttle(self, seconds: float | None) -> None:
        """Keep all processes from sending for a while."""
        await _or_later(self._ledger.pause(max(MIN_PAUSE, seconds or 0)), self._wanted.reference)

    # ---------------------------------------------------------------- the end

    async def settle(self, booked: Booked) -> None:
        """Record what was booked. If the ledger cannot be reached, the next who asks finds it."""
        if self._lease is None:
            return
        outcome = Outcome(
            status="ordered",
            order_id=booked.id,
            total=getattr(booked, "total", None),
            resent=self._state.resent,
        )
        if self._hold is not None:
            self._hold.lease = self._lease
        await _or_later(self._ledger.settle(self._lease, outcome, keeps=self._hold is not None), self._wanted.reference)

    async def fail(self, error: BaseException, *, is_in_doubt: bool) -> None:
        """Record why nothing was bought, or that it is not known. Whoever asks next may work on it at once."""
        lease = self._lease
        if lease is None:
            return
        with CancelScope(shield=True):
            if self.verdict is Verdict.BOUGHT:
                await _or_later(self._ledger.release(lease), lease.reference)
                return
            if isinstance(error, EsimsNotReadyError):  # It is booked and paid.
                await self.settle(error.order)
                return
            order = error.order if isinstance(error, PurchaseFailedError) else None
            was_sent = self._state.first_sent_at is not None
            outcome = Outcome(
                status="in_doubt" if is_in_doubt else "refused" if was_sent else "not_sent",
                order_id=None if is_in_doubt else getattr(order, "id", None),
                error=_brief(error),
                resent=self._state.resent,
            )
            await _or_later(self._ledger.settle(lease, outcome), lease.reference)


async def claim_reference(
    engine: Engine,
    ledger: PurchaseLedger,
    endpoint: Endpoint[..., Any],
    request: PurchaseRequest,
    send_state: SendState,
    *,
    patience: float,
    is_new: bool = False,
    hold: Hold | None = None,
    action: Action = "buy",
) -> SharedClaim:
    """Claim the reference of a purchase in the ledger.

    If another process holds it, wait for at most *patience* seconds. Raises ``ConflictError`` if it is still held then,
    or if another purchase has the reference.
    """
    engine.transport.open()
    wanted = _wanted(engine, endpoint, request, send_state, holds=hold is not None, action=action)
    if is_new and send_state.first_sent_at is None:
        claim = Claim(verdict=Verdict.FREE, lease=ledger.promise(wanted))
    else:
        claim = await _claim(ledger, wanted, patience)
    reconciliation = endpoint.reconciliation
    find_price = None if reconciliation is None else reconciliation.price
    price = None if find_price is None else partial(find_price, engine, request)
    shared = SharedClaim(ledger, wanted, claim, send_state, price, hold)
    send_state.guard = shared
    return shared


@asynccontextmanager
async def repetition(
    engine: Engine, endpoint: Endpoint[..., Any], request: RepeatOrder, send_state: SendState, patience: float
) -> AsyncGenerator[SharedClaim | None, None]:
    """Claim a reference for ordering it again, which only one process does at a time. The block settles it."""
    ledger = engine.memory.ledger
    if ledger is None:
        yield None
        return
    claim = await claim_reference(
        engine, ledger, endpoint, _Repetition(request.reference_id), send_state, patience=patience, action="repeat"
    )
    try:
        yield claim
    except BaseException as error:
        is_refused = isinstance(error, RoamifyError) and classify(error) in {Meaning.NOT_SENT, Meaning.REFUSED}
        was_sent = send_state.first_sent_at is not None
        await claim.fail(error, is_in_doubt=was_sent and (claim.verdict is Verdict.TAKE_OVER or not is_refused))
        raise


@attrs.frozen
class _Repetition:
    """An order by its reference alone, whose packages are those of the order that exists."""

    look_up: ClassVar[str] = RepeatOrder.look_up
    reference_id: str

    def packages(self) -> Mapping[str, int]:
        return {}


async def _claim(ledger: PurchaseLedger, wanted: Wanted, patience: float) -> Claim:
    end, pause = anyio.current_time() + patience, FIRST_PAUSE
    while True:
        try:
            claim = await ledger.claim(wanted)
        except LedgerError as error:
            raise error.with_facts(reference_id=wanted.reference, package_ids=tuple(wanted.packages)) from None
        if claim.verdict is Verdict.OTHER:
            raise _conflict(
                wanted, "another purchase has the reference {!r}; nothing was sent. One reference is one purchase"
            )
        if claim.verdict is not Verdict.WAIT:
            return claim
        left = end - anyio.current_time()
        if left <= 0:
            text = "a purchase with the reference {!r} is under way elsewhere; nothing was sent"
            raise _conflict(wanted, text).with_facts(is_under_way=True)
        await anyio.sleep(min(pause, left))
        pause = min(2 * pause, LONGEST_PAUSE)


def _wanted(
    engine: Engine,
    endpoint: Endpoint[..., Any],
    request: PurchaseRequest,
    send_state: SendState,
    *,
    holds: bool,
    action: Action,
) -> Wanted:
    packages = request.packages()
    kind = "order" if endpoint.reconciliation is None else endpoint.reconciliation.kind
    first_sent = send_state.first_sent_at
    return Wanted(
        reference=request.reference_id or "",
        kind=kind,
        digest=request.digest if isinstance(request, RecordedPurchase) else _digest(kind, request),
        packages=packages,
        base_url=engine.transport.credentials.base_url,
        action=action,
        holds=holds,
        sent_ago=None if first_sent is None else max(0.0, (datetime.now(UTC) - first_sent).total_seconds()),
    )


def _digest(kind: str, request: PurchaseRequest) -> str:
    fields = cast("Mapping[str, Any]", unstructure(request))
    facts = {name: value for name, value in fields.items() if name not in IGNORED}
    return digest_of(kind, facts | {"packages": dict(request.packages())}, request.reference_id or "")


def _recall(send_state: SendState, row: Row, sent_ago: float) -> None:
    """Take over what the row knows of earlier sends."""
    first_sent = datetime.now(UTC) - timedelta(seconds=sent_ago)
    send_state.first_sent_at = min(send_state.first_sent_at or first_sent, first_sent)
    send_state.looked_first = row.looked_first
    send_state.resent = send_state.resent or row.resent


def _conflict(wanted: Wanted, text: str) -> ConflictError:
    return ConflictError(
        text.format(wanted.reference),
        status=409,
        sent="no",
        reference_id=wanted.reference,
        package_ids=tuple(wanted.packages),
    )


def _brief(error: BaseException) -> str:
    """Return the class of an error, and its status. Messages may quote data of travellers."""
    status = f" {error.status}" if isinstance(error, APIStatusError) else ""
    return f"{type(error).__name__}{status}"


async def _or_later(work: Awaitable[object], reference: str) -> None:
    """Wait for the ledger. If it cannot be reached, the row is settled by whoever looks at it next."""
    try:
        await work
    except LedgerError as error:
        log.warning("purchase %s could not be recorded in the ledger, and is looked up later: %s", reference, error)


# ---------------------------------------------------------------- limits


async def throttle(send_state: SendState, error: RoamifyError) -> None:
    """Slow down all processes after a 429."""
    if send_state.guard is not None and isinstance(error, RateLimitError):
        await send_state.guard.throttle(error.retry_after)
