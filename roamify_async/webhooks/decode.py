"""Decoding of a webhook's body into its event."""

import hashlib
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, Final, cast

import attrs

from roamify_async._serde.converter import parse as parse_json, structure
from roamify_async._serde.scalars import read_time
from roamify_async.errors import WebhookError

from .events import AffiliateOrderEvent, BalanceEvent, EsimStatusEvent, EsimUsageEvent, RefundEvent, WebhookEvent
from .signature import Secret, Secrets, verify

JsonObject = dict[str, Any]

EVENT_CLASSES: Final[Mapping[tuple[str, str], type[WebhookEvent]]] = {
    ("esim", "status"): EsimStatusEvent,
    ("esim", "usage"): EsimUsageEvent,
    ("partner", "low_balance"): BalanceEvent,
    ("partner", "insufficient_balance"): BalanceEvent,
    ("partner", "top_up"): BalanceEvent,
    ("affiliate", "order"): AffiliateOrderEvent,
    ("refund", "refunded"): RefundEvent,
    ("refund", "rejected"): RefundEvent,
}
"""The class of each documented event, by category and type."""

ENVELOPE: Final = ("event_category", "event_type", "event_id")


def parse(body: bytes, signature: str | None, secret: Secret) -> WebhookEvent:
    """Return the event in a body, after checking the signature.

    Args:
        body: The raw bytes of the request.
        signature: The value of the ``X-Roamify-Signature`` header, or ``None`` if the header is missing.
        secret: The secret of the webhook, or several during a rotation; any of them may have signed.

    Returns:
        An instance of the class of the event; ``WebhookEvent`` itself for an undocumented category or type.

    Raises:
        WebhookError: The signature is missing, malformed or wrong, or the body cannot be decoded.
        ConfigurationError: A secret is missing or blank.
        TypeError: *body* is not bytes, or *secret* is not text.

    See: https://docs.getroamify.com/webhooks/types/
    """
    secret = Secrets.of(secret)
    verify(body, signature, secret)
    return decode(bytes(body))


def decode(body: bytes) -> WebhookEvent:
    """Return the event in a verified body; raises ``WebhookError`` if it cannot be decoded."""
    try:
        return _event(parse_json(body), hashlib.sha256(body).hexdigest())
    except ValueError as error:
        problem = " ".join(str(error).splitlines())
    raise WebhookError(f"the event cannot be decoded: {problem}")


def _event(document: object, digest: str) -> WebhookEvent:
    if not isinstance(document, dict):
        raise ValueError("$: an object expected")  # noqa: TRY004 -- it is the sender's mistake, not the caller's
    document = cast("JsonObject", document)
    category, type = (_required_text(document, name) for name in ENVELOPE[:2])
    short_type = type.removeprefix(f"{category}_")  # both spellings are documented
    event_class = EVENT_CLASSES.get((category, short_type))
    event_id = document.get("event_id")
    envelope: JsonObject = {
        "category": category,
        "type": short_type if event_class else type,
        "event_id": event_id if isinstance(event_id, str) and event_id else None,
        "digest": digest,
    }
    data = _data(document)
    if event_class is None:
        return WebhookEvent(**envelope, timestamp=_timestamp(data), data=data)
    # `data` is set afterwards: the converter drops nulls and unknown keys.
    return attrs.evolve(structure({**_normalized_usage(data), **envelope}, event_class), data=data)


def _required_text(document: JsonObject, name: str) -> str:
    text = document.get(name)
    if isinstance(text, str) and text:
        return text
    raise ValueError(f"$.{name}: text expected")


def _data(document: JsonObject) -> JsonObject:
    """Return the object under ``data``; older events have its fields beside the category and type instead."""
    data = document.get("data")
    if isinstance(data, dict):
        return cast("JsonObject", data)
    return {key: value for key, value in document.items() if key not in ENVELOPE}


def _timestamp(data: JsonObject) -> datetime | None:
    """Return the time of an undocumented event, or ``None`` if it cannot be decoded."""
    with suppress(ValueError):
        return read_time(data.get("timestamp"), datetime)
    return None


def _normalized_usage(data: JsonObject) -> JsonObject:
    """Move the allowances and the days of a usage event, each documented in two places, to one."""
    usage = data.get("usage_data") or data
    if not isinstance(usage, dict):
        return data
    usage = cast("JsonObject", usage)
    return {**data, "usage_data": usage, "usage_list": data.get("usage_list") or usage.get("usage_list") or []}
