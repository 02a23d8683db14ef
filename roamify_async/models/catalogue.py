"""The catalogue as a sequence: slices, filters, differences, files and data frames."""

from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from os import PathLike
from typing import TYPE_CHECKING, Any, Final, Literal, Self, overload

import attrs

from roamify_async._serde.fields import INTERNAL
from roamify_async._validation import amount, check, flag, one_of, optional, text, whole_number

from . import _frames
from ._html import cells, table
from ._text import GIGABYTE, count, money, summary
from ._value import Value
from .country_names import resolve_code, resolve_name
from .packages import Destination, ListPackages, Package, PackagePage

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]
    import polars as pl  # pyright: ignore[reportMissingImports]

Group = Literal["country", "geography", "region", "days"]
"""What ``Catalogue.cheapest`` compares packages within."""

_GROUPS: Final[dict[str, Callable[[Package], object]]] = {
    "country": lambda package: (package.destination.country_code, package.destination.country_name),
    "geography": lambda package: package.destination.geography,
    "region": lambda package: package.destination.region,
    "days": lambda package: package.day,
}


def _exact(number: Any) -> Any:
    """Return the digits of a float, or the exact value of an integer. Other values are left to the validator."""
    if isinstance(number, bool) or not isinstance(number, float | int):
        return number
    return Decimal(repr(number))


@attrs.frozen
class _Place:
    """A destination as ``country_names`` reads it."""

    code: str
    name: str


@attrs.frozen(kw_only=True, eq=False, repr=False)
class Selection(Value):
    """The arguments of ``Catalogue.filter``, which describes them."""

    country: str | None = attrs.field(default=None, validator=optional(text))
    max_price: Decimal | None = attrs.field(default=None, converter=_exact, validator=optional(amount))
    days: int | None = attrs.field(default=None, validator=optional(whole_number))
    gbs: Decimal | None = attrs.field(default=None, converter=_exact, validator=optional(amount))
    unlimited: bool | None = attrs.field(default=None, validator=optional(flag))

    def of(self, packages: tuple[Package, ...]) -> tuple[Package, ...]:
        """Return the packages that fit."""
        if self.country is not None:
            fits = _fits_country(self.country, {package.destination.id: package.destination for package in packages})
            packages = tuple(package for package in packages if fits(package.destination))
        return tuple(package for package in packages if self._fits(package))

    def _fits(self, package: Package) -> bool:
        return (
            (self.max_price is None or package.price <= self.max_price)
            and (self.days is None or package.day == self.days)
            and (self.unlimited is None or package.is_unlimited == self.unlimited)
            and (self.gbs is None or _has_gigabytes(package, self.gbs))
        )


def _fits_country(country: str, destinations: dict[str, Destination]) -> Callable[[Destination], bool]:
    """Return whether a destination is the one that a text means."""
    places = [_Place(destination.country_code, destination.country_name) for destination in destinations.values()]
    name = resolve_name(country, places)
    if name is not None:
        return lambda destination: destination.country_name == name
    code = resolve_code(country, places)
    return lambda destination: code is not None and destination.country_code == code


def _has_gigabytes(package: Package, gigabytes: Decimal) -> bool:
    if package.is_unlimited or package.data_amount is None:
        return False
    if package.data_unit.upper() == "GB":
        return package.data_amount == gigabytes
    return any(package.data_amount == gigabytes * size for size in GIGABYTE)


@attrs.frozen
class CatalogueSource:
    """The search that a catalogue is the result of, and the pages that were read."""

    request: ListPackages
    """The search, with the page size."""
    pages: tuple[PackagePage, ...] = attrs.field(repr=lambda pages: f"<{len(pages)}>")
    """The pages, with their ETags."""
    filters: tuple[Selection, ...] = ()
    """Filters of what was read, in the order in which they are applied."""


@attrs.define(eq=False, repr=False)
class PriceChange(Value):
    """A package whose price differs between two catalogues."""

    old: Package
    new: Package

    def __repr__(self) -> str:
        """Return one line."""
        return summary(self, self.new.package_id, f"{money(self.old.price)} -> {money(self.new.price)}")

    def _html_cells(self) -> Mapping[str, object]:
        return {**cells(self.new), "before": money(self.old.price)}


