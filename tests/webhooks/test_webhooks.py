"""Webhooks are Roamify's or refused, and what they tell is a value or a WebhookError."""

import copy
import hashlib
import json
import pickle
from datetime import UTC, datetime
from decimal import Decimal

import attrs
import pytest
from hypothesis import given, settings, strategies as st
from support.deliveries import BALANCE, DAYS, ESIM, EVENTS, NAMES, SECRET, USED, body_of, parsed

from roamify_async import ConfigurationError, RoamifyError, WebhookError, webhooks
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
    verify,
)

BODY = body_of(EVENTS["usage"])
SIGNATURE = sign(BODY, SECRET)
NOON = datetime(2023, 11, 14, 22, 13, 20, tzinfo=UTC)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)

# ---------------------------------------------------------------- signatures


def test_sign_is_the_standard():
    """A signature is HMAC-SHA256 in lower-case hex: test case 2 of RFC 4231."""
    expected = "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
    assert sign(b"what do ya want for nothing?", "Jefe") == expected
    verify(b"what do ya want for nothing?", expected, "Jefe")


@settings(deadline=None)
@given(st.binary(), st.text(min_size=1))
def test_what_was_signed_is_verified(body, secret):
    """Any bytes can be signed, with any secret."""
    verify(body, sign(body, secret), secret)


@settings(deadline=None)
@given(st.binary(max_size=50), st.data())
def test_no_changed_body_is_verified(body, data):
    """A body that differs in any way from the one that was signed is refused."""
    other = data.draw(st.binary(max_size=60).filter(lambda other: other != body))
    with pytest.raises(WebhookError):
        verify(other, sign(body, SECRET), SECRET)


