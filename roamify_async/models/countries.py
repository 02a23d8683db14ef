"""Countries, regions and worldwide groups that packages are sold for."""

import attrs

from roamify_async._validation import geography, optional


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
