"""How single JSON values are read: exact, tolerant of what servers mix up, and strict about everything else."""

import json
import pickle
import re
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final, NoReturn

UNLIMITED: Final = 2**53 - 1
"""The number that stands for "no limit" on the wire."""
NOT_APPLICABLE: Final = -1
"""The number that stands for "does not apply" on the wire."""
NO_TIME: Final = (0, NOT_APPLICABLE, UNLIMITED)
"""The numbers that stand for "no time" on the wire."""
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class State(StrEnum):
    """A state in the server's words; a word that is not known here is kept as it is."""

    @classmethod
    def _missing_(cls, value: object) -> "State | None":
        if not isinstance(value, str):
            return None
        state = str.__new__(cls, value)
        state._name_, state._value_ = value, value
        return state


def refuse(value: object, wanted: str) -> NoReturn:
    shown = json.dumps(value, default=str)
    raise ValueError(f"{wanted} expected, not {shown if len(shown) <= 60 else shown[:57] + '...'}")  # noqa: PLR2004


def read_json(value: Any, _: object) -> Any:
    """Give any JSON as it was parsed; a ``RecursionError`` where it is nested so deeply that nobody could use it."""
    pickle.dumps(value)
    return value


def read_text(value: Any, _: object) -> str:
    # Codes made of digits are sometimes sent as numbers; their digits are the text.
    if value.__class__ is str:
        return value
    if value.__class__ is int:
        return str(value)
    refuse(value, "text")


def read_flag(value: Any, _: object) -> bool:
    if value is True or value is False:
        return value
    refuse(value, "true or false")


def read_number(value: Any, _: object) -> Decimal:
    """Give the exact value of a JSON number."""
    if value.__class__ is Decimal:
        return value
    if value.__class__ is int:
        return Decimal(value)
    if isinstance(value, str) and re.fullmatch(r"-?\d{1,40}(\.\d{1,40})?", value, re.ASCII):
        return Decimal(value)
    refuse(value, "a number")


def read_whole(value: Any, _: object) -> int:
    if value.__class__ is int:
        return value
    number = read_number(value, int)
    # The exponent is looked at first: int(Decimal("1e999999999")) would not end.
    if number.adjusted() < 20 and number == number.to_integral_value():  # noqa: PLR2004
        return int(number)
    refuse(value, "a whole number")


def read_time(value: Any, _: object) -> datetime | None:
    """Give the time of Unix seconds or ISO text; 0, -1 and "" mean that there is none."""
    if value is None or value == "":
        return None
    try:
        if isinstance(value, str) and not re.fullmatch(r"-?\d+(\.\d+)?", value, re.ASCII):
            moment = datetime.fromisoformat(value)
            return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
        number = read_number(value, Decimal)
        if number in NO_TIME:
            return None
        if number.adjusted() < 12:  # noqa: PLR2004 -- beyond lies no year that datetime knows
            return EPOCH + timedelta(microseconds=int(number * 1_000_000))
    except (ValueError, OverflowError):
        pass
    refuse(value, "a time in Unix seconds")


def read_date(value: Any, _: object) -> date | None:
    """Give the day of an ISO date in either of its forms, of a date-time, or of ``31/12/2027``; "": there is none."""
    if value is None or value == "":
        return None
    text = re.sub(r"^(\d{2})/(\d{2})/(\d{4})$", r"\3-\2-\1", read_text(value, str), flags=re.ASCII)
    day = re.match(r"(\d{4})(-?)(\d{2})\2(\d{2})(?!\d)", text, re.ASCII)
    try:
        return date(int(day[1]), int(day[3]), int(day[4])) if day else refuse(value, "a date")
    except ValueError:
        refuse(value, "a date")


def _optional_text(value: Any, _: object) -> str | None:
    return read_text(value, str) or None if value is not None else None


def _optional_number(value: Any, _: object) -> Decimal | None:
    number = None if value is None or value == "" else read_number(value, Decimal)
    return None if number in (NOT_APPLICABLE, UNLIMITED) else number


def read_optional_whole(value: Any, _: object) -> int | None:
    number = None if value is None or value == "" else read_whole(value, int)
    return None if number in (NOT_APPLICABLE, UNLIMITED) else number


READERS: Final[Mapping[Any, Any]] = {
    str: read_text,
    bool: read_flag,
    int: read_whole,
    Decimal: read_number,
    str | None: _optional_text,
    int | None: read_optional_whole,
    Decimal | None: _optional_number,
    datetime | None: read_time,
    date | None: read_date,
}
"""How each primitive is read; the sentinels of the wire become ``None`` where the field may be."""
