"""Countries, regions and worldwide groups."""

from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Final, TypeVar

import anyio
import attrs

from roamify_async._core.endpoint import Endpoint, Mode, Resource, resource
from roamify_async._core.engine import Engine
from roamify_async.errors import RoamifyError
from roamify_async.models.countries import Country, ListCountries
from roamify_async.models.country_names import Place, resolve_code, resolve_name
from roamify_async.models.insurance import ListInsurance
from roamify_async.models.packages import ListPackages

SearchT = TypeVar("SearchT", ListPackages, ListInsurance)

LIFETIME: Final = 600.0
"""Seconds for which a list of countries is used to resolve filters."""
FAILURE_LIFETIME: Final = 60.0
"""Seconds after a failure to read it, in which it is not requested again."""


@resource
class Countries(Resource[Mode]):
    """Countries, regions and worldwide groups for which packages are sold."""

    list: Final = Endpoint("GET", "/api/esim/countries", ListCountries, tuple[Country, ...], data_path="data.countries")
    """Return all countries, regions and worldwide groups."""


async def resolve_country(engine: Engine, request: ListPackages) -> ListPackages:
    """Return a search with the spellings of ``countries.list()``, or as it is if they cannot be determined."""
    return await resolve_filters(request, partial(known_countries, engine))


async def resolve_filters(request: SearchT, read_places: Callable[[], Awaitable[Sequence[Place]]]) -> SearchT:
    """Return a search with the spellings of a list of countries.

    A text that means no country of the list, or several, is not changed, and neither is one if the list is empty.
    """
    country, code = request.country, request.country_code
    if country is None and code is None:
        return request
    places = await read_places()
    return attrs.evolve(
        request,
        country=country and (resolve_name(country, places) or country),
        country_code=code and (resolve_code(code, places) or code),
    )


async def known_countries(engine: Engine) -> Sequence[Place]:
    """Return ``countries.list()``, read at most once in ten minutes; nothing if it cannot be read."""
    return await remember_places(engine, Countries.list.path, partial(engine.send, Countries.list, ListCountries()))


async def remember_places(
    engine: Engine, key: str, read_places: Callable[[], Awaitable[Sequence[Place]]]
) -> Sequence[Place]:
    """Return a list of countries, read at most once in ten minutes; nothing if it cannot be read."""
    memory = engine.memory
    async with memory.countries_lock:
        until, places = memory.countries.get(key, (0.0, ()))
        if anyio.current_time() >= until:
            try:
                places, lifetime = await read_places(), LIFETIME
            except RoamifyError:  # The search itself may succeed.
                lifetime = FAILURE_LIFETIME
            memory.countries[key] = anyio.current_time() + lifetime, places
    return places
