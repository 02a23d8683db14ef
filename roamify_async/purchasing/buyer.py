"""One line of a bulk order, brought to its outcome and written down before it is sent and after."""

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import uuid4

import anyio
import attrs
from anyio import CancelScope

from roamify_async._engine.codec import write
from roamify_async._engine.engine import Engine
from roamify_async._engine.wire import Trail
from roamify_async.errors import (
    APIStatusError,
    AuthenticationError,
    ConfigurationError,
    ConflictError,
    JournalError,
    PermissionDeniedError,
    PurchaseInDoubtError,
    RateLimitError,
    RoamifyError,
    TransportError,
)

from .budget import Budget
from .journal import Entry, Ledger, Status
from .judgement import Meaning, is_lasting, meaning
from .report import Forms, error_text

log: logging.Logger = logging.getLogger("roamify_async")


@attrs.frozen(kw_only=True)
class Trade:
    """What a bulk order has to know of the room that it buys from."""

    forms: Forms
    buy: Callable[[Engine, Any, Trail], Awaitable[Any]]
    """Makes sure of one purchase, which may have been sent before."""
    recheck: Callable[[Engine, Any, Trail], Awaitable[None]]
    """Raises where a purchase that may have been sent more than once was booked more than once."""
    price: Callable[[str], Awaitable[Decimal]]
    """Of one package."""
    balance: Callable[[], Awaitable[Decimal]]
    finish: Callable[[Any], Awaitable[tuple[Any, ...]]] | None = None
    """What is done with an order that was bought: gives its eSIMs."""


def fresh(position: int, request: Any) -> Entry:
    """Make the entry of a line that was not begun; its reference is made here where the caller gave none."""
    text = json.dumps(write(request), sort_keys=True)
    return Entry(
        position=position,
        digest=hashlib.sha256(text.encode()).hexdigest()[:32],
        request=text,
        reference=request.reference_id or str(uuid4()),
        status="not_sent",
    )


