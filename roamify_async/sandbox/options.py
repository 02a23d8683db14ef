"""How a sandbox is set up."""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from decimal import Decimal
from ipaddress import ip_address
from os import PathLike
from pathlib import Path
from typing import Any, Final, Literal, cast
from urllib.parse import urlsplit

from attrs import Attribute, field, frozen

from .data.generator import LARGEST, SMALLEST
from .data.money import cents
from .faults.rules import rule
from .state.request_log import request_name

PageCounts = Literal["packages", "destinations"]
PastEnd = Literal["empty", "last", "not_found"]
DuplicateReference = Literal["accept", "conflict"]
InstantOrderShows = Literal["items", "esims"]
WebhookTypes = Literal["plain", "prefixed"]
WebhookUsageList = Literal["data", "usage_data"]
EventPath = Literal["event", "events"]
UsageDates = Literal["YYYYMMDD", "YYYY-MM-DD"]
UsageUnits = Literal["MB", "KB"]
SmsAnswer = Literal["data", "message"]
LinkAgain = Literal["same", "new"]
RefundKey = Literal["refundId", "id"]

TOKEN: Final = "roamify_sandbox_not_a_real_token"  # noqa: S105 - opens nothing but a sandbox
WEBHOOK_SECRET: Final = "whsec_sandbox_not_a_real_secret"  # noqa: S105 - signs nothing but a sandbox's events

Validator = Callable[[Any, "Attribute[Any]", Any], None]


def _one_of(*allowed: str) -> Validator:
    def check(_options: object, attribute: "Attribute[Any]", value: object) -> None:
        if value not in allowed:
            raise ValueError(f"{attribute.name} must be one of {', '.join(map(repr, allowed))}, not {value!r}")

    return check


def _whole(least: int, most: int | None = None) -> Validator:
    def check(_options: object, attribute: "Attribute[Any]", value: object) -> None:
        fits = isinstance(value, int) and not isinstance(value, bool) and value >= least
        if not fits or (most is not None and int(str(value)) > most):
            bounds = f"from {least} to {most}" if most is not None else f"of {least} or more"
            raise ValueError(f"{attribute.name} must be a whole number {bounds}, not {value!r}")

    return check


def _loops(host: str) -> bool:
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _loopback(_options: object, _attribute: object, value: str) -> None:
    if not _loops(value):
        raise ValueError(f"host must be a loopback address such as '127.0.0.1', not {value!r}")


def receiver(url: object) -> str:
    """Insist on the URL of a receiver on this machine: nothing of a sandbox leaves it; ValueError shows one."""
    if isinstance(url, str) and url.isascii() and url.isprintable():
        with suppress(ValueError):
            parts = urlsplit(url)
            if parts.scheme in {"http", "https"} and _loops(parts.hostname or "") and parts.port != 0:
                return url
    raise ValueError(f"url must be one on this machine such as 'http://127.0.0.1:8000/roamify', not {url!r}")


def _receiver(_options: object, attribute: "Attribute[Any]", value: object) -> None:
    if value is not None:
        _explained(attribute, receiver, value)


def _seconds(_options: object, attribute: "Attribute[Any]", value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf:
        raise ValueError(f"{attribute.name} must be seconds, 0 or more, not {value!r}")


def _threshold(value: Decimal | str | int) -> int:
    return cents(value, "low_balance")


def _waits(options: object, attribute: "Attribute[Any]", value: object) -> None:
    if not isinstance(value, (list, tuple)):
        raise ValueError(f"{attribute.name} must be a list of seconds such as (1, 5), not {value!r}")  # noqa: TRY004
    for seconds in cast("Sequence[object]", value):
        _seconds(options, attribute, seconds)


def _by_request(latency: float | Mapping[str, float]) -> dict[str, float]:
    return dict(latency) if isinstance(latency, Mapping) else {"*": latency}


def _latency(options: object, attribute: "Attribute[Any]", value: Mapping[str, object]) -> None:
    for what, seconds in value.items():
        _seconds(options, attribute, seconds)
        if what != "*":
            _explained(attribute, request_name, what)


def _faults(_options: object, attribute: "Attribute[Any]", value: object) -> None:
    scripted = cast("Sequence[Any]", value)
    if not isinstance(value, (list, tuple)) or not all(isinstance(given, Mapping) for given in scripted):
        raise ValueError(f"{attribute.name} must be a list of objects such as {{'fault': 'drop'}}, not {value!r}")
    for given in scripted:
        _explained(attribute, rule, given)


def _explained(attribute: "Attribute[Any]", check: Callable[[Any], object], value: object) -> None:
    try:
        check(value)
    except ValueError as error:
        raise ValueError(f"{attribute.name}: {error}") from None


def _flag(_options: object, attribute: "Attribute[Any]", value: object) -> None:
    if not isinstance(value, bool):
        raise ValueError(f"{attribute.name} must be True or False, not {value!r}")  # noqa: TRY004 - one kind of error


def _count_or_flag(options: Any, attribute: "Attribute[Any]", value: object) -> None:
    if not isinstance(value, bool):
        _whole(0)(options, attribute, value)


def _word(_options: object, attribute: "Attribute[Any]", value: object) -> None:
    if not isinstance(value, str) or not value or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"{attribute.name} must be a non-empty text of plain letters without spaces")


