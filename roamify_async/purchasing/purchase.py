"""Makes purchases: holds the reference, in the client and in the ledger, while an attempt is made.

The API has no idempotency key. A reference is the only handle: the client creates one before the first byte is sent,
one reference is one purchase, and what is not known is looked up and never guessed.
"""

import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TypeVar, cast
from uuid import uuid4

import attrs

from roamify_async._core import telemetry
from roamify_async._core.callbacks import note_purchase
from roamify_async._core.endpoint import Endpoint
from roamify_async._core.engine import Engine
from roamify_async._http.messages import SendState
from roamify_async.errors import ConflictError, RoamifyError
from roamify_async.ledger.lease import LeaseLostError
from roamify_async.settings import DEFAULT_TIMEOUTS

from .attempt import Attempt
from .classify import Booked, PurchaseRequest, is_same_kind
from .shared import Hold, SharedClaim, claim_reference

T = TypeVar("T")

log: logging.Logger = logging.getLogger("roamify_async")

ResponseT = TypeVar("ResponseT", bound=Booked)
RequestT = TypeVar("RequestT", bound=PurchaseRequest)


async def purchase(engine: Engine, endpoint: Endpoint[..., T], request: object, /) -> T:
    """Make the purchase of *request* exactly once, and return the response. A missing reference is created here.

    A second call with the same reference waits for the first, and returns the same purchase.
    """
    # The endpoint declares a reconciliation, and with it that its types are those of a purchase.
    bought = await buy_once(engine, cast("Endpoint[..., Booked]", endpoint), cast("PurchaseRequest", request))
    note_purchase(bought.reference_id or "")
    return cast("T", bought)


async def buy_once(engine: Engine, endpoint: Endpoint[..., ResponseT], request: PurchaseRequest) -> ResponseT:
    """Make a purchase, holding its reference until the outcome is known."""
    if request.reference_id is None:
        return await make_purchase(engine, endpoint, with_reference(request), SendState(), is_new=True)
    async with engine.memory.claims.hold(request.reference_id, patience(engine, endpoint.timeout)) as was_held:
        return await make_purchase(engine, endpoint, request, SendState(), must_look=was_held)


def with_reference(request: RequestT) -> RequestT:
    """Return a request with a reference, which is created if there is none."""
    if request.reference_id is not None:
        return request
    evolve = cast("Callable[..., RequestT]", attrs.evolve)
    return evolve(request, reference_id=str(uuid4()))


def patience(engine: Engine, timeout: float | None) -> float:
    """Return the seconds for which a call, with its endpoint's *timeout*, waits for another one under its reference."""
    timeouts = engine.settings.timeouts
    return (timeouts.total or timeout or DEFAULT_TIMEOUTS.total or 0) + engine.settings.reconcile_window


async def make_purchase(
    engine: Engine,
    endpoint: Endpoint[..., ResponseT],
    request: PurchaseRequest,
    send_state: SendState,
    *,
    is_new: bool = False,
    must_look: bool = False,
    check: Callable[[], Awaitable[None]] | None = None,
    before_send: Callable[[], Awaitable[None]] | None = None,
    on_doubt: Callable[[], None] | None = None,
    hold: Hold | None = None,
) -> ResponseT:
    """Make the purchase of *request*, whose reference the caller holds in this client.

    If there is a ledger, it is claimed there first, and held until the outcome is known, or to the end of *hold*.

    *send_state* says whether it may have been sent before; then it is looked up first. *is_new* means that the
    reference was just created, so that nothing can be booked under it. *must_look* looks it up whatever the settings.
    *check* replaces the endpoint's own check of the packages. *before_send* runs before each send, and may refuse it.
    *on_doubt* is called after a send which leaves open whether it was booked.

    All failures carry the reference. So does whatever cancels the call: as a note, in the log, and in ``doubts()``.
    """
    _refuse_other(engine, request)
    make = partial(
        _make, engine, endpoint, request, send_state, check=check, before_send=before_send, on_doubt=on_doubt
    )
    ledger = engine.memory.ledger
    if ledger is None:
        return await make(is_new=is_new, must_look=must_look)
    limit = patience(engine, endpoint.timeout)
    while True:
        claim = await claim_reference(
            engine, ledger, endpoint, request, send_state, patience=limit, is_new=is_new, hold=hold
        )
        try:
            return await make(is_new=is_new, must_look=must_look or claim.had_row, claim=claim)
        except LeaseLostError:
            if send_state.first_sent_at is not None:
                raise
            log.info("purchase %s was taken over by another process before it was sent", request.reference_id)
            is_new, must_look = False, True


