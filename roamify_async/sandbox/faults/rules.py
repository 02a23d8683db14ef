"""Scripted faults: which request is hit, when, how often, and the table of what can go wrong."""

import math
from collections.abc import Mapping, Sequence, Set as AbstractSet
from random import Random
from typing import Any, Final, cast

from attrs import define, field, frozen

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
WHENS: Final = ("before", "after")

FAULTS: Final = {
    "drop": "cut the connection without an answer",
    "reset": "send the headers and half of the body, then cut the connection",
    "hang": "answer nothing until the client goes away",
    "slow": "answer after `seconds`",
    "book_late": "cut the connection now, and do what was asked `seconds` later, over a restart too",
    "book_but_hide": "do what was asked, cut the connection, and for `seconds` show the order and its eSIMs to nobody",
    "truncated": "answer with JSON that ends in the middle",
    "garbled": "answer 200 with a body that is no JSON",
    "missing_field": "leave one field out of the right answer",
    "extra_field": "put one unknown field into the right answer",
    "null_field": "set one field of the right answer to null",
    "wrong_type": "set one field of the right answer to a value of another JSON type",
    "shift": "take the first package that a page request asks for out of the catalogue, so that later pages move up",
    "pending": "answer that the eSIM or policy is still pending; with when=after it is ready after `seconds`",
    "301": "answer that the endpoint moved for good to a foreign host",
    "302": "answer that the endpoint is on a foreign host for now",
    "401": "refuse the token",
    "403_html": "answer with a gateway's page of refusal",
    "409": "answer that the referenceId is taken",
    "429": "answer that requests come too fast, with Retry-After in seconds",
    "429_date": "the same with Retry-After as an HTTP date",
    "500": "answer a server error as JSON",
    "502": "answer a bad gateway as JSON",
    "503": "answer unavailable as JSON, with Retry-After if `seconds` are given",
    "503_date": "the same with Retry-After as an HTTP date",
    "500_html": "answer a server error as a gateway's page",
    "502_html": "answer a bad gateway as a gateway's page",
    "503_html": "answer unavailable as a gateway's page",
    "500_empty": "answer a server error without a body",
    "502_empty": "answer a bad gateway without a body",
    "503_empty": "answer unavailable without a body",
    "520": "answer with a gateway's page: the origin's answer was not understood",
    "522": "answer with a gateway's page: the origin did not accept the connection in time",
    "524": "answer with a gateway's page: the origin did not answer in time",
}
"""Every fault by name, and what it does."""

_FIELDS: Final = ("method", "path", "query", "fault", "when", "times", "probability", "seconds")


@define
class Rule:
    """One scripted fault: the next `times` requests of a method, path and query that the dice choose; None is all."""

    method: str
    path: str
    query: dict[str, str]
    fault: str
    when: str
    times: int | None
    probability: float
    seconds: float
    _seed: str = ""
    _met: int = 0

    def fits(self, method: str, path: str, query: AbstractSet[tuple[str, str]]) -> bool:
        """Whether it is meant for such a request."""
        return self.method in {"*", method} and self.path in {"*", path} and self.query.items() <= query

    def dice(self) -> Random:
        """Give the dice of the next request that it fits: the same ones whatever other requests come between."""
        self._met += 1
        return Random(f"{self._seed}/{self._met}")

    def shown(self) -> dict[str, Any]:
        """Show it as it was scripted, with the times that are left."""
        return {name: getattr(self, name) for name in _FIELDS}


@frozen
class Hit:
    """A request that a fault hits, and the dice for what the fault leaves to chance."""

    rule: Rule
    dice: Random


@define
class Faults:
    """The faults that are scripted and not used up; the earliest that fits a request hits it."""

    _seed: int
    _first: Sequence[Mapping[str, object]] = ()
    _rules: list[Rule] = field(factory=list[Rule], init=False)
    _added: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Return to the faults of the start."""
        self.clear()
        for given in self._first:
            self.add(given)

    def clear(self) -> None:
        """Forget every fault."""
        self._rules.clear()
        self._added = 0

    def add(self, given: Mapping[str, object]) -> None:
        """Script a fault; ValueError says what is allowed."""
        self._rules.append(rule(given, f"{self._seed}/faults/{self._added}"))
        self._added += 1

    def take(self, method: str, path: str, query: AbstractSet[tuple[str, str]]) -> Hit | None:
        """Use up and give the fault that hits this request, if one does."""
        for scripted in self._rules:
            if scripted.fits(method, path, query):
                dice = scripted.dice()
                if dice.random() < scripted.probability:
                    self._use_up(scripted)
                    return Hit(scripted, dice)
        return None

    def pending(self) -> list[dict[str, Any]]:
        """List the faults that still wait for a request."""
        return [scripted.shown() for scripted in self._rules]

    def _use_up(self, scripted: Rule) -> None:
        if scripted.times is not None:
            scripted.times -= 1
            if not scripted.times:
                self._rules.remove(scripted)


def rule(given: Mapping[str, object], seed: str = "") -> Rule:
    """Understand a scripted fault; ValueError says what is allowed."""
    unknown = given.keys() - set(_FIELDS)
    if unknown:
        raise ValueError(f"unknown {', '.join(sorted(map(repr, unknown)))}: a fault has {', '.join(_FIELDS)}")
    when = given.get("when", "before")
    if when not in WHENS:
        raise ValueError(f"when must be one of {', '.join(WHENS)}, not {when!r}")
    return Rule(
        _method(given.get("method", "*")),
        _path(given.get("path", "*")),
        _query(given.get("query")),
        _fault(given.get("fault")),
        str(when),
        _times(given.get("times", 1)),
        _between(given, "probability", 1.0, most=1),
        _between(given, "seconds", 0.0, most=86_400),
        seed,
    )


def _method(value: object) -> str:
    if value == "*" or (isinstance(value, str) and value.upper() in METHODS):
        return str(value).upper()
    raise ValueError(f"method must be '*' or one of {', '.join(METHODS)}, not {value!r}")


def _path(value: object) -> str:
    if value == "*" or (isinstance(value, str) and value.startswith("/api/") and "?" not in value):
        return str(value)
    raise ValueError(f"path must be '*' or an exact path such as '/api/esim/order', not {value!r}")


def _query(value: object) -> dict[str, str]:
    if value is None:
        return {}
    if isinstance(value, Mapping):
        pairs = cast("Mapping[object, object]", value)
        if all(isinstance(part, str) for pair in pairs.items() for part in pair):
            return dict(cast("Mapping[str, str]", value))
    raise ValueError(f"query must be texts by name such as {{'page': '9'}}, not {value!r}")


def _fault(value: object) -> str:
    name = str(value).replace("-", "_")
    if name not in FAULTS:
        raise ValueError(f"fault must be one of {', '.join(FAULTS)}, not {value!r}")
    return name


def _times(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValueError(f"times must be a whole number of 1 or more, or null for ever, not {value!r}")
    return value


def _between(given: Mapping[str, object], name: str, default: float, *, most: int) -> float:
    value = given.get(name, default)
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= most:
        raise ValueError(f"{name} must be a number from 0 to {most}, not {value!r}")
    return float(value)


def whole_seconds(seconds: float) -> int:
    """Round up to whole seconds, as Retry-After is written."""
    return math.ceil(seconds)
