"""Exchange rates."""

import datetime as dt
from typing import Any, Final

import attrs

from roamify_async._validation import (
    one_of,
    optional,
    text,
)

from ._fields import json_name

INTERVALS: Final = ("day", "hour", "minute")


def _moment(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Refuse what is no moment: a time without a zone is another one in each zone."""
    if not isinstance(value, dt.datetime):
        raise TypeError(f"{field.name} must be a datetime with a time zone, not {value!r}")
    if value.utcoffset() is None:
        raise ValueError(f"{field.name} must have a time zone, like tzinfo=UTC: {value!r} has none")


@attrs.frozen
class ListCurrencies:
    """List the currencies that rates exist for; ``/exchange-rates/get-currencies``.

    The answer is not documented: it comes as parsed JSON, with its envelope if it has one.
    """


@attrs.frozen(kw_only=True)
class GetRates:
    """Get exchange rates, of now, of one moment, or of a time from ``start`` to ``end``; ``/exchange-rates``.

    The answer is not documented: it comes as parsed JSON, with its envelope if it has one, and exact numbers. Whether
    the API needs both currencies is not sure: its table says so, an example asks for all latest rates without them.
    Nor is it sure whether a time needs an ``interval``: one page says so.
    """

    source: str | None = attrs.field(default=None, validator=optional(text))
    """Code of the currency that is changed, such as ``"USD"``."""
    target: str | None = attrs.field(default=None, validator=optional(text))
    """Code of the currency that it is changed into."""
    datetime: dt.datetime | None = attrs.field(default=None, validator=optional(_moment))
    """A moment, with a time zone, to the second; not together with the other three."""
    start: dt.datetime | None = attrs.field(default=None, validator=optional(_moment), metadata=json_name("from"))
    """Beginning of a time, with a time zone; needs ``end``."""
    end: dt.datetime | None = attrs.field(default=None, validator=optional(_moment), metadata=json_name("to"))
    """End of a time, with a time zone; needs ``start``."""
    interval: str | None = attrs.field(default=None, validator=optional(one_of(*INTERVALS)))
    """``"day"``, ``"hour"`` or ``"minute"``: one rate for each."""

    def __attrs_post_init__(self) -> None:
        """Refuse what contradicts itself."""
        history = {"start": self.start, "end": self.end, "interval": self.interval}
        given = [name for name, value in history.items() if value is not None]
        if self.datetime is not None and given:
            raise ValueError(f"pass datetime, or start, end and interval; datetime and {' and '.join(given)} given")
        if given and (self.start is None or self.end is None):
            raise ValueError(f"pass start and end together; only {' and '.join(given)} given")
        if self.start is not None and self.end is not None and self.end < self.start:
            raise ValueError(f"end must not be before start: {self.end} is before {self.start}")
