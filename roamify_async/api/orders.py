"""Orders: what was bought, and for how much."""

import datetime as dt
from collections import Counter
from collections.abc import AsyncIterable, Callable, Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Final, cast

import attrs

from roamify_async._engine.crowd import all_of, gather
from roamify_async._engine.engine import Engine as RunningEngine
from roamify_async._engine.facade import PURCHASE, Awaiting, Endpoint, Engine, LookUp, Resource, Way, operation
from roamify_async._engine.readers import State
from roamify_async._engine.wire import Trail
from roamify_async.errors import EsimsNotReadyError, NotFoundError, PurchaseInDoubtError, RoamifyError
from roamify_async.purchasing.bulk import Progress, bulk
from roamify_async.purchasing.buyer import Trade
from roamify_async.purchasing.judgement import Seen
from roamify_async.purchasing.report import BulkReport, Forms, Journal
from roamify_async.purchasing.settle import make_sure, refuse_second, search

from .account import Account, GetBalance
from .packages import ListPackages, Packages
from .profiles import LIST_ESIMS, Esim, ListEsims, make_esim
from .values import check_whole, exactly_one, optional, text, whole


class OrderStatus(State):
    """Where an order is; the set is open."""

    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    ARCHIVED = "ARCHIVED"
    CANCELLED = "CANCELLED"
    REFUNDED = "REFUNDED"
    REQUIRE_ACTION = "REQUIRE_ACTION"


@attrs.frozen
class OrderItem:
    """So many of one package."""

    package_id: str = attrs.field(validator=text)
    quantity: int = attrs.field(default=1, validator=whole)


def order_items(items: Iterable[OrderItem]) -> tuple[OrderItem, ...]:
    """Take any iterable of items, and nothing that only looks like one."""
    if isinstance(items, str | bytes | Mapping | OrderItem) or not isinstance(items, Iterable):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"items must be a list of OrderItem, not {items!r}")
    taken = tuple(items)
    for item in taken:
        if not isinstance(item, OrderItem):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"items must hold OrderItem(package_id, quantity), not {item!r}")
    if not taken:
        raise ValueError("items must hold at least one OrderItem")
    return taken


def counted(items: Iterable[OrderItem]) -> Mapping[str, int]:
    """Count how many of each package some items ask for."""
    counts: Counter[str] = Counter()
    for item in items:
        counts[item.package_id] += item.quantity
    return counts


@attrs.frozen
class CreateOrder:
    """Order eSIMs, paid from the balance; ``/esims/orders``.

    Without a ``reference_id`` the client makes one. Raises ``PurchaseInDoubtError`` where it is not known whether the
    order was booked.
    """

    look_up: ClassVar[str] = "orders.settle({!r})"

    items: tuple[OrderItem, ...] = attrs.field(converter=order_items)
    """``OrderItem``s, at least one."""
    reference_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(text))
    """Your own key for this purchase, by which it can be found again."""

    def packages(self) -> Mapping[str, int]:
        """Count the eSIMs of each package."""
        return counted(self.items)