@settings(deadline=None)
@given(st.integers(0, len(BODY) * 8 - 1))
def test_no_flipped_bit_is_verified(position):
    """One bit decides."""
    changed = bytearray(BODY)
    changed[position // 8] ^= 1 << position % 8
    with pytest.raises(WebhookError, match="does not belong"):
        verify(bytes(changed), SIGNATURE, SECRET)


def test_rewritten_json_is_refused():
    """The same JSON in other bytes has another signature, and the error says so."""
    with pytest.raises(WebhookError, match="as the bytes that came"):
        verify(json.dumps(json.loads(BODY)).encode(), SIGNATURE, SECRET)


@pytest.mark.parametrize(
    ("signature", "told"),
    [
        (None, "no signature: pass the value of the X-Roamify-Signature header"),
        ("", "no signature"),
        ("sha256=" + SIGNATURE, "has a prefix"),
        (SIGNATURE.upper(), "upper case"),
        (SIGNATURE[:-1], "not 64 hex digits"),
        (SIGNATURE + "\n", "not 64 hex digits"),
        ("z" * 64, "not 64 hex digits"),
        ("\u0661" * 64, "not 64 hex digits"),
        (SIGNATURE.encode(), "not 64 hex digits"),
        (sign(BODY, "another"), "check that the secret is the one of this webhook"),
    ],
)
def test_refusals_say_what_to_do(signature, told):
    """Each kind of wrong signature has its own advice, and neither it nor the secret is shown."""
    with pytest.raises(WebhookError, match=told) as caught:
        verify(BODY, signature, SECRET)
    with pytest.raises(WebhookError, match=told):
        parse(BODY, signature, SECRET)
    shown = repr(caught.value) + str(pickle.dumps(caught.value))
    assert SECRET not in shown
    assert not signature or str(signature) not in shown
    assert caught.value.sent == "no"


def test_error_survives_pickling():
    """A refusal comes out of a pickle as it went in."""
    with pytest.raises(WebhookError) as caught:
        verify(BODY, None, SECRET)
    again = pickle.loads(pickle.dumps(caught.value))
    assert (type(again), str(again)) == (WebhookError, str(caught.value))
    assert isinstance(again, RoamifyError)


@pytest.mark.parametrize("secret", [["old", "new"], ("new",), {"old", "new"}, iter(["old", "new"]), "new"])
def test_secrets_rotate(secret):
    """Of several secrets any may have signed."""
    verify(BODY, sign(BODY, "new"), secret)


def test_parse_takes_one_shot_secrets():
    """Secrets that can be read only once serve the whole of a call."""
    assert parse(BODY, sign(BODY, "new"), iter(["old", "new"])).category == "esim"


@pytest.mark.parametrize("secret", ["", None, [], [""], ["good", ""], [None], " ", "\n\t", ["good", " "]])
def test_no_secret_is_no_key(secret):
    """An empty or white-space-only secret is refused before anything is compared."""
    with pytest.raises(ConfigurationError, match="no webhook secret"):
        verify(BODY, sign(BODY, "good"), secret)


@pytest.mark.parametrize("secret", [7, b"good", ["good", 7]])
def test_secret_is_text(secret):
    """A secret of another type is a TypeError that does not show it."""
    with pytest.raises(TypeError, match=r"^secret must be text, or several texts$"):
        verify(BODY, SIGNATURE, secret)


@pytest.mark.parametrize("body", [BODY.decode(), json.loads(BODY), None])
def test_body_is_raw(body):
    """A body that somebody decoded or parsed before is a TypeError that names the raw one of each framework."""
    for call in (verify, parse):
        with pytest.raises(TypeError, match=r"raw bytes of the request, not (str|dict|NoneType).*get_data.*Django"):
            call(body, SIGNATURE, SECRET)


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_body_is_any_bytes(kind):
    """What servers hand over as bytes is taken as such."""
    assert parse(kind(BODY), SIGNATURE, SECRET) == parse(BODY, SIGNATURE, SECRET)


# ---------------------------------------------------------------- events


def test_status():
    """A change of state is a value; a time of 0 is none."""
    event = parsed(EVENTS["status"])
    assert isinstance(event, EsimStatusEvent)
    assert isinstance(event, AnyEsimEvent)
    assert (event.category, event.type, event.event_id) == ("esim", "status", None)
    assert event.status is NotifiedStatus.ACTIVATED
    assert event.timestamp == NOON
    assert event.timestamp.tzinfo is UTC
    assert event.end is None
    assert (event.iccid, event.esim_id, event.reference_id) == (ESIM["iccid"], ESIM["esim_id"], "my-ref-1")


def test_usage():
    """Usage is exact, and what does not apply is None."""
    event = parsed(EVENTS["usage"])
    assert isinstance(event, EsimUsageEvent)
    left = event.usage_data
    assert (left.is_unlimited, left.allowed_data, left.remaining_data) == (False, Decimal(1024), Decimal("512.5"))
    assert (left.allowed_sms, left.remaining_sms) == (None, Decimal(0))
    (day,) = event.usage_list
    assert (day.date, day.data_used, day.location) == ("2023-11-01", Decimal("100.25"), "Greece")
    assert (event.package_id, event.data_units, event.status) == ("esim-greece-7days-1gb-all", "MB", "ACTIVATED")


@pytest.mark.parametrize("type", ["low_balance", "insufficient_balance", "top_up"])
def test_balance(type):
    """Money is the exact value of the JSON number, in all three events of the balance."""
    body = body_of(EVENTS[type]).replace(b"20.1", b"90071992547409.93")
    event = parse(body, sign(body, SECRET), SECRET)
    assert isinstance(event, BalanceEvent)
    assert event.type == type
    assert str(event.balance) == "90071992547409.93"
    assert (event.threshold, event.threshold_percentage, event.currency) == (Decimal(100), Decimal(75), "USD")


def test_affiliate():
    """An affiliate's order has its lines, and an adjustment of -1 is money and no sentinel."""
    event = parsed(EVENTS["order"])
    assert isinstance(event, AffiliateOrderEvent)
    assert (event.commission_rate, event.commission_amount) == (Decimal("12.5"), Decimal("0.1"))
    order = event.order_data
    assert (order.order_id, order.order_total, order.order_adjustment) == ("o-1", Decimal("9.99"), Decimal(-1))
    assert order.order_status == "completed"
    assert [(item.item_id, item.item_quantity, item.item_price) for item in order.order_items] == [
        ("i-1", 2, Decimal("4.995"))
    ]


@pytest.mark.parametrize("type", ["refunded", "rejected"])
def test_refund(type):
    """A refund's event has an id, by which it is known."""
    event = parsed(EVENTS[type])
    assert isinstance(event, RefundEvent)
    assert event.key == event.event_id == f"rfd_r-1_{type}"
    assert event.status is RefundDecision(type.upper())
    assert (event.refund_id, event.iccid) == ("r-1", None)
    assert event.rejection_reason == ("used" if type == "rejected" else None)


def test_digest_tells_events_without_an_id_apart():
    """The key of an event without an id is the SHA-256 of its body."""
    event = parse(BODY, SIGNATURE, SECRET)
    assert event.key == event.digest == hashlib.sha256(BODY).hexdigest()
    later = {**EVENTS["usage"], "data": {**ESIM, "timestamp": 1700000001}}
    assert parsed(later).key != event.key


def test_every_documented_event_matches_a_class():
    """Events can be told apart with match, by class and by type."""

    def told(event: WebhookEvent) -> str:
        match event:
            case EsimUsageEvent(usage_data=left):
                text = f"{left.remaining_data} left"
            case EsimStatusEvent(status=NotifiedStatus.ACTIVATED):
                text = "activated"
            case BalanceEvent(type="top_up"):
                text = "topped up"
            case BalanceEvent(type=text):
                pass
            case AffiliateOrderEvent(order_data=order):
                text = order.order_id
            case RefundEvent(status=RefundDecision.REJECTED, rejection_reason=reason):
                text = f"no, {reason}"
            case RefundEvent():
                text = "yes"
        return text

    assert {name: told(parsed(event)) for name, event in EVENTS.items()} == {
        "status": "activated",
        "usage": "512.5 left",
        "low_balance": "low_balance",
        "insufficient_balance": "insufficient_balance",
        "top_up": "topped up",
        "order": "o-1",
        "refunded": "yes",
        "rejected": "no, used",
    }


@pytest.mark.parametrize(("type", "kind"), [("esim_usage", EsimUsageEvent), ("esim_status", EsimStatusEvent)])
def test_both_spellings_of_a_type(type, kind):
    """The older names of eSIM events are the newer ones."""
    event = parsed({"event_category": "esim", "event_type": type, "data": EVENTS["usage"]["data"]})
    assert event.__class__ is kind
    assert f"esim_{event.type}" == type


@pytest.mark.parametrize(
    "data",
    [
        {**ESIM, **NAMES, "usage_data": USED, "usage_list": DAYS},
        {**ESIM, **NAMES, "usage_data": {**USED, "usage_list": DAYS}},
        {**ESIM, **NAMES, "usage_data": {**USED, "usage_list": DAYS}, "usage_list": None},
        {**ESIM, **NAMES, "usage_data": {**USED, "usage_list": DAYS}, "usage_list": []},
        {**ESIM, **NAMES, **USED, "usage_list": DAYS},
    ],
)
def test_usage_in_every_place(data):
    """Days and allowances are read wherever the documentation shows them."""
    event = parsed({"event_category": "esim", "event_type": "usage", "data": data})
    assert isinstance(event, EsimUsageEvent)
    assert [day.data_used for day in event.usage_list] == [Decimal("100.25")]
    assert event.usage_data.remaining_data == Decimal("512.5")


@pytest.mark.parametrize("name", EVENTS)
def test_old_form_without_data(name):
    """An event whose fields stand beside its category is read as one whose fields stand under data."""
    event = EVENTS[name]
    flat = {**event, **event["data"]}
    del flat["data"]
    new, old = parsed(event), parsed(flat)
    assert old == attrs.evolve(new, digest=old.digest)
    assert old.data == new.data


@pytest.mark.parametrize(("timestamp", "read"), [(1700000000, NOON), ("soon", None), ([], None)])
def test_unknown_events_have_a_time(timestamp, read):
    """The time of an event that the library does not know is read where it can be."""
    event = parsed({"event_category": "voucher", "event_type": "redeemed", "data": {"timestamp": timestamp}})
    assert event.timestamp == read
    assert event.data == {"timestamp": timestamp}


def test_unknown_events_are_raw():
    """What the library does not know keeps the wire's words."""
    event = parsed({"event_category": "esim", "event_type": "esim_moved", "event_id": "e-1", "data": {"to": 1.10}})
    assert event.__class__ is WebhookEvent
    assert (event.category, event.type, event.key) == ("esim", "esim_moved", "e-1")
    assert event.data == {"to": Decimal("1.1")}
    assert event.timestamp is None
    other = parsed({"event_category": "voucher", "event_type": "redeemed", "data": ["x"], "at": 1})
    assert (other.category, other.type, other.data) == ("voucher", "redeemed", {"data": ["x"], "at": 1})


@pytest.mark.parametrize("name", EVENTS)
def test_unknown_fields_are_kept_raw(name):
    """A field that is new to the library is no problem, and stands in data."""
    event = EVENTS[name]
    more = parsed({**event, "brand": "new", "data": {**event["data"], "extra": {"a": [None, 1]}, "category": 5}})
    assert more.data["extra"] == {"a": [None, 1]}
    assert more == attrs.evolve(parsed(event), digest=more.digest)


def test_unknown_states_keep_their_text():
    """A state that is new to the library is its text."""
    event = parsed({"event_category": "esim", "event_type": "status", "data": {**ESIM, "status": "PAUSED"}})
    assert isinstance(event, EsimStatusEvent)
    assert str(event.status) == "PAUSED"


def test_unlimited_is_none():
    """The number that means "no limit" is None."""
    used = {"isUnlimited": True, "allowed_data": 2**53 - 1, "remaining_data": 2**53 - 1}
    event = parsed({"event_category": "esim", "event_type": "usage", "data": {**ESIM, "usage_data": used}})
    assert isinstance(event, EsimUsageEvent)
    assert (event.usage_data.is_unlimited, event.usage_data.allowed_data) == (True, None)


@pytest.mark.parametrize("name", EVENTS)
def test_null_is_missing(name):
    """A null where a value may be missing takes the default."""
    event = EVENTS[name]
    needed = {"balance", "refund_id", "commission_amount", "order_data"}
    data = {key: value if key in needed else None for key, value in event["data"].items()}
    assert parsed({**event, "data": data}).__class__ is parsed(event).__class__


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"", "cannot be read"),
        (b"<html>", "cannot be read"),
        (b"\xff\xfe", "cannot be read"),
        (b"[1]", "an object expected"),
        (b'{"event_type": "usage"}', r"\$\.event_category: text expected"),
        (b'{"event_category": "esim", "event_type": 7}', r"\$\.event_type: text expected"),
        (body_of({**EVENTS["top_up"], "data": {}}), r"\$\.balance: missing"),
        (body_of({**EVENTS["top_up"], "data": {**BALANCE, "balance": "much"}}), r'\$\.balance: a number .* "much"'),
        (body_of({**EVENTS["usage"], "data": {**ESIM, "usage_data": [1]}}), r"\$\.usage_data: an object expected"),
        (b"[" * 100_000, "cannot be read"),
        (b'{"event_category": "partner", "event_type": "top_up", "data": {"balance": NaN}}', "a JSON number"),
    ],
)
def test_unreadable_events(body, told):
    """What is signed and is no event is a WebhookError that says where it is wrong."""
    with pytest.raises(WebhookError, match=told) as caught:
        parse(body, sign(body, SECRET), SECRET)
    assert "\n" not in str(caught.value)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args