async def _make(
    engine: Engine,
    endpoint: Endpoint[..., ResponseT],
    request: PurchaseRequest,
    send_state: SendState,
    *,
    is_new: bool,
    must_look: bool,
    check: Callable[[], Awaitable[None]] | None,
    before_send: Callable[[], Awaitable[None]] | None,
    on_doubt: Callable[[], None] | None,
    claim: SharedClaim | None = None,
) -> ResponseT:
    attempt: Attempt[ResponseT, Booked] = Attempt(
        engine,
        endpoint,
        request,
        send_state,
        is_new=is_new,
        must_look=must_look,
        check=check,
        before_send=before_send,
        on_doubt=on_doubt,
        claim=claim,
    )
    reference = request.reference_id or ""
    engine.memory.references.remember(reference, None)
    try:
        response = await attempt.run()
        if claim is not None:
            await claim.settle(response)
    except RoamifyError as error:
        attempt.remember(error)
        await _give_back(claim, attempt, error)
        raise error.with_facts(
            reference_id=reference, package_ids=error.package_ids or tuple(request.packages())
        ) from None
    except Exception as error:
        if send_state.first_sent_at is None and isinstance(error, ValueError):
            await _give_back(claim, attempt, error)
            raise  # A package that needs a date.
        log.exception("an unexpected exception ended purchase %s", reference, extra=attempt.facts("unexpected"))
        failure = attempt.unexpected()
        await _give_back(claim, attempt, error)
        raise failure from None
    except BaseException as cancelled:
        attempt.leave_note(cancelled)
        await _give_back(claim, attempt, cancelled)
        raise
    engine.memory.add_bought(reference, request)
    telemetry.count_spending(response)
    response.reference_id = response.reference_id or reference
    return response


async def _give_back(claim: SharedClaim | None, attempt: "Attempt[ResponseT, Booked]", error: BaseException) -> None:
    """Record a failure in the ledger. Whoever cuts that off learns of a doubt, as from the purchase itself."""
    if claim is None:
        return
    is_in_doubt = attempt.reference in attempt.engine.memory.doubts
    try:
        await claim.fail(error, is_in_doubt=is_in_doubt)
    except BaseException as cancelled:
        if is_in_doubt:
            attempt.leave_note(cancelled)
        raise


def _refuse_other(engine: Engine, request: PurchaseRequest) -> None:
    """Refuse a purchase if another one under its reference is in doubt or was bought: one reference is one purchase.

    Whether what was bought has other packages is left to the look-up, which names the order.
    """
    reference = request.reference_id or ""
    earlier, bought = engine.memory.doubts.get(reference), engine.memory.bought.get(reference)
    if earlier is not None:
        other = cast("PurchaseRequest", earlier.request)
        is_other, state = not is_same_kind(other, request) or other.packages() != request.packages(), "is in doubt"
    else:
        is_other, state = bought is not None and not is_same_kind(bought, request), "was made"
    if not is_other:
        return
    raise ConflictError(
        f"another purchase under the reference {request.reference_id!r} {state}; nothing was sent. "
        "One reference is one purchase: use another one",
        status=409,
        sent="no",
        reference_id=request.reference_id,
        package_ids=tuple(request.packages()),
    )


async def find_second(
    engine: Engine, endpoint: Endpoint[..., ResponseT], request: PurchaseRequest, send_state: SendState
) -> None:
    """Raise ``PurchaseInDoubtError`` if a purchase that may have been sent more than once was booked more than once."""
    attempt: Attempt[ResponseT, Booked] = Attempt(engine, endpoint, request, send_state)
    await attempt.look_up.refuse_second()
