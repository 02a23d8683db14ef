"""A line of a bulk order, brought to its outcome, and journaled before it is sent and after."""

import hashlib
import json
import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Final

import anyio
import attrs
from anyio import CancelScope

from roamify_async._core.engine import Engine
from roamify_async._core.server_messages import is_insufficient_balance
from roamify_async._http.messages import SendState
from roamify_async._serde.converter import unstructure
from roamify_async.errors import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    EsimsNotReadyError,
    JournalError,
    PackageNotFoundError,
    PermissionDeniedError,
    PurchaseFailedError,
    PurchaseInDoubtError,
    RoamifyError,
)
from roamify_async.ledger.rows import Status
from roamify_async.models.esims import ReadyEsim
from roamify_async.models.orders import CreateOrder, Order

from .batch import Batch
from .budget import Budget
from .classify import Outcome, classify
from .failures import doubt
from .journal import JournalFile
from .journal_rows import Entry
from .report import NO_REQUEST, line_of, request_of, write_error
from .source import WrongItem

log: logging.Logger = logging.getLogger("roamify_async")

_to_sorted_json: Final = json.JSONEncoder(sort_keys=True).encode


@attrs.frozen(kw_only=True)
class Line:
    """What is bought for a line, and what is known of earlier sends."""

    request: CreateOrder
    """The request, with its reference."""
    send_state: SendState
    is_new: bool
    """Whether the reference was just created."""
    must_look: bool
    """Whether to look it up in any case: another call, or an earlier run that the journal does not know, may have
    sent it.
    """
    check: Callable[[], Awaitable[None]]
    """Checks that the packages exist, with a request that all lines share."""
    before_send: Callable[[], Awaitable[None]]
    """Reserves the cost, and journals that the line is about to be sent."""
    on_doubt: Callable[[], None]
    """Called when it is not known whether the line was booked."""


@attrs.frozen(kw_only=True)
class BulkAdapter:
    """How a bulk order buys: the calls that it makes for each line."""

    buy: Callable[[Engine, Line], Awaitable[Order]]
    """Makes a purchase exactly once; it may have been sent before."""
    recheck: Callable[[Engine, CreateOrder, SendState], Awaitable[None]]
    """Raises if a purchase that may have been sent more than once was booked more than once."""
    patience: float
    """Seconds for which a line waits for another purchase under its reference."""
    price: Callable[[str], Awaitable[Decimal]]
    """Returns the price of one package."""
    balance: Callable[[], Awaitable[Decimal]]
    finish: Callable[[Order], Awaitable[tuple[ReadyEsim, ...]]] | None = None
    """Prepares the eSIMs of an order that was bought."""


LineFile = JournalFile | Batch
"""Where the lines of a bulk order are."""


def new_entry(file: LineFile, position: int, request: CreateOrder | WrongItem) -> Entry:
    """Return the entry of a new line. Its reference is created here if the caller gave none."""
    if isinstance(request, WrongItem):
        return _refused_entry(file, position, request)
    text = _to_sorted_json(unstructure(request))
    digest = hashlib.sha256(text.encode()).hexdigest()[:32]
    reference = request.reference_id or file.reference_for(position, digest)
    return Entry(position=position, digest=digest, request=text, reference=reference, status="not_sent")


def _refused_entry(file: LineFile, position: int, item: WrongItem) -> Entry:
    """Return the entry of a value that is not a request. A later run may have a request in its place."""
    reference = file.reference_for(position, NO_REQUEST)
    error = BadRequestError(item.message, status=400, sent="no", reference_id=reference)
    return Entry(
        position=position, digest=NO_REQUEST, request=NO_REQUEST, reference=reference,
        status="refused", final=True, error=write_error(error),
    )  # fmt: skip


