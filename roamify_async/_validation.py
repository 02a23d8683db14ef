"""Validators of attrs fields. Their errors name the field and, unless it is personal data, the refused value.

They wrap the validators of attrs, so that messages say what to pass.
"""

import datetime as dt
import math
import unicodedata
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final, Literal, Protocol, cast, get_args
from urllib.parse import urlsplit

import attrs
from attrs import validators

Seconds = float | timedelta
"""A duration: seconds as a number, or a ``timedelta``."""
MAX_RATE: Final = 1_000_000
"""Maximum rate per second."""


MAX_REFERENCE: Final = 128
"""Maximum length of a reference in characters."""


class Named(Protocol):
    """A field, or an argument, as validators use it."""

    @property
    def name(self) -> str:
        """Name of the field or argument."""
        ...


Validator = Callable[[Any, "attrs.Attribute[Any]", Any], None]


@attrs.frozen
class Argument:
    """An argument that is not a field of a class."""

    name: str


def check(name: str, value: object, validator: Validator) -> None:
    """Raise ``TypeError`` or ``ValueError`` if *validator* refuses the argument *name*."""
    validator(None, cast("attrs.Attribute[Any]", Argument(name)), value)


def worded(validator: Any, message: str, error: type[Exception] = ValueError, *, shown: bool = True) -> Validator:
    """Return a validator with messages of the form ``"<name> must <message>, not <value>"``.

    The value is omitted unless *shown* is true.
    """
    inner = cast("Validator", validator)

    def validate(instance: Any, field: Any, value: Any) -> None:
        try:
            inner(instance, field, value)
        except (TypeError, ValueError):
            raise error(f"{field.name} must {message}{f', not {value!r}' if shown else ''}") from None

    return validate


def optional(validator: Validator) -> Validator:
    """Return a validator that also accepts ``None``."""
    return validators.optional(validator)


def instance(cls: type | tuple[type, ...], what: str) -> Validator:
    """Return a validator of a type. Its message contains the type of a refused value, not the value."""

    def validate(_: object, field: Named, value: Any) -> None:
        if not isinstance(value, cls) or (isinstance(value, bool) and cls is not bool):
            raise TypeError(f"{field.name} must be {what}, not {type(value).__name__}")

    return validate


def one_of(*words: str) -> Validator:
    """Return a validator that accepts only some words."""
    return worded(validators.in_(words), f"be one of {', '.join(words)}")


def matching(pattern: str, what: str) -> Validator:
    """Return a validator of personal data, whose message does not contain the value."""
    text_type = instance(str, "text")
    matches = worded(validators.matches_re(pattern), f"be {what}", shown=False)
    return cast("Validator", validators.and_(text_type, matches))


def text(_: object, field: Named, value: Any) -> None:
    """Accept only text that is not blank."""
    if not isinstance(value, str):
        raise TypeError(f"{field.name} must be text, not {value!r}")
    if not value.strip():
        raise ValueError(f"{field.name} must not be empty")
    if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
        raise ValueError(f"{field.name} must not contain lone surrogates, as {value!r} does")


def reference(_: object, field: Named, value: Any) -> None:
    """Refuse references that a server might trim, truncate or normalize, so that two of them become equal."""
    text(_, field, value)
    if value != value.strip():
        raise ValueError(f"{field.name} must not begin or end with white space, as {value!r} does")
    if not unicodedata.is_normalized("NFC", value):
        raise ValueError(f"{field.name} must be in Unicode's normalization form NFC, which {value!r} is not")
    if not (value.isascii() and value.isprintable()) and any(
        unicodedata.category(character) in {"Cc", "Cs"} for character in value
    ):
        raise ValueError(f"{field.name} must not contain control characters or lone surrogates, as {value!r} does")
    if len(value) > MAX_REFERENCE:
        raise ValueError(f"{field.name} must have at most {MAX_REFERENCE} characters, not {len(value)}")


def whole_number(_: object, field: Named, value: Any) -> None:
    """Refuse everything but integers from 1."""
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{field.name} must be a whole number, not {value!r}")
    if value < 1:
        raise ValueError(f"{field.name} must be at least 1, not {value}")


def _number(field: Named, value: object, unit: str = "") -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{field.name} must be a number{unit}, not {value!r}")
    return value