@settings(deadline=None)
@given(st.binary())
def test_any_bytes_are_read_or_refused(body):
    """Nothing but a WebhookError leaves the reading of arbitrary bytes."""
    with pytest.raises(WebhookError, match="cannot be read"):
        parse(body, sign(body, SECRET), SECRET)


@settings(deadline=None)
@given(
    st.sampled_from([*EVENTS.values()]),
    st.dictionaries(
        st.sampled_from([*ESIM, *BALANCE, *EVENTS["usage"]["data"], *EVENTS["order"]["data"]]), json_values
    ),
)
def test_any_fields_are_read_or_refused(event, changes):
    """Nothing but a WebhookError leaves the reading of an event whose fields hold anything."""
    body = json.dumps({**event, "data": {**event["data"], **changes}}).encode()
    try:
        read = parse(body, sign(body, SECRET), SECRET)
    except WebhookError as error:
        assert "cannot be read" in str(error)  # noqa: PT017 -- both outcomes are right
    else:
        assert read.digest == hashlib.sha256(body).hexdigest()


@pytest.mark.parametrize("name", EVENTS)
def test_events_are_values(name):
    """An event can be pickled, copied, compared and put in a set, and cannot be changed."""
    event = parsed(EVENTS[name])
    for again in (pickle.loads(pickle.dumps(event)), copy.deepcopy(event), parsed(EVENTS[name])):
        assert again == event
        assert again.data == event.data
        assert hash(again) == hash(event)
    with pytest.raises(attrs.exceptions.FrozenInstanceError):
        event.type = "other"
    assert "__slots__" in vars(type(event))


def test_all_names_are_documented():
    """Each public name of the module can be had, and each class says what it is."""
    for name in webhooks.__all__:
        value = getattr(webhooks, name)
        assert not isinstance(value, type) or (value.__doc__ or "")[0].isupper()


def test_one_secret_signs():
    """A body is signed with one secret, and several are refused in words."""
    with pytest.raises(TypeError, match="one text"):
        webhooks.sign(b"{}", ["a", "b"])  # type: ignore[arg-type]
