"""Orders of eSIMs and top-ups: requests, responses and states."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import ClassVar

import attrs

from roamify_async._serde.fields import State, json_name
from roamify_async._validation import exactly_one, optional, reference, text, whole_number

from ._text import count, moment, money, order_summary, summary
from ._value import Value
from .common import Match
from .esims import Esim, ReadyEsim


class OrderStatus(State):
    """State of an order. Unknown values are kept as they are."""

    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    ARCHIVED = "ARCHIVED"
    CANCELLED = "CANCELLED"
    REFUNDED = "REFUNDED"
    REQUIRE_ACTION = "REQUIRE_ACTION"
    FAILED = "FAILED"
    """Not documented; handled in case it is sent."""


def is_kept(status: str) -> bool:
    """Return whether an order with this status is valid. Unknown states count as valid."""
    return status.upper() not in {"CANCELLED", "REFUNDED", "FAILED"}


@attrs.frozen(eq=False, repr=False)
class OrderItem(Value):
    """A package and its quantity in an order."""

    package_id: str = attrs.field(validator=text)
    """Id of the package, from the catalogue."""
    quantity: int = attrs.field(default=1, validator=whole_number)
    """Number of eSIMs or policies. The maximum for eSIMs is not documented."""


def order_items(items: Iterable[OrderItem]) -> tuple[OrderItem, ...]:
    """Convert an iterable of items to a tuple. Text, mappings and a single item are refused."""
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
    """Return the total quantity of each package in some items."""
    counts: dict[str, int] = {}
    for item in items:
        counts[item.package_id] = counts.get(item.package_id, 0) + item.quantity
    return counts


def match_items(package_ids: Sequence[str], packages: Mapping[str, int]) -> Match:
    """Compare the packages of booked items with those of a request. An empty id means an unknown package."""
    if len(package_ids) != sum(packages.values()):
        return Match.NO
    if not _is_part(package_ids, packages):
        return Match.NO
    return Match.YES if all(package_ids) else Match.UNKNOWN


def _is_part(package_ids: Sequence[str], packages: Mapping[str, int]) -> bool:
    """Return whether *packages* contain each named package as often."""
    counts: dict[str, int] = {}
    for package_id in filter(None, package_ids):
        counts[package_id] = counts.get(package_id, 0) + 1
    return all(count <= packages.get(package_id, 0) for package_id, count in counts.items())


def falls_short(package_ids: Sequence[str], packages: Mapping[str, int]) -> bool:
    """Return whether booked items are only a part of a request."""
    return len(package_ids) < sum(packages.values()) and _is_part(package_ids, packages)


@attrs.frozen(eq=False, repr=False)
class CreateOrder(Value):
    """Order eSIMs, which are paid from the balance, and return the order.

    A *reference_id* that you pass is looked up first. If an order with the same items exists under it, that order is
    returned with ``was_found`` set, and nothing is sent. An order whose response is lost is looked up too, instead of
    being sent again.

    ``orders.create`` leaves the profiles to ``esims.apply``. ``orders.create_instant`` returns eSIMs that are ready to
    install, which takes up to 60 seconds.

    Args:
        items: An iterable of ``OrderItem``, at least one.
        reference_id: Your key for this purchase, such as ``"order-4711"``; one reference is one purchase. At most 128
            characters in Unicode's form NFC, without control characters, and without white space at either end. The
            client creates a UUID if it is omitted.

    Raises:
        ValueError: The reference is invalid, or an instant order contains a package that requires a date of travel;
            nothing was sent.
        PackageNotFoundError: A package does not exist; nothing was sent. ``nearest`` has the most similar ids.
        ConflictError: An order with other items has the reference, or the server refused the order with status 409.
        PurchaseFailedError: The order was booked and then cancelled or refunded, or it failed. Use a new reference.
        PurchaseInDoubtError: It is not known whether the order was booked. Look it up with ``orders.reconcile``.
        EsimsNotReadyError: An instant order is booked and paid, but not all of its eSIMs are listed, or have their
            codes, yet. ``order`` is the order, and ``esims`` are those that are ready.

    See: https://docs.getroamify.com/esims/orders/
    """

    look_up: ClassVar[str] = "orders.reconcile({!r})"
    """Call that looks up the purchase, with a placeholder for its reference."""

    items: tuple[OrderItem, ...] = attrs.field(converter=order_items)
    """``OrderItem`` objects, at least one."""
    reference_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(reference))
    """Reference of the purchase, chosen by the caller: an idempotency key, by which the purchase is found again."""

    def packages(self) -> Mapping[str, int]:
        """Return the number of eSIMs of each package."""
        return count_packages(self.items)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class GetOrder(Value):
    """Return one order by its id or its reference.

    Args:
        order_id: The id of the order. Pass exactly one of the two.
        reference_id: The reference of the order. The response if several orders have it is not documented.

    Raises:
        NotFoundError: There is no such order, or it belongs to another partner.

    See: https://docs.getroamify.com/esims/orders/
    """

    order_id: str | None = None
    reference_id: str | None = None

    def __attrs_post_init__(self) -> None:
        """Check that exactly one argument is given."""
        exactly_one(self)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ListOrders(Value):
    """Return orders of eSIMs and top-ups, of all references or of one.

    The API has no pagination for them, and documents neither their order nor the maximum of *limit*. That top-ups are
    included is inferred.

    Args:
        status: Return only orders in this state, such as ``OrderStatus.COMPLETED``.
        limit: Maximum number of orders to return.
        reference_id: Return only orders with this reference.

    See: https://docs.getroamify.com/esims/orders/
    """

    status: str | None = attrs.field(default=None, validator=optional(text))
    limit: int = attrs.field(default=50, validator=whole_number)
    """Maximum number of orders."""
    reference_id: str | None = attrs.field(default=None, validator=optional(text))


@attrs.frozen(eq=False, repr=False)
class RepeatOrder(Value):
    """Send an order that consists only of the reference of an existing order.

    See: https://docs.getroamify.com/esims/overview/
    """

    look_up: ClassVar[str] = "orders.list(reference_id={!r})"
    """Call that looks up the purchase, with a placeholder for its reference."""

    reference_id: str = attrs.field(validator=reference)


@attrs.frozen(eq=False, repr=False)
class ReconcileOrder(Value):
    """Look up an order by its reference."""

    reference_id: str = attrs.field(validator=text)

    def own(self, orders: Iterable["Order"]) -> tuple["Order", ...]:
        """Return the orders that have the reference, in case the server ignored the filter."""
        return tuple(order for order in orders if order.reference_id == self.reference_id)


@attrs.define(kw_only=True, eq=False, repr=False)
class OrderLine(Value):
    """One eSIM of an order."""

    esim_id: str = ""
    """Id that ``esims.apply`` takes."""
    package_id: str = ""
    package: str = ""
    """Display name of the package."""
    type: str | None = None
    price: Decimal | None = None
    currency: str = "USD"
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def _html_cells(self) -> Mapping[str, object]:
        return {
            "package": self.package_id,
            "eSIM": self.esim_id,
            "price": money(self.price, self.currency),
            "created": moment(self.created_at),
        }

    def __repr__(self) -> str:
        """Return one line."""
        return summary(self, self.package_id, self.esim_id, money(self.price, self.currency))


HistoryItem = OrderLine
"""A package that an eSIM was bought or topped up with. The API documents it like an item of an order."""


@attrs.define(kw_only=True, eq=False, repr=False)
class Order(Value):
    """A booked order."""

    id: str
    reference_id: str | None = None
    status: OrderStatus = OrderStatus.PENDING
    total: Decimal
    """Exact price of the order."""
    currency: str = "USD"
    items: tuple[OrderLine, ...] = ()
    """One item for each eSIM."""
    esims: tuple[Esim, ...] = ()
    """The eSIMs, if the server returns an instant order with eSIMs instead of items; that is not documented."""
    order_type: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    was_found: bool = attrs.field(default=False, eq=False, metadata=json_name(None))
    """Whether the order existed before the call that returned it sent anything."""

    @property
    def is_kept(self) -> bool:
        """Whether the order is valid: it was neither cancelled nor refunded, and did not fail."""
        return is_kept(self.status)

    @property
    def is_pending(self) -> bool:
        """Whether the server is still processing the order."""
        return self.status == OrderStatus.PENDING

    def match(self, packages: Mapping[str, int]) -> Match:
        """Compare the items with packages and their quantities. If there are only eSIMs, their number is compared."""
        if self.items:
            return match_items([item.package_id for item in self.items], packages)
        return Match.UNKNOWN if self.esims and len(self.esims) == sum(packages.values()) else Match.NO

    def falls_short(self, packages: Mapping[str, int]) -> bool:
        """Return whether the order contains only a part of some packages."""
        return falls_short([item.package_id for item in self.items] or ["" for _ in self.esims], packages)

    def _html_cells(self) -> Mapping[str, object]:
        return {
            "order": self.id,
            "reference": self.reference_id,
            "status": self.status,
            "items": count(len(self.items) or len(self.esims), "item"),
            "total": money(self.total, self.currency),
            "created": moment(self.created_at),
        }

    def __repr__(self) -> str:
        """Return one line."""
        return order_summary(self, count(len(self.items) or len(self.esims), "item"))


@attrs.define(kw_only=True, eq=False, repr=False)
class InstantOrder(Value):
    """A booked order with eSIMs that are ready to install."""

    id: str
    reference_id: str | None = None
    status: OrderStatus = OrderStatus.PENDING
    total: Decimal
    """Exact price of the order."""
    currency: str = "USD"
    esims: tuple[ReadyEsim, ...] = ()
    order_type: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    was_found: bool = attrs.field(default=False, eq=False, metadata=json_name(None))
    """Whether the order existed before the call that returned it sent anything."""

    @property
    def is_kept(self) -> bool:
        """Whether the order is valid: it was neither cancelled nor refunded, and did not fail."""
        return is_kept(self.status)

    @property
    def is_pending(self) -> bool:
        """Whether the server is still processing the order."""
        return self.status == OrderStatus.PENDING

    def match(self, packages: Mapping[str, int]) -> Match:
        """Compare the number of eSIMs with quantities of packages, since eSIMs do not name their package."""
        return Match.UNKNOWN if len(self.esims) == sum(packages.values()) else Match.NO

    def falls_short(self, packages: Mapping[str, int]) -> bool:
        """Return whether the order has fewer eSIMs than requested."""
        return len(self.esims) < sum(packages.values())

    def _html_cells(self) -> Mapping[str, object]:
        return {
            "order": self.id,
            "reference": self.reference_id,
            "status": self.status,
            "eSIMs": count(len(self.esims), "eSIM"),
            "total": money(self.total, self.currency),
            "created": moment(self.created_at),
        }

    def __repr__(self) -> str:
        """Return one line."""
        return order_summary(self, count(len(self.esims), "eSIM"))


@attrs.define(kw_only=True, eq=False, repr=False)
class RepeatedOrder(Value):
    """The result of ``orders.repeat``."""

    order: Order
    is_new: bool
    """Whether the server made another order instead of returning the existing one."""
