"""Decoding: the body of each documented event becomes a value of its class, any other body an error."""

import copy
import hashlib
import json
import pickle
from datetime import UTC, datetime
from decimal import Decimal

import attrs
import pytest
from hypothesis import given, settings, strategies as st
from support.deliveries import (
    BALANCE,
    BODY,
    ESIM,
    EVENT,
    EVENTS,
    PACKAGE,
    SECRET,
    USAGE_DATA,
    USAGE_LIST,
    body_of,
    parsed,
)

from roamify_async import WebhookError
from roamify_async.webhooks import (
    AffiliateOrderEvent,
    AnyEsimEvent,
    BalanceEvent,
    EsimStatusEvent,
    EsimUsageEvent,
    NotifiedStatus,
    RefundDecision,
    RefundEvent,
    WebhookEvent,
    parse,
    sign,
)

TIMESTAMP = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def esim_event(type: str, **changes: object) -> WebhookEvent:
    """Return an eSIM event with some of its data changed."""
    return parsed({"event_category": "esim", "event_type": type, "data": {**ESIM, **changes}})


def test_status():
    """A status event has the state of the eSIM; a time of 0 is None."""
    event = parsed(EVENTS["status"])
    assert isinstance(event, EsimStatusEvent)
    assert isinstance(event, AnyEsimEvent)
    assert (event.category, event.type, event.event_id) == ("esim", "status", None)
    assert event.status is NotifiedStatus.ACTIVATED
    assert event.timestamp == TIMESTAMP
    assert event.timestamp.tzinfo is UTC
    assert event.end is None
    assert (event.iccid, event.esim_id, event.reference_id) == (ESIM["iccid"], ESIM["esim_id"], "my-ref-1")


def test_usage():
    """A usage event has exact amounts; an allowance of -1 is None."""
    assert isinstance(EVENT, EsimUsageEvent)
    usage = EVENT.usage_data
    assert (usage.is_unlimited, usage.allowed_data, usage.remaining_data) == (False, Decimal(1024), Decimal("512.5"))
    assert (usage.allowed_sms, usage.remaining_sms) == (None, Decimal(0))
    (day,) = EVENT.usage_list
    assert (day.date, day.data_used, day.location) == ("2023-11-01", Decimal("100.25"), "Greece")
    assert (EVENT.package_id, EVENT.data_units, EVENT.status) == ("esim-greece-7days-1gb-all", "MB", "ACTIVATED")


def test_balance():
    """All three balance events have the exact value of the JSON number."""
    for type in ("low_balance", "insufficient_balance", "top_up"):
        body = body_of(EVENTS[type]).replace(b"20.1", b"90071992547409.93")
        event = parse(body, sign(body, SECRET), SECRET)
        assert isinstance(event, BalanceEvent)
        assert event.type == type
        assert str(event.balance) == "90071992547409.93"
        assert (event.threshold, event.threshold_percentage, event.currency) == (Decimal(100), Decimal(75), "USD")


def test_affiliate_order():
    """An affiliate's order has its items; an adjustment of -1 is an amount, not None."""
    event = parsed(EVENTS["order"])
    assert isinstance(event, AffiliateOrderEvent)
    assert (event.commission_rate, event.commission_amount) == (Decimal("12.5"), Decimal("0.1"))
    order = event.order_data
    assert (order.order_id, order.order_total, order.order_adjustment) == ("o-1", Decimal("9.99"), Decimal(-1))
    assert order.order_status == "completed"
    assert [(item.item_id, item.item_quantity, item.item_price) for item in order.order_items] == [
        ("i-1", 2, Decimal("4.995"))
    ]


def test_refund():
    """A refund event has an id, which is its key."""
    for type, reason in (("refunded", None), ("rejected", "used")):
        event = parsed(EVENTS[type])
        assert isinstance(event, RefundEvent)
        assert event.key == event.event_id == f"rfd_r-1_{type}"
        assert event.status is RefundDecision(type.upper())
        assert (event.refund_id, event.iccid, event.rejection_reason) == ("r-1", None, reason)


def test_digest_is_the_key_without_an_id():
    """The key of an event without an id is the SHA-256 of its body."""
    assert EVENT.key == EVENT.digest == hashlib.sha256(BODY).hexdigest()
    assert esim_event("usage", timestamp=1700000001).key != esim_event("usage").key


def test_both_spellings_of_a_type():
    """An eSIM event's older type name is read as the newer one."""
    for type, kind in (("usage", EsimUsageEvent), ("status", EsimStatusEvent)):
        event = parsed({"event_category": "esim", "event_type": f"esim_{type}", "data": EVENTS["usage"]["data"]})
        assert event.__class__ is kind
        assert event.type == type


def test_usage_in_every_place():
    """Days and allowances are read from every documented place."""
    for data in (
        {"usage_data": USAGE_DATA, "usage_list": USAGE_LIST},
        {"usage_data": {**USAGE_DATA, "usage_list": USAGE_LIST}},
        {"usage_data": {**USAGE_DATA, "usage_list": USAGE_LIST}, "usage_list": None},
        {"usage_data": {**USAGE_DATA, "usage_list": USAGE_LIST}, "usage_list": []},
        {**USAGE_DATA, "usage_list": USAGE_LIST},
    ):
        event = esim_event("usage", **PACKAGE, **data)
        assert isinstance(event, EsimUsageEvent)
        assert [day.data_used for day in event.usage_list] == [Decimal("100.25")]
        assert event.usage_data.remaining_data == Decimal("512.5")


