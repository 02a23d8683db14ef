"""A line of a bulk order, brought to its outcome, and journaled before it is sent and after."""

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

from roamify_async._core.engine import Engine
from roamify_async._core.server_messages import is_insufficient_balance
from roamify_async._http.messages import SendState
from roamify_async._serde.converter import unstructure
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
from .classify import Outcome, classify, is_permanent
from .journal import Entry, JournalFile, Status
from .report import line_of, request_of, write_error

log: logging.Logger = logging.getLogger("roamify_async")


@attrs.frozen(kw_only=True)
class BulkAdapter:
    """How a bulk order buys: the calls that it makes for each line."""

    buy: Callable[[Engine, Any, SendState], Awaitable[Any]]
    """Ensures that a purchase exists once; it may have been sent before."""
    recheck: Callable[[Engine, Any, SendState], Awaitable[None]]
    """Raises if a purchase that may have been sent more than once was booked more than once."""
    price: Callable[[str], Awaitable[Decimal]]
    """Returns the price of one package."""
    balance: Callable[[], Awaitable[Decimal]]
    finish: Callable[[Any], Awaitable[tuple[Any, ...]]] | None = None
    """Prepares the eSIMs of an order that was bought."""


def new_entry(position: int, request: Any) -> Entry:
    """Return the entry of a new line. Its reference is created here if the caller gave none."""
    text = json.dumps(unstructure(request), sort_keys=True)
    return Entry(
        position=position,
        digest=hashlib.sha256(text.encode()).hexdigest()[:32],
        request=text,
        reference=request.reference_id or str(uuid4()),
        status="not_sent",
    )


