"""The catalogue: packages, destinations and pages."""

from collections.abc import Iterator
from decimal import Decimal
from typing import TypedDict

import attrs

from roamify_async._validation import amount, flag, geography, optional, text, whole_number

from ._fields import HINT, SAME_OBJECT, json_name


class Filters(TypedDict, total=False):
    """What narrows the catalogue down."""

    country: str | None
    country_code: str | None
    geography: str | None
    days: int | None
    gbs: float | Decimal | None
    is_unlimited: bool | None
    package_id: str | None


@attrs.frozen(kw_only=True)
class ListPackages:
    """List one page of the catalogue; ``/esims/packages``.

    Raises ``ValueError`` for a country or code that the API does not sell for, with the nearest ones.
    """

    page: int = attrs.field(default=1, validator=whole_number)
    page_size: int = attrs.field(default=50, validator=whole_number)
    """Results a page; whether the server counts packages or destinations is not documented."""
    country: str | None = attrs.field(default=None, validator=optional(text))
    """English name, as in ``countries.list()``."""
    country_code: str | None = attrs.field(default=None, validator=optional(text))
    """Code, as in ``countries.list()``."""
    geography: str | None = attrs.field(default=None, validator=optional(geography))
    """``"local"``, ``"regional"`` or ``"global"``."""
    days: int | None = attrs.field(default=None, validator=optional(whole_number))
    """Validity in days."""
    gbs: float | Decimal | None = attrs.field(default=None, validator=optional(amount))
    """Data in GB; the server ignores it where ``is_unlimited`` is True."""
    is_unlimited: bool | None = attrs.field(default=None, validator=optional(flag))
    """True: unlimited packages only; False: as if not given."""
    package_id: str | None = attrs.field(default=None, validator=optional(text))
    """This package only."""


@attrs.frozen
class GetPackage:
    """Get one package by its id."""

    package_id: str = attrs.field(validator=text)


@attrs.define(kw_only=True)
class Signal:
    """Coverage in one country."""

    code: str | None = None
    name: str | None = None
    networks: tuple[str, ...] = ()
    carriers: tuple[str, ...] = ()


@attrs.define(kw_only=True)
class Destination:
    """What a group of packages is for: a country, a region, or the world."""

    id: str = ""
    country_name: str = ""
    country_code: str = ""
    country_slug: str = ""
    region: str | None = None
    geography: str | None = None
    min_price: Decimal | None = None
    """Of all packages of the destination, in USD."""
    max_price: Decimal | None = None
    """Of all packages of the destination, in USD."""
    image: str | None = attrs.field(default=None, repr=False)
    signals: tuple[Signal, ...] = attrs.field(default=(), repr=False)


@attrs.define(kw_only=True)
class Throttle:
    """How fast an unlimited package is once its full-speed data is used."""

    throttle_speed: Decimal | None = None
    throttle_speed_unit: str | None = None
    throttle_threshold: Decimal | None = None
    throttle_threshold_unit: str | None = None


@attrs.define(kw_only=True)
class Requirements:
    """What a package needs to know before its eSIM is made."""

    travel_date: bool = False
    """``esims.apply`` needs a ``start_date``."""


@attrs.define(kw_only=True)
class Package:
    """Something to buy."""

    package_id: str
    """What orders name; never made by hand."""
    package: str = ""
    """Its name for people."""
    price: Decimal
    """In USD, exact."""
    day: int | None = None
    """Validity in days."""
    plan: str | None = None
    activation: str | None = None
    is_unlimited: bool = False
    data_amount: Decimal | None = None
    """In ``data_unit``; ``None`` where it is unlimited."""
    data_unit: str = "MB"
    call_type: str | None = None
    call_amount: Decimal | None = None
    call_unit: str | None = None
    sms_type: str | None = None
    sms_amount: Decimal | None = None
    sms_unit: str | None = None
    with_sms: bool = attrs.field(default=False, metadata=json_name("withSMS"))
    with_call: bool = False
    with_hotspot: bool = False
    with_data_roaming: bool = False
    with_destination_install: bool = False
    with_usage_check: bool = True
    """False: the usage calls do not know its eSIMs; ``notes`` say what to do instead."""
    with_throttle: bool = False
    throttle: Throttle | None = None
    requirements: Requirements = attrs.field(factory=Requirements)
    is_apn_automatic: bool = attrs.field(default=True, metadata=json_name("isAPNAutomatic"))
    apn: str | None = None
    apn_username: str | None = None
    apn_password: str | None = attrs.field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    destination: Destination = attrs.field(factory=Destination, metadata=json_name(None))
    """What it is for."""


@attrs.define(kw_only=True)
class DestinationGroup:
    """A destination and its packages, as the server groups them."""

    destination: Destination = attrs.field(metadata=json_name(SAME_OBJECT))
    packages: tuple[Package, ...] = ()

    def __attrs_post_init__(self) -> None:
        """Let each package know what it is for."""
        for package in self.packages:
            package.destination = self.destination


@attrs.define(kw_only=True)
class PackagePage:
    """One page of the catalogue; it iterates over its packages and has their number."""

    groups: tuple[DestinationGroup, ...] = attrs.field(default=(), repr=False, metadata=json_name("packages"))
    page: int | None = attrs.field(default=None, metadata=HINT)
    """As the server says, if it does."""
    page_size: int | None = attrs.field(default=None, metadata=HINT)
    """As the server says, if it does."""
    total: int | None = attrs.field(default=None, metadata=HINT)
    """Of all pages, as the server says, if it does."""
    total_pages: int | None = attrs.field(default=None, metadata=HINT)
    """As the server says, if it does."""

    @property
    def packages(self) -> tuple[Package, ...]:
        """All packages of the page, in the server's order."""
        return tuple(package for group in self.groups for package in group.packages)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its packages."""
        return tuple(package.package_id for group in self.groups for package in group.packages)

    def by_id(self) -> dict[str, Package]:
        """Give its packages by their ids, each once."""
        packages: dict[str, Package] = {}
        for package in self:
            packages.setdefault(package.package_id, package)
        return packages

    @property
    def counts(self) -> tuple[int, ...]:
        """How many packages it has, and how many destinations: ``page_size`` means the one or the other."""
        return len(self), len(self.groups)

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """The destinations of the page."""
        return tuple(group.destination for group in self.groups)

    def __len__(self) -> int:
        """Count the packages."""
        return sum(len(group.packages) for group in self.groups)

    def __iter__(self) -> Iterator[Package]:
        """Go over the packages."""
        return iter(self.packages)


@attrs.define
class Catalogue:
    """All packages of a search, each once; it iterates over them and has their number."""

    packages: tuple[Package, ...] = attrs.field(default=(), repr=lambda packages: f"<{len(packages)}>")
    """In the server's order."""

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """Their destinations, each once."""
        return tuple({package.destination.id: package.destination for package in self.packages}.values())

    def __len__(self) -> int:
        """Count the packages."""
        return len(self.packages)

    def __iter__(self) -> Iterator[Package]:
        """Go over the packages."""
        return iter(self.packages)
