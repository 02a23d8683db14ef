"""From the bytes of a body to its event."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, cast

import attrs

from roamify_async._engine.codec import parse as parse_json, read
from roamify_async._engine.readers import read_time
from roamify_async.errors import WebhookError

from .events import AffiliateOrderEvent, BalanceEvent, EsimStatusEvent, EsimUsageEvent, RefundEvent, WebhookEvent
from .signature import Keys, Secret, verify

Fields = dict[str, Any]
"""A JSON object."""

KINDS: Final[Mapping[tuple[str, str], type[WebhookEvent]]] = {
    ("esim", "status"): EsimStatusEvent,
    ("esim", "usage"): EsimUsageEvent,
    ("partner", "low_balance"): BalanceEvent,
    ("partner", "insufficient_balance"): BalanceEvent,
    ("partner", "top_up"): BalanceEvent,
    ("affiliate", "order"): AffiliateOrderEvent,
    ("refund", "refunded"): RefundEvent,
    ("refund", "rejected"): RefundEvent,
}
"""The class of each event that the API describes."""

ENVELOPE: Final = ("event_category", "event_type", "event_id")


def parse(body: bytes, signature: str | None, secret: Secret) -> WebhookEvent:
    """Verify a body and give the event that it tells of; ``/webhooks/types``.

    Raises ``WebhookError`` where the signature is wrong or the event cannot be read.
    """
    secret = Keys.of(secret)
    verify(body, signature, secret)
    return decode(bytes(body))


def decode(body: bytes) -> WebhookEvent:
    """Give the event of a body that was verified before; raises ``WebhookError`` where it cannot be read."""
    try:
        return _event(parse_json(body), hashlib.sha256(body).hexdigest())
    except ValueError as error:
        problem = " ".join(str(error).splitlines())
    raise WebhookError(f"the event cannot be read: {problem}")


def _event(fields: object, digest: str) -> WebhookEvent:
    if not isinstance(fields, dict):
        raise ValueError("$: an object expected")  # noqa: TRY004 -- it is the sender's mistake, not the caller's
    fields = cast("Fields", fields)
    category, type = (_word(fields, name) for name in ENVELOPE[:2])
    short = type.removeprefix(f"{category}_")  # both spellings are documented
    kind = KINDS.get((category, short))
    event_id = fields.get("event_id")
    about: Fields = {
        "category": category,
        "type": short if kind else type,
        "event_id": event_id if isinstance(event_id, str) and event_id else None,
        "digest": digest,
    }
    said = _said(fields)
    if kind is None:
        return WebhookEvent(**about, timestamp=_time(said), data=said)
    # Set afterwards, for the reader drops nulls and keeps only what it knows.
    return attrs.evolve(read({**_in_place(said), **about}, kind), data=said)


def _word(fields: Fields, name: str) -> str:
    word = fields.get(name)
    if isinstance(word, str) and word:
        return word
    raise ValueError(f"$.{name}: text expected")


def _said(fields: Fields) -> Fields:
    """Take the object under ``data``; older events have its fields beside the category and type instead."""
    data = fields.get("data")
    if isinstance(data, dict):
        return cast("Fields", data)
    return {key: value for key, value in fields.items() if key not in ENVELOPE}


def _time(said: Fields) -> datetime | None:
    """Give the time of an event of which nothing else is known, where it has one that can be read."""
    with suppress(ValueError):
        return read_time(said.get("timestamp"), datetime)
    return None


def _in_place(said: Fields) -> Fields:
    """Put what the documentation shows in two places into one: the days of a usage event, and its allowances."""
    left = said.get("usage_data") or said
    if not isinstance(left, dict):
        return said
    left = cast("Fields", left)
    return {**said, "usage_data": left, "usage_list": said.get("usage_list") or left.get("usage_list") or []}
