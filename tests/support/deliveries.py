"""Deliveries as Roamify sends them: each documented event, its body and its signed headers."""

import json
from typing import Any

from support.clients import HANG

from roamify_async import webhooks

SECRET = "whsec_sandbox_not_a_real_secret"

ESIM = {
    "timestamp": 1700000000,
    "iccid": "8991000000000000001",
    "esim_id": "0b8f1a52-8f0d-4a7c-9a35-0d1f5d7a1c11",
    "reference_id": "my-ref-1",
    "start": 1699996800,
    "end": 0,
    "status": "ACTIVATED",
}
USAGE_DATA = {
    "isUnlimited": False,
    "allowed_data": 1024,
    "remaining_data": 512.5,
    "allowed_sms": -1,
    "remaining_sms": 0,
    "allowed_voice": 0,
    "remaining_voice": 0,
}
USAGE_LIST = [{"date": "2023-11-01", "data_used": 100.25, "location": "Greece"}]
PACKAGE = {
    "package_id": "esim-greece-7days-1gb-all",
    "package_name": "1 GB - 7 Days",
    "data_units": "MB",
    "voice_units": "minutes",
    "sms_units": "sms",
}
BALANCE = {
    "timestamp": 1700000000,
    "balance": 20.10,
    "threshold": 100,
    "threshold_percentage": 75,
    "currency": "USD",
}
AFFILIATE = {
    "timestamp": 1700000000,
    "partner_name": "Trips",
    "partner_id": "p-1",
    "commission_rate": 12.5,
    "commission_amount": 0.1,
    "order_data": {
        "order_id": "o-1",
        "order_total": 9.99,
        "order_adjustment": -1,
        "order_subtotal": 10.99,
        "order_discount": 0,
        "order_currency": "USD",
        "order_status": "completed",
        "order_items": [{"item_id": "i-1", "item_name": "1 GB", "item_quantity": 2, "item_price": 4.995}],
    },
}
REFUND = {
    "timestamp": 1700000000,
    "refund_id": "r-1",
    "status": "REJECTED",
    "product_type": "esim",
    "esim_id": ESIM["esim_id"],
    "iccid": "",
    "rejection_reason": "used",
}

EVENTS: dict[str, dict[str, Any]] = {
    "status": {"event_category": "esim", "event_type": "status", "data": ESIM},
    "usage": {
        "event_category": "esim",
        "event_type": "usage",
        "data": {**ESIM, **PACKAGE, "usage_data": USAGE_DATA, "usage_list": USAGE_LIST},
    },
    "low_balance": {"event_category": "partner", "event_type": "low_balance", "data": BALANCE},
    "insufficient_balance": {"event_category": "partner", "event_type": "insufficient_balance", "data": BALANCE},
    "top_up": {"event_category": "partner", "event_type": "top_up", "data": BALANCE},
    "order": {"event_category": "affiliate", "event_type": "order", "data": AFFILIATE},
    "refunded": {
        "event_category": "refund",
        "event_type": "refunded",
        "event_id": "rfd_r-1_refunded",
        "data": {**REFUND, "status": "REFUNDED", "rejection_reason": ""},
    },
    "rejected": {
        "event_category": "refund",
        "event_type": "rejected",
        "event_id": "rfd_r-1_rejected",
        "data": REFUND,
    },
}
"""Each documented event, by its type."""


def body_of(event: object) -> bytes:
    """Return the body of an event."""
    return json.dumps(event, separators=(",", ":")).encode()


def headers_of(body: bytes, secret: str = SECRET) -> dict[str, str]:
    """Return the headers of a delivery."""
    return {"Content-Type": "application/json", webhooks.SIGNATURE_HEADER: webhooks.sign(body, secret)}


def parsed(event: object) -> webhooks.WebhookEvent:
    """Return an event after encoding, signing and parsing it."""
    body = body_of(event)
    return webhooks.parse(body, webhooks.sign(body, SECRET), SECRET)


def patient(handler: Any, **options: Any) -> webhooks.Receiver:
    """Create a receiver whose deadline does not pass during a test, however busy the machine is."""
    return webhooks.Receiver(handler, SECRET, deadline=HANG, **options)


BODY = body_of(EVENTS["usage"])
"""Body of one event, for tests that need any."""
SIGNATURE = webhooks.sign(BODY, SECRET)
EVENT = parsed(EVENTS["usage"])
