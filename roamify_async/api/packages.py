"""The catalogue of packages, page by page or complete."""

import difflib
import re
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import suppress
from functools import partial
from http import HTTPStatus
from typing import Final, TypeVar, Unpack, cast

import attrs

from roamify_async._core.concurrency import gather, raise_first
from roamify_async._core.endpoint import (
    Async,
    Endpoint,
    Mode,
    Resource,
    dual_iterator,
    dual_method,
    refuse_unknown_arguments,
    resource,
)
from roamify_async._core.engine import Engine
from roamify_async._core.pagination import MAX_ROUNDS, PagePrefetcher, SeenIds, StaleGuard, changed, read_pages
from roamify_async._core.progress_bar import ProgressBar
from roamify_async._http.messages import HttpResponse
from roamify_async._serde.envelope import decode
from roamify_async._validation import check, flag, whole_number
from roamify_async.errors import PackageNotFoundError, RoamifyError
from roamify_async.models.catalogue import Catalogue, CatalogueSource
from roamify_async.models.countries import Country, ListCountries
from roamify_async.models.country_names import Place
from roamify_async.models.packages import (
    Filters,
    GetPackage,
    ListPackages,
    Package,
    PackagePage,
    PageOutline,
)

from .countries import Countries, known_countries, resolve_country

PageT = TypeVar("PageT", PackagePage, PageOutline)

MAX_NEAREST: Final = 200
"""Number of packages of a destination in which similar ids are searched."""
MAX_BATCH: Final = 400
"""Maximum number of packages in a batch of the iterator."""


async def _refuse_unknown_country(engine: Engine, request: ListPackages, page: PackagePage) -> None:
    """Raise ``ValueError`` if a page is empty because its country does not exist."""
    if len(page) or request.page > 1 or (request.country is None and request.country_code is None):
        return
    if _is_known(request, await known_countries(engine)):
        return
    try:
        countries = await engine.send(Countries.list, ListCountries())  # The other list may be older than the country.
    except RoamifyError:  # The page itself was read.
        return
    _refuse_unknown("country", request.country, {country.name for country in countries}, countries)
    _refuse_unknown("country_code", request.country_code, {country.code for country in countries}, countries)


def _is_known(request: ListPackages, countries: Sequence[Place]) -> bool:
    names, codes = {country.name for country in countries}, {country.code for country in countries}
    return request.country in {None, *names} and request.country_code in {None, *codes}


def _refuse_unknown(field: str, value: str | None, known: set[str], countries: tuple[Country, ...]) -> None:
    if value is None or value in known:
        return
    shown = {word.casefold(): f"{c.name} ({c.code})" for c in countries for word in (c.code, c.name)}
    word = value.casefold()
    # The most common mistake is a code passed as a name, or a name as a code; the next is a misspelling.
    nearest = [word] if word in shown else difflib.get_close_matches(word, shown, n=3, cutoff=0.5)
    hints = ", ".join(dict.fromkeys(shown[near] for near in nearest))
    nearby = f"; nearest: {hints}" if hints else ""
    raise ValueError(f"there are no packages for {field}={value!r}: it is not in countries.list(){nearby}")


async def find_package(engine: Engine, package_id: str, *, is_fresh: bool = False) -> Package:
    """Return a package of the catalogue. A package that was found in the last ten minutes is not requested again.

    *is_fresh* requests it in any case. Raises ``PackageNotFoundError`` if a successful response does not contain it.
    """
    known = None if is_fresh else engine.memory.package(package_id)
    if known is not None:
        return known
    for package in await engine.send(Packages.page, ListPackages(package_id=package_id)):
        if package.package_id == package_id:
            engine.memory.add_package(package)
            return package
    raise packages_not_found((package_id,), await _nearest(engine, package_id), "packages.list()")


async def find_packages(engine: Engine, package_ids: Sequence[str]) -> tuple[Package, ...]:
    """Return packages of the catalogue.

    Raises ``PackageNotFoundError`` with all ids that do not exist, or else the failure of the first other look-up.
    """
    if len(package_ids) == 1:
        return (await find_package(engine, package_ids[0]),)
    outcomes = await gather(partial(find_package, engine), package_ids)
    unknown = [outcome for outcome in outcomes if isinstance(outcome, PackageNotFoundError)]
    if unknown:
        ids = tuple(package_id for error in unknown for package_id in error.package_ids)
        raise packages_not_found(ids, tuple(near for error in unknown for near in error.nearest), "packages.list()")
    return raise_first(outcomes)


