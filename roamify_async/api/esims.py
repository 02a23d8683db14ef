"""eSIMs: their profiles, their states, and what was used of them."""

import datetime as dt
from collections.abc import Awaitable, Callable
from datetime import datetime
from decimal import Decimal
from typing import Final, TypeVar

import attrs

from roamify_async._engine.crowd import gather
from roamify_async._engine.engine import SHORTEST_DEADLINE
from roamify_async._engine.facade import ACTION, Awaiting, Endpoint, Engine, Resource, Way, operation
from roamify_async._engine.waiting import looks
from roamify_async.errors import (
    APIStatusError,
    BadRequestError,
    ConflictError,
    DecodeError,
    EsimsNotReadyError,
    PurchaseInDoubtError,
    RoamifyError,
    ServerError,
    TransportError,
)
from roamify_async.purchasing.settle import holds

from .orders import CreateOrder, ListOrders, Order, OrderItem, Orders
from .profiles import LIST_ESIMS, Esim, EsimStatus, ListEsims
from .values import day, exactly_one, text

T = TypeVar("T")

MOST_ESIMS: Final = 500
"""More eSIMs than one order holds."""


@attrs.frozen
class ApplyEsim:
    """Generate the profile of an eSIM; takes up to 90 s; ``/esims/esims``.

    A package with ``requirements.travel_date`` needs a ``start_date``.
    """

    esim_id: str = attrs.field(validator=text)
    start_date: dt.date | None = attrs.field(default=None, kw_only=True, converter=day)
    """First day of the journey: a ``datetime.date`` or its ISO text."""


@attrs.frozen
class ApplyOrder:
    """Generate the profiles of all eSIMs of an order; takes up to 90 s; ``/esims/esims``."""

    reference_id: str = attrs.field(validator=text)
    start_date: dt.date | None = attrs.field(default=None, kw_only=True, converter=day)
    """First day of the journey: a ``datetime.date`` or its ISO text."""