class Buyer:
    """Buys line by line; what goes wrong with one hurts no other."""

    def __init__(self, engine: Engine, trade: Trade, ledger: Ledger, budget: Budget) -> None:
        self.engine = engine
        self.trade = trade
        self.ledger = ledger
        self.budget = budget
        self.is_over: bool = False
        """Whether no further line will fare better: the token or the balance is refused."""
        self.last_resent: float | None = None
        """When the last of those orders came that may have been sent more than once."""
        self._in_flight: dict[str, int] = {}
        """The callers' own references of lines that are not in the ledger yet."""

    def is_open(self, entry: Entry) -> bool:
        """Tell whether something is left to do for a line."""
        return not entry.final or (entry.status == "ordered" and self._lacks_esims(entry))

    def _lacks_esims(self, entry: Entry) -> bool:
        return self.trade.finish is not None and (entry.esims is None or entry.error is not None)

    async def line(self, entry: Entry, request: Any) -> None:
        """Bring a line to its outcome, and write that down."""
        wanted = attrs.evolve(request, reference_id=entry.reference)
        if entry.answer is not None:
            if entry.resent:
                await self.recheck(entry)
        elif entry.first_sent is not None:
            await self._settle(entry, wanted)
        else:
            await self._buy(entry, request, wanted)
        if entry.status == "ordered" and self._lacks_esims(entry):
            await self._finish(entry)

    async def _buy(self, entry: Entry, request: Any, wanted: Any) -> None:
        trail = Trail(self.engine.doubts.get(entry.reference))  # This client may have sent it in another call.
        held: Decimal | None = None
        try:
            self._refuse_twin(entry, request)
            price = await self.budget.price(wanted)
            await self.budget.reserve(price)
            held = price
            entry.status, entry.total, entry.error = "sending", str(price), None
            entry.first_sent = (trail.first_left or datetime.now(UTC)).isoformat()
            # For one who finds it so after a crash.
            entry.resent = self.engine.settings.on_doubt == "look_up_then_resend"
            await self.ledger.put(entry)
            order = await self.trade.buy(self.engine, wanted, trail)
        except JournalError:
            raise
        except RoamifyError as error:
            await self._fail(entry, error, trail, held)
        except anyio.get_cancelled_exc_class():
            if trail.first_left is None:
                entry.status, entry.first_sent, entry.total, entry.resent = "not_sent", None, None, False
                with CancelScope(shield=True):
                    await self.ledger.put(entry)
            raise
        else:
            self.budget.add(order.total - held)
            entry.resent = trail.resent
            await self._note(entry, order)
        finally:
            if self._in_flight.get(request.reference_id) == entry.position:
                del self._in_flight[request.reference_id]

    async def _settle(self, entry: Entry, wanted: Any) -> None:
        """Settle a line that may have been sent by an earlier run: it is looked for first, whatever the budget says.

        It is sent again only if the settings allow that, and the money does.
        """
        engine, held = self.engine, Decimal(entry.total or 0)
        trail = Trail(datetime.fromisoformat(entry.first_sent or ""), entry.resent)
        try:
            # What it may have cost is counted already.
            await self.budget.refuse(await self.budget.price(wanted) - held)
        except RoamifyError as error:
            log.info("line %d is looked up only: %s", entry.position, error)
            engine = engine.view(engine.settings.changed(on_doubt="look_up"))
        try:
            order = await self.trade.buy(engine, wanted, trail)
        except RoamifyError as error:
            await self._fail(entry, error, trail, held, is_older=True)
        else:
            self.budget.add(order.total - held, is_older=True)
            entry.resent = trail.resent
            await self._note(entry, order)

    async def recheck(self, entry: Entry) -> None:
        """Look whether an order that may have been sent more than once was booked more than once."""
        wanted = attrs.evolve(self.trade.forms.request_of(entry), reference_id=entry.reference)
        try:
            await self.trade.recheck(self.engine, wanted, Trail(datetime.fromisoformat(entry.first_sent or "")))
        except RoamifyError as error:
            entry.status, entry.answer, entry.error = "in_doubt", None, error_text(error)
            await self.ledger.put(entry)

    async def _note(self, entry: Entry, order: Any) -> None:
        """Write down an order; one that may have been sent more than once is looked at again later."""
        if entry.resent:
            self.last_resent = anyio.current_time()
        entry.status, entry.final = "ordered", self.trade.finish is None and not entry.resent
        entry.total, entry.answer, entry.error = str(order.total), json.dumps(write(order)), None
        await self.ledger.put(entry)

    async def _fail(
        self, entry: Entry, error: RoamifyError, trail: Trail, held: Decimal | None, *, is_older: bool = False
    ) -> None:
        """Write down a failure; what may have left in any run is looked for before it is sent again."""
        entry.status = outcome(error, was_sent=held is not None)
        if ends_all(error):
            self.is_over = True
        entry.resent = trail.resent
        entry.final = entry.status == "refused" and not ends_all(error) and not trail.resent
        if entry.status != "in_doubt":
            entry.total = None
            if held is not None:
                self.budget.add(-held, is_older=is_older)
            if not is_older and not trail.resent:
                entry.first_sent = None
        entry.error = error_text(error)
        await self.ledger.put(entry)

    async def _finish(self, entry: Entry) -> None:
        """Make the eSIMs of a line that was bought; what goes wrong there leaves it bought."""
        assert self.trade.finish is not None  # noqa: S101
        try:
            esims = await self.trade.finish(self.trade.forms.line(entry).order)
        except RoamifyError as error:
            esims = getattr(error, "esims", ())
            entry.final, entry.error = False, error_text(error)
        else:
            entry.final, entry.error = not entry.resent, None
        entry.esims = json.dumps([write(esim) for esim in esims]) if esims or not entry.error else None
        await self.ledger.put(entry)

    def _refuse_twin(self, entry: Entry, request: Any) -> None:
        """Refuse a line whose own reference an earlier one has: one reference is one purchase."""
        if request.reference_id is None:
            return
        first = self._in_flight.setdefault(request.reference_id, entry.position)
        held = self.ledger.holder(request.reference_id)
        if first != entry.position or (held is not None and held < entry.position):
            raise ConflictError(
                "an earlier line has this reference; nothing was sent",
                status=409,
                sent="no",
                reference_id=request.reference_id,
            )


def outcome(error: RoamifyError, *, was_sent: bool) -> Status:
    """Tell what a line's error makes of it."""
    if isinstance(error, PurchaseInDoubtError):
        return "in_doubt"
    if not was_sent:
        return "refused" if is_lasting(error) else "not_sent"
    if error.sent == "no" or isinstance(error, TransportError | RateLimitError):
        return "not_sent"
    if meaning(error) is Meaning.DOUBT and not isinstance(error, APIStatusError):
        return "in_doubt"
    return "refused"


def ends_all(error: RoamifyError) -> bool:
    """Tell whether an error says that no further line will fare better: the token, or the balance."""
    return isinstance(error, AuthenticationError | PermissionDeniedError | ConfigurationError) or (
        isinstance(error, ConflictError) and "balance" in error.message.lower()
    )
