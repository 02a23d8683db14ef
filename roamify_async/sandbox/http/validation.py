"""Schemas of queries and bodies; error messages are worded like those of Joi, which the API uses."""

import re
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, cast

from attrs import frozen

from .errors import invalid

Rule = Callable[[str, object], Any]
"""Takes a label and a raw value; returns the parsed value or raises the 400."""

_strict: ContextVar[bool] = ContextVar("strict", default=False)
_NUMBER: Final = re.compile(r"[+-]?([0-9]{1,15})(\.[0-9]{1,15})?")
_INVALID_CHARACTERS: Final = re.compile(r"[\0\ud800-\udfff]")  # valid in JSON, but not in a database
_SLASH_DATE: Final = re.compile(r"[0-9]{2}/[0-9]{2}/[0-9]{4}")


@contextmanager
def validating(*, strict: bool) -> Generator[None, None, None]:
    """Refuse, within the block, what Joi converts by default, if *strict*: numbers in text, booleans in any case."""
    token = _strict.set(strict)
    try:
        yield
    finally:
        _strict.reset(token)


@frozen
class Schema:
    """The keys of a query or an object, with a rule for each, and which of them are required."""

    rules: Mapping[str, Rule]
    required: frozenset[str] = frozenset()
    any_of: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()

    def parse(self, value: object, label: str = "") -> dict[str, Any]:
        """Return the parsed values by key, or raise the 400 for the first violation."""
        if not isinstance(value, dict):
            raise invalid(f'"{label or "value"}" must be of type object')
        fields = cast("dict[str, object]", value)
        prefix = f"{label}." if label else ""
        parsed: dict[str, Any] = {}
        for name, rule in self.rules.items():
            if name in fields:
                parsed[name] = rule(prefix + name, fields[name])
            elif name in self.required:
                raise invalid(f'"{prefix}{name}" is required')
        for name in fields:
            if name not in self.rules:
                raise invalid(f'"{prefix}{name}" is not allowed')
        self._check_peers(fields)
        return parsed

    def _check_peers(self, fields: Mapping[str, object]) -> None:
        peers = self.any_of or self.one_of
        present = [name for name in peers if name in fields]
        if peers and not present:
            raise invalid(f'"value" must contain at least one of [{", ".join(peers)}]')
        if self.one_of and len(present) > 1:
            raise invalid(f'"value" contains a conflict between exclusive peers [{", ".join(peers)}]')


EMPTY: Final = Schema({})
"""The schema of a query or body without any key."""


def text(label: str, value: object) -> str:
    """Return a non-empty string."""
    if not isinstance(value, str):
        raise invalid(f'"{label}" must be a string')
    if not value:
        raise invalid(f'"{label}" is not allowed to be empty')
    if _INVALID_CHARACTERS.search(value):
        raise invalid(f'"{label}" contains an invalid character')
    return value


def text_or_empty(label: str, value: object) -> str:
    """Return a string, which may be empty."""
    return text(label, value) if value != "" else ""


def enum(*allowed: str) -> Rule:
    """Return a rule for one of these words, case-sensitive."""

    def rule(label: str, value: object) -> object:
        if value not in allowed:
            raise invalid(f'"{label}" must be one of [{", ".join(allowed)}]')
        return value

    return rule


def enum_any_case(*allowed: str) -> Rule:
    """Return a rule for one of these lower-case words, case-insensitive."""
    rule = enum(*allowed)
    return lambda label, value: rule(label, value.lower() if isinstance(value, str) else value)


def number(label: str, value: object) -> Decimal:
    """Return a number from a query string."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise invalid(f'"{label}" must be a number')
    return Decimal(value)


def count(label: str, value: object) -> int:
    """Return an integer of at least 1 from a query string."""
    return _at_least_one(label, whole_number(label, number(label, value)))


def whole_number(label: str, value: object) -> int:
    """Return an integer from a body; undocumented: one in a string, which Joi accepts."""
    if isinstance(value, str) and not _strict.get():
        value = number(label, value)
    if isinstance(value, bool) or not isinstance(value, (int, float, Decimal)):
        raise invalid(f'"{label}" must be a number')
    if value % 1 != 0:  # true for infinity, too
        raise invalid(f'"{label}" must be an integer')
    return int(value)


def quantity(label: str, value: object) -> int:
    """Return an integer of at least 1 from a body."""
    return _at_least_one(label, whole_number(label, value))


def _at_least_one(label: str, value: int) -> int:
    if value < 1:
        raise invalid(f'"{label}" must be greater than or equal to 1')
    return value


def boolean(label: str, value: object) -> bool:
    """Return a boolean from a query string; undocumented: one in upper case, which Joi accepts."""
    if isinstance(value, str) and not _strict.get():
        value = value.lower()
    if value not in ("true", "false"):  # the value of a repeated key is a list, which is not hashable
        raise invalid(f'"{label}" must be a boolean')
    return value == "true"


def pattern(expression: str, description: str) -> Rule:
    """Return a rule for a string that matches; the error message contains the description."""
    compiled = re.compile(expression)

    def rule(label: str, value: object) -> str:
        if not compiled.fullmatch(text(label, value)):
            raise invalid(f'"{label}" must be {description}')
        return str(value)

    return rule


def iso_date(label: str, value: object) -> str:
    """Return an ISO date, `2026-07-01`."""
    try:
        return date.fromisoformat(text(label, value)).isoformat()
    except ValueError:
        raise invalid(f'"{label}" must be in ISO 8601 date format') from None


def iso_datetime(label: str, value: object) -> datetime:
    """Return an ISO date and time, `2026-07-01T00:00:00Z`, which is UTC unless it says otherwise."""
    try:
        parsed = datetime.fromisoformat(text(label, value))
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise invalid(f'"{label}" must be in ISO 8601 date format') from None


def slash_date(label: str, value: object) -> date:
    """Return a date as insurance writes it, `31/12/2026`."""
    try:
        if _SLASH_DATE.fullmatch(text(label, value)):
            return datetime.strptime(str(value), "%d/%m/%Y").date()  # noqa: DTZ007 - a date has no time zone
    except ValueError:
        pass
    raise invalid(f'"{label}" must be a date in DD/MM/YYYY format')


def list_of(schema: Schema) -> Rule:
    """Return a rule for a non-empty list of objects."""

    def rule(label: str, value: object) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise invalid(f'"{label}" must be an array')
        entries = cast("list[object]", value)
        if not entries:
            raise invalid(f'"{label}" must contain at least 1 items')
        return [schema.parse(entry, f"{label}[{position}]") for position, entry in enumerate(entries)]

    return rule


def object_of(schema: Schema) -> Rule:
    """Return a rule for an object."""
    return lambda label, value: schema.parse(value, label)
