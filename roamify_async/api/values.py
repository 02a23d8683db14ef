"""Values that several rooms share, and the checks of what callers pass."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final

import attrs

from roamify_async._engine.names import wire

Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


# ---------------------------------------------------------------- checks of arguments


def text(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Refuse what is no text, or empty."""
    if not isinstance(value, str):
        raise TypeError(f"{field.name} must be text, not {value!r}")
    if not value.strip():
        raise ValueError(f"{field.name} must not be empty")


def whole(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Refuse what is no whole number from 1 up."""
    check_whole(field.name, value)


def check_whole(name: str, value: object) -> None:
    """Refuse an argument that is no whole number from 1 up."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{name} must be at least 1, not {value}")


def amount(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Refuse what is no number above 0."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        raise TypeError(f"{field.name} must be a number, not {value!r}")
    if not (value.is_finite() if isinstance(value, Decimal) else value < float("inf")) or value <= 0:
        raise ValueError(f"{field.name} must be more than 0, not {value}")


def flag(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Refuse what is neither True nor False."""
    if not isinstance(value, bool):
        raise TypeError(f"{field.name} must be True or False, not {value!r}")


def one_of(*words: str) -> Validator:
    """Make a check that refuses what is none of some words."""

    def check(_: object, field: "attrs.Attribute[Any]", value: object) -> None:
        if value not in words:
            raise ValueError(f"{field.name} must be one of {', '.join(words)}, not {value!r}")

    return check


geography: Final = one_of("local", "regional", "global")
"""Refuses what is no geography: a destination is one country, several, or the world."""


def optional(check: Validator) -> Validator:
    """Let ``None`` pass a check."""
    return attrs.validators.optional(check)


def path_segment(request: object, field: "attrs.Attribute[Any]", value: object) -> None:
    """Refuse what would be another path than the one it is meant to stand in."""
    text(request, field, value)
    if value in {".", ".."} or "/" in str(value):
        raise ValueError(f"{field.name} must be one segment of a path, not {value!r}")


def day(value: dt.date | str | None) -> dt.date | None:
    """Read the first day of a journey where there is one."""
    return None if value is None else read_day("start_date", value)


def read_day(name: str, value: dt.date | str) -> dt.date:
    """Read a date or its ISO text; a ``datetime`` is refused, since its time would be dropped."""
    if isinstance(value, dt.datetime):
        raise TypeError(f"{name} must be a date, not a datetime: use {value.date()!r}, in the traveller's time zone")
    if isinstance(value, dt.date):
        return value
    try:
        return dt.date.fromisoformat(value)
    except TypeError:
        raise TypeError(f"{name} must be a date or its ISO text, not {value!r}") from None
    except ValueError:
        raise ValueError(f"{name} must be a date like 2027-07-01, not {value!r}") from None


def exactly_one(request: attrs.AttrsInstance) -> None:
    """Refuse a request in which not just one field is given."""
    fields = attrs.asdict(request, recurse=False)
    given = [name for name, value in fields.items() if value is not None]
    if len(given) != 1:
        told = " and ".join(given) or "none"
        raise ValueError(f"pass exactly one of {', '.join(fields)}; {told} given")
    text(request, attrs.fields_dict(type(request))[given[0]], fields[given[0]])


# ---------------------------------------------------------------- shared answers


@attrs.define(kw_only=True)
class Apn:
    """Access point that a device may have to be told."""

    apn_automatic: bool = True
    apn_name: str | None = None
    apn_username: str | None = None
    apn_password: str | None = attrs.field(default=None, repr=False)


@attrs.define(kw_only=True)
class DataAllowance:
    """Data that belongs to a package or an eSIM."""

    is_unlimited: bool = False
    data_amount: Decimal | None = None
    """In ``data_unit``; ``None`` where it is unlimited or not said."""
    data_unit: str = "MB"


@attrs.define(kw_only=True)
class CallAllowance:
    """Calls that belong to a package or an eSIM."""

    with_call: bool = False
    call_type: str | None = None
    call_amount: Decimal | None = None
    call_unit: str | None = None


@attrs.define(kw_only=True)
class SmsAllowance:
    """Text messages that belong to a package or an eSIM."""

    with_sms: bool = attrs.field(default=False, metadata=wire("withSMS"))
    sms_type: str | None = None
    sms_amount: Decimal | None = None
    sms_unit: str | None = None