@attrs.frozen(kw_only=True)
class GetEsim:
    """Get one eSIM by its ICCID or its id; ``/esims/esims``."""

    iccid: str | None = None
    esim_id: str | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse none and both."""
        exactly_one(self)


@attrs.frozen
class GetUsage:
    """Get what was used of an eSIM; ``/esims/esims``. Not for packages with ``with_usage_check=False``."""

    iccid: str = attrs.field(validator=text)


@attrs.frozen
class GetHistory:
    """Get the packages that an eSIM had; ``/esims/esims``."""

    iccid: str = attrs.field(validator=text)


@attrs.define(kw_only=True)
class HistoryItem:
    """A package that an eSIM was bought with or topped up with."""

    esim_id: str = ""
    package_id: str = ""
    package: str = ""
    """Name of the package for people."""
    type: str | None = None
    price: Decimal | None = None
    currency: str = "USD"
    created_at: datetime | None = None
    updated_at: datetime | None = None


@attrs.define(kw_only=True)
class Usage:
    """What an eSIM may use and what is left.

    Data in MB by the documentation's examples (one page of it says KB); calls in minutes or seconds: it says both.
    """

    id: str | None = None
    iccid: str | None = None
    status: EsimStatus = EsimStatus.UNKNOWN
    started_at: datetime | None = None
    expired_at: datetime | None = None
    allowed_data: Decimal | None = None
    """``None``: unlimited, or not said."""
    remaining_data: Decimal | None = None
    allowed_sms: Decimal | None = None
    remaining_sms: Decimal | None = None
    allowed_voice: Decimal | None = None
    remaining_voice: Decimal | None = None


def is_open_question(failure: RoamifyError) -> bool:
    """Tell whether an apply that failed may be under way all the same, or done."""
    if isinstance(failure, TransportError):
        return failure.last_try != "no"
    if isinstance(failure, APIStatusError) and "pending" in failure.message:
        return True
    return isinstance(failure, ServerError | ConflictError | DecodeError)


async def until_ready(
    look: Callable[[], Awaitable[tuple[Esim, ...]]], window: float, failure: RoamifyError
) -> tuple[Esim, ...]:
    """Read eSIMs until all can be installed; raise *failure* where they are not when the window has passed."""
    async for _ in looks(window):
        try:
            esims = await look()
        except (TransportError, ServerError):
            continue
        except RoamifyError:
            break  # Reading is refused: what went wrong first says more.
        if esims and all(esim.is_installable for esim in esims):
            return esims
    raise failure


def patience(engine: Engine, failure: RoamifyError) -> float:
    """Give the seconds for which eSIMs whose apply failed are read; raise a failure that leaves nothing open.

    They have as long as a call may take; after a server error that does not speak of waiting, the settle window.
    """
    if not is_open_question(failure):
        raise failure
    settings = engine.settings
    if isinstance(failure, ServerError) and "pending" not in failure.message:
        return settings.settle_window
    return settings.retries.deadline or SHORTEST_DEADLINE


async def read_applied(engine: Engine, request: ApplyEsim, failure: RoamifyError) -> Esim:
    """Read the eSIM whose apply failed; it is never applied twice."""
    return await until_installable(engine, request.esim_id, patience(engine, failure), failure)


async def until_installable(engine: Engine, esim_id: str, window: float, failure: RoamifyError) -> Esim:
    """Read one eSIM until it can be installed."""

    async def look() -> tuple[Esim, ...]:
        return (await engine.send(Esims.get, GetEsim(esim_id=esim_id)),)

    (esim,) = await until_ready(look, window, failure)
    return esim


async def read_order_applied(engine: Engine, request: ApplyOrder, failure: RoamifyError) -> tuple[Esim, ...]:
    """Read the eSIMs of the order whose apply failed; apply each where the server takes no order."""

    async def look() -> tuple[Esim, ...]:
        return await engine.send(Esims.list, ListEsims(reference_id=request.reference_id, limit=MOST_ESIMS))

    async def apply(esim: Esim) -> Esim:
        return await engine.send(Esims.apply, ApplyEsim(esim.id, start_date=request.start_date))

    if not isinstance(failure, BadRequestError) or "esimId" not in failure.message:
        return await until_ready(look, patience(engine, failure), failure)
    return _all(await gather(apply, await look()))


def _all(outcomes: tuple[T | Exception, ...]) -> tuple[T, ...]:
    """Give all outcomes, or raise the first that is an error."""
    done: list[T] = []
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
        done.append(outcome)
    return tuple(done)


def not_ready(order: Order, esims: tuple[Esim, ...], failures: dict[str, RoamifyError]) -> EsimsNotReadyError:
    """Make the error for an order of which some eSIMs are not ready."""
    told = "; ".join(f"{esim_id}: {error}" for esim_id, error in failures.items())
    return EsimsNotReadyError(
        f"{len(esims)} of {len(order.items)} eSIMs are ready; all are paid. "
        f"Call again with the reference to go on. {told}",
        order=order,
        esims=esims,
        failures=failures,
        reference_id=order.reference_id,
    )


class Esims(Resource[Way]):
    """eSIMs that were bought."""

    apply: Final = Endpoint("POST", "/api/esim/apply", ApplyEsim, Esim, kind=ACTION, timeout=100, recover=read_applied)
    """Generate the profile of one eSIM."""
    apply_order: Final = Endpoint(
        "POST", "/api/esim/apply", ApplyOrder, tuple[Esim, ...],
        kind=ACTION, timeout=100, recover=read_order_applied,
    )  # fmt: skip
    """Generate the profiles of all eSIMs of one order."""
    get: Final = Endpoint("GET", "/api/esim", GetEsim, Esim)
    """One eSIM."""
    list: Final = LIST_ESIMS
    """eSIMs, of one order or of all."""
    usage: Final = Endpoint("GET", "/api/esim/usage", GetUsage, Usage)
    """What was used of one eSIM."""
    history: Final = Endpoint("GET", "/api/esim/history", GetHistory, tuple[HistoryItem, ...])
    """The packages that one eSIM had."""

    @operation
    async def buy(
        self: "Esims[Awaiting]",
        package_id: str,
        quantity: int = 1,
        *,
        start_date: dt.date | str | None = None,
        reference_id: str | None = None,
    ) -> tuple[Esim, ...]:
        """Order eSIMs and make their profiles; give them once they can be installed.

        Called again with its reference it goes on where it stopped. Raises ``EsimsNotReadyError`` where some are not
        ready, and what ``orders.create`` raises.
        """
        wanted = CreateOrder([OrderItem(package_id, quantity)], reference_id=reference_id)
        start = day(start_date)
        order = await self._found(wanted)
        if order is None:
            order = await self.engine.send(Orders.create, wanted)

        async def make(esim_id: str) -> Esim:
            return await self._made(esim_id, start)

        ids = [line.esim_id for line in order.items]
        outcomes = dict(zip(ids, await gather(make, ids), strict=True))
        failures = {esim_id: error for esim_id, error in outcomes.items() if isinstance(error, RoamifyError)}
        esims = _all(tuple(outcome for esim_id, outcome in outcomes.items() if esim_id not in failures))
        if failures:
            raise not_ready(order, esims, failures)
        return esims

    @operation
    async def _found(self: "Esims[Awaiting]", wanted: CreateOrder) -> Order | None:
        """Find the order of a purchase that was begun before."""
        if wanted.reference_id is None or wanted.reference_id in self.engine.doubts:
            return None
        orders = await self.engine.send(Orders.list, ListOrders(reference_id=wanted.reference_id))
        if not orders:
            return None
        if len(orders) == 1 and holds(orders[0], wanted.packages()):
            return orders[0]
        raise PurchaseInDoubtError(
            f"under the reference {wanted.reference_id} stands something else than this purchase",
            request=wanted,
            found=orders,
            reference_id=wanted.reference_id,
            package_ids=tuple(wanted.packages()),
        )

    @operation
    async def _made(self: "Esims[Awaiting]", esim_id: str, start: dt.date | None) -> Esim:
        """Give an eSIM with its profile; it is applied only where it is new."""
        esim = await self.engine.send(Esims.get, GetEsim(esim_id=esim_id))
        if not esim.is_installable:
            esim = await self.engine.send(Esims.apply, ApplyEsim(esim_id, start_date=start))
        if esim.is_installable:
            return esim
        window = self.engine.settings.retries.deadline or SHORTEST_DEADLINE
        pending = RoamifyError("its profile is not ready yet", sent="answered")
        return await until_installable(self.engine, esim_id, window, pending)
