"""The options of a sandbox, each with its default, its validation and its documentation."""

import json
import secrets
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from ipaddress import ip_address
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, TypedDict, cast
from urllib.parse import urlsplit

from attrs import Factory, field, frozen
from attrs.validators import and_, deep_iterable, deep_mapping, ge, in_, instance_of, matches_re, optional, or_

from .data.currencies import to_cents
from .data.generator import LARGEST, SMALLEST
from .faults.rules import FaultRule
from .state.request_log import parse_endpoint
from .validators import Validator, finite_number, integer, integer_between, must_be, parsed_by

PageCounts = Literal["packages", "destinations"]
PastEnd = Literal["empty", "last", "not_found"]
DuplicateReference = Literal["accept", "conflict"]
ReferenceFilter = Literal["exact", "prefix"]
RepeatOrder = Literal["refuses", "returns", "orders"]
TopUpOffers = Literal["all", "unused"]
InstantOrderShows = Literal["items", "esims"]
WebhookTypes = Literal["plain", "prefixed"]
WebhookUsageList = Literal["data", "usage_data"]
EventPath = Literal["event", "events"]
UsageDates = Literal["YYYYMMDD", "YYYY-MM-DD"]
UsageUnits = Literal["MB", "KB"]
SmsAnswer = Literal["data", "message"]
LinkAgain = Literal["same", "new"]
RefundKey = Literal["refundId", "id"]
UnknownCountry = Literal["empty", "refused", "code"]
UnknownStatus = Literal["empty", "refused"]
OrderEvents = Literal["first", "list"]
RefusalKey = Literal["message", "error"]

TOKEN: Final = "roamify_sandbox_not_a_real_token"  # noqa: S105 - accepted by sandboxes only
WEBHOOK_SECRET: Final = "whsec_sandbox_not_a_real_secret"  # noqa: S105 - signs events of sandboxes only


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine's loopback interface."""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def parse_receiver(url: object) -> str:
    """Return the URL of a webhook receiver; raises ValueError unless it is on this machine."""
    if isinstance(url, str) and url.isascii() and url.isprintable():
        with suppress(ValueError):
            parts = urlsplit(url)
            if parts.scheme in {"http", "https"} and is_loopback(parts.hostname or "") and parts.port != 0:
                return url
    raise ValueError(f"url must be on this machine, such as 'http://127.0.0.1:8000/roamify', not {url!r}")


def _address(options: "Options", _attribute: object, value: str) -> None:
    if is_loopback(value):
        return
    if not options.allow_remote:
        raise ValueError(f"host must be a loopback address such as '127.0.0.1' without allow_remote, not {value!r}")
    try:
        ip_address(value)
    except ValueError:
        raise ValueError(f"host must be an IP address such as '0.0.0.0', not {value!r}") from None


def _create_token(options: "Options") -> str:
    return secrets.token_urlsafe(24) if options.allow_remote else TOKEN


def _own_token(options: "Options", _attribute: object, value: str) -> None:
    if options.allow_remote and value == TOKEN:
        raise ValueError("token must be one of your own with allow_remote: other machines know the default one")


def _endpoint_or_star(value: str) -> str:
    return value if value == "*" else parse_endpoint(value)


def _threshold(value: Decimal | str | int) -> int:
    return to_cents(value, "low_balance")


def _by_endpoint(latency: float | Mapping[str, float]) -> dict[str, float]:
    return dict(latency) if isinstance(latency, Mapping) else {"*": latency}


def _path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


def _one_of(*allowed: str) -> Validator:
    return must_be(f"one of {', '.join(map(repr, allowed))}", in_(allowed))


_REFERENCE_CHANGES: Final[Mapping[str, Callable[[str, int], str]]] = {
    "trim": lambda text, _: text.strip(),
    "casefold": lambda text, _: text.casefold(),
    "nfkc": lambda text, _: unicodedata.normalize("NFKC", text),
    "cut": lambda text, length: text[:length],
}

_BOOL: Final = must_be("True or False", instance_of(bool))
_SECONDS: Final = must_be("seconds, 0 or more", finite_number, ge(0))
_WORD: Final = must_be("a non-empty text of printable ASCII without spaces", matches_re(r"[!-~]+"))
_PATH_SEGMENT: Final = must_be("one segment of a path, in printable ASCII without spaces", matches_re(r"[!-.0-~]+"))
_LIST: Final[Validator] = instance_of(cast("type[Sequence[object]]", (list, tuple)))
_MAPPING: Final[Validator] = instance_of(cast("type[Mapping[str, object]]", Mapping))


