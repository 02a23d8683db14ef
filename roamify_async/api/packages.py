"""The catalogue: what can be bought, page by page or complete."""

import difflib
from collections.abc import AsyncGenerator, Awaitable
from contextlib import aclosing
from typing import Final, Unpack

import attrs

from roamify_async._core.endpoint import (
    Async,
    Endpoint,
    Mode,
    Resource,
    dual_iterator,
    dual_method,
    refuse_unknown_arguments,
)
from roamify_async._core.engine import Engine
from roamify_async._core.pagination import PagePrefetcher, RecentIds
from roamify_async._validation import check, whole_number
from roamify_async.errors import NotFoundError, RoamifyError
from roamify_async.models.countries import Country, ListCountries
from roamify_async.models.packages import (
    Catalogue,
    Destination,
    Filters,
    GetPackage,
    ListPackages,
    Package,
    PackagePage,
)

from .countries import Countries

MAX_BATCH: Final = 400
"""Maximum number of packages that an iterator passes on at a time."""


async def _refuse_unknown_country(engine: Engine, request: ListPackages, page: PackagePage) -> None:
    """Distinguish an empty search from a country that does not exist; an empty page alone does not."""
    if len(page) or request.page > 1 or (request.country is None and request.country_code is None):
        return
    try:
        countries = await engine.send(Countries.list, ListCountries())
    except RoamifyError:  # The page itself was read.
        return
    _refuse_unknown("country", request.country, {country.name for country in countries}, countries)
    _refuse_unknown("country_code", request.country_code, {country.code for country in countries}, countries)


def _refuse_unknown(field: str, value: str | None, known: set[str], countries: tuple[Country, ...]) -> None:
    if value is None or value in known:
        return
    shown = {word.casefold(): f"{c.name} ({c.code})" for c in countries for word in (c.code, c.name)}
    word = value.casefold()
    # A code passed as a name, or a name as a code, is the commonest mistake; then come misspellings.
    nearest = [word] if word in shown else difflib.get_close_matches(word, shown, n=3, cutoff=0.5)
    hints = ", ".join(dict.fromkeys(shown[near] for near in nearest))
    nearby = f"; nearest: {hints}" if hints else ""
    raise ValueError(f"there are no packages for {field}={value!r}: it is not in countries.list(){nearby}")


class Packages(Resource[Mode]):
    """The catalogue."""

    page: Final = Endpoint("GET", "/api/esim/packages", ListPackages, PackagePage, check=_refuse_unknown_country)
    """Return one page, in the server's order."""

    @dual_method
    async def get(self: "Packages[Async]", package_id: str) -> Package:
        """Return one package. Raises ``NotFoundError`` if the catalogue has none with this id."""
        GetPackage(package_id)
        for package in await self.page(package_id=package_id):
            if package.package_id == package_id:
                return package
        raise NotFoundError(
            f"the catalogue has no package {package_id!r}: take ids from packages.list(), and never build them",
            status=404,
            method=Packages.page.method,
            path=Packages.page.path,
            package_ids=(package_id,),
        )

    @dual_iterator
    async def iter(
        self: "Packages[Async]", *, page_size: int = 50, concurrency: int | None = None, **filters: Unpack[Filters]
    ) -> AsyncGenerator[tuple[Package, ...], None]:
        """Iterate over all packages of a search, in the server's order.

        *page_size* is the number of results per page, and *concurrency* the number of pages that are requested ahead
        and kept in memory, by default that of the settings. The filters are those of ``packages.page``.

        A package that occurs twice within two such windows is returned once. A page that cannot be read ends the
        iteration with an error that names the page.
        """
        window = concurrency or self.engine.settings.concurrency
        recent = RecentIds(2 * window)
        pages = self._pages(page_size, concurrency, filters)
        batch: list[Package] = []
        try:
            while (page := await pages.next()) is not None and (new := recent.add(page.ids)):
                batch += [package for key, package in page.by_id().items() if key in new]
                if len(batch) >= MAX_BATCH or not pages.is_ready:
                    yield tuple(batch)
                    batch = []
            yield tuple(batch)
        finally:
            await pages.aclose()

    @dual_method
    async def list(
        self: "Packages[Async]", *, page_size: int = 50, concurrency: int | None = None, **filters: Unpack[Filters]
    ) -> Catalogue:
        """Return all packages of a search, each once; either complete, or an error that names the missing page.

        *page_size* is the number of results per page, and *concurrency* the number of pages that are requested at
        once, by default that of the settings. The filters are those of ``packages.page``.
        """
        packages: dict[str, Package] = {}
        destinations: dict[str, Destination] = {}
        async with aclosing(self._pages(page_size, concurrency, filters)) as pages:
            while (page := await pages.next()) is not None:
                known = len(packages)
                for package in page:
                    # A destination may be split over several pages.
                    destination = package.destination
                    package.destination = destinations.setdefault(destination.id, destination)
                    packages.setdefault(package.package_id, package)
                if len(packages) == known:
                    break
        return Catalogue(tuple(packages.values()))

    def _pages(
        self: "Packages[Async]", page_size: int, concurrency: int | None, filters: Filters
    ) -> PagePrefetcher[PackagePage]:
        if concurrency is not None:
            check("concurrency", concurrency, whole_number)
        refuse_unknown_arguments("packages.list", filters, Filters.__annotations__)
        request = ListPackages(page_size=page_size, **filters)

        def fetch(number: int) -> Awaitable[PackagePage]:
            return self.engine.send(Packages.page, attrs.evolve(request, page=number))

        return self.engine.prefetch(fetch, page_size, concurrency)