@attrs.define(eq=False, repr=False)
class CatalogueDiff(Value):
    """What differs between two catalogues. It is true if anything does."""

    added: tuple[Package, ...] = ()
    """Packages that only the newer catalogue has, in its order."""
    removed: tuple[Package, ...] = ()
    """Packages that only the older catalogue has, in its order."""
    repriced: tuple[PriceChange, ...] = ()
    """Packages of both whose price differs, in the order of the newer one. Other changes are not compared."""

    def __bool__(self) -> bool:
        """Return whether anything differs."""
        return bool(self.added or self.removed or self.repriced)

    def __repr__(self) -> str:
        """Return one line."""
        changes = (("added", self.added), ("removed", self.removed), ("repriced", self.repriced))
        return summary(self, "", *(f"{len(values)} {word}" for word, values in changes))

    def _repr_html_(self) -> str:
        """Return tables of the changes."""
        parts = (("added", self.added), ("removed", self.removed), ("repriced", self.repriced))
        return "".join(table(f"{len(values)} {word}", values) for word, values in parts if values) or table(
            "no changes", ()
        )


@attrs.define(eq=False, repr=False)
class Catalogue(Value):
    """All packages of a search, each once: a sequence of them, in the server's order."""

    packages: tuple[Package, ...] = attrs.field(default=(), repr=lambda packages: f"<{len(packages)}>")
    """The packages, in the server's order."""
    source: CatalogueSource | None = attrs.field(default=None, repr=False, eq=False, metadata=INTERNAL)
    """The search and its pages, for ``packages.refresh``; ``None`` if the catalogue was not read by a client."""

    @classmethod
    def of_pages(cls, source: CatalogueSource) -> Self:
        """Return the catalogue of all pages. A destination that is split over several pages becomes one."""
        packages: dict[str, Package] = {}
        destinations: dict[str, Destination] = {}
        for group in (group for page in source.pages for group in page.groups):
            group.destination = destinations.setdefault(group.destination.id, group.destination)
            for package in group.packages:
                package.destination = group.destination
                packages.setdefault(package.package_id, package)
        found = tuple(packages.values())
        for selection in source.filters:
            found = selection.of(found)
        return cls(found, source)

    @property
    def destinations(self) -> tuple[Destination, ...]:
        """The destinations of the packages, each once."""
        return tuple({package.destination.id: package.destination for package in self.packages}.values())

    # ---------------------------------------------------------------- sequence

    def __len__(self) -> int:
        """Return the number of packages."""
        return len(self.packages)

    def __iter__(self) -> Iterator[Package]:
        """Iterate over the packages."""
        return iter(self.packages)

    def __reversed__(self) -> Iterator[Package]:
        """Iterate over the packages, the last first."""
        return reversed(self.packages)

    def __contains__(self, package: object) -> bool:
        """Return whether an equal package is in the catalogue."""
        return package in self.packages

    @overload
    def __getitem__(self, index: int) -> Package: ...
    @overload
    def __getitem__(self, index: slice) -> "Catalogue": ...
    def __getitem__(self, index: int | slice) -> "Package | Catalogue":
        """Return a package, or a catalogue of a slice. ``packages.refresh`` does not accept a slice."""
        return Catalogue(self.packages[index]) if isinstance(index, slice) else self.packages[index]

    def index(self, package: Package, start: int = 0, stop: int | None = None) -> int:
        """Return the position of the first equal package. Raises ``ValueError`` if there is none."""
        return self.packages.index(package, start, len(self) if stop is None else stop)

    def count(self, package: Package) -> int:
        """Return the number of equal packages."""
        return self.packages.count(package)

    # ---------------------------------------------------------------- selection

    def filter(
        self,
        *,
        country: str | None = None,
        max_price: float | Decimal | None = None,
        days: int | None = None,
        gbs: float | Decimal | None = None,
        unlimited: bool | None = None,
    ) -> "Catalogue":
        """Return the packages that fit all arguments, without a request. If none does, the catalogue is empty.

        ``packages.refresh`` of the result reads the whole search again, and filters it in the same way.

        Args:
            country: Name or code of a country or region, in any case, or a common name; for example ``"greece"``,
                ``"GR"`` or ``"USA"``. Packages of a region that contains the country are not included.
            max_price: Highest price in USD; for example ``5`` or ``Decimal("4.99")``.
            days: Validity in days, exactly; for example ``7``.
            gbs: Data amount in GB, exactly; for example ``1`` or ``0.5``. Unlimited packages do not fit.
            unlimited: ``True`` returns only unlimited packages, ``False`` only others.
        """
        selection = Selection(country=country, max_price=max_price, days=days, gbs=gbs, unlimited=unlimited)
        source = self.source
        if source is not None:
            source = attrs.evolve(source, filters=(*source.filters, selection))
        return Catalogue(selection.of(self.packages), source)

    def cheapest(self, by: Group = "country") -> "Catalogue":
        """Return the cheapest package of each country, or of each of something else.

        Of packages with the same price, the first is returned. Its order is that in which the groups first appear.

        Args:
            by: ``"country"`` (or region, where it is sold as one), ``"geography"``, ``"region"`` or ``"days"``.
        """
        check("by", by, one_of(*_GROUPS))
        key, found = _GROUPS[by], dict[object, Package]()
        for package in self.packages:
            best = found.setdefault(key(package), package)
            if package.price < best.price:
                found[key(package)] = package
        return Catalogue(tuple(found.values()))

    def diff(self, newer: "Catalogue") -> CatalogueDiff:
        """Compare the catalogue with a newer one, by the ids of the packages.

        Args:
            newer: The result of ``packages.refresh``, or of the same search at a later time.
        """
        old = {package.package_id: package for package in self.packages}
        new = {package.package_id: package for package in newer.packages}
        both = [PriceChange(old[key], package) for key, package in new.items() if key in old]
        return CatalogueDiff(
            tuple(package for key, package in new.items() if key not in old),
            tuple(package for key, package in old.items() if key not in new),
            tuple(change for change in both if change.old.price != change.new.price),
        )

    # ---------------------------------------------------------------- files

    def save(self, path: str | PathLike[str]) -> None:
        """Write a file that ``load`` reads. It replaces an existing one atomically.

        What ``packages.refresh`` needs is written as well; of a filtered catalogue only its search and its filters, so
        that a refresh transfers all pages.

        Args:
            path: The file.
        """
        from ._catalogue_file import save

        save(self, path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> "Catalogue":
        """Read a file by ``save``.

        Args:
            path: The file.

        Raises:
            ValueError: The file is damaged, is no catalogue, or was written by a newer version of the library.
            OSError: The file cannot be read.
        """
        from ._catalogue_file import load

        return load(path)

    # ---------------------------------------------------------------- data frames

    def to_pandas(self, *, exact: bool = False) -> "pd.DataFrame":  # pyright: ignore[reportUnknownParameterType, reportUnknownMemberType]
        """Return a ``pandas.DataFrame`` with a row for each package. It needs the extra ``frames``.

        Each field of packages and of their destinations is a flat column, except ``signals``. Notes are joined to lines
        of text.

        Args:
            exact: Whether prices are ``Decimal`` objects instead of floats.
        """
        return _frames.to_pandas(self.packages, exact=exact)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]

    def to_polars(self, *, exact: bool = False) -> "pl.DataFrame":  # pyright: ignore[reportUnknownParameterType, reportUnknownMemberType]
        """Return a ``polars.DataFrame`` with the columns of ``to_pandas``. It needs the extra ``frames``.

        Args:
            exact: Whether prices are decimals instead of floats.
        """
        return _frames.to_polars(self.packages, exact=exact)  # pyright: ignore[reportUnknownVariableType, reportUnknownMemberType]

    def to_arrow(self, *, exact: bool = False) -> Any:
        """Return a ``pyarrow.Table`` with the columns of ``to_pandas``. It needs the extra ``frames``.

        Args:
            exact: Whether prices are decimals instead of floats.
        """
        return _frames.to_arrow(self.packages, exact=exact)

    def __arrow_c_stream__(self, requested_schema: object = None) -> object:
        """Return an Arrow stream, for ``polars.DataFrame(catalogue)``, DuckDB and others. It needs pyarrow."""
        return _frames.to_stream(self.packages, requested_schema)

    # ---------------------------------------------------------------- text

    def __repr__(self) -> str:
        """Return one line."""
        return summary(self, count(len(self), "package"))

    def _repr_html_(self) -> str:
        """Return a table of the first packages."""
        return table(repr(self), self.packages)
