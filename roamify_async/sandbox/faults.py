"""Scripted faults: which request is hit, when, how often, and the table of what can go wrong."""

import math
from collections.abc import Mapping
from random import Random
from typing import Any, Final

from attrs import define, field, frozen

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
WHENS: Final = ("before", "after")

FAULTS: Final = {
    "drop": "cut the connection without an answer",
    "reset": "send the headers and half of the body, then cut the connection",
    "slow": "answer after `seconds`",
    "truncated": "answer with JSON that ends in the middle",
    "garbled": "answer 200 with a body that is no JSON",
    "401": "refuse the token",
    "403_html": "answer with a gateway's page of refusal",
    "409": "answer that the referenceId is taken",
    "429": "answer that requests come too fast, with Retry-After in seconds",
    "429_date": "the same with Retry-After as an HTTP date",
    "500": "answer a server error as JSON",
    "502": "answer a bad gateway as JSON",
    "503": "answer unavailable as JSON, with Retry-After if `seconds` are given",
    "500_html": "answer a server error as a gateway's page",
    "502_html": "answer a bad gateway as a gateway's page",
    "503_html": "answer unavailable as a gateway's page",
    "500_empty": "answer a server error without a body",
    "502_empty": "answer a bad gateway without a body",
    "503_empty": "answer unavailable without a body",
    "pending": "answer that the eSIM is still pending; with when=after its profile is ready after `seconds`",
}
"""Every fault by name, and what it does."""


@define
class Rule:
    """One scripted fault: the next `times` requests of a method and path that the dice choose."""

    method: str
    path: str
    fault: str
    when: str
    times: int
    probability: float
    seconds: float

    def hits(self, method: str, path: str) -> bool:
        """Whether it is meant for such a request."""
        return self.method in {"*", method} and self.path in {"*", path}

    def shown(self) -> dict[str, Any]:
        """Show it as it was scripted, with the times that are left."""
        return {name: getattr(self, name) for name in _FIELDS}


_FIELDS: Final = ("method", "path", "fault", "when", "times", "probability", "seconds")


@frozen
class Faults:
    """The faults that are scripted and not used up; the earliest that fits a request hits it."""

    _dice: Random
    _rules: list[Rule] = field(factory=list[Rule], init=False)

    def add(self, given: Mapping[str, object]) -> None:
        """Script a fault; ValueError says what is allowed."""
        self._rules.append(_rule(given))

    def take(self, method: str, path: str) -> Rule | None:
        """Use up and give the fault that hits this request, if one does."""
        for rule in self._rules:
            if rule.hits(method, path) and self._dice.random() < rule.probability:
                rule.times -= 1
                if not rule.times:
                    self._rules.remove(rule)
                return rule
        return None

    def pending(self) -> list[dict[str, Any]]:
        """List the faults that still wait for a request."""
        return [rule.shown() for rule in self._rules]

    def clear(self) -> None:
        """Forget every fault."""
        self._rules.clear()


def _rule(given: Mapping[str, object]) -> Rule:
    unknown = given.keys() - set(_FIELDS)
    if unknown:
        raise ValueError(f"unknown {', '.join(sorted(map(repr, unknown)))}: a fault has {', '.join(_FIELDS)}")
    when = given.get("when", "before")
    if when not in WHENS:
        raise ValueError(f"when must be one of {', '.join(WHENS)}, not {when!r}")
    return Rule(
        _method(given.get("method", "*")),
        _path(given.get("path", "*")),
        _fault(given.get("fault")),
        str(when),
        _times(given.get("times", 1)),
        _between(given, "probability", 1.0, most=1),
        _between(given, "seconds", 0.0, most=86_400),
    )


def _method(value: object) -> str:
    if value == "*" or (isinstance(value, str) and value.upper() in METHODS):
        return str(value).upper()
    raise ValueError(f"method must be '*' or one of {', '.join(METHODS)}, not {value!r}")


def _path(value: object) -> str:
    if value == "*" or (isinstance(value, str) and value.startswith("/api/") and "?" not in value):
        return str(value)
    raise ValueError(f"path must be '*' or an exact path such as '/api/esim/order', not {value!r}")


def _fault(value: object) -> str:
    name = str(value).replace("-", "_")
    if name not in FAULTS:
        raise ValueError(f"fault must be one of {', '.join(FAULTS)}, not {value!r}")
    return name


def _times(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"times must be a whole number of 1 or more, not {value!r}")
    return value


def _between(given: Mapping[str, object], name: str, default: float, *, most: int) -> float:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise ValueError(f"{name} must be a number from 0 to {most}, not {value!r}")
    return float(value)


def whole_seconds(seconds: float) -> int:
    """Round up to whole seconds, as Retry-After is written."""
    return math.ceil(seconds)