class LineProcessor:
    """Processes lines. A failed line does not affect the others."""

    def __init__(self, engine: Engine, adapter: BulkAdapter, file: LineFile, budget: Budget) -> None:
        self.engine = engine
        self.adapter = adapter
        self.file = file
        self.budget = budget
        self.end_reason: RoamifyError | None = None
        """Why no further line can succeed: the token or the balance was refused."""
        self.last_resent: float | None = None
        """When the last order that may have been sent more than once was booked."""
        self._claimed: dict[str, int] = {}
        """The caller's references of lines that are not in the journal yet."""

    def is_open(self, entry: Entry) -> bool:
        """Return whether a line is not finished."""
        return not entry.final or (entry.status == "ordered" and self._lacks_esims(entry))

    def _lacks_esims(self, entry: Entry) -> bool:
        return self.adapter.finish is not None and (entry.esims is None or entry.error is not None)

    async def line(self, entry: Entry, request: CreateOrder | WrongItem) -> None:
        """Bring a line to its outcome, and journal it. An unexpected exception is logged, and ends this line only."""
        try:
            if isinstance(request, WrongItem):
                await self.file.put(entry)
            else:
                await self._process(entry, request)
        except JournalError:
            raise
        except Exception as error:
            log.exception("an unexpected exception ended line %d, with reference %s", entry.position, entry.reference)
            await self._record_unexpected(entry, error)

    async def _process(self, entry: Entry, request: CreateOrder) -> None:
        if entry.status == "ordered":
            if entry.resent:
                await self.recheck(entry)
        else:
            await _Purchase(self, entry, request).run()
        if entry.status == "ordered" and self._lacks_esims(entry):
            await self._finish(entry)

    async def recheck(self, entry: Entry) -> None:
        """Check whether an order that may have been sent more than once was booked more than once."""
        request = request_of(entry, entry.reference)
        try:
            await self.adapter.recheck(self.engine, request, send_state_of(entry))
        except RoamifyError as error:
            entry.status, entry.answer, entry.error = "in_doubt", None, write_error(error)
            await self.file.put(entry)
        except Exception:
            log.exception(
                "line %d, with reference %s, is checked again by the next run", entry.position, entry.reference
            )

    async def _record_unexpected(self, entry: Entry, error: Exception) -> None:
        """Journal a line that an unexpected exception ended. What may have been sent is looked up by the next run."""
        failure = RoamifyError(
            f"an unexpected {type(error).__name__} ended the line; see the log", reference_id=entry.reference
        )
        if entry.status == "ordered" and entry.answer is not None:
            failure.sent = "answered"
        elif entry.first_sent is not None:
            request = request_of(entry, entry.reference)
            entry.status, failure = "in_doubt", doubt(request, failure.with_facts(sent="maybe"))
        else:
            entry.status = "not_sent"
        entry.final, entry.error = False, write_error(failure)
        await self.file.put(entry)

    async def _finish(self, entry: Entry) -> None:
        """Prepare the eSIMs of a line that was bought. A failure leaves it bought."""
        order = line_of(entry).order
        if self.adapter.finish is None or order is None:
            return
        try:
            esims = await self.adapter.finish(order)
        except RoamifyError as error:
            esims = error.esims if isinstance(error, EsimsNotReadyError) else ()
            entry.final, entry.error = False, write_error(error)
        else:
            entry.final, entry.error = not entry.resent, None
        entry.esims = json.dumps([unstructure(esim) for esim in esims]) if esims or not entry.error else None
        await self.file.put(entry)

    def claim(self, entry: Entry, request: CreateOrder) -> None:
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

    def release(self, entry: Entry, request: CreateOrder) -> None:
        """Drop the claim of a line, which the journal holds from now on."""
        if request.reference_id is not None and self._claimed.get(request.reference_id) == entry.position:
            del self._claimed[request.reference_id]


