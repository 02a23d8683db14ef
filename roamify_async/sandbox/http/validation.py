"""The shapes of requests, checked with the wording of Joi, which the API speaks."""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, Final, cast

from attrs import frozen

from .responses import invalid

Rule = Callable[[str, object], Any]  # the label and the given value, to the value understood

_NUMBER: Final = re.compile(r"[+-]?([0-9]{1,15})(\.[0-9]{1,15})?")
_UNWRITABLE: Final = re.compile(r"[\0\ud800-\udfff]")  # these fit into JSON, but into no database
_DAY: Final = re.compile(r"[0-9]{2}/[0-9]{2}/[0-9]{4}")


@frozen
class Shape:
    """What a query or body may hold: a rule for each key, and which keys must be there."""

    rules: Mapping[str, Rule]
    required: frozenset[str] = frozenset()
    any_of: tuple[str, ...] = ()
    one_of: tuple[str, ...] = ()

    def read(self, given: object, label: str = "") -> dict[str, Any]:
        """Understand what was given, or refuse it with the first thing that is wrong."""
        if not isinstance(given, dict):
            raise invalid(f'"{label or "value"}" must be of type object')
        fields = cast("dict[str, object]", given)
        prefix = f"{label}." if label else ""
        understood: dict[str, Any] = {}
        for name, rule in self.rules.items():
            if name in fields:
                understood[name] = rule(prefix + name, fields[name])
            elif name in self.required:
                raise invalid(f'"{prefix}{name}" is required')
        for name in fields:
            if name not in self.rules:
                raise invalid(f'"{prefix}{name}" is not allowed')
        self._check_peers(fields)
        return understood

    def _check_peers(self, fields: Mapping[str, object]) -> None:
        peers = self.any_of or self.one_of
        present = [name for name in peers if name in fields]
        if peers and not present:
            raise invalid(f'"value" must contain at least one of [{", ".join(peers)}]')
        if self.one_of and len(present) > 1:
            raise invalid(f'"value" contains a conflict between exclusive peers [{", ".join(peers)}]')


def text(label: str, value: object) -> str:
    """Understand a text that is not empty."""
    if not isinstance(value, str):
        raise invalid(f'"{label}" must be a string')
    if not value:
        raise invalid(f'"{label}" is not allowed to be empty')
    if _UNWRITABLE.search(value):
        raise invalid(f'"{label}" contains an invalid character')
    return value


def enum(*allowed: str) -> Rule:
    """Understand one of these words."""

    def rule(label: str, value: object) -> object:
        if value not in allowed:
            raise invalid(f'"{label}" must be one of [{", ".join(allowed)}]')
        return value

    return rule


def number(label: str, value: object) -> Decimal:
    """Understand a number of a query, which is text."""
    if not isinstance(value, str) or not _NUMBER.fullmatch(value):
        raise invalid(f'"{label}" must be a number')
    return Decimal(value)


def count(label: str, value: object) -> int:
    """Understand a whole number of a query, 1 or more."""
    return _counted(label, number(label, value))


def quantity(label: str, value: object) -> int:
    """Understand a whole number of a body, 1 or more; undocumented: digits in quotes are no number here."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise invalid(f'"{label}" must be a number')
    return _counted(label, value)


def _counted(label: str, value: Decimal | float) -> int:
    if value % 1 != 0:  # infinity is not whole either
        raise invalid(f'"{label}" must be an integer')
    if value < 1:
        raise invalid(f'"{label}" must be greater than or equal to 1')
    return int(value)


def flag(label: str, value: object) -> bool:
    """Understand a truth value of a query, which is lower-case text."""
    if value not in ("true", "false"):  # a repeated key is a list, which no set takes
        raise invalid(f'"{label}" must be a boolean')
    return value == "true"


def iso_date(label: str, value: object) -> str:
    """Understand an ISO date, `2026-07-01`."""
    try:
        return date.fromisoformat(text(label, value)).isoformat()
    except ValueError:
        raise invalid(f'"{label}" must be in ISO 8601 date format') from None


def list_of(shape: Shape) -> Rule:
    """Understand a list of at least one object of that shape."""

    def rule(label: str, value: object) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            raise invalid(f'"{label}" must be an array')
        entries = cast("list[object]", value)
        if not entries:
            raise invalid(f'"{label}" must contain at least 1 items')
        return [shape.read(entry, f"{label}[{position}]") for position, entry in enumerate(entries)]

    return rule


def object_of(shape: Shape) -> Rule:
    """Understand an object of that shape."""
    return lambda label, value: shape.read(value, label)


def any_text(label: str, value: object) -> str:
    """Understand a text that may be empty."""
    return text(label, value) if value != "" else ""


def any_case(*allowed: str) -> Rule:
    """Understand one of these words, in letters of any size."""
    rule = enum(*allowed)
    return lambda label, value: rule(label, value.lower() if isinstance(value, str) else value)


def at_most(most: int, rule: Rule) -> Rule:
    """Understand a number as another rule does, up to a bound."""

    def bounded(label: str, value: object) -> object:
        understood = rule(label, value)
        if understood > most:
            raise invalid(f'"{label}" must be less than or equal to {most}')
        return understood

    return bounded


def pattern(expression: str, what: str) -> Rule:
    """Understand a text of a form, which the refusal describes."""
    form = re.compile(expression)

    def rule(label: str, value: object) -> str:
        if not form.fullmatch(text(label, value)):
            raise invalid(f'"{label}" must be {what}')
        return str(value)

    return rule


def day(label: str, value: object) -> date:
    """Understand a date as insurance writes it, `31/12/2026`."""
    try:
        if _DAY.fullmatch(text(label, value)):
            return datetime.strptime(str(value), "%d/%m/%Y").date()  # noqa: DTZ007 - a date has no zone
    except ValueError:
        pass
    raise invalid(f'"{label}" must be a date in DD/MM/YYYY format')


def moment(label: str, value: object) -> datetime:
    """Understand an ISO date and time, `2026-07-01T00:00:00Z`; without a zone it is in UTC."""
    try:
        given = datetime.fromisoformat(text(label, value))
        return given.astimezone(UTC) if given.tzinfo else given.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise invalid(f'"{label}" must be in ISO 8601 date format') from None