def packages_not_found(package_ids: tuple[str, ...], nearest: tuple[str, ...], catalogue: str) -> PackageNotFoundError:
    """Return the error for packages that are not in a catalogue."""
    names = ", ".join(map(repr, package_ids))
    near = f"; nearest: {', '.join(nearest)}" if nearest else ""
    return PackageNotFoundError(
        f"there is no package {names}; nothing was sent{near}. Take ids from {catalogue}, and never build them",
        package_ids=package_ids,
        nearest=nearest,
    )


def nearest_ids(package_id: str, known: Iterable[str]) -> tuple[str, ...]:
    """Return up to three known ids that are similar to an unknown one."""
    return tuple(difflib.get_close_matches(package_id, [*known], n=3, cutoff=0.6))


async def _nearest(engine: Engine, package_id: str) -> tuple[str, ...]:
    """Return similar ids for the destination that an unknown id seems to contain, if they can be read."""
    named = re.match(r"esim-(.+?)-\d+days?-", package_id)
    if named is None:
        return ()
    with suppress(RoamifyError, ValueError):  # The ids are only a hint.
        countries = await engine.send(Countries.list, ListCountries())
        names = {slug: country.name for country in countries for slug in _slugs(country)}
        for slug in difflib.get_close_matches(named.group(1), names, n=1, cutoff=0.6):
            page = await engine.send(Packages.page, ListPackages(country=names[slug], page_size=MAX_NEAREST))
            return nearest_ids(package_id, page.ids)
    return ()


def _slugs(country: Country) -> tuple[str, str]:
    return re.sub(r"[^a-z0-9]+", "-", country.name.casefold()).strip("-"), country.code.casefold()


def refuse_undated(packages: Iterable[Package], advice: str) -> None:
    """Raise ``ValueError`` if a package requires a date of travel."""
    for package in packages:
        if package.requirements.travel_date:
            raise ValueError(f"{package.package_id} needs a start_date; nothing was bought: {advice}")


