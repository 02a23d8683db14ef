"""Structure hooks of single JSON values: exact, and tolerant only of variations that servers are known to send."""

import json
import pickle
import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NoReturn

import attrs

UNLIMITED: Final = 2**53 - 1
"""JSON number that means "no limit"."""
NOT_APPLICABLE: Final = -1
"""JSON number that means "does not apply"."""
MILLISECONDS_FROM: Final = 12
"""Power of ten from which a time is in milliseconds: as seconds it would be in the year 33658 or later."""
NO_TIME: Final = (0, NOT_APPLICABLE, UNLIMITED)
"""JSON numbers that mean "no time"."""
MAX_EXPONENT: Final = 1_000
"""Power of ten from which a number is refused, and below which. Arithmetic with far larger numbers may fail or not
terminate, and the digits of far smaller ones would fill the memory."""
MAX_NUMBER: Final = 10**MAX_EXPONENT
"""Number from which an integer is refused."""
MAX_DIGITS: Final = 10 * MAX_EXPONENT
"""Length of the longest text that is read as a number, which is longer than what is written for any usual one."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
"""Zero of Unix time."""


def json_names(cls: type[Any], *, is_whole: bool = False) -> dict[str, str | None]:
    """Return the JSON names of the fields of an attrs class.

    The name of a field that the API does not have is ``None``, or with *is_whole* that field in camelCase,
    unless it is internal.
    """

    def camel_case(name: str) -> str:
        head, *rest = name.split("_")
        return head + "".join(map(str.capitalize, rest))

    def name(field: "attrs.Attribute[Any]") -> str | None:
        key: str | None = field.metadata.get("json_name", camel_case(field.name))
        return camel_case(field.name) if key is None and is_whole and "internal" not in field.metadata else key

    return {field.name: name(field) for field in attrs.fields(cls)}


def hint_hook(field: "attrs.Attribute[Any]") -> Any:
    """Return the structure hook of a field that is a hint, or ``None`` for other fields."""
    if not field.metadata.get("hint"):
        return None
    read = SCALARS[field.type]

    def hook(value: Any, target: object) -> Any:
        with suppress(ValueError):
            return read(value, target)
        return None

    return hook


def refuse(value: object, expected: str) -> NoReturn:
    """Raise ``ValueError`` with the expected type and the value."""
    text = json.dumps(value, default=str)
    raise ValueError(f"{expected} expected, not {text if len(text) <= 60 else text[:57] + '...'}")  # noqa: PLR2004


def read_json(value: Any, _: object) -> Any:
    """Return any parsed JSON. Raises ``RecursionError`` if it is nested too deeply to be pickled."""
    pickle.dumps(value)
    return value


def read_text(value: Any, _: object) -> str:
    """Return text. Integers are accepted, since servers may send codes made of digits as numbers."""
    if value.__class__ is str:
        return value
    if value.__class__ is int:
        return str(value)
    refuse(value, "text")


def read_flag(value: Any, _: object) -> bool:
    """Return a boolean."""
    if value is True or value is False:
        return value
    refuse(value, "true or false")


def read_decimal(number: Decimal) -> Decimal:
    """Return a number, unless it is not finite, or its digits would fill the memory."""
    size = number.adjusted()
    is_usable = number.is_finite() and size > -MAX_EXPONENT and (size < MAX_EXPONENT or not number)
    return number if is_usable else refuse(number, "a number")


def read_number(value: Any, _: object) -> Decimal:
    """Return the exact value of a JSON number, or of text that contains a number."""
    if value.__class__ is Decimal:
        return read_decimal(value)
    if value.__class__ is int and -MAX_NUMBER < value < MAX_NUMBER:
        return Decimal(value)
    if isinstance(value, str) and len(value) <= MAX_DIGITS and re.fullmatch(r"-?\d+(\.\d+)?", value, re.ASCII):
        return read_decimal(Decimal(value))
    refuse(value, "a number")


def read_integer(value: Any, _: object) -> int:
    """Return an integer."""
    if value.__class__ is int:
        return value
    number = read_number(value, int)
    # The exponent is checked first, since int(Decimal("1e999999999")) would not terminate.
    if number.adjusted() < 20 and number == number.to_integral_value():  # noqa: PLR2004
        return int(number)
    refuse(value, "a whole number")


def read_time(value: Any, _: object) -> datetime | None:
    """Return a time from Unix seconds, milliseconds or ISO text; ``None`` for 0, -1, 2^53-1 and ``""``."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and not re.fullmatch(r"-?\d+(\.\d+)?", value, re.ASCII):
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        number = value if isinstance(value, Decimal) else read_number(value, Decimal)
        if number in NO_TIME:
            return None
        if MILLISECONDS_FROM <= number.adjusted() < MILLISECONDS_FROM + 3:
            number /= 1000
        if number.adjusted() < MILLISECONDS_FROM:  # datetime does not support larger numbers
            return EPOCH + timedelta(microseconds=int(number * 1_000_000))
    except (ValueError, OverflowError):
        pass
    refuse(value, "a time in Unix seconds")


def read_date(value: Any, _: object) -> date | None:
    """Return a date from either ISO format, a date-time, or ``31/12/2027``; ``None`` for ``""``."""
    if value is None or value == "":
        return None
    text = re.sub(r"^(\d{2})/(\d{2})/(\d{4})$", r"\3-\2-\1", read_text(value, str), flags=re.ASCII)
    day = re.match(r"(\d{4})(-?)(\d{2})\2(\d{2})(?!\d)", text, re.ASCII)
    try:
        return date(int(day[1]), int(day[3]), int(day[4])) if day else refuse(value, "a date")
    except ValueError:
        refuse(value, "a date")


def _required_date(value: Any, _: object) -> date:
    return read_date(value, date) or refuse(value, "a date")


def _optional_text(value: Any, _: object) -> str | None:
    return read_text(value, str) or None if value is not None else None


def _optional_number(value: Any, _: object) -> Decimal | None:
    number = None if value is None or value == "" else read_number(value, Decimal)
    return None if number in (NOT_APPLICABLE, UNLIMITED) else number


def read_optional_integer(value: Any, _: object) -> int | None:
    """Return an integer; ``None`` for -1, 2^53-1 and ``""``."""
    number = None if value is None or value == "" else read_integer(value, int)
    return None if number in (NOT_APPLICABLE, UNLIMITED) else number


def read_items(value: Any, _: object) -> tuple[Any, ...]:
    """Return content that is only displayed: the items of an array, or any other JSON as the only item."""
    read_json(value, object)
    return tuple(value) if value.__class__ is list else () if value is None else (value,)


def read_texts(value: Any, _: object) -> tuple[str, ...]:
    """Return texts that are only displayed. Items that are not text are returned as JSON."""
    return tuple(
        str(item) if isinstance(item, str | Decimal) else json.dumps(item, default=str)
        for item in read_items(value, object)
        if item is not None
    )


SCALARS: Final[Mapping[Any, Any]] = {
    str: read_text,
    bool: read_flag,
    int: read_integer,
    Decimal: read_number,
    str | None: _optional_text,
    int | None: read_optional_integer,
    Decimal | None: _optional_number,
    float | Decimal | None: _optional_number,
    datetime | None: read_time,
    date | None: read_date,
    date: _required_date,
}
"""The structure hook of each scalar type. Sentinels of the API become ``None`` if the type allows it."""
