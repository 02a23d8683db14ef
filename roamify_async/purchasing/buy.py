"""Buying eSIMs: the order, the profiles of its eSIMs, and waiting until all can be installed."""

import datetime as dt
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager

from roamify_async._core.callbacks import note_purchase
from roamify_async._core.concurrency import gather, raise_first
from roamify_async._core.endpoint import Endpoint
from roamify_async._core.engine import MIN_DEADLINE, Engine, log_facts
from roamify_async._core.recovery import poll_until
from roamify_async._http.messages import SendState
from roamify_async.errors import EsimsNotReadyError, RoamifyError
from roamify_async.models.esims import ApplyEsim, Esim, GetEsim, ReadyEsim, as_ready
from roamify_async.models.orders import CreateOrder, Order

from .attempt import add_note
from .purchase import make_purchase, patience, with_reference
from .shared import Hold, holding, release

log: logging.Logger = logging.getLogger("roamify_async")


async def buy_esims(
    engine: Engine,
    request: CreateOrder,
    start_date: dt.date | None,
    *,
    create: Endpoint[..., Order],
    check: Callable[[], Awaitable[None]],
    get: Endpoint[..., Esim],
    apply: Endpoint[..., ReadyEsim],
) -> tuple[ReadyEsim, ...]:
    """Order eSIMs and generate their profiles. An order that exists under the reference is continued.

    The reference is held until the profiles are ready. The endpoints are arguments, since those of several resources
    are needed; *check* checks the packages.
    """

    async def order_and_prepare(*, is_new: bool, must_look: bool, hold: Hold | None = None) -> tuple[ReadyEsim, ...]:
        order = await make_purchase(
            engine, create, wanted, SendState(), is_new=is_new, must_look=must_look, check=check, hold=hold
        )
        async with _reference_reported(order):
            esims = await prepare_esims(engine, get, apply, order, start_date, count=sum(request.packages().values()))
            if hold is not None:
                await release(engine, hold)
        note_purchase(order.reference_id or "")
        return esims

    wanted = with_reference(request)
    if request.reference_id is None:
        return await order_and_prepare(is_new=True, must_look=False)
    async with (
        engine.memory.claims.hold(request.reference_id, _patience(engine, create, apply)) as was_held,
        holding(engine) as hold,
    ):
        return await order_and_prepare(is_new=False, must_look=was_held, hold=hold)


def _patience(engine: Engine, create: Endpoint[..., Order], apply: Endpoint[..., ReadyEsim]) -> float:
    return patience(engine, create.timeout) + patience(engine, apply.timeout)


@asynccontextmanager
async def _reference_reported(order: Order) -> AsyncGenerator[None, None]:
    """Report the reference of a paid order with whatever ends the block."""
    reference = order.reference_id or ""
    try:
        yield
    except RoamifyError as error:
        raise error.with_facts(reference_id=reference) from None
    except BaseException as cancelled:
        note = (
            f"the purchase with reference {reference} was booked and paid as {order.id}, and the call ended before its "
            f"eSIMs were ready: call again with reference_id={reference!r} to continue"
        )
        facts = log_facts(reference_id=reference, tries=1, sent="answered", outcome="cancelled")
        log.warning("%s", note, extra=facts)
        add_note(cancelled, note, reference)
        raise


async def prepare_esims(
    engine: Engine,
    get: Endpoint[..., Esim],
    apply: Endpoint[..., ReadyEsim],
    order: Order,
    start_date: dt.date | None = None,
    *,
    count: int | None = None,
) -> tuple[ReadyEsim, ...]:
    """Generate the profiles of all eSIMs of an order concurrently; there should be *count* of them.

    Raises ``EsimsNotReadyError``, which holds those that are ready, if some are not.
    """

    async def prepare(esim_id: str) -> ReadyEsim:
        return await _prepare_esim(engine, get, apply, esim_id, start_date)

    ids = [item.esim_id for item in order.items if item.esim_id] or [esim.id for esim in order.esims]
    outcomes = dict(zip(ids, await gather(prepare, ids), strict=True))
    failures = {esim_id: error for esim_id, error in outcomes.items() if isinstance(error, RoamifyError)}
    esims = raise_first(tuple(outcome for esim_id, outcome in outcomes.items() if esim_id not in failures))
    expected = max(len(order.items), len(ids), count or 0)
    if not failures and len(esims) == expected:
        return esims
    reasons = "; ".join(f"{esim_id}: {error}" for esim_id, error in failures.items())
    unnamed = expected - len(ids)
    missing = f"; {unnamed} of them carry no id in the order" if unnamed else ""
    raise EsimsNotReadyError(
        f"{len(esims)} of {expected} eSIMs are ready; all are paid{missing}. Call again with the reference to "
        f"continue. {reasons}".rstrip(),
        order=order,
        esims=esims,
        failures=failures,
        reference_id=order.reference_id,
    )


async def _prepare_esim(
    engine: Engine,
    get: Endpoint[..., Esim],
    apply: Endpoint[..., ReadyEsim],
    esim_id: str,
    start_date: dt.date | None = None,
) -> ReadyEsim:
    """Return an eSIM with its profile, which is generated only if there is none."""
    ready = _installable(await engine.send(get, GetEsim(esim_id=esim_id)))
    if ready is None:
        applied = await engine.send(apply, ApplyEsim(esim_id, start_date=start_date))
        ready = applied if applied.is_installable else None
    if ready is not None:
        return ready
    window = engine.settings.retries.deadline or MIN_DEADLINE
    not_ready = RoamifyError("the profile is not ready", sent="answered")
    return await poll_installable(engine, get, esim_id, window, not_ready)


async def poll_installable(
    engine: Engine, get: Endpoint[..., Esim], esim_id: str, window: float, failure: RoamifyError
) -> ReadyEsim:
    """Read an eSIM until it can be installed. Raises *failure* when *window* seconds have passed."""

    async def look() -> ReadyEsim | None:
        return _installable(await engine.send(get, GetEsim(esim_id=esim_id)))

    return await poll_until(look, window, failure)


def _installable(esim: Esim) -> ReadyEsim | None:
    """Return an eSIM that can be installed now, or ``None``."""
    return as_ready(esim) if esim.is_installable else None