class _Purchase:
    """The purchase of a line."""

    def __init__(self, processor: LineProcessor, entry: Entry, request: CreateOrder) -> None:
        self.processor = processor
        self.entry = entry
        self.request = request
        self.engine = processor.engine
        self.send_state = send_state_of(entry)
        self.was_sent: bool = entry.first_sent is not None
        """Whether an earlier run may have sent it. What it may have cost is counted already."""
        self.reserved = Decimal(entry.total or 0) if self.was_sent else Decimal(0)
        self.quoted = self.reserved
        self.is_admitted: bool = False
        """Whether its cost is reserved, and others may wait for it to confirm a price."""

    async def run(self) -> None:
        """Buy, and journal the outcome."""
        entry, processor = self.entry, self.processor
        try:
            processor.claim(entry, self.request)
            if self.request.reference_id is None:
                order = await self._buy(was_held=False)
            else:
                claims = self.engine.memory.claims
                async with claims.hold(self.request.reference_id, processor.adapter.patience) as was_held:
                    order = await self._buy(was_held=was_held)
        except JournalError:
            raise
        except RoamifyError as error:
            await self._record_failure(error)
        except ValueError as error:  # A package that needs a date.
            await self._record_failure(BadRequestError(str(error), status=400, sent="no"))
        except anyio.get_cancelled_exc_class():
            if self.send_state.first_sent_at is None and entry.status == "sending":
                entry.status, entry.first_sent, entry.total, entry.resent = "not_sent", None, None, False
                with CancelScope(shield=True):
                    await processor.file.put(entry)
            raise
        else:
            await self._record_order(order)
        finally:
            processor.release(entry, self.request)
            self._release()

    async def _buy(self, *, was_held: bool) -> Order:
        await self._limit_policy()
        is_first = self.processor.file.is_first(self.entry)
        line = Line(
            request=attrs.evolve(self.request, reference_id=self.entry.reference),
            send_state=self.send_state,
            is_new=self.request.reference_id is None and is_first,
            must_look=was_held or not is_first,
            check=self._check,
            before_send=self._before_send,
            on_doubt=self._release,
        )
        return await self.processor.adapter.buy(self.engine, line)

    async def _limit_policy(self) -> None:
        """Look up only, if the budget does not allow to send again what an earlier run may have sent."""
        if not self.was_sent:
            return
        budget = self.processor.budget
        try:
            await budget.refuse(await budget.price(self.request) - self.reserved)
        except RoamifyError as error:
            log.info("line %d is looked up only: %s", self.entry.position, error)
            self.engine = self.engine.view(self.engine.settings.changed(on_doubt="look_up"))

    async def _check(self) -> None:
        await self.processor.budget.price(self.request)

    def _release(self) -> None:
        if self.is_admitted:
            self.processor.budget.release(self.request)

    async def _before_send(self) -> None:
        """Reserve the cost, and journal that the line is about to be sent."""
        entry = self.entry
        if not self.was_sent and not self.is_admitted:
            self.reserved = self.quoted = await self.processor.budget.admit(self.request)
            self.is_admitted = True
        is_written = entry.status == "sending" and entry.first_sent is not None and entry.resent == self.may_resend
        if is_written and not isinstance(self.processor.file, Batch):  # A shared line may have been taken away since.
            return
        entry.status, entry.total, entry.error = "sending", str(self.reserved), None
        entry.first_sent = (self.send_state.first_sent_at or datetime.now(UTC)).isoformat()
        entry.looked_first = self.send_state.looked_first
        entry.resent = self.may_resend  # In case a crash leaves it so.
        await self.processor.file.put(entry)

    @property
    def may_resend(self) -> bool:
        """Whether a crash could leave open if the line was sent more than once."""
        return self.send_state.resent or self.engine.settings.on_doubt == "look_up_then_resend"

    async def _record_order(self, order: Order) -> None:
        """Journal an order. One that may have been sent more than once is checked again later."""
        entry, processor = self.entry, self.processor
        if order.was_found and not self.was_sent:
            processor.budget.add(-self.reserved)
        else:
            processor.budget.add(order.total - self.reserved, is_older=self.was_sent)
            processor.budget.confirm(self.request, self.quoted, order.total)
        entry.resent = self.send_state.resent
        if entry.resent:
            processor.last_resent = anyio.current_time()
        entry.status, entry.final = "ordered", processor.adapter.finish is None and not entry.resent
        entry.order_id, entry.total, entry.was_found = order.id, str(order.total), order.was_found and not self.was_sent
        entry.answer, entry.error = json.dumps(unstructure(order)), None
        await processor.file.put(entry)

    async def _record_failure(self, error: RoamifyError) -> None:
        """Journal a failure. What may have left in any run is looked up before it is sent again."""
        entry, processor = self.entry, self.processor
        entry.status = status_of(error)
        if ends_all(error):
            processor.end_reason = error
        entry.resent = self.send_state.resent
        entry.final = entry.status == "refused" and not ends_all(error) and not entry.resent
        if entry.status != "in_doubt":
            entry.total = None
            processor.budget.add(-self.reserved, is_older=self.was_sent)
            if not self.was_sent and not entry.resent:
                entry.first_sent = None
        if isinstance(error, PurchaseFailedError) and isinstance(error.order, Order):
            entry.order_id, entry.answer = error.order.id, json.dumps(unstructure(error.order))
        entry.error = write_error(error)
        if isinstance(processor.file, Batch):
            await processor.file.put(entry, ends=not ends_all(error))
        else:
            await processor.file.put(entry)


def send_state_of(entry: Entry) -> SendState:
    """Return what the journal knows of earlier sends of a line."""
    first_sent = None if entry.first_sent is None else datetime.fromisoformat(entry.first_sent)
    return SendState(first_sent, resent=entry.resent and first_sent is not None, looked_first=entry.looked_first)


def status_of(error: RoamifyError) -> Status:
    """Return the status of a line that failed."""
    if isinstance(error, PurchaseInDoubtError):
        return "in_doubt"
    if isinstance(error, PurchaseFailedError):
        return "refused"
    outcome = classify(error)
    if isinstance(error, ConflictError) and error.is_under_way:
        return "not_sent"
    if isinstance(error, ConflictError | PackageNotFoundError):
        return "refused"
    if error.sent == "no" or outcome in {Outcome.NOT_SENT, Outcome.RATE_LIMITED}:
        return "not_sent"
    return "refused" if outcome is Outcome.REFUSED else "in_doubt"


def ends_all(error: RoamifyError) -> bool:
    """Return whether no further line can succeed after this error: the token or the balance was refused."""
    refused = isinstance(error, AuthenticationError | PermissionDeniedError | ConfigurationError)
    return refused or is_insufficient_balance(error)
