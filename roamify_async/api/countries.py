"""Where eSIMs are sold for."""

from typing import Final

import attrs

from roamify_async._engine.facade import Endpoint, Resource, Way

from .values import geography, optional


@attrs.frozen(kw_only=True)
class ListCountries:
    """List the countries, regions and worldwide groups that packages exist for; ``/esims/countries``."""

    geography: str | None = attrs.field(default=None, validator=optional(geography))
    """``"local"``, ``"regional"`` or ``"global"``."""


@attrs.define(kw_only=True)
class Country:
    """A country, region or worldwide group."""

    code: str
    """ISO 3166 alpha-2 for countries, three letters and more for groups. Not unique."""
    name: str
    """English name; what ``packages`` take as ``country``."""
    geography: str | None = None


class Countries(Resource[Way]):
    """Countries, regions and worldwide groups."""

    list: Final = Endpoint("GET", "/api/esim/countries", ListCountries, tuple[Country, ...], answer="data.countries")
    """Everything that packages exist for."""