def _documented(
    help: str, *, metavar: str = "", flag: str = "", repeated: bool = False, parse: Callable[[str], Any] | None = None
) -> dict[str, Any]:
    """Return the metadata of a field: its documentation, and what differs on the command line.

    The flag is the field's name, and its parser that of the field's type, unless they are given here.
    """
    return {"help": help, "metavar": metavar, "flag": flag, "repeated": repeated, "parse": parse}


def _parse_json(text: str) -> object:
    try:
        return json.loads(text)
    except ValueError as error:
        raise ValueError(f"{text!r} is not JSON: {error}") from None


def _parse_totals(text: str) -> bool | int:
    return {"yes": True, "no": False}[text] if text in {"yes", "no"} else int(text)


def _parse_latency(text: str) -> tuple[str, float]:
    endpoint, _, seconds = text.rpartition("=")
    try:
        return endpoint or "*", float(seconds)
    except ValueError:
        raise ValueError(f"{text!r} is neither seconds nor such as 'POST /api/esim/order=4'") from None


def _parse_delays(text: str) -> list[float]:
    try:
        return [float(seconds) for seconds in text.split(",") if seconds]
    except ValueError:
        raise ValueError(f"{text!r} is not a list of seconds such as '1,5'") from None


@frozen(kw_only=True)
class Options:
    """Every option of a sandbox; raises ValueError for a value that is not allowed."""

    packages: int = field(
        default=28_000,
        validator=integer_between(SMALLEST, LARGEST),
        metadata=_documented(f"Number of packages in the catalogue, from {SMALLEST} to {LARGEST}.", metavar="N"),
    )
    seed: int = field(
        default=0,
        validator=integer_between(0),
        metadata=_documented(
            "Seed of the catalogue and of faults with a probability; the same seed gives the same ones.", metavar="N"
        ),
    )
    balance: int = field(
        default=1000,
        converter=to_cents,
        metadata=_documented(
            "Initial balance of the partner in US dollars, in whole cents, such as '25.50'.",
            metavar="DOLLARS",
            parse=str,
        ),
    )
    allow_remote: bool = field(
        default=False,
        validator=_BOOL,
        metadata=_documented(
            "Whether other machines may use the sandbox, such as from other containers if `host` is '0.0.0.0'. They"
            " must send the token, also to /_sandbox/."
        ),
    )
    allow_hosts: Sequence[str] = field(
        default=(),
        validator=and_(must_be("a list of host names such as ('sandbox.test',)", _LIST), deep_iterable(_WORD)),
        metadata=_documented(
            "Names of this machine, besides localhost and loopback addresses, that URLs of requests without the token"
            " may contain. Other names are refused, since a web page could use one to reach the sandbox.",
            metavar="NAME",
            flag="allow-host",
            repeated=True,
            parse=str,
        ),
    )
    token: str = field(
        default=Factory(_create_token, takes_self=True),
        validator=and_(_WORD, _own_token),
        repr=False,
        metadata=_documented(
            "The access token that requests must send; by default a fixed one, or with `allow_remote` a random one."
        ),
    )
    webhook_secret: str = field(
        default=WEBHOOK_SECRET,
        validator=_WORD,
        repr=False,
        metadata=_documented("The secret that webhook events are signed with.", metavar="SECRET"),
    )
    host: str = field(
        default="127.0.0.1",
        validator=_address,
        metadata=_documented(
            "Loopback address to listen on, such as '127.0.0.1' or '::1'; with `allow_remote` any address of this"
            " machine, such as '0.0.0.0'."
        ),
    )
    port: int = field(
        default=0,
        validator=integer_between(0, 65_535),
        metadata=_documented("TCP port to listen on; 0 chooses a free one."),
    )
    latency: dict[str, float] = field(
        factory=dict[str, float],
        converter=_by_endpoint,
        validator=deep_mapping(key_validator=parsed_by(_endpoint_or_star), value_validator=_SECONDS),
        metadata=_documented(
            "Seconds before each response: one number for all endpoints, or a mapping from endpoints to numbers such as"
            " {'POST /api/esim/order': 4, '*': 0.1}, in which '*' is every other endpoint.",
            metavar="[ENDPOINT=]SECONDS",
            repeated=True,
            parse=_parse_latency,
        ),
    )
    strict: bool = field(
        default=False,
        validator=_BOOL,
        metadata=_documented(
            "Whether requests are refused that Express and Joi accept by default: paths in another case or with a"
            " slash at the end, empty query keys, numbers in text, and booleans in another case."
        ),
    )
    page_counts: PageCounts = field(
        default="packages",
        validator=_one_of("packages", "destinations"),
        metadata=_documented("What `pageSize` of the catalogue counts."),
    )
    totals: bool | int = field(
        default=False,
        validator=must_be("True, False, or an integer of 0 or more", or_(instance_of(bool), and_(integer, ge(0)))),
        metadata=_documented(
            "Whether catalogue pages contain `total` and `totalPages`; an integer is sent as a (wrong) total.",
            metavar="yes|no|N",
            parse=_parse_totals,
        ),
    )
    past_end: PastEnd = field(
        default="empty",
        validator=_one_of("empty", "last", "not_found"),
        metadata=_documented("The response to a catalogue page after the last: an empty one, the last one, or 404."),
    )
    unknown_country: UnknownCountry = field(
        default="empty",
        validator=_one_of("empty", "refused", "code"),
        metadata=_documented(
            "The response to a `country` that is no country's name: an empty page, 400, or the packages of the country"
            " with this code (which is what `country` meant until June 2026)."
        ),
    )
    unknown_status: UnknownStatus = field(
        default="empty",
        validator=_one_of("empty", "refused"),
        metadata=_documented(
            "The response to a list of orders, eSIMs or policies with a `status` that does not exist, also in another"
            " case: an empty list, or 400. (Vouchers always answer 400, as documented.)"
        ),
    )
    db: Path | None = field(
        default=None,
        converter=_path,
        metadata=_documented(
            "SQLite file that keeps balance, orders, eSIMs, delayed requests and the clock across restarts; without"
            " it they are kept in memory.",
            metavar="FILE",
            parse=str,
        ),
    )
    duplicate_reference: DuplicateReference = field(
        default="accept",
        validator=_one_of("accept", "conflict"),
        metadata=_documented(
            "The response to an eSIM order or top-up whose `referenceId` was used before: another order, or 409."
            " (Vouchers and insurance always answer 409, as documented.)"
        ),
    )
    credit_failures: bool = field(
        default=True,
        validator=_BOOL,
        metadata=_documented(
            "Whether the price of an order that is booked as CANCELLED, REFUNDED or FAILED is credited to the balance."
        ),
    )
    reference_filter: ReferenceFilter = field(
        default="exact",
        validator=_one_of("exact", "prefix"),
        metadata=_documented(
            "Whether the `referenceId` of the lists of orders, eSIMs and vouchers must be equal, or only the beginning;"
            " `limit` applies after the filter."
        ),
    )
    reference_changes: Sequence[str] = field(
        default=(),
        validator=and_(
            must_be("a list such as ('trim', 'cut:32')", _LIST),
            deep_iterable(must_be("of trim, casefold, nfkc and cut:N", matches_re(r"trim|casefold|nfkc|cut:[1-9]\d*"))),
        ),
        metadata=_documented(
            "How a `referenceId` is changed when an order is booked: 'trim' (white space at the ends is removed),"
            " 'casefold' (upper case becomes lower case), 'nfkc' (Unicode is normalized) and 'cut:N' (only the first N"
            " characters are kept), applied in the given order. Look-ups are not changed.",
            metavar="CHANGE",
            flag="reference-change",
            repeated=True,
            parse=str,
        ),
    )
    repeat_order: RepeatOrder = field(
        default="refuses",
        validator=_one_of("refuses", "returns", "orders"),
        metadata=_documented(
            "The response to POST /api/esim/order with only a `referenceId` that was used before: 400, the existing"
            " order, or another order of the same packages under this reference."
        ),
    )
    topup_offers: TopUpOffers = field(
        default="all",
        validator=_one_of("all", "unused"),
        metadata=_documented(
            "Which top-up packages an eSIM is offered: all of its destination, or only those that it was not topped up"
            " with before, so that a purchase removes its own package from the offers."
        ),
    )
    instant_order_shows: InstantOrderShows = field(
        default="items",
        validator=_one_of("items", "esims"),
        metadata=_documented("What an instant order contains when it is looked up."),
    )
    apply_needs_esim_id: bool = field(
        default=False,
        validator=_BOOL,
        metadata=_documented("Whether applying by `referenceId` alone is refused."),
    )
    event_path: EventPath = field(
        default="event",
        validator=_one_of("event", "events"),
        metadata=_documented("Which path serves eSIM events, /api/esim/event or /api/esim/events."),
    )
    event_envelope: bool = field(
        default=False,
        validator=_BOOL,
        metadata=_documented("Whether eSIM events have the usual envelope."),
    )
    order_events: OrderEvents = field(
        default="first",
        validator=_one_of("first", "list"),
        metadata=_documented(
            "The events of an order, by `referenceId`: those of its first eSIM, or a list with those of each eSIM."
        ),
    )
    usage_dates: UsageDates = field(
        default="YYYYMMDD",
        validator=_one_of("YYYYMMDD", "YYYY-MM-DD"),
        metadata=_documented("Format of the dates in usage details."),
    )
    usage_units: UsageUnits = field(
        default="MB",
        validator=_one_of("MB", "KB"),
        metadata=_documented("Units of usage: megabytes and minutes, or kilobytes and seconds."),
    )
    sms_answer: SmsAnswer = field(
        default="data",
        validator=_one_of("data", "message"),
        metadata=_documented("The key with the result in the response to a sent message."),
    )
    link_again: LinkAgain = field(
        default="same",
        validator=_one_of("same", "new"),
        metadata=_documented("Whether a second link of an eSIM is the same one or a new one."),
    )
    refund_key: RefundKey = field(
        default="refundId",
        validator=_one_of("refundId", "id"),
        metadata=_documented("The key of the id of a refund request."),
    )
    rates_envelope: bool = field(
        default=True,
        validator=_BOOL,
        metadata=_documented("Whether currencies and rates have the usual envelope."),
    )
    rates_need_pair: bool = field(
        default=False,
        validator=_BOOL,
        metadata=_documented("Whether rates without `source` and `target` are refused."),
    )
    vouchers: bool = field(
        default=True,
        validator=_BOOL,
        metadata=_documented("Whether vouchers are enabled for the token; otherwise they answer 403."),
    )
    voucher_packages: Sequence[str] | None = field(
        default=None,
        validator=optional(
            must_be("a list of package ids, or None for all", deep_iterable(instance_of(str), iterable_validator=_LIST))
        ),
        metadata=_documented(
            "The packages that vouchers can be minted for; by default all.",
            metavar="ID",
            flag="voucher-package",
            repeated=True,
            parse=str,
        ),
    )
    voucher_mint_limit: int = field(
        default=10,
        validator=integer_between(1, 10),
        metadata=_documented(
            "The most vouchers that one request mints, 1 to 10; fewer give partial batches.", metavar="N"
        ),
    )
    refusal_key: RefusalKey = field(
        default="message",
        validator=_one_of("message", "error"),
        metadata=_documented(
            "The key of the text with which vouchers and insurance refuse a valid request: `message`, with a `status`,"
            " or `error`."
        ),
    )
    policy_takes: float = field(
        default=0.0,
        validator=_SECONDS,
        metadata=_documented("Seconds until an applied insurance policy is issued.", metavar="SECONDS"),
    )
    affiliate: str = field(
        default="sandbox",
        validator=_PATH_SEGMENT,
        metadata=_documented("The `uniqueName` of the affiliate catalogue.", metavar="NAME"),
    )
    compress: bool = field(
        default=True,
        validator=_BOOL,
        metadata=_documented("Whether long responses are compressed for clients that accept gzip."),
    )
    etags: bool = field(
        default=True,
        validator=_BOOL,
        metadata=_documented(
            "Whether responses have weak ETags, and a GET whose `If-None-Match` has the current one is answered with a"
            " 304 without a body."
        ),
    )
    faults: Sequence[Mapping[str, object]] = field(
        default=(),
        validator=and_(
            must_be(
                "a list of objects such as {'fault': 'drop'}",
                deep_iterable(_MAPPING, iterable_validator=_LIST),
            ),
            deep_iterable(parsed_by(FaultRule.from_json)),
        ),
        metadata=_documented(
            "Faults to start with, as objects with the parameters of `fail()`, such as"
            " {'method': 'POST', 'path': '/api/esim/order', 'fault': 'drop', 'when': 'after'}.",
            metavar="JSON",
            flag="fault",
            repeated=True,
            parse=_parse_json,
        ),
    )
    low_balance: int = field(
        default=100,
        converter=_threshold,
        metadata=_documented(
            "Balance in US dollars from which on low-balance events are sent; 0 sends none.",
            metavar="DOLLARS",
            parse=str,
        ),
    )
    webhook_url: str | None = field(
        default=None,
        validator=optional(parsed_by(parse_receiver)),
        metadata=_documented(
            "URL on this machine to send webhook events to, such as 'http://127.0.0.1:8000/roamify'.",
            metavar="URL",
            parse=str,
        ),
    )
    webhook_timeout: float = field(
        default=3.0,
        validator=_SECONDS,
        metadata=_documented("Seconds within which a receiver must acknowledge an event.", metavar="SECONDS"),
    )
    webhook_retry_after: Sequence[float] = field(
        default=(1.0, 5.0, 25.0),
        validator=and_(must_be("a list of seconds such as (1, 5)", _LIST), deep_iterable(_SECONDS)),
        metadata=_documented(
            "Seconds before each retry of an event that is not acknowledged, such as (1, 5) for two retries.",
            metavar="SECONDS,...",
            parse=_parse_delays,
        ),
    )
    webhook_types: WebhookTypes = field(
        default="plain",
        validator=_one_of("plain", "prefixed"),
        metadata=_documented("Whether the types of eSIM events are `usage`, `status` or `esim_usage`, `esim_status`."),
    )
    webhook_usage_list: WebhookUsageList = field(
        default="data",
        validator=_one_of("data", "usage_data"),
        metadata=_documented("Which object of a usage event contains `usage_list`."),
    )

    def stored_reference(self, reference_id: str) -> str:
        """Return the referenceId that is stored for a requested one."""
        for change in self.reference_changes:
            name, _, length = change.partition(":")
            reference_id = _REFERENCE_CHANGES[name](reference_id, int(length or 0))
        return reference_id

    def latency_of(self, endpoint: str) -> float:
        """Return the seconds before a response of this endpoint."""
        return self.latency.get(endpoint, self.latency.get("*", 0.0))


