"""Fault rules: which requests a fault is injected into, when and how often, and the table of all faults."""

from collections.abc import Mapping, Sequence, Set as AbstractSet
from random import Random
from typing import Any, Final, Literal, cast

from attrs import define, field, frozen
from attrs.validators import and_, deep_mapping, ge, in_, instance_of, matches_re, optional

from roamify_async.sandbox.state.records import OrderStatus
from roamify_async.sandbox.state.request_log import METHODS
from roamify_async.sandbox.validators import integer, must_be, number_between, one_of_many

FAULTS: Final = {
    "drop": "close the connection without a response",
    "reset": "send the headers and half of the body, then close the connection",
    "hang": "send nothing until the client disconnects",
    "slow": "respond after `seconds`",
    "book_late": "close the connection, and carry out the request `seconds` later, even after a restart",
    "book_but_hide": "carry out the request, close the connection, and hide the order and its eSIMs for `seconds`",
    "book_pending": "book the order as PENDING without items, which is completed after `seconds`",
    "book_cancelled": "book the order as CANCELLED, and credit its price unless an option says otherwise",
    "book_refunded": "book the order as REFUNDED, and credit its price unless an option says otherwise",
    "book_failed": "book the order as FAILED (undocumented), and credit its price unless an option says otherwise",
    "stale": "respond to a look-up without the orders of the last `seconds`",
    "truncated": "respond with JSON that is cut off in the middle",
    "garbled": "respond with 200 and a body that is not JSON",
    "missing_field": "remove one field from the correct response",
    "extra_field": "add one unknown field to the correct response",
    "null_field": "set one field of the correct response to null",
    "wrong_type": "set one field of the correct response to a value of another JSON type",
    "fewer_items": "leave the last item out of the order in the response",
    "no_items": "respond with the order without items",
    "items_without_id": "respond with the order whose items have no id",
    "other_package": "respond with the order whose items are of another package",
    "other_reference": "respond with the order under another referenceId",
    "no_reference": "respond with the order without its referenceId",
    "other_order": "respond with another order: other ids, another package and no referenceId",
    "shift": "take the first package that a page request selects off sale, so that later pages shift by one",
    "sell_out": "take the ordered packages off sale: before the order, which is refused then, or after it",
    "pending": "respond that the eSIM or policy is still pending; with when=after it is ready after `seconds`",
    "200_failed": 'respond with 200 and the envelope of a failure, {"status": "failed", "message": ...}',
    "301": "redirect permanently to another host (Moved Permanently)",
    "302": "redirect temporarily to another host (Found)",
    "303": "redirect to the result on another host (See Other)",
    "307": "redirect temporarily to another host (Temporary Redirect)",
    "308": "redirect permanently to another host (Permanent Redirect)",
    "400": "respond that the request is invalid",
    "401": "respond that the token is invalid",
    "402": "respond that a payment is required",
    "403": "respond that the feature is not enabled for the token",
    "403_html": "respond with the HTML page of a gateway that blocks the client",
    "404": "respond that the resource does not exist, as JSON",
    "404_html": "respond with the HTML page of a gateway that does not know the path",
    "404_empty": "respond that the resource does not exist, without a body",
    "408": "respond that the request timed out, as JSON",
    "409": "respond that an order with the referenceId already exists",
    "422": "respond that the request cannot be processed",
    "429": "respond that there are too many requests, with `seconds` as Retry-After, even if they are 0",
    "429_bare": "respond that there are too many requests, without Retry-After",
    "429_date": "respond that there are too many requests, with an HTTP date in `seconds` as Retry-After",
    "429_past": "respond that there are too many requests, with an HTTP date `seconds` ago as Retry-After",
    "500": "respond with a server error as JSON",
    "502": "respond with a bad gateway as JSON",
    "503": "respond with service unavailable as JSON, with Retry-After if `seconds` is not 0",
    "503_date": "respond with service unavailable as JSON, with an HTTP date in `seconds` as Retry-After",
    "500_html": "respond with a server error as a gateway's HTML page",
    "502_html": "respond with a bad gateway as a gateway's HTML page",
    "503_html": "respond with service unavailable as a gateway's HTML page",
    "500_empty": "respond with a server error without a body",
    "502_empty": "respond with a bad gateway without a body",
    "503_empty": "respond with service unavailable without a body",
    "520": "respond with a gateway's HTML page: the origin sent an unknown response",
    "522": "respond with a gateway's HTML page: the connection to the origin timed out",
    "504": "respond with a gateway timeout as JSON",
    "504_html": "respond with a gateway timeout as a gateway's HTML page",
    "524": "respond with a gateway's HTML page: the origin did not respond in time",
}
"""Every fault, and what it does."""

_LONGEST: Final = 86_400  # seconds
_FIELDS: Final = ("method", "path", "query", "fault", "when", "times", "probability", "seconds")


def _upper(value: Any) -> Any:
    return value.upper() if isinstance(value, str) else value


def _underscored(value: object) -> str:
    return str(value).replace("-", "_")


def _to_dict(value: Any) -> Any:
    return {} if value is None else dict(cast("Mapping[str, Any]", value)) if isinstance(value, Mapping) else value


