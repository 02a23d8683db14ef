"""Orders: what was bought, and for how much."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

import attrs

from roamify_async._validation import exactly_one, optional, reference, text, whole_number

from ._fields import State, json_name
from .common import Match
from .esims import Esim


class OrderStatus(State):
    """Where an order is; the set is open."""

    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    ARCHIVED = "ARCHIVED"
    CANCELLED = "CANCELLED"
    REFUNDED = "REFUNDED"
    REQUIRE_ACTION = "REQUIRE_ACTION"
    FAILED = "FAILED"
    """Not documented."""


def is_kept(status: str) -> bool:
    """Return whether an order with this status stands. Unknown states count as standing."""
    return status.upper() not in {"CANCELLED", "REFUNDED", "FAILED"}


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


def match_items(package_ids: Sequence[str], packages: Mapping[str, int]) -> Match:
    """Compare the packages of items with those of a request. Items may not name their package."""
    if len(package_ids) != sum(packages.values()):
        return Match.NO
    named = Counter(filter(None, package_ids))
    if not named <= Counter(packages):
        return Match.NO
    return Match.YES if all(package_ids) else Match.UNKNOWN


def falls_short(package_ids: Sequence[str], packages: Mapping[str, int]) -> bool:
    """Return whether items are a part of a request."""
    return len(package_ids) < sum(packages.values()) and Counter(filter(None, package_ids)) <= Counter(packages)


@attrs.frozen
class CreateOrder:
    """Order eSIMs, paid from the balance; ``/esims/orders``.

    Without a ``reference_id`` the client makes one. Raises ``PurchaseInDoubtError`` where it is not known whether the
    order was booked.
    """

    look_up: ClassVar[str] = "orders.reconcile({!r})"

    items: tuple[OrderItem, ...] = attrs.field(converter=order_items)
    """``OrderItem``s, at least one."""
    reference_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(reference))
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
class RepeatOrder:
    """Order again by a reference that was used before."""

    look_up: ClassVar[str] = "orders.list(reference_id={!r})"

    reference_id: str = attrs.field(validator=reference)


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

    was_found: bool = attrs.field(default=False, eq=False, metadata=json_name(None))
    """Whether it existed before the call that returned it sent anything."""

    @property
    def is_kept(self) -> bool:
        """Whether the order stands: it was not cancelled, refunded or failed."""
        return is_kept(self.status)

    @property
    def is_pending(self) -> bool:
        """Whether the server still works on it."""
        return self.status == OrderStatus.PENDING

    def match(self, packages: Mapping[str, int]) -> Match:
        """Compare its items with quantities of packages. An order that shows only its eSIMs is compared by number."""
        if self.items:
            return match_items([item.package_id for item in self.items], packages)
        return Match.UNKNOWN if self.esims and len(self.esims) == sum(packages.values()) else Match.NO

    def falls_short(self, packages: Mapping[str, int]) -> bool:
        """Return whether it holds only a part of some packages."""
        return falls_short([item.package_id for item in self.items] or ["" for _ in self.esims], packages)


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
    was_found: bool = attrs.field(default=False, eq=False, metadata=json_name(None))
    """Whether it existed before the call that returned it sent anything."""

    @property
    def is_kept(self) -> bool:
        """Whether the order stands: it was not cancelled, refunded or failed."""
        return is_kept(self.status)

    @property
    def is_pending(self) -> bool:
        """Whether the server still works on it."""
        return self.status == OrderStatus.PENDING

    def match(self, packages: Mapping[str, int]) -> Match:
        """Compare the number of its eSIMs with quantities of packages: eSIMs do not show their package."""
        return Match.UNKNOWN if len(self.esims) == sum(packages.values()) else Match.NO

    def falls_short(self, packages: Mapping[str, int]) -> bool:
        """Return whether it has fewer eSIMs than some packages."""
        return len(self.esims) < sum(packages.values())


@attrs.define(kw_only=True)
class RepeatedOrder:
    """The result of ordering by a reference that was used before."""

    order: Order
    is_new: bool
    """Whether the server made another order, rather than returning the existing one."""
