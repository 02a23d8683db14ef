"""Insurance products and orders."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final

import attrs

from roamify_async._serde.fields import json_name
from roamify_async._validation import (
    Geography,
    exactly_one,
    geography,
    optional,
    reference,
    text,
    to_geography,
    whole_number,
)

from ._text import count, money, order_summary, summary
from ._value import Value
from .common import Match
from .orders import OrderItem, OrderStatus, count_packages, falls_short, is_kept, match_items, order_items
from .policies import InsuranceRequirements

MAX_POLICIES: Final = 5
"""Maximum number of policies per order."""

PREFIX: Final = "insurance-"
"""Prefix of the ids of insurance packages."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ListInsuranceCountries(Value):
    """Return the countries for which insurance is sold.

    Args:
        geography: Return only ``"local"``, ``"regional"`` or ``"global"`` entries.

    See: https://docs.getroamify.com/insurance/countries/
    """

    geography: Geography | None = attrs.field(default=None, converter=to_geography, validator=optional(geography))
    """``"local"`` (one country), ``"regional"`` or ``"global"``."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ListInsurance(Value):
    """Return insurance products with their packages; none for a country without insurance.

    Args:
        geography: Return only ``"local"``, ``"regional"`` or ``"global"`` products.
        country: English name of a country, as in ``insurance.countries()`` or another common one, in any case; for
            example ``"Saudi Arabia"``.
        country_code: Code of a country, as in ``insurance.countries()``, in any case; for example ``"SA"``.
        package_id: Return only this package.
        day: Return only packages with exactly this validity in days.

    See: https://docs.getroamify.com/insurance/packages/
    """

    geography: Geography | None = attrs.field(default=None, converter=to_geography, validator=optional(geography))
    """``"local"`` (one country), ``"regional"`` or ``"global"``."""
    country: str | None = attrs.field(default=None, validator=optional(text))
    """English name of a country, as in ``insurance.countries()``."""
    country_code: str | None = attrs.field(default=None, validator=optional(text))
    """Code of a country, as in ``insurance.countries()``."""
    package_id: str | None = attrs.field(default=None, validator=optional(text))
    """Id of the only package to return."""
    day: int | None = attrs.field(default=None, validator=optional(whole_number))
    """Exact validity in days."""


@attrs.frozen(eq=False, repr=False)
class GetInsurance(Value):
    """Return the product of one insurance package. Its ``packages`` contain only that package.

    Args:
        package_id: Id of the package, such as ``"insurance-saudi-arabia-individual-7days"``.

    Raises:
        NotFoundError: There is no such package.

    See: https://docs.getroamify.com/insurance/packages/
    """

    package_id: str = attrs.field(validator=text)


def _few_policies(_: object, field: "attrs.Attribute[Any]", items: tuple[OrderItem, ...]) -> None:
    """Check that all packages are insurance, and that there are not too many policies for one order."""
    for item in items:
        if not item.package_id.startswith(PREFIX):
            raise ValueError(
                f"{item.package_id!r} is not an insurance package: ids come from insurance.packages() and begin with "
                f"{PREFIX!r}"
            )
    policies = sum(item.quantity for item in items)
    if policies > MAX_POLICIES:
        raise ValueError(f"{field.name} must be at most {MAX_POLICIES} policies together, not {policies}: split them")


@attrs.frozen(eq=False, repr=False)
class OrderInsurance(Value):
    """Order insurance policies, which are paid from the balance, and return the order.

    The order reserves the policies; ``insurance.apply`` issues each of them.

    A *reference_id* that you pass is looked up first. If an order with the same items exists under it, that order is
    returned with ``was_found`` set, and nothing is sent. An order whose response is lost is looked up too, instead of
    being sent again.

    Args:
        items: An iterable of ``OrderItem``; 1 to 5 policies in total.
        reference_id: Your key for this purchase, such as ``"order-4711"``; one reference is one purchase. At most 128
            characters in Unicode's form NFC, without control characters, and without white space at either end. The
            client creates a UUID if it is omitted.

    Raises:
        PackageNotFoundError: A package does not exist; nothing was sent.
        ConflictError: The balance is insufficient, or an order with other items has the reference.
        PurchaseFailedError: The order was booked and then cancelled or refunded, or it failed. Use a new reference.
        PurchaseInDoubtError: It is not known whether the order was booked. Look it up with
            ``insurance.get_order(reference_id=...)``.

    See: https://docs.getroamify.com/insurance/orders/
    """

    look_up: ClassVar[str] = "insurance.get_order(reference_id={!r})"
    """Call that looks up the purchase, with a placeholder for its reference."""

    items: tuple[OrderItem, ...] = attrs.field(converter=order_items, validator=_few_policies)
    """``OrderItem`` objects; 1 to 5 policies in total."""
    reference_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(reference))
    """Reference of the purchase, chosen by the caller: an idempotency key, by which the purchase is found again."""

    def packages(self) -> Mapping[str, int]:
        """Return the number of policies of each package."""
        return count_packages(self.items)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class GetInsuranceOrder(Value):
    """Return one insurance order by its id or its reference.

    Args:
        order_id: The id of the order. Pass exactly one of the two.
        reference_id: The reference of the order.

    Raises:
        NotFoundError: There is no such insurance order. Orders of eSIMs are not found here.

    See: https://docs.getroamify.com/insurance/orders/
    """

    order_id: str | None = None
    reference_id: str | None = None

    def __attrs_post_init__(self) -> None:
        """Check that exactly one argument is given."""
        exactly_one(self)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ListInsuranceOrders(Value):
    """Return insurance orders that were made through the API, newest first. The API has no pagination for them.

    Args:
        status: Return only orders in this state, such as ``OrderStatus.COMPLETED``. The match is exact.
        limit: Maximum number of orders to return.

    See: https://docs.getroamify.com/insurance/orders/
    """

    status: str | None = attrs.field(default=None, validator=optional(text))
    limit: int = attrs.field(default=50, validator=whole_number)
    """Maximum number of orders."""


@attrs.define(kw_only=True, eq=False, repr=False)
class InsuranceCountry(Value):
    """A country for which insurance is sold."""

    code: str
    name: str
    """English name, as ``insurance.packages(country=...)`` takes it."""
    slug: str | None = None
    geography: str | None = None


@attrs.define(kw_only=True, eq=False, repr=False)
class InsurancePackage(Value):
    """An insurance package: a product for a number of days."""

    package_id: str
    """Id that orders take. Ids come from the catalogue and must not be constructed."""
    package: str = ""
    """Display name."""
    provider: str | None = None
    """Name of the insurance company."""
    type: str | None = None
    price: Decimal
    """Exact price in USD."""
    charge: Decimal | None = None
    """Exact amount. Its meaning is not documented."""
    currency: str = "USD"
    day: int | None = None
    """Validity in days."""
    requirements: InsuranceRequirements = attrs.field(factory=InsuranceRequirements)
    """Data about the traveller that ``insurance.apply`` requires."""
    notes: tuple[Any, ...] = ()
    """Display content of the insurance company: texts, or any other JSON."""

    def __repr__(self) -> str:
        """Return one line."""
        return summary(self, self.package_id, self.package, count(self.day, "day"), money(self.price))


@attrs.define(kw_only=True, eq=False, repr=False)
class InsuranceProduct(Value):
    """An insurance product for a country, with its packages."""

    id: str = ""
    name: str = ""
    slug: str | None = None
    country_name: str = ""
    country_code: str = ""
    country_slug: str = ""
    geography: str | None = None
    region: str | None = None
    description: str | None = None
    image: str | None = attrs.field(default=None, repr=False)
    """URL of an image."""
    coverages: tuple[Any, ...] = ()
    """Display content of the insurance company: texts, or any other JSON."""
    benefits: tuple[Any, ...] = ()
    """Display content of the insurance company: texts, or any other JSON."""
    eligible_nationality: tuple[str, ...] = attrs.field(default=(), repr=False)
    """Nationalities of travellers who can be insured."""
    eligible_nation_codes: tuple[str, ...] = attrs.field(default=(), repr=False)
    insured_type: str | None = None
    min_price: Decimal | None = None
    """Lowest price of its packages in USD."""
    max_price: Decimal | None = None
    """Highest price of its packages in USD."""
    packages: tuple[InsurancePackage, ...] = ()

    def __repr__(self) -> str:
        """Return one line."""
        return summary(self, self.id, self.name, self.country_name, count(len(self.packages), "package"))


@attrs.define(kw_only=True, eq=False, repr=False)
class InsuranceLine(Value):
    """One policy of an order."""

    policy_id: str = ""
    """Id that ``insurance.apply`` takes."""
    package_id: str = ""
    package: str = ""
    """Display name of the package."""
    type: str | None = None
    price: Decimal | None = None
    currency: str = "USD"
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def __repr__(self) -> str:
        """Return one line."""
        return summary(self, self.policy_id, self.package_id, money(self.price, self.currency))


@attrs.define(kw_only=True, eq=False, repr=False)
class InsuranceOrder(Value):
    """A booked order of insurance policies."""

    id: str
    reference_id: str | None = None
    status: OrderStatus = OrderStatus.PENDING
    total: Decimal
    """Exact price of the order."""
    currency: str = "USD"
    items: tuple[InsuranceLine, ...] = ()
    """One item for each policy."""
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
        """Compare the items with packages and their quantities."""
        return match_items([item.package_id for item in self.items], packages)

    def falls_short(self, packages: Mapping[str, int]) -> bool:
        """Return whether the order contains only a part of some packages."""
        return falls_short([item.package_id for item in self.items], packages)

    def __repr__(self) -> str:
        """Return one line."""
        return order_summary(self, count(len(self.items), "item"))