class OptionsKw(TypedDict, total=False):
    """The keyword arguments of `Sandbox`, for type checkers; see `Options` for their documentation."""

    packages: int
    seed: int
    balance: Decimal | str | int
    allow_remote: bool
    allow_hosts: Sequence[str]
    token: str
    webhook_secret: str
    host: str
    port: int
    latency: float | Mapping[str, float]
    strict: bool
    page_counts: PageCounts
    totals: bool | int
    past_end: PastEnd
    unknown_country: UnknownCountry
    unknown_status: UnknownStatus
    db: str | PathLike[str] | None
    duplicate_reference: DuplicateReference
    credit_failures: bool
    reference_filter: ReferenceFilter
    reference_changes: Sequence[str]
    repeat_order: RepeatOrder
    topup_offers: TopUpOffers
    instant_order_shows: InstantOrderShows
    apply_needs_esim_id: bool
    event_path: EventPath
    event_envelope: bool
    order_events: OrderEvents
    usage_dates: UsageDates
    usage_units: UsageUnits
    sms_answer: SmsAnswer
    link_again: LinkAgain
    refund_key: RefundKey
    rates_envelope: bool
    rates_need_pair: bool
    vouchers: bool
    voucher_packages: Sequence[str] | None
    voucher_mint_limit: int
    refusal_key: RefusalKey
    policy_takes: float
    affiliate: str
    compress: bool
    etags: bool
    faults: Sequence[Mapping[str, object]]
    low_balance: Decimal | str | int
    webhook_url: str | None
    webhook_timeout: float
    webhook_retry_after: Sequence[float]
    webhook_types: WebhookTypes
    webhook_usage_list: WebhookUsageList
