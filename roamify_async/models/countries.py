"""Countries, regions and worldwide groups for which packages are sold."""

import attrs

from roamify_async._validation import Geography, geography, optional, to_geography

from ._text import summary
from ._value import Value


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ListCountries(Value):
    """Return all countries, regions and worldwide groups for which packages are sold.

    Args:
        geography: Return only ``"local"`` (single countries), ``"regional"`` or ``"global"`` entries.

    See: https://docs.getroamify.com/esims/countries/
    """

    geography: Geography | None = attrs.field(default=None, converter=to_geography, validator=optional(geography))
    """``"local"`` (one country), ``"regional"`` or ``"global"``."""


@attrs.define(kw_only=True, eq=False, repr=False)
class Country(Value):
    """A country, region or worldwide group."""

    code: str
    """ISO 3166-1 alpha-2 code of a country; three or more letters for a region or group. Not unique."""
    name: str
    """English name, as ``packages.list(country=...)`` takes it."""
    geography: str | None = None
    """``"local"`` (one country), ``"regional"`` or ``"global"``."""

    def __repr__(self) -> str:
        """Return one line."""
        return summary(self, self.code, self.name, self.geography)
