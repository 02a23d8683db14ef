"""The catalogue: packages, destinations and pages."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import TypedDict

import attrs

from roamify_async._serde.fields import DISPLAY, HINT, INTERNAL, SAME_OBJECT, json_name, without
from roamify_async._validation import Geography, amount, flag, geography, optional, text, to_geography, whole_number

from ._text import count, data, money, summary
from ._value import Value


class Filters(TypedDict, total=False):
    """Filters of the catalogue, as keyword arguments. They are described in ``ListPackages``."""

    country: str | None
    country_code: str | None
    geography: Geography | None
    days: int | None
    gbs: float | Decimal | None
    is_unlimited: bool | None
    package_id: str | None


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ListPackages(Value):
    """Return one page of the catalogue, in the server's order.

    Args:
        page: Number of the page, from 1.
        page_size: Number of results per page. Whether the server counts packages or destinations, and the maximum, are
            not documented.
        country: English name of a country or region, as in ``countries.list()`` or another common one, in any case; for
            example ``"Greece"``, ``"greece"`` or ``"USA"``.
        country_code: Code of a country or region, as in ``countries.list()``, in any case; for example ``"GR"``.
        geography: Return only ``"local"`` (single countries), ``"regional"`` or ``"global"`` packages.
        days: Return only packages with this validity in days; for example ``7``.
        gbs: Return only packages with this data amount in GB; for example ``1`` or ``0.5``. The server ignores it if
            *is_unlimited* is true.
        is_unlimited: ``True`` returns only unlimited packages. ``False`` has no effect.
        package_id: Return only this package; the server typically ignores the other filters.

    Raises:
        ValueError: There are no packages for *country* or *country_code*. The message names the nearest ones.

    See: https://docs.getroamify.com/esims/packages/
    """

    page: int = attrs.field(default=1, validator=whole_number)
    """Number of the page, from 1."""
    page_size: int = attrs.field(default=50, validator=whole_number)
    """Number of results per page. Whether the server counts packages or destinations is not documented."""
    country: str | None = attrs.field(default=None, validator=optional(text))
    """English name of a country, as in ``countries.list()``."""
    country_code: str | None = attrs.field(default=None, validator=optional(text))
    """Code of a country or region, as in ``countries.list()``."""
    geography: Geography | None = attrs.field(default=None, converter=to_geography, validator=optional(geography))
    """``"local"`` (one country), ``"regional"`` or ``"global"``."""
    days: int | None = attrs.field(default=None, validator=optional(whole_number))
    """Validity in days."""
    gbs: float | Decimal | None = attrs.field(default=None, validator=optional(amount))
    """Data amount in GB. The server ignores it if ``is_unlimited`` is true."""
    is_unlimited: bool | None = attrs.field(default=None, validator=optional(flag))
    """``True`` returns only unlimited packages. ``False`` has no effect."""
    package_id: str | None = attrs.field(default=None, validator=optional(text))
    """Id of the only package to return."""


@attrs.frozen(eq=False, repr=False)
class GetPackage(Value):
    """Return one package by its id."""

    package_id: str = attrs.field(validator=text)


@attrs.define(kw_only=True, eq=False, repr=False)
class Signal(Value):
    """Coverage in one country."""

    code: str | None = None
    name: str | None = None
    networks: tuple[str, ...] = ()
    """Such as ``"4G"`` and ``"5G"``."""
    carriers: tuple[str, ...] = ()
    """Names of mobile operators."""


@attrs.define(kw_only=True, eq=False, repr=False)
class Destination(Value):
    """The destination of packages: a country, a region, or the world."""

    id: str = ""
    """Slug, such as ``"greece-esims"``."""
    country_name: str = ""
    """English name of the country, or of the region."""
    country_code: str = ""
    country_slug: str = ""
    region: str | None = None
    """Such as ``"Europe"``."""
    geography: str | None = None
    """``"local"`` (one country), ``"regional"`` or ``"global"``."""
    min_price: Decimal | None = None
    """Lowest price of all packages of the destination in USD."""
    max_price: Decimal | None = None
    """Highest price of all packages of the destination in USD."""
    image: str | None = attrs.field(default=None, repr=False)
    """URL of an image of the flag."""
    signals: tuple[Signal, ...] = attrs.field(default=(), repr=False, metadata=DISPLAY)
    """Coverage by country. Entries that cannot be decoded are omitted."""

    def __repr__(self) -> str:
        """Return one line."""
        return summary(self, self.id, self.country_name, self.geography)


@attrs.define(kw_only=True, eq=False, repr=False)
class Throttle(Value):
    """Speed limit of a package after its full-speed data is used."""

    throttle_speed: Decimal | None = None
    """Reduced speed in units of ``throttle_speed_unit``, such as 128 ``"kbps"``."""
    throttle_speed_unit: str | None = None
    throttle_threshold: Decimal | None = None
    """Full-speed data in units of ``throttle_threshold_unit``, such as 2 ``"gb"``."""
    throttle_threshold_unit: str | None = None


@attrs.define(kw_only=True, eq=False, repr=False)
class Requirements(Value):
    """What a package requires before the profile of its eSIM is generated."""

    travel_date: bool = False
    """Whether ``esims.apply`` requires a ``start_date``."""


@attrs.define(kw_only=True, eq=False, repr=False)
class Package(Value):
    """A package of the catalogue."""

    package_id: str
    """Id that orders take, such as ``"esim-greece-30days-1gb-all"``. Ids must not be constructed."""
    package: str = ""
    """Display name, such as ``"1 GB - 30 Days"``."""
    price: Decimal
    """Exact price in USD."""
    day: int | None = None
    """Validity in days."""
    plan: str | None = None
    """Such as ``"data-only"``; the set of values is not documented."""
    activation: str | None = None
    """Such as ``"first-use"``; the set of values is not documented."""
    is_unlimited: bool = False
    data_amount: Decimal | None = None
    """Data in units of ``data_unit``; ``None`` if unlimited."""
    data_unit: str = "MB"
    call_type: str | None = None
    call_amount: Decimal | None = None
    """Calls in units of ``call_unit``; ``None`` if the package includes none."""
    call_unit: str | None = None
    sms_type: str | None = None
    sms_amount: Decimal | None = None
    """Text messages in units of ``sms_unit``; ``None`` if the package includes none."""
    sms_unit: str | None = None
    with_sms: bool = attrs.field(default=False, metadata=json_name("withSMS"))
    with_call: bool = False
    with_hotspot: bool = False
    with_data_roaming: bool = False
    with_destination_install: bool = False
    with_usage_check: bool = True
    """Whether the usage calls support its eSIMs; if not, see ``notes``."""
    with_throttle: bool = False
    throttle: Throttle | None = None
    """Speed limit, if the package has one."""
    requirements: Requirements = attrs.field(factory=Requirements)
    """What ``esims.apply`` requires. Its place in the response is inferred."""
    is_apn_automatic: bool = attrs.field(default=True, metadata=json_name("isAPNAutomatic"))
    apn: str | None = None
    """Access point name."""
    apn_username: str | None = None
    apn_password: str | None = attrs.field(default=None, repr=False)
    notes: tuple[str, ...] = ()
    """Notes of the provider."""
    destination: Destination = attrs.field(factory=Destination, metadata=json_name(None))
    """The destination of the package."""

    def _html_cells(self) -> Mapping[str, object]:
        return {
            "package": self.package_id,
            "destination": self.destination.country_name,
            "data": data(self.data_amount, self.data_unit, is_unlimited=self.is_unlimited),
            "validity": count(self.day, "day"),
            "price": money(self.price),
        }

    def __repr__(self) -> str:
        """Return one line."""
        return summary(
            self,
            self.package_id,
            self.destination.country_name,
            data(self.data_amount, self.data_unit, is_unlimited=self.is_unlimited),
            count(self.day, "day"),
            money(self.price),
        )


@attrs.define(kw_only=True, eq=False, repr=False)
class DestinationGroup(Value):
    """A destination and its packages, as the server groups them."""

    destination: Destination = attrs.field(metadata=json_name(SAME_OBJECT))
    packages: tuple[Package, ...] = attrs.field(metadata=without("destination"))

    def __attrs_post_init__(self) -> None:
        """Set the destination of each package."""
        for package in self.packages:
            package.destination = self.destination


@attrs.frozen
class PageOutline:
    """What is needed of a page to recognize it when it is read again."""

    ids: tuple[str, ...]
    """The ids of the packages, in the server's order."""
    counts: tuple[int, ...]
    """Number of packages and number of destinations."""
    etag: str | None = attrs.field(default=None, eq=False)
    """ETag of the response, if there is one."""
    total: int | None = attrs.field(default=None, eq=False)
    """Number of results on all pages, if the server reports it."""
    total_pages: int | None = attrs.field(default=None, eq=False)
    """Number of pages, if the server reports it."""

    def outline(self) -> "PageOutline":
        """Return the outline itself."""
        return self