@resource
class Packages(Resource[Mode]):
    """The catalogue of packages."""

    page: Final = Endpoint(
        "GET", "/api/esim/packages", ListPackages, PackagePage,
        prepare=resolve_country, check=_refuse_unknown_country,
    )  # fmt: skip
    """Return one page, in the server's order."""

    @dual_method
    async def get(self: "Packages[Async]", package_id: str) -> Package:
        """Return one package.

        Args:
            package_id: Id of the package, such as ``"esim-greece-30days-1gb-all"``.

        Raises:
            PackageNotFoundError: There is no such package. ``nearest`` has the most similar ids.

        See: https://docs.getroamify.com/esims/packages/
        """
        GetPackage(package_id)
        return await find_package(self.engine, package_id, is_fresh=True)

    @dual_iterator
    async def iter(
        self: "Packages[Async]",
        *,
        page_size: int = 50,
        concurrency: int | None = None,
        consistent: bool = False,
        progress: bool = False,
        **filters: Unpack[Filters],
    ) -> AsyncGenerator[tuple[Package, ...], None]:
        """Iterate over all packages of a search, in the server's order.

        Pages are requested ahead, and kept in memory only until they are consumed. Each package is returned once. If
        packages are added meanwhile, none of the others is missing: all pages are read again if necessary, and packages
        that were missed come last. If packages are removed meanwhile, others may be missing unless *consistent* is
        true.

        Args:
            page_size: Number of results per page.
            concurrency: Maximum number of pages that are requested ahead; by default that of the settings.
            consistent: Whether all pages are read again at the end, until two readings agree. Where the server supports
                ETags, a page that has not changed costs only a response without a body.
            progress: Whether to show a progress bar. It needs the extra ``notebook``.
            country: English name of a country or region, as in ``countries.list()`` or another common one, in any case;
                for example ``"Greece"``, ``"greece"`` or ``"USA"``.
            country_code: Code of a country or region, as in ``countries.list()``, in any case; for example ``"GR"``.
            geography: ``"local"`` (single countries), ``"regional"`` or ``"global"``.
            days: Validity in days; for example ``7``.
            gbs: Data amount in GB; for example ``1`` or ``0.5``. Ignored by the server if *is_unlimited* is true.
            is_unlimited: ``True`` returns only unlimited packages. ``False`` has no effect.
            package_id: Id of the only package to return.

        Raises:
            CatalogueChangedError: The catalogue changed again and again, so that packages may be missing.
            RoamifyError: A page could not be read. ``page`` has its number.
            ValueError: There are no packages for *country* or *country_code*. The message names the nearest ones.

        See: https://docs.getroamify.com/esims/packages/
        """
        check("consistent", consistent, flag)
        bar = _PageBar() if progress else None
        request = await self._search(page_size, concurrency, filters)
        seen = SeenIds(2 * (concurrency or self.engine.settings.concurrency))
        before: tuple[PageOutline, ...] | None = None
        count = 0
        for is_again in (False, *(MAX_ROUNDS * (True,))):
            pages = self._pages(request, concurrency, before or (), bar)
            guard, count = StaleGuard(count), 0
            outlines: list[PageOutline] = []
            batch: list[Package] = []
            try:
                while (page := await pages.next()) is not None:
                    count += 1
                    new = seen.add(pages.ids)
                    guard.count(is_new=bool(new))
                    if new and isinstance(page, PackagePage):
                        batch += [package for key, package in page.by_id().items() if key in new]
                    if consistent or is_again:
                        outlines.append(page.outline())
                    if len(batch) >= MAX_BATCH or not pages.is_ready:
                        yield tuple(batch)
                        batch = []
                yield tuple(batch)
            except BaseException:
                if bar is not None:
                    bar.close()
                raise
            finally:
                await pages.aclose()
            is_clean = not (is_again or consistent or seen.is_exact or pages.has_moved)
            if is_clean or before == tuple(outlines):
                if bar is not None:
                    await bar.finish()
                return
            before = tuple(outlines) if consistent or is_again else None
            seen.recall()
        raise changed()

    @dual_method
    async def list(
        self: "Packages[Async]",
        *,
        page_size: int = 50,
        concurrency: int | None = None,
        consistent: bool = False,
        progress: bool = False,
        **filters: Unpack[Filters],
    ) -> Catalogue:
        """Return all packages of a search, each once and in the server's order.

        A page that cannot be read raises its error. If packages are added meanwhile, none of the others is missing: all
        pages are read again if necessary. If packages are removed meanwhile, others may be missing unless *consistent*
        is true.

        Args:
            page_size: Number of results per page.
            concurrency: Maximum number of pages that are requested at once; by default that of the settings.
            consistent: Whether all pages are read again at the end, until two readings agree. Where the server supports
                ETags, a page that has not changed costs only a response without a body.
            progress: Whether to show a progress bar. It needs the extra ``notebook``.
            country: English name of a country or region, as in ``countries.list()`` or another common one, in any case;
                for example ``"Greece"``, ``"greece"`` or ``"USA"``.
            country_code: Code of a country or region, as in ``countries.list()``, in any case; for example ``"GR"``.
            geography: ``"local"`` (single countries), ``"regional"`` or ``"global"``.
            days: Validity in days; for example ``7``.
            gbs: Data amount in GB; for example ``1`` or ``0.5``. Ignored by the server if *is_unlimited* is true.
            is_unlimited: ``True`` returns only unlimited packages. ``False`` has no effect.
            package_id: Id of the only package to return.

        Raises:
            CatalogueChangedError: The catalogue changed again and again, so that packages may be missing.
            RoamifyError: A page could not be read. ``page`` has its number.
            ValueError: There are no packages for *country* or *country_code*. The message names the nearest ones.

        See: https://docs.getroamify.com/esims/packages/
        """
        check("consistent", consistent, flag)
        bar = _PageBar() if progress else None
        request = await self._search(page_size, concurrency, filters)
        return await self._read(CatalogueSource(request, ()), concurrency, consistent=consistent, bar=bar)

    @dual_method
    async def refresh(
        self: "Packages[Async]", catalogue: Catalogue, *, concurrency: int | None = None, consistent: bool = False
    ) -> Catalogue:
        """Read a catalogue again, and return it as it is now. Pages that have not changed are not transferred.

        This requires that the server supports ETags; otherwise it is the same as ``list``. Packages of unchanged pages
        are the same objects in both catalogues.

        Args:
            catalogue: The result of ``list`` or ``refresh``, whose filters and page size are used, or what
                ``Catalogue.filter`` or ``Catalogue.load`` made of it. The result is filtered in the same way.
            concurrency: Maximum number of pages that are requested at once; by default that of the settings.
            consistent: As for ``list``.

        Raises:
            CatalogueChangedError: The catalogue changed again and again, so that packages may be missing.
            RoamifyError: A page could not be read. ``page`` has its number.
            ValueError: The catalogue was not read by ``list`` or ``refresh``, or it is a slice of one.

        See: https://docs.getroamify.com/esims/packages/
        """
        check("consistent", consistent, flag)
        if concurrency is not None:
            check("concurrency", concurrency, whole_number)
        source = catalogue.source
        if source is None:
            raise ValueError(
                "the catalogue was not read by packages.list() or refresh(), or it is a slice, so that its search is"
                " unknown: refresh the whole catalogue"
            )
        return await self._read(source, concurrency, consistent=consistent)

    async def _read(
        self: "Packages[Async]",
        source: CatalogueSource,
        concurrency: int | None,
        *,
        consistent: bool,
        bar: "_PageBar | None" = None,
    ) -> Catalogue:
        prefetch = partial(self._pages, source.request, concurrency, bar=bar)
        try:
            pages = await read_pages(prefetch, source.pages, consistent=consistent)
        except BaseException:
            if bar is not None:
                bar.close("the catalogue was not read to its end, and nothing is kept: call again to read it")
            raise
        if bar is not None:
            await bar.finish()
        return Catalogue.of_pages(attrs.evolve(source, pages=pages))

    async def _search(
        self: "Packages[Async]", page_size: int, concurrency: int | None, filters: Filters
    ) -> ListPackages:
        if concurrency is not None:
            check("concurrency", concurrency, whole_number)
        refuse_unknown_arguments("packages.list", filters, Filters.__annotations__)
        return await resolve_country(self.engine, ListPackages(page_size=page_size, **filters))

    def _pages(
        self: "Packages[Async]",
        request: ListPackages,
        concurrency: int | None,
        known: Sequence[PageT],
        bar: "_PageBar | None" = None,
    ) -> PagePrefetcher[PackagePage | PageT]:
        """Return a reading of all pages. Those of *known* that have not changed are returned as they are."""

        async def fetch(number: int, known: PackagePage | PageT | None) -> PackagePage | PageT:
            etag = None if known is None else known.etag
            page = await self.engine.exchange(_PAGE, attrs.evolve(request, page=number), etag=etag)
            return cast("PackagePage | PageT", known) if page is None else page

        pages: PagePrefetcher[PackagePage | PageT] = self.engine.prefetch(fetch, request.page_size, concurrency, known)
        pages.watch = None if bar is None else bar.watch
        return pages


class _PageBar(ProgressBar):
    """A bar of the pages of a catalogue. A further reading begins it anew."""

    def __init__(self) -> None:
        super().__init__(" pages")
        self._packages = 0

    async def watch(self, number: int, page: PackagePage | PageOutline) -> None:
        """Count a page."""
        self._packages = len(page.ids) + (self._packages if number > 1 else 0)
        await self.show(number, page.total_pages, f"{self._packages} packages")


def _decode_page(response: HttpResponse) -> PackagePage | None:
    """Return a page with its ETag, or ``None`` if it has not changed."""
    if response.status == HTTPStatus.NOT_MODIFIED:
        return None
    page = decode(response, PackagePage, Packages.page.data_path)
    page.etag = response.etag
    return page


async def _check_page(engine: Engine, request: ListPackages, page: PackagePage | None) -> None:
    if page is not None:
        await _refuse_unknown_country(engine, request, page)


_PAGE: Final = Endpoint(
    Packages.page.method,
    Packages.page.path,
    ListPackages,
    cast("type[PackagePage | None]", PackagePage),
    check=_check_page,
    decode=_decode_page,
)
"""A page with its ETag, or ``None`` in response to the ETag of the current version."""