def _part(options: object, attribute: "Attribute[Any]", value: str) -> None:
    _word(options, attribute, value)
    if "/" in value:
        raise ValueError(f"{attribute.name} must be one part of a path, not {value!r}")


def _texts(_options: object, attribute: "Attribute[Any]", value: object) -> None:
    entries = cast("Sequence[object]", value)
    if value is not None and not (isinstance(value, (list, tuple)) and all(isinstance(one, str) for one in entries)):
        raise ValueError(f"{attribute.name} must be a list of texts, or None for all, not {value!r}")


def _path(path: str | PathLike[str] | None) -> Path | None:
    return None if path is None else Path(path)


@frozen(kw_only=True)
class Options:
    """Every choice of a sandbox; ValueError for one that is not allowed."""

    packages: int = field(validator=_whole(SMALLEST, LARGEST))
    seed: int = field(validator=_whole(0))
    balance: int = field(converter=cents)
    token: str = field(validator=_word, repr=False)
    webhook_secret: str = field(validator=_word, repr=False)
    host: str = field(validator=_loopback)
    port: int = field(validator=_whole(0, 65_535))
    latency: dict[str, float] = field(converter=_by_request, validator=_latency)
    page_counts: PageCounts = field(validator=_one_of("packages", "destinations"))
    totals: bool | int = field(validator=_count_or_flag)
    past_end: PastEnd = field(validator=_one_of("empty", "last", "not_found"))
    db: Path | None = field(converter=_path)
    duplicate_reference: DuplicateReference = field(validator=_one_of("accept", "conflict"))
    instant_order_shows: InstantOrderShows = field(validator=_one_of("items", "esims"))
    apply_needs_esim_id: bool = field(validator=_flag)
    event_path: EventPath = field(validator=_one_of("event", "events"))
    event_envelope: bool = field(validator=_flag)
    usage_dates: UsageDates = field(validator=_one_of("YYYYMMDD", "YYYY-MM-DD"))
    usage_units: UsageUnits = field(validator=_one_of("MB", "KB"))
    sms_answer: SmsAnswer = field(validator=_one_of("data", "message"))
    link_again: LinkAgain = field(validator=_one_of("same", "new"))
    refund_key: RefundKey = field(validator=_one_of("refundId", "id"))
    rates_envelope: bool = field(validator=_flag)
    rates_need_pair: bool = field(validator=_flag)
    vouchers: bool = field(validator=_flag)
    voucher_packages: Sequence[str] | None = field(validator=_texts)
    voucher_mint_limit: int = field(validator=_whole(1, 10))
    policy_takes: float = field(validator=_seconds)
    affiliate: str = field(validator=_part)
    compress: bool = field(validator=_flag)
    faults: Sequence[Mapping[str, object]] = field(validator=_faults)
    low_balance: int = field(converter=_threshold)
    webhook_url: str | None = field(validator=_receiver)
    webhook_timeout: float = field(validator=_seconds)
    webhook_retry_after: Sequence[float] = field(validator=_waits)
    webhook_types: WebhookTypes = field(validator=_one_of("plain", "prefixed"))
    webhook_usage_list: WebhookUsageList = field(validator=_one_of("data", "usage_data"))

    def delay(self, what: str) -> float:
        """Tell the seconds before the answer to such a request."""
        return self.latency.get(what, self.latency.get("*", 0.0))