@attrs.define(kw_only=True, eq=False, repr=False)
class PackagePage(Value):
    """One page of the catalogue. Iteration and ``len()`` refer to its packages."""

    groups: tuple[DestinationGroup, ...] = attrs.field(repr=False, metadata=json_name("packages"))
    """The packages, grouped by destination as in the response."""
    page: int | None = attrs.field(default=None, metadata=HINT)
    """Number of the page, if the server reports it; not documented."""
    page_size: int | None = attrs.field(default=None, metadata=HINT)
    """Size of a page, if the server reports it; not documented."""
    total: int | None = attrs.field(default=None, metadata=HINT)
    """Number of results on all pages, if the server reports it; not documented."""
    total_pages: int | None = attrs.field(default=None, metadata=HINT)
    """Number of pages, if the server reports it; not documented."""
    etag: str | None = attrs.field(default=None, repr=False, eq=False, metadata=INTERNAL)
    """ETag of the response, for a request that is answered only if the page has changed."""

    @property
    def packages(self) -> tuple[Package, ...]:
        """All packages of the page, in the server's order."""
        return tuple(package for group in self.groups for package in group.packages)

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the packages, in the server's order."""
        return tuple(package.package_id for group in self.groups for package in group.packages)

    def by_id(self) -> dict[str, Package]:
        """Return the packages by id. Of packages with equal ids, the first is returned."""
        packages: dict[str, Package] = {}
        for package in self:
            packages.setdefault(package.package_id, package)
        return packages

    @property
    def counts(self) -> tuple[int, ...]:
        """Number of packages and number of destinations: ``page_size`` may refer to either."""
        return len(self), len(self.groups)

    def outline(self) -> PageOutline:
        """Return what is needed to recognize the page when it is read again."""
        return PageOutline(self.ids, self.counts, self.etag, self.total, self.total_pages)

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """The destinations of the page."""
        return tuple(group.destination for group in self.groups)

    def __len__(self) -> int:
        """Return the number of packages."""
        return sum(len(group.packages) for group in self.groups)

    def __iter__(self) -> Iterator[Package]:
        """Iterate over the packages."""
        return iter(self.packages)

    def __repr__(self) -> str:
        """Return one line."""
        return summary(self, self.page or "", count(len(self), "package"))

    def _repr_html_(self) -> str:
        """Return a table of the first packages."""
        from ._html import table

        return table(repr(self), self.packages)
