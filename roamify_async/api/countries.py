"""Countries, regions and worldwide groups."""

from typing import Final

from roamify_async._core.endpoint import Endpoint, Mode, Resource
from roamify_async.models.countries import Country, ListCountries


class Countries(Resource[Mode]):
    """Countries, regions and worldwide groups for which packages are sold."""

    list: Final = Endpoint("GET", "/api/esim/countries", ListCountries, tuple[Country, ...], data_path="data.countries")
    """Return all countries, regions and worldwide groups."""
