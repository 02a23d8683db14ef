"""Orders: what was bought, and for how much."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, Final, cast

import attrs

from roamify_async._engine.crowd import gather
from roamify_async._engine.facade import PURCHASE, Awaiting, Endpoint, Engine, LookUp, Resource, Way, operation
from roamify_async._engine.readers import State
from roamify_async.errors import NotFoundError, PurchaseInDoubtError
from roamify_async.purchasing.settle import Seen, search

from .packages import ListPackages, Packages
from .profiles import LIST_ESIMS, Esim, ListEsims
from .values import exactly_one, optional, text, whole


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
    """So many eSIMs of one package."""

    package_id: str = attrs.field(validator=text)
    quantity: int = attrs.field(default=1, validator=whole)


def _items(items: Iterable[OrderItem]) -> tuple[OrderItem, ...]:
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


@attrs.frozen
class CreateOrder:
    """Order eSIMs, paid from the balance; ``/esims/orders``.

    Without a ``reference_id`` the client makes one. Raises ``PurchaseInDoubtError`` where it is not known whether the
    order was booked.
    """

    items: tuple[OrderItem, ...] = attrs.field(converter=_items)
    """``OrderItem``s, at least one."""
    reference_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(text))
    """Your own key for this purchase, by which it can be found again."""

    def packages(self) -> Mapping[str, int]:
        """Count the eSIMs of each package."""
        wanted: Counter[str] = Counter()
        for item in self.items:
            wanted[item.package_id] += item.quantity
        return wanted


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


class Orders(Resource[Way]):
    """Orders of eSIMs."""

    create: Final = Endpoint(
        "POST", "/api/esim/order", CreateOrder, Order,
        kind=PURCHASE, timeout=60, look_up=LookUp(find_orders, as_order, missing_packages),
    )  # fmt: skip
    """Order eSIMs; their profiles are made by ``esims.apply``."""
    create_instant: Final = Endpoint(
        "POST", "/api/esim/order/instant", CreateOrder, InstantOrder,
        kind=PURCHASE, timeout=60, look_up=LookUp(find_orders, as_instant_order, missing_packages),
    )  # fmt: skip
    """Order eSIMs that come ready to install."""
    get: Final = Endpoint("GET", "/api/esim/order", GetOrder, Order)
    """One order."""
    list: Final = Endpoint("GET", "/api/esim/orders", ListOrders, tuple[Order, ...], answer="data.orders")
    """Orders, under one reference or all."""

    @operation
    async def settle(self: "Orders[Awaiting]", reference_id: str) -> Order:
        """Look an order up by its reference until it is there, or the settle window has passed.

        Raises ``NotFoundError`` where it is not, and ``PurchaseInDoubtError`` where there are several.
        """
        wanted = ListOrders(reference_id=reference_id)

        async def look() -> Seen:
            return Seen(await self.engine.send(Orders.list, wanted))

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
            "no order is to be seen under this reference", status=404, reference_id=reference_id
        )
