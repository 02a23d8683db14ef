"""The command ``packages``: search the catalogue, show a package, compare two catalogues."""

from collections.abc import Callable, Iterable
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

import attrs
from cyclopts import App, Parameter

from roamify_async.models.packages import Package

from .context import current
from .exits import USAGE, CommandError
from .output import View, show
from .parameters import Flag, Money, PackageId, subcommand

if TYPE_CHECKING:
    from roamify_async import Catalogue, Roamify

Sort = Literal["price", "-price", "days", "-days", "data", "-data", "country"]

COLUMNS: Final = View.of("packageId destination.countryName package day price", Package)
ONE: Final = View.of(
    "packageId destination.countryName package day price dataAmount dataUnit isUnlimited withHotspot"
    " requirements.travelDate notes",
    Package,
)
CHANGES: Final = View.of("change packageId before price")

SORT_KEYS: Final[dict[str, Callable[[Package], Any]]] = {
    "price": lambda package: package.price,
    "days": lambda package: package.day or 0,
    "data": lambda package: float("inf") if package.is_unlimited else float(package.data_amount or 0),
    "country": lambda package: package.destination.country_name,
}

packages: Final = App(name="packages")


@packages.default
def search(
    *,
    country: str | None = None,
    country_code: str | None = None,
    geography: Literal["local", "regional", "global"] | None = None,
    days: int | None = None,
    gb: Annotated[Decimal | None, Parameter(name=("--gb", "--gbs"))] = None,
    unlimited: Flag = False,
    max_price: Money = None,
    sort: Annotated[Sort | None, Parameter(allow_leading_hyphen=True)] = None,
    limit: int = 50,
    all: Flag = False,
    save: Path | None = None,
    parquet: Path | None = None,
) -> None:
    """Search the catalogue.

    For example, `roamify packages --country greece --days 7 --sort price`. `packages show` shows one package, and
    `packages diff` compares two files of `--save`.

    Args:
        country: Name of a country or region, in any case; for example `greece` or `USA`.
        country_code: Code of a country or region; for example `GR`.
        geography: Only packages of one country, of a region, or of the world.
        days: Validity in days.
        gb: Data in GB; for example `1` or `0.5`.
        unlimited: Only unlimited packages.
        max_price: Highest price in USD.
        sort: Order of the results; with `-` the highest first.
        limit: Maximum number of packages to show.
        all: Show all packages.
        save: Also write the packages to a file, for `packages diff`.
        parquet: Also write the packages to a Parquet file. It needs the extra `frames`.
    """
    context = current()
    COLUMNS.chosen(context)
    filters: dict[str, Any] = {
        "country": country, "country_code": country_code, "geography": geography, "days": days, "gbs": gb,
        "is_unlimited": True if unlimited else None,
    }  # fmt: skip
    filters = {name: value for name, value in filters.items() if value is not None}
    writers: list[Callable[[Catalogue], object]] = []
    if save is not None:
        writers.append(lambda found: found.save(save))
    if parquet is not None:
        writers.append(_parquet_writer(parquet))
    with context.client() as client:
        if writers or sort or all:
            found = _whole(client, filters, max_price, writers)
            rows: Iterable[Package] = _sorted(found, sort)
            shown = list(rows if all else islice(rows, limit))
            is_cut = len(shown) < len(found)
        else:
            stream = (each for each in client.packages.iter(**filters) if max_price is None or each.price <= max_price)
            shown = list(islice(stream, limit))
            is_cut = len(shown) == limit
    show(context, shown, COLUMNS)
    if is_cut:
        context.say(f"only the first {limit} are shown; --all shows all, --limit another number")


def _whole(
    client: "Roamify",
    filters: dict[str, Any],
    max_price: Decimal | None,
    writers: "Iterable[Callable[[Catalogue], Any]]",
) -> "Catalogue":
    found = client.packages.list(**filters)
    if max_price is not None:
        found = found.filter(max_price=max_price)
    for write in writers:
        write(found)
    return found


def _sorted(found: Iterable[Package], sort: Sort | None) -> Iterable[Package]:
    if sort is None:
        return found
    return sorted(found, key=SORT_KEYS[sort.removeprefix("-")], reverse=sort.startswith("-"))


def _parquet_writer(path: Path) -> "Callable[[Catalogue], object]":
    """Return a function that writes a Parquet file. The libraries are imported before anything is read."""
    try:
        import pyarrow.parquet  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]
    except ModuleNotFoundError as error:
        hint = "pip install 'roamify-async[frames]'"
        raise CommandError(f"--parquet needs {error.name}", USAGE, hint) from None

    def write_parquet(found: "Catalogue") -> None:
        pyarrow.parquet.write_table(found.to_arrow(exact=True), path)  # pyright: ignore[reportUnknownMemberType]

    return write_parquet


@subcommand(packages, "show")
def show_package(package_id: PackageId, /) -> None:
    """Show one package.

    Args:
        package_id: Id of the package.
    """
    context = current()
    ONE.chosen(context)
    with context.client() as client:
        show(context, client.packages.get(package_id), ONE)


@attrs.frozen(kw_only=True)
class _Change:
    """A row of a difference."""

    change: str
    package_id: str
    before: Decimal | None
    price: Decimal | None


@subcommand(packages, "diff")
def diff(
    old: Annotated[Path, Parameter(name="OLD")], new: Annotated[Path | None, Parameter(name="NEW")] = None, /
) -> None:
    """Compare two catalogues, which `packages --save` wrote.

    Args:
        old: The older file.
        new: The newer file; without it, the catalogue as it is now.
    """
    context = current()
    before = _load(old)
    if new is not None:
        after = _load(new)
    else:
        with context.client() as client:
            after = client.packages.refresh(before)
    found = before.diff(after)
    if context.is_json:
        show(context, found, CHANGES)
        return
    rows = [
        *(_Change(change="added", package_id=each.package_id, before=None, price=each.price) for each in found.added),
        *(
            _Change(change="removed", package_id=each.package_id, before=each.price, price=None)
            for each in found.removed
        ),
        *(
            _Change(change="repriced", package_id=each.new.package_id, before=each.old.price, price=each.new.price)
            for each in found.repriced
        ),
    ]
    show(context, rows, CHANGES)


def _load(path: Path) -> "Catalogue":
    from roamify_async import Catalogue

    try:
        return Catalogue.load(path)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    except ValueError as error:
        raise CommandError(f"{path}: {error}") from None
