"""Buying eSIMs: the order, the profiles of its eSIMs, and waiting until all can be installed."""

import datetime as dt
from contextlib import suppress

from roamify_async._core.concurrency import gather, raise_first
from roamify_async._core.endpoint import Endpoint
from roamify_async._core.engine import MIN_DEADLINE, Engine
from roamify_async._core.recovery import poll_until
from roamify_async.errors import EsimsNotReadyError, PurchaseInDoubtError, RoamifyError
from roamify_async.models.esims import ApplyEsim, Esim, GetEsim
from roamify_async.models.orders import CreateOrder, ListOrders, Order, ReconcileOrder
from roamify_async.models.packages import ListPackages, PackagePage


async def buy_esims(
    engine: Engine,
    request: CreateOrder,
    start_date: dt.date | None,
    *,
    create: Endpoint[..., Order],
    list_orders: Endpoint[..., tuple[Order, ...]],
    page: Endpoint[..., PackagePage],
    get: Endpoint[..., Esim],
    apply: Endpoint[..., Esim],
) -> tuple[Esim, ...]:
    """Order eSIMs and generate their profiles. An order that exists under the reference is continued.

    The endpoints are arguments, since those of several resources are needed.
    """
    order = await _find_order(engine, list_orders, request)
    if order is None:
        if start_date is None:
            await _refuse_undated(engine, page, request)
        order = await engine.send(create, request)
    return await prepare_esims(engine, get, apply, order, start_date)


async def _find_order(
    engine: Engine, list_orders: Endpoint[..., tuple[Order, ...]], request: CreateOrder
) -> Order | None:
    """Return the order of a purchase that was begun before."""
    if request.reference_id is None or request.reference_id in engine.doubts:
        return None
    listed = await engine.send(list_orders, ListOrders(reference_id=request.reference_id))
    found = ReconcileOrder(request.reference_id).own(listed)
    if not found:
        return None
    if len(found) == 1 and found[0].holds(request.packages()):
        return found[0]
    raise PurchaseInDoubtError(
        f"the orders under the reference {request.reference_id} differ from this purchase",
        request=request,
        found=found,
        reference_id=request.reference_id,
        package_ids=tuple(request.packages()),
    )


async def _refuse_undated(engine: Engine, page: Endpoint[..., PackagePage], request: CreateOrder) -> None:
    """Refuse a package that needs a date before it is paid for."""
    with suppress(RoamifyError):  # What cannot be checked now, the server will.
        for package_id in request.packages():
            for package in await engine.send(page, ListPackages(package_id=package_id)):
                if package.package_id == package_id and package.requirements.travel_date:
                    raise ValueError(f"{package_id} needs a start_date, the first day of travel; nothing was bought")


async def prepare_esims(
    engine: Engine,
    get: Endpoint[..., Esim],
    apply: Endpoint[..., Esim],
    order: Order,
    start_date: dt.date | None = None,
) -> tuple[Esim, ...]:
    """Generate the profiles of all eSIMs of an order concurrently.

    Raises ``EsimsNotReadyError``, which holds those that are ready, if some are not.
    """

    async def prepare(esim_id: str) -> Esim:
        return await _prepare_esim(engine, get, apply, esim_id, start_date)

    ids = [line.esim_id for line in order.items]
    outcomes = dict(zip(ids, await gather(prepare, ids), strict=True))
    failures = {esim_id: error for esim_id, error in outcomes.items() if isinstance(error, RoamifyError)}
    esims = raise_first(tuple(outcome for esim_id, outcome in outcomes.items() if esim_id not in failures))
    if not failures:
        return esims
    reasons = "; ".join(f"{esim_id}: {error}" for esim_id, error in failures.items())
    raise EsimsNotReadyError(
        f"{len(esims)} of {len(ids)} eSIMs are ready; all are paid. Call again with the reference to continue. "
        f"{reasons}",
        order=order,
        esims=esims,
        failures=failures,
        reference_id=order.reference_id,
    )


async def _prepare_esim(
    engine: Engine,
    get: Endpoint[..., Esim],
    apply: Endpoint[..., Esim],
    esim_id: str,
    start_date: dt.date | None = None,
) -> Esim:
    """Return an eSIM with its profile, which is generated only if there is none."""
    esim = await engine.send(get, GetEsim(esim_id=esim_id))
    if not esim.is_installable:
        esim = await engine.send(apply, ApplyEsim(esim_id, start_date=start_date))
    if esim.is_installable:
        return esim
    window = engine.settings.retries.deadline or MIN_DEADLINE
    return await poll_installable(
        engine, get, esim_id, window, RoamifyError("the profile is not ready", sent="answered")
    )


async def poll_installable(
    engine: Engine, get: Endpoint[..., Esim], esim_id: str, window: float, failure: RoamifyError
) -> Esim:
    """Read an eSIM until it can be installed. Raises *failure* when *window* seconds have passed."""

    async def look() -> Esim | None:
        esim = await engine.send(get, GetEsim(esim_id=esim_id))
        return esim if esim.is_installable else None

    return await poll_until(look, window, failure)