def amount(_: object, field: Named, value: Any) -> None:
    """Accept only finite numbers above 0."""
    is_finite = value.is_finite() if isinstance(value, Decimal) else math.isfinite(_number(field, value))
    if not is_finite or value <= 0:
        raise ValueError(f"{field.name} must be more than 0, not {value}")


def flag(_: object, field: Named, value: Any) -> None:
    """Accept only ``True`` and ``False``."""
    if not isinstance(value, bool):
        raise TypeError(f"{field.name} must be True or False, not {value!r}")


def positive(_: object, field: Named, value: Any) -> None:
    """Accept only numbers of seconds above 0."""
    if not _number(field, value, " of seconds, or a timedelta") > 0:
        raise ValueError(f"{field.name} must be more than 0, not {value!r}")


def not_negative(_: object, field: Named, value: Any) -> None:
    """Accept only numbers of seconds from 0."""
    if not _number(field, value, " of seconds, or a timedelta") >= 0:
        raise ValueError(f"{field.name} must not be negative, as {value!r} is")


def rate(_: object, field: Named, value: Any) -> None:
    """Accept only numbers per second above 0 and up to ``MAX_RATE``."""
    number = _number(field, value)
    if not 0 < number <= MAX_RATE:
        raise ValueError(
            f"{field.name} must be more than 0 and at most {MAX_RATE:,} a second, not {value!r}; None is no limit"
        )


def seconds(value: Seconds) -> float:
    """Convert to seconds. Values that are not times pass through, so that the validator can name the field."""
    return value.total_seconds() if isinstance(value, timedelta) else value


def optional_seconds(value: Seconds | None) -> float | None:
    """Convert to seconds. ``None`` is returned unchanged."""
    return None if value is None else seconds(value)


def proxy_problem(url: str) -> str | None:
    """Return what is wrong with the URL of a proxy, without its value, which may contain a password; or ``None``."""
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "cannot be parsed: it looks like http://user:password@127.0.0.1:3128, with special characters encoded"
    if parts.scheme.startswith("socks"):
        return "is a SOCKS proxy, and only HTTP proxies are supported"
    if parts.scheme not in {"http", "https"} or not host:
        return "must begin with http:// and name a host, like http://127.0.0.1:3128"
    if parts.path not in {"", "/"} or parts.query or parts.fragment:
        return "must end after the port; special characters of a password are percent-encoded"
    if any(character.isspace() or not character.isprintable() for character in url):
        return "must not contain white space or control characters"
    return None


def proxy(_: object, field: Named, value: Any) -> None:
    """Accept only URLs of HTTP proxies. Messages do not contain the value."""
    instance(str, "text")(_, cast("attrs.Attribute[Any]", field), value)
    problem = proxy_problem(value)
    if problem:
        raise ValueError(f"{field.name} {problem}")


Geography = Literal["local", "regional", "global"]
"""Whether a destination is one country, a region, or the world."""
geography: Final = one_of(*get_args(Geography))
"""Accept only a ``Geography``."""


def to_geography(value: Geography | None) -> Geography | None:
    """Convert a ``Geography`` to lower case. Other values pass through, so that the validator can name the field."""
    return cast("Geography", value.lower()) if isinstance(value, str) else value


def path_segment(instance: object, field: Named, value: Any) -> None:
    """Accept only text that is one segment of a path."""
    text(instance, field, value)
    if value in {".", ".."} or "/" in str(value):
        raise ValueError(f"{field.name} must be one segment of a path, not {value!r}")


def to_start_date(value: dt.date | str | None) -> dt.date | None:
    """Convert a first day of travel, given as a date or ISO text."""
    return None if value is None else parse_date("start_date", value)


def parse_date(name: str, value: dt.date | str) -> dt.date:
    """Convert a date or ISO text. A ``datetime`` is refused, since its time would be ignored."""
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
    """Raise ``ValueError`` unless exactly one field of a request is set."""
    fields = attrs.asdict(request, recurse=False)
    given = [name for name, value in fields.items() if value is not None]
    if len(given) != 1:
        raise ValueError(f"pass exactly one of {', '.join(fields)}; {' and '.join(given) or 'none'} given")
    text(request, attrs.fields_dict(type(request))[given[0]], fields[given[0]])