class LineProcessor:
    """Processes lines. A failed line does not affect the others."""

    def __init__(self, engine: Engine, adapter: BulkAdapter, file: JournalFile, budget: Budget) -> None:
        self.engine = engine
        self.adapter = adapter
        self.file = file
        self.budget = budget
        self.is_over: bool = False
        """Whether no further line can succeed: the token or the balance was refused."""
        self.last_resent: float | None = None
        """When the last order that may have been sent more than once was booked."""
        self._claimed: dict[str, int] = {}
        """The caller's references of lines that are not in the journal yet."""

    def is_open(self, entry: Entry) -> bool:
        """Return whether a line is not finished."""
        return not entry.final or (entry.status == "ordered" and self._lacks_esims(entry))

    def _lacks_esims(self, entry: Entry) -> bool:
        return self.adapter.finish is not None and (entry.esims is None or entry.error is not None)

    async def line(self, entry: Entry, request: Any) -> None:
        """Bring a line to its outcome, and journal it."""
        wanted = attrs.evolve(request, reference_id=entry.reference)
        if entry.answer is not None:
            if entry.resent:
                await self.recheck(entry)
        elif entry.first_sent is not None:
            await self._reconcile(entry, wanted)
        else:
            await self._buy(entry, request, wanted)
        if entry.status == "ordered" and self._lacks_esims(entry):
            await self._finish(entry)

    async def _buy(self, entry: Entry, request: Any, wanted: Any) -> None:
        send_state = SendState(self.engine.doubts.get(entry.reference))  # This client may have sent it in another call.
        reserved: Decimal | None = None
        try:
            self._refuse_duplicate(entry, request)
            price = await self.budget.price(wanted)
            await self.budget.reserve(price)
            reserved = price
            entry.status, entry.total, entry.error = "sending", str(price), None
            entry.first_sent = (send_state.first_sent_at or datetime.now(UTC)).isoformat()
            # In case a crash leaves it so.
            entry.resent = self.engine.settings.on_doubt == "look_up_then_resend"
            await self.file.put(entry)
            order = await self.adapter.buy(self.engine, wanted, send_state)
        except JournalError:
            raise
        except RoamifyError as error:
            await self._record_failure(entry, error, send_state, reserved)
        except anyio.get_cancelled_exc_class():
            if send_state.first_sent_at is None:
                entry.status, entry.first_sent, entry.total, entry.resent = "not_sent", None, None, False
                with CancelScope(shield=True):
                    await self.file.put(entry)
            raise
        else:
            self.budget.add(order.total - reserved)
            entry.resent = send_state.resent
            await self._record_order(entry, order)
        finally:
            if self._claimed.get(request.reference_id) == entry.position:
                del self._claimed[request.reference_id]

    async def _reconcile(self, entry: Entry, wanted: Any) -> None:
        """Finish a line that an earlier run may have sent. It is looked up first, whatever the budget.

        It is sent again only if both the settings and the budget allow that.
        """
        engine, reserved = self.engine, Decimal(entry.total or 0)
        send_state = SendState(datetime.fromisoformat(entry.first_sent or ""), entry.resent)
        try:
            # What it may have cost is already counted.
            await self.budget.refuse(await self.budget.price(wanted) - reserved)
        except RoamifyError as error:
            log.info("line %d is looked up only: %s", entry.position, error)
            engine = engine.view(engine.settings.changed(on_doubt="look_up"))
        try:
            order = await self.adapter.buy(engine, wanted, send_state)
        except RoamifyError as error:
            await self._record_failure(entry, error, send_state, reserved, is_older=True)
        else:
            self.budget.add(order.total - reserved, is_older=True)
            entry.resent = send_state.resent
            await self._record_order(entry, order)

    async def recheck(self, entry: Entry) -> None:
        """Check whether an order that may have been sent more than once was booked more than once."""
        wanted = attrs.evolve(request_of(entry), reference_id=entry.reference)
        try:
            await self.adapter.recheck(self.engine, wanted, SendState(datetime.fromisoformat(entry.first_sent or "")))
        except RoamifyError as error:
            entry.status, entry.answer, entry.error = "in_doubt", None, write_error(error)
            await self.file.put(entry)

    async def _record_order(self, entry: Entry, order: Any) -> None:
        """Journal an order. One that may have been sent more than once is checked again later."""
        if entry.resent:
            self.last_resent = anyio.current_time()
        entry.status, entry.final = "ordered", self.adapter.finish is None and not entry.resent
        entry.total, entry.answer, entry.error = str(order.total), json.dumps(unstructure(order)), None
        await self.file.put(entry)

    async def _record_failure(
        self,
        entry: Entry,
        error: RoamifyError,
        send_state: SendState,
        reserved: Decimal | None,
        *,
        is_older: bool = False,
    ) -> None:
        """Journal a failure. What may have left in any run is looked up before it is sent again."""
        entry.status = outcome(error, was_sent=reserved is not None)
        if ends_all(error):
            self.is_over = True
        entry.resent = send_state.resent
        entry.final = entry.status == "refused" and not ends_all(error) and not send_state.resent
        if entry.status != "in_doubt":
            entry.total = None
            if reserved is not None:
                self.budget.add(-reserved, is_older=is_older)
            if not is_older and not send_state.resent:
                entry.first_sent = None
        entry.error = write_error(error)
        await self.file.put(entry)

    async def _finish(self, entry: Entry) -> None:
        """Prepare the eSIMs of a line that was bought. A failure leaves it bought."""
        assert self.adapter.finish is not None  # noqa: S101
        try:
            esims = await self.adapter.finish(line_of(entry).order)
        except RoamifyError as error:
            esims = getattr(error, "esims", ())
            entry.final, entry.error = False, write_error(error)
        else:
            entry.final, entry.error = not entry.resent, None
        entry.esims = json.dumps([unstructure(esim) for esim in esims]) if esims or not entry.error else None
        await self.file.put(entry)

    def _refuse_duplicate(self, entry: Entry, request: Any) -> None:
        """Refuse a line whose reference an earlier line has: one reference is one purchase."""
        if request.reference_id is None:
            return
        first = self._claimed.setdefault(request.reference_id, entry.position)
        owner = self.file.holder(request.reference_id)
        if first != entry.position or (owner is not None and owner < entry.position):
            raise ConflictError(
                "an earlier line has this reference; nothing was sent",
                status=409,
                sent="no",
                reference_id=request.reference_id,
            )


def outcome(error: RoamifyError, *, was_sent: bool) -> Status:
    """Return the status of a line that failed."""
    if isinstance(error, PurchaseInDoubtError):
        return "in_doubt"
    if not was_sent:
        return "refused" if is_permanent(error) else "not_sent"
    if error.sent == "no" or isinstance(error, TransportError | RateLimitError):
        return "not_sent"
    if classify(error) is Outcome.UNKNOWN and not isinstance(error, APIStatusError):
        return "in_doubt"
    return "refused"


def ends_all(error: RoamifyError) -> bool:
    """Return whether no further line can succeed after this error: the token or the balance was refused."""
    refused = isinstance(error, AuthenticationError | PermissionDeniedError | ConfigurationError)
    return refused or is_insufficient_balance(error)
