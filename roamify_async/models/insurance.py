"""Insurance products and orders."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final

import attrs

from roamify_async._validation import exactly_one, geography, optional, reference, text, whole_number

from ._fields import json_name
from .common import Match
from .orders import OrderItem, OrderStatus, count_packages, falls_short, is_kept, match_items, order_items
from .policies import InsuranceRequirements

MAX_POLICIES: Final = 5
"""More are not ordered at once."""

PREFIX: Final = "insurance-"
"""How the ids of insurance packages begin."""


@attrs.frozen(kw_only=True)
class ListInsuranceCountries:
    """List the countries that insurance exists for; ``/insurance/countries``."""

    geography: str | None = attrs.field(default=None, validator=optional(geography))
    """``"local"``, ``"regional"`` or ``"global"``."""


@attrs.frozen(kw_only=True)
class ListInsurance:
    """List all insurance that is offered; nothing for a country without; ``/insurance/packages``."""

    geography: str | None = attrs.field(default=None, validator=optional(geography))
    """``"local"``, ``"regional"`` or ``"global"``."""
    country: str | None = attrs.field(default=None, validator=optional(text))
    """English name, as in ``insurance.countries()``."""
    country_code: str | None = attrs.field(default=None, validator=optional(text))
    """Code, as in ``insurance.countries()``."""
    package_id: str | None = attrs.field(default=None, validator=optional(text))
    """This package only."""
    day: int | None = attrs.field(default=None, validator=optional(whole_number))
    """Exactly so many days."""


@attrs.frozen
class GetInsurance:
    """Get the product of one insurance package, with no other package; ``/insurance/packages``."""

    package_id: str = attrs.field(validator=text)


def _few_policies(_: object, field: "attrs.Attribute[Any]", items: tuple[OrderItem, ...]) -> None:
    """Refuse what the server refuses: eSIMs, and more than it takes at once."""
    for item in items:
        if not item.package_id.startswith(PREFIX):
            raise ValueError(
                f"{item.package_id!r} is no insurance: ids come from insurance.packages() and begin with {PREFIX!r}"
            )
    policies = sum(item.quantity for item in items)
    if policies > MAX_POLICIES:
        raise ValueError(f"{field.name} must be at most {MAX_POLICIES} policies together, not {policies}: split them")


@attrs.frozen
class OrderInsurance:
    """Order policies, paid from the balance; ``/insurance/orders``.

    They are reserved by it, and issued by ``insurance.apply``. Without a ``reference_id`` the client makes one. Raises
    ``ConflictError`` where the balance is too low, and ``PurchaseInDoubtError`` where it is not known whether the order
    was booked.
    """

    look_up: ClassVar[str] = "insurance.get_order(reference_id={!r})"

    items: tuple[OrderItem, ...] = attrs.field(converter=order_items, validator=_few_policies)
    """``OrderItem``s: 1 to 5 policies together."""
    reference_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(reference))
    """Your own key for this purchase, by which it can be found again."""

    def packages(self) -> Mapping[str, int]:
        """Count the policies of each package."""
        return count_packages(self.items)


@attrs.frozen(kw_only=True)
class GetInsuranceOrder:
    """Get one order of insurance by its id or its reference; ``/insurance/orders``."""

    order_id: str | None = None
    reference_id: str | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse none and both."""
        exactly_one(self)


@attrs.frozen(kw_only=True)
class ListInsuranceOrders:
    """List orders of insurance, the newest first; there are no pages, only a limit; ``/insurance/orders``."""

    status: str | None = attrs.field(default=None, validator=optional(text))
    limit: int = attrs.field(default=50, validator=whole_number)


@attrs.define(kw_only=True)
class InsuranceCountry:
    """A country that insurance exists for."""

    code: str
    name: str
    """English name; what ``insurance.packages`` takes as ``country``."""
    slug: str | None = None
    geography: str | None = None


@attrs.define(kw_only=True)
class InsurancePackage:
    """Insurance to buy: so many days of a product."""

    package_id: str
    """What orders name; never made by hand."""
    package: str = ""
    """Its name for people."""
    provider: str | None = None
    """The insurance company."""
    type: str | None = None
    price: Decimal
    """In USD, exact."""
    charge: Decimal | None = None
    """What the documentation does not explain."""
    currency: str = "USD"
    day: int | None = None
    """Validity in days."""
    requirements: InsuranceRequirements = attrs.field(factory=InsuranceRequirements)
    """What ``insurance.apply`` has to be told."""
    notes: tuple[str, ...] = ()


@attrs.define(kw_only=True)
class InsuranceProduct:
    """Insurance for a country, with its packages."""

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
    coverages: tuple[str, ...] = ()
    benefits: tuple[str, ...] = ()
    eligible_nationality: tuple[str, ...] = attrs.field(default=(), repr=False)
    """Nationalities of those who can be insured."""
    eligible_nation_codes: tuple[str, ...] = attrs.field(default=(), repr=False)
    insured_type: str | None = None
    min_price: Decimal | None = None
    """Of all its packages, in USD."""
    max_price: Decimal | None = None
    """Of all its packages, in USD."""
    packages: tuple[InsurancePackage, ...] = ()


@attrs.define(kw_only=True)
class InsuranceLine:
    """One policy of an order."""

    policy_id: str = ""
    """What ``insurance.apply`` takes."""
    package_id: str = ""
    package: str = ""
    """Name of the package for people."""
    type: str | None = None
    price: Decimal | None = None
    currency: str = "USD"
    created_at: datetime | None = None
    updated_at: datetime | None = None


@attrs.define(kw_only=True)
class InsuranceOrder:
    """An order of policies that was booked."""

    id: str
    reference_id: str | None = None
    status: OrderStatus = OrderStatus.PENDING
    total: Decimal
    """What it cost, exact."""
    currency: str = "USD"
    items: tuple[InsuranceLine, ...] = ()
    """One for each policy."""
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
        """Compare its items with quantities of packages."""
        return match_items([item.package_id for item in self.items], packages)

    def falls_short(self, packages: Mapping[str, int]) -> bool:
        """Return whether it holds only a part of some packages."""
        return falls_short([item.package_id for item in self.items], packages)