@attrs.frozen(kw_only=True)
class GetOrder:
    """Get one order by its id or its reference; ``/esims/orders``."""

    order_id: str | None = None
    reference_id: str | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse none and both."""
        exactly_one(self)


@attrs.frozen(kw_only=True)
class ListOrders:
    """List orders; there are no pages, only a limit; ``/esims/orders``."""

    status: str | None = attrs.field(default=None, validator=optional(text))
    limit: int = attrs.field(default=50, validator=whole)
    reference_id: str | None = attrs.field(default=None, validator=optional(text))


@attrs.frozen
class SettleOrder:
    """Look an order up by its reference."""

    reference_id: str = attrs.field(validator=text)

    def own(self, orders: Iterable["Order"]) -> tuple["Order", ...]:
        """Give those of some orders that carry the reference, whatever the server thought was asked for."""
        return tuple(order for order in orders if order.reference_id == self.reference_id)


@attrs.define(kw_only=True)
class OrderLine:
    """One eSIM of an order."""

    esim_id: str = ""
    """What ``esims.apply`` takes."""
    package_id: str = ""
    package: str = ""
    """Name of the package for people."""
    type: str | None = None
    price: Decimal | None = None
    currency: str = "USD"
    created_at: datetime | None = None
    updated_at: datetime | None = None


@attrs.define(kw_only=True)
class Order:
    """An order that was booked."""

    id: str
    reference_id: str | None = None
    status: OrderStatus = OrderStatus.PENDING
    total: Decimal
    """What it cost, exact."""
    currency: str = "USD"
    items: tuple[OrderLine, ...] = ()
    """One for each eSIM."""
    esims: tuple[Esim, ...] = ()
    """Where the server shows an instant order with its eSIMs instead."""
    order_type: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def holds(self, packages: Mapping[str, int]) -> bool:
        """Tell whether it holds these packages as often; one that shows only its eSIMs has to have as many."""
        if self.items:
            return Counter(line.package_id for line in self.items) == Counter(packages)
        return bool(self.esims) and len(self.esims) == sum(packages.values())


@attrs.define(kw_only=True)
class InstantOrder:
    """An order whose eSIMs came ready to install."""

    id: str
    reference_id: str | None = None
    status: OrderStatus = OrderStatus.PENDING
    total: Decimal
    """What it cost, exact."""
    currency: str = "USD"
    esims: tuple[Esim, ...] = ()
    order_type: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


async def find_orders(engine: Engine, request: CreateOrder) -> tuple[Order, ...]:
    """Give the orders under the reference of a purchase."""
    return await engine.send(Orders.list, ListOrders(reference_id=request.reference_id))


async def missing_packages(engine: Engine, request: CreateOrder) -> tuple[str, ...]:
    """Give the package ids of a request that the catalogue does not have."""

    async def is_missing(package_id: str) -> bool:
        page = await engine.send(Packages.page, ListPackages(package_id=package_id))
        return all(package.package_id != package_id for package in page)

    wanted = tuple(request.packages())
    outcomes = await gather(is_missing, wanted)
    return tuple(package_id for package_id, outcome in zip(wanted, outcomes, strict=True) if outcome is True)


async def as_order(_: Engine, order: Order) -> Order:
    """Give an order that was found as it is."""
    return order


async def as_instant_order(engine: Engine, order: Order) -> InstantOrder:
    """Give an order that was found with its eSIMs."""
    esims = order.esims or await engine.send(
        LIST_ESIMS, ListEsims(reference_id=order.reference_id, limit=max(50, len(order.items)))
    )
    fields: dict[str, Any] = attrs.asdict(order, recurse=False)
    del fields["items"]
    fields["esims"] = esims
    return InstantOrder(**fields)


async def ready_esims(engine: Engine, order: Order, start_date: dt.date | None = None) -> tuple[Esim, ...]:
    """Make the profiles of all eSIMs of an order at once; ``EsimsNotReadyError`` tells of those that are not ready."""

    async def make(esim_id: str) -> Esim:
        return await make_esim(engine, esim_id, start_date)

    ids = [line.esim_id for line in order.items]
    outcomes = dict(zip(ids, await gather(make, ids), strict=True))
    failures = {esim_id: error for esim_id, error in outcomes.items() if isinstance(error, RoamifyError)}
    esims = all_of(tuple(outcome for esim_id, outcome in outcomes.items() if esim_id not in failures))
    if not failures:
        return esims
    told = "; ".join(f"{esim_id}: {error}" for esim_id, error in failures.items())
    raise EsimsNotReadyError(
        f"{len(esims)} of {len(ids)} eSIMs are ready; all are paid. Call again with the reference to go on. {told}",
        order=order,
        esims=esims,
        failures=failures,
        reference_id=order.reference_id,
    )


class Orders(Resource[Way]):
    """Orders of eSIMs."""

    create: Final = Endpoint(
        "POST", "/api/esim/order", CreateOrder, Order,
        kind=PURCHASE, timeout=60, look_up=LookUp(find_orders, as_order, missing_packages, offers="packages.list()"),
    )  # fmt: skip
    """Order eSIMs; their profiles are made by ``esims.apply``."""
    create_instant: Final = Endpoint(
        "POST", "/api/esim/order/instant", CreateOrder, InstantOrder,
        kind=PURCHASE, timeout=60,
        look_up=LookUp(find_orders, as_instant_order, missing_packages, offers="packages.list()"),
    )  # fmt: skip
    """Order eSIMs that come ready to install."""
    get: Final = Endpoint("GET", "/api/esim/order", GetOrder, Order)
    """One order."""
    list: Final = Endpoint("GET", "/api/esim/orders", ListOrders, tuple[Order, ...], answer="data.orders")
    """Orders, under one reference or all."""

    @operation
    async def bulk(
        self: "Orders[Awaiting]",
        requests: Iterable[CreateOrder] | AsyncIterable[CreateOrder],
        *,
        journal: str | Path | None = None,
        concurrency: int | None = None,
        rate: float | None = None,
        max_spend: Decimal | int | str | None = None,
        apply: bool = False,
        on_progress: Callable[[Progress], object] | None = None,
    ) -> BulkReport[Order, Esim]:
        """Order many times at once, and give a report with a line for each request; one bad line hurts no other.

        With a *journal* (a file), every line is on the disk before it is sent and after: called again with the same
        file and requests, it goes on where it stopped, also after a crash. *max_spend* is never passed. With *apply*
        the eSIMs of each line are made as well. *requests* and *on_progress* are called in your own thread; what they
        raise ends the taking of lines and is raised at the end.

        Raises, before anything is sent, ``BudgetError`` where all lines are known to cost more than *max_spend* or the
        balance, ``JournalError`` where the journal is another's or in use, and ``ValueError`` or ``TypeError``.
        """
        if concurrency is not None:
            check_whole("concurrency", concurrency)

        async def price(package_id: str) -> Decimal:
            page = await self.engine.send(Packages.page, ListPackages(package_id=package_id))
            for package in page:
                if package.package_id == package_id:
                    return package.price
            raise NotFoundError(
                f"there is no package {package_id!r}; see packages.list()", status=404, package_ids=(package_id,)
            )

        async def balance() -> Decimal:
            return (await self.engine.send(Account.balance, GetBalance())).balance

        async def finish(order: Order) -> tuple[Esim, ...]:
            return await ready_esims(self.engine, order)

        async def buy(engine: RunningEngine, request: CreateOrder, trail: Trail) -> Order:
            return await make_sure(engine, Orders.create, request, trail)

        async def recheck(engine: RunningEngine, request: CreateOrder, trail: Trail) -> None:
            await refuse_second(engine, Orders.create, request, trail)

        trade = Trade(
            forms=Journal.forms,
            buy=buy,
            recheck=recheck,
            price=price,
            balance=balance,
            finish=finish if apply else None,
        )
        return await bulk(
            cast("RunningEngine", self.engine),
            trade,
            requests,
            journal=journal,
            concurrency=concurrency,
            rate=rate,
            max_spend=max_spend,
            on_progress=on_progress,
        )

    @operation
    async def settle(self: "Orders[Awaiting]", reference_id: str) -> Order:
        """Look an order up by its reference until it is there, or the settle window has passed.

        Raises ``NotFoundError`` where it is not, and ``PurchaseInDoubtError`` where there are several.
        """
        wanted = SettleOrder(reference_id)

        async def look() -> Seen:
            orders = await self.engine.send(Orders.list, ListOrders(reference_id=reference_id))
            return Seen(wanted.own(orders))

        seen = await search(look, self.engine.settings.settle_window)
        if len(seen.ours) == 1:
            return cast("Order", seen.ours[0])
        if seen.ours:
            ids = " ".join(order.id for order in seen.ours)
            raise PurchaseInDoubtError(
                f"{len(seen.ours)} orders stand under this reference: {ids}",
                found=seen.ours,
                sent="answered",
                reference_id=reference_id,
            )
        raise seen.failure or NotFoundError(
            "no order is to be seen under this reference",
            status=404,
            method=Orders.list.method,
            path=Orders.list.path,
            reference_id=reference_id,
        )


Journal.forms = Forms(CreateOrder, Order, Esim)