@define(eq=False)
class FaultRule:
    """One scripted fault, for the next `times` requests that match; ValueError for a value that is not allowed.

    Of the matching requests, a share of `probability` is hit.
    """

    method: str = field(
        default="*", converter=_upper, validator=must_be(f"'*' or one of {', '.join(METHODS)}", in_(("*", *METHODS)))
    )
    path: str = field(
        default="*",
        validator=must_be("'*' or an exact path such as '/api/esim/order'", matches_re(r"\*|/api/[^?]*")),
    )
    query: dict[str, str] = field(
        default=None,
        converter=_to_dict,
        validator=must_be(
            "strings by name such as {'page': '9'}",
            instance_of(dict),
            deep_mapping(instance_of(str), instance_of(str)),
        ),
    )
    fault: str = field(default="", converter=_underscored, validator=one_of_many(FAULTS))
    when: str = field(default="before", validator=must_be("one of before, after", in_(("before", "after"))))
    times: int | None = field(
        default=1, validator=must_be("an integer of 1 or more, or null for all", optional(and_(integer, ge(1))))
    )
    probability: float = field(default=1.0, validator=number_between(0, 1))
    seconds: float = field(default=0.0, validator=number_between(0, _LONGEST))
    _seed: str = field(default="", alias="seed")
    _matched: int = field(default=0, init=False)
    _hits: int = field(default=0, init=False)

    @property
    def is_unused(self) -> bool:
        """Whether no request was hit; with a probability below 1, whether no request matched."""
        return not (self._hits if self.probability == 1 else self._matched)

    @classmethod
    def from_json(cls, given: Mapping[str, Any], seed: str = "") -> "FaultRule":
        """Create a rule from a JSON object; raises ValueError for an unknown key or a value that is not allowed."""
        unknown = given.keys() - set(_FIELDS)
        if unknown:
            raise ValueError(f"unknown {', '.join(sorted(map(repr, unknown)))}: a fault has {', '.join(_FIELDS)}")
        return cls(**given, seed=seed)

    def to_json(self) -> dict[str, Any]:
        """Return the rule as a JSON object, with the number of times that are left."""
        return {name: getattr(self, name) for name in _FIELDS}

    def matches(self, method: str, path: str, query: AbstractSet[tuple[str, str]]) -> bool:
        """Return whether the rule is for such a request; its query must contain every pair of the rule's."""
        return self.method in {"*", method} and self.path in {"*", path} and self.query.items() <= query

    def next_random(self) -> Random:
        """Return the random generator for the next matching request, independent of all other requests."""
        self._matched += 1
        return Random(f"{self._seed}/{self._matched}")

    def count_hit(self) -> None:
        """Count a request that is hit."""
        self._hits += 1


@frozen
class Hit:
    """A rule that applies to a request, and the random generator for what the fault leaves to chance."""

    rule: FaultRule
    random: Random


@frozen
class Modifiers:
    """How a fault changes the handling of a request."""

    ready_in: float = 0.0
    """Seconds until a generated profile, or an issued policy, is ready."""
    hidden_for: float = 0.0
    """Seconds for which whatever is booked stays hidden."""
    status: OrderStatus = "COMPLETED"
    """The status of the order that is booked."""
    completes_in: float = 0.0
    """Seconds until a PENDING order is completed."""
    lag: float = 0.0
    """Seconds for which a look-up does not show new orders."""
    delayed_by: float = 0.0
    """Seconds after which the request is carried out."""
    dry_run: bool = False
    """Whether all changes are rolled back after the response was made."""
    sells_out: Literal["", "before", "after"] = ""
    """Whether the ordered packages are taken off sale, before or after the order is booked."""
    shifts: bool = False
    """Whether the first package that the request selects is taken off sale."""


@define
class Faults:
    """The rules that are not used up; the oldest one that matches a request applies."""

    _seed: int
    _initial: Sequence[Mapping[str, object]] = ()
    _rules: list[FaultRule] = field(factory=list[FaultRule], init=False)
    _added: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        for given in self._initial:
            self.add(given)

    def clear(self) -> None:
        """Remove all rules."""
        self._rules.clear()
        self._added = 0

    def add(self, given: Mapping[str, Any]) -> None:
        """Add a rule given as a JSON object; raises ValueError for a value that is not allowed."""
        self._rules.append(FaultRule.from_json(given, f"{self._seed}/faults/{self._added}"))
        self._added += 1

    def take(self, method: str, path: str, query: AbstractSet[tuple[str, str]]) -> Hit | None:
        """Return the rule that applies to a request, if any, and count it as used."""
        for rule in self._rules:
            if rule.matches(method, path, query):
                random = rule.next_random()
                if random.random() < rule.probability:
                    self._use(rule)
                    return Hit(rule, random)
        return None

    def to_json(self) -> list[dict[str, Any]]:
        """Return the rules that are not used up."""
        return [rule.to_json() for rule in self._rules]

    def unused(self) -> list[FaultRule]:
        """Return the rules that have hit no request."""
        return [rule for rule in self._rules if rule.is_unused]

    def _use(self, rule: FaultRule) -> None:
        rule.count_hit()
        if rule.times == 1:
            self._rules.remove(rule)
        elif rule.times is not None:
            rule.times -= 1