def test_old_form_without_data():
    """An event whose fields stand beside its category equals one whose fields stand under data."""
    for event in EVENTS.values():
        flat = {**event, **event["data"]}
        del flat["data"]
        new, old = parsed(event), parsed(flat)
        assert old == attrs.evolve(new, digest=old.digest)
        assert old.data == new.data


def test_undocumented_event():
    """An undocumented event has its data unchanged, and its time if that can be decoded."""
    event = parsed({"event_category": "esim", "event_type": "esim_moved", "event_id": "e-1", "data": {"to": 1.10}})
    assert event.__class__ is WebhookEvent
    assert (event.category, event.type, event.key) == ("esim", "esim_moved", "e-1")
    assert event.data == {"to": Decimal("1.1")}
    assert event.timestamp is None
    other = parsed({"event_category": "voucher", "event_type": "redeemed", "data": ["x"], "at": 1})
    assert (other.category, other.type, other.data) == ("voucher", "redeemed", {"data": ["x"], "at": 1})
    for timestamp, expected in ((1700000000, TIMESTAMP), ("soon", None), ([], None)):
        event = parsed({"event_category": "voucher", "event_type": "redeemed", "data": {"timestamp": timestamp}})
        assert event.timestamp == expected
        assert event.data == {"timestamp": timestamp}


def test_unknown_keys_are_kept():
    """A key without an attribute is no problem and remains in data."""
    for event in EVENTS.values():
        more = parsed({**event, "brand": "new", "data": {**event["data"], "extra": {"a": [None, 1]}, "category": 5}})
        assert more.data["extra"] == {"a": [None, 1]}
        assert more == attrs.evolve(parsed(event), digest=more.digest)


def test_unknown_state_is_text():
    """An undocumented state is kept as its text."""
    event = esim_event("status", status="PAUSED")
    assert isinstance(event, EsimStatusEvent)
    assert str(event.status) == "PAUSED"


def test_unlimited_is_none():
    """An allowance of 2^53-1, which means "no limit", is None."""
    event = esim_event(
        "usage", usage_data={"isUnlimited": True, "allowed_data": 2**53 - 1, "remaining_data": 2**53 - 1}
    )
    assert isinstance(event, EsimUsageEvent)
    assert (event.usage_data.is_unlimited, event.usage_data.allowed_data) == (True, None)


def test_null_is_missing():
    """A null takes the default of an optional attribute."""
    required = {"balance", "refund_id", "commission_amount", "order_data"}
    for event in EVENTS.values():
        data = {key: value if key in required else None for key, value in event["data"].items()}
        assert parsed({**event, "data": data}).__class__ is parsed(event).__class__


def test_undecodable_events():
    """A signed body that is no event is an error that names the place of the problem in one line."""
    for body, message in [
        (b"", "cannot be decoded"),
        (b"<html>", "cannot be decoded"),
        (b"\xff\xfe", "cannot be decoded"),
        (b"[1]", "an object expected"),
        (b'{"event_type": "usage"}', r"\$\.event_category: text expected"),
        (b'{"event_category": "esim", "event_type": 7}', r"\$\.event_type: text expected"),
        (body_of({**EVENTS["top_up"], "data": {}}), r"\$\.balance: missing"),
        (body_of({**EVENTS["top_up"], "data": {**BALANCE, "balance": "much"}}), r'\$\.balance: a number .* "much"'),
        (body_of({**EVENTS["usage"], "data": {**ESIM, "usage_data": [1]}}), r"\$\.usage_data: an object expected"),
        (b"[" * 100_000, "cannot be decoded"),
        (b'{"event_category": "partner", "event_type": "top_up", "data": {"balance": NaN}}', "a JSON number"),
    ]:
        with pytest.raises(WebhookError, match=message) as caught:
            parse(body, sign(body, SECRET), SECRET)
        assert "\n" not in str(caught.value)
        assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_decoded_or_refused(body):
    """No other exception than WebhookError leaves the decoding of arbitrary bytes."""
    with pytest.raises(WebhookError, match="cannot be decoded"):
        parse(body, sign(body, SECRET), SECRET)


@settings(deadline=None)
@given(
    st.sampled_from([*EVENTS.values()]),
    st.dictionaries(
        st.sampled_from([*ESIM, *BALANCE, *EVENTS["usage"]["data"], *EVENTS["order"]["data"]]), json_values
    ),
)
def test_any_fields_are_decoded_or_refused(event, changes):
    """No other exception than WebhookError leaves the decoding of an event with arbitrary fields."""
    body = json.dumps({**event, "data": {**event["data"], **changes}}).encode()
    try:
        decoded = parse(body, sign(body, SECRET), SECRET)
    except WebhookError as error:
        assert "cannot be decoded" in str(error)  # noqa: PT017 -- both outcomes are right
    else:
        assert decoded.digest == hashlib.sha256(body).hexdigest()


def test_events_are_values():
    """An event can be pickled, copied, compared and hashed, and cannot be changed."""
    for document in EVENTS.values():
        event = parsed(document)
        for again in (pickle.loads(pickle.dumps(event)), copy.deepcopy(event), parsed(document)):
            assert again == event
            assert again.data == event.data
            assert hash(again) == hash(event)
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            event.type = "other"
        assert "__slots__" in vars(type(event))
