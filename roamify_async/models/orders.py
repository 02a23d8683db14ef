"""Orders: what was bought, and for how much."""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

import attrs

from roamify_async._validation import exactly_one, optional, text, whole_number

from ._fields import State
from .esims import Esim


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
    quantity: int = attrs.field(default=1, validator=whole_number)


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


def count_packages(items: Iterable[OrderItem]) -> Mapping[str, int]:
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

    look_up: ClassVar[str] = "orders.reconcile({!r})"

    items: tuple[OrderItem, ...] = attrs.field(converter=order_items)
    """``OrderItem``s, at least one."""
    reference_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(text))
    """Your own key for this purchase, by which it can be found again."""

    def packages(self) -> Mapping[str, int]:
        """Count the eSIMs of each package."""
        return count_packages(self.items)


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
    limit: int = attrs.field(default=50, validator=whole_number)
    reference_id: str | None = attrs.field(default=None, validator=optional(text))


@attrs.frozen
class ReconcileOrder:
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


HistoryItem = OrderLine
"""A package that an eSIM was bought or topped up with. The API describes it like a line of an order."""


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
