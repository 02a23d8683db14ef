"""Exchange rates."""

import datetime as dt
from typing import Any, Final

import attrs

from roamify_async._serde.fields import json_name
from roamify_async._validation import (
    one_of,
    optional,
    text,
)

from ._value import Value

INTERVALS: Final = ("day", "hour", "minute")
"""Steps in which past rates are returned."""


def _moment(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Check that a value is a time with a time zone, without which it would be ambiguous."""
    if not isinstance(value, dt.datetime):
        raise TypeError(f"{field.name} must be a datetime with a time zone, not {value!r}")
    if value.utcoffset() is None:
        raise ValueError(f"{field.name} must have a time zone, like tzinfo=UTC: {value!r} has none")


@attrs.frozen(eq=False, repr=False)
class ListCurrencies(Value):
    """Return the currencies for which there are exchange rates.

    The response is not documented. It is returned as parsed JSON, including the envelope, if there is one.

    See: https://docs.getroamify.com/exchange-rates/get-currencies/
    """


@attrs.frozen(kw_only=True, eq=False, repr=False)
class GetRates(Value):
    """Return exchange rates: the latest, those at one time, or those of a period.

    The response is not documented. It is returned as parsed JSON with exact numbers, including the envelope, if there
    is one. The documentation contradicts itself on two points: whether *source* and *target* are required, and whether
    a period requires an *interval*.

    Args:
        source: Code of the source currency, such as ``"USD"``.
        target: Code of the target currency, such as ``"EUR"``.
        datetime: Return the rates at this time, which must have a time zone. Excludes the following parameters.
        start: Start of the period, with a time zone. Requires *end*.
        end: End of the period, with a time zone. Requires *start*.
        interval: Return one rate per ``"day"``, ``"hour"`` or ``"minute"`` of the period.

    See: https://docs.getroamify.com/exchange-rates/get-exchange-rates/
    """

    source: str | None = attrs.field(default=None, validator=optional(text))
    """Code of the source currency, such as ``"USD"``."""
    target: str | None = attrs.field(default=None, validator=optional(text))
    """Code of the target currency."""
    datetime: dt.datetime | None = attrs.field(default=None, validator=optional(_moment))
    """Time of the rates, with a time zone, to the second. Excludes ``start``, ``end`` and ``interval``."""
    start: dt.datetime | None = attrs.field(default=None, validator=optional(_moment), metadata=json_name("from"))
    """Start of the period, with a time zone. Requires ``end``."""
    end: dt.datetime | None = attrs.field(default=None, validator=optional(_moment), metadata=json_name("to"))
    """End of the period, with a time zone. Requires ``start``."""
    interval: str | None = attrs.field(default=None, validator=optional(one_of(*INTERVALS)))
    """``"day"``, ``"hour"`` or ``"minute"``."""

    def __attrs_post_init__(self) -> None:
        """Check that the arguments do not contradict one another."""
        history = {"start": self.start, "end": self.end, "interval": self.interval}
        given = [name for name, value in history.items() if value is not None]
        if self.datetime is not None and given:
            raise ValueError(f"pass datetime, or start, end and interval; datetime and {' and '.join(given)} given")
        if given and (self.start is None or self.end is None):
            raise ValueError(f"pass start and end together; only {' and '.join(given)} given")
        if self.start is not None and self.end is not None and self.end < self.start:
            raise ValueError(f"end must not be before start: {self.end} is before {self.start}")
