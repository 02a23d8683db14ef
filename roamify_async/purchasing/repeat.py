"""Ordering by a reference that was used before: a call whose effect is disputed, made visible by counting orders."""

import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager

from roamify_async._core.endpoint import Endpoint
from roamify_async._core.engine import Engine
from roamify_async._http.messages import SendState
from roamify_async.errors import ConflictError, NotFoundError, PurchaseInDoubtError, RateLimitError, RoamifyError
from roamify_async.models.orders import Order, RepeatedOrder, RepeatOrder
from roamify_async.settings import Retries

from .attempt import add_note
from .classify import Outcome, classify, ids
from .purchase import patience
from .shared import SharedClaim, repetition

log: logging.Logger = logging.getLogger("roamify_async")

Find = Callable[[Engine, str], Awaitable[tuple[Order, ...]]]


async def repeat_order(
    engine: Engine, endpoint: Endpoint[..., Order], request: RepeatOrder, find: Find
) -> RepeatedOrder:
    """Send the reference of exactly one order, once. The orders before and after show what happened."""
    reference, state, limit = request.reference_id, SendState(), patience(engine, endpoint.timeout)
    async with (
        engine.memory.claims.hold(reference, limit),
        repetition(engine, endpoint, request, state, limit) as claim,
    ):
        before = await _orders(engine, find, reference)
        if claim is not None and before:
            claim.price = before[0].total
            if state.first_sent_at is not None:  # By another process.
                await _continue(engine, find, request, before, claim)
        _refuse_unless_one(before, reference)
        once = engine.view(engine.settings.changed(retries=Retries(tries=1)))
        with _reference_reported(request, state):
            try:
                order = await once.exchange(endpoint, request, state)
            except RoamifyError as error:
                if classify(error) in {Outcome.NOT_SENT, Outcome.REFUSED}:
                    raise error.with_facts(reference_id=reference) from None
                raise await _in_doubt(engine, find, request, error.with_traceback(None), before) from None
            if claim is not None:
                await claim.settle(order)
        return RepeatedOrder(order=order, is_new=order.id not in {known.id for known in before})


@contextmanager
def _reference_reported(request: RepeatOrder, state: SendState) -> Generator[None, None, None]:
    """Report the reference with whatever cancels the block once the request may have left."""
    try:
        yield
    except RoamifyError:
        raise
    except BaseException as cancelled:
        if state.first_sent_at is not None:
            reference = request.reference_id
            note = (
                f"the repetition of the order with reference {reference} was cancelled and may have ordered again: "
                f"see {request.look_up.format(reference)}"
            )
            log.warning("%s", note)
            add_note(cancelled, note, reference)
        raise


def _refuse_unless_one(orders: tuple[Order, ...], reference: str) -> None:
    if not orders:
        raise NotFoundError(
            f"no order found for reference {reference!r}; nothing was sent", status=404, sent="no",
            reference_id=reference,
        )  # fmt: skip
    if len(orders) > 1:
        raise ConflictError(
            f"{len(orders)} orders have the reference {reference!r}: {ids(orders)}; nothing was sent", status=409,
            sent="no", reference_id=reference,
        )  # fmt: skip


async def _continue(
    engine: Engine, find: Find, request: RepeatOrder, before: tuple[Order, ...], claim: SharedClaim
) -> None:
    """Settle what another process sent, if it was booked. If not, raise: it is not known whether it will be."""
    if len(before) > 1:
        await claim.settle(before[0])
        return
    reason = RoamifyError("another process sent it, and did not learn what became of it", sent="maybe")
    raise await _in_doubt(engine, find, request, reason, before)


async def _orders(engine: Engine, find: Find, reference: str) -> tuple[Order, ...]:
    return tuple(order for order in await find(engine, reference) if order.reference_id == reference)


async def _in_doubt(
    engine: Engine, find: Find, request: RepeatOrder, reason: RoamifyError, before: tuple[Order, ...]
) -> PurchaseInDoubtError:
    """Return the error of a repetition whose response is lost, with the orders that are new, if there are any."""
    look_up_error = None
    found: tuple[Order, ...] = ()
    try:
        found = tuple(order for order in await _orders(engine, find, request.reference_id) if order not in before)
    except RoamifyError as error:
        look_up_error = error.with_traceback(None)
    seen = f"; since then there are new orders: {ids(found)}" if found else ""
    is_limited = " The server was too busy." if isinstance(reason, RateLimitError) else ""
    return PurchaseInDoubtError(
        f"it is not known whether the reference was ordered again: {reason.args[0]}{seen}.{is_limited} "
        f"See {request.look_up.format(request.reference_id)}",
        request=request,
        reason=reason,
        found=found,
        look_up_error=look_up_error,
        sent=reason.sent,
        method=reason.method,
        path=reason.path,
        reference_id=request.reference_id,
    )
