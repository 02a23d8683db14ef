"""Requests are encoded as the caller made them, and responses are decoded to values or a ``DecodeError``."""

import copy
import datetime as dt
import json
import re
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote
from uuid import UUID

import attrs
import pytest
from hypothesis import example, given, strategies as st
from support.endpoints import ENDPOINTS, decoded, encoded

from roamify_async import (
    AuthenticationError,
    Balance,
    ConflictError,
    CreateOrder,
    CreateTopUp,
    DecodeError,
    Esim,
    EsimStatus,
    Order,
    OrderItem,
    OrderLine,
    OrderStatus,
    Package,
    ServerError,
    TopUpPackage,
)
from roamify_async._core.endpoint import Endpoint
from roamify_async._http.messages import HttpRequest, HttpResponse
from roamify_async._serde.converter import JSON, parse, structure, unstructure
from roamify_async._serde.envelope import find_ids, status_error
from roamify_async._serde.fields import SAME_OBJECT, json_name
from roamify_async._serde.scalars import json_names
from roamify_async.api.account import Account
from roamify_async.api.countries import Countries
from roamify_async.api.devices import Devices
from roamify_async.api.esims import Esims
from roamify_async.api.insurance import Insurance
from roamify_async.api.orders import Orders
from roamify_async.api.packages import Packages
from roamify_async.api.service import Service
from roamify_async.api.topups import TopUps
from roamify_async.models.account import GetBalance
from roamify_async.models.countries import ListCountries
from roamify_async.models.esims import ApplyEsim, ApplyOrder, GetEsim, ListEsims
from roamify_async.models.orders import GetOrder, ListOrders
from roamify_async.models.packages import DestinationGroup, ListPackages, PackagePage
from roamify_async.models.topups import ListTopUps

DESCRIBED = [e for e in ENDPOINTS.values() if e.decode is None and e.response is not JSON]
"""Endpoints whose response is documented."""

ORDER = {
    "id": "0b9f2c66-52a5-4b1e-9d5c-0a41b7d3f001",
    "referenceId": "my-ref-1",
    "status": "COMPLETED",
    "total": 2.36,
    "currency": "USD",
    "orderType": "api",
    "createdAt": 1731837535,
    "updatedAt": 1731837540,
    "items": [
        {
            "esimId": "0b9f2c66-52a5-4b1e-9d5c-0a41b7d3f002",
            "packageId": "esim-greece-30days-1gb-all",
            "package": "1 GB - 30 Days",
            "type": "esim",
            "price": 1.18,
            "currency": "USD",
            "createdAt": 1731837535,
            "updatedAt": 1731837535,
        }
    ],
}
ESIM = {
    "id": "0b9f2c66-52a5-4b1e-9d5c-0a41b7d3f002",
    "iccid": "8910000000000000001",
    "status": "READY",
    "esim": {"lpaCode": "LPA:1$smdp.example$CODE", "qrCodeUrl": "https://example.com/qr", "pin": ""},
    "createdAt": 1731837535,
}
GROUP = {
    "id": "greece-esims",
    "countryName": "Greece",
    "countryCode": "GR",
    "minPrice": 1.1,
    "maxPrice": 24,
    "signals": [{"code": "GR", "name": "Greece", "networks": ["4G", "5G"], "carriers": ["Cosmote"]}],
    "packages": [
        {
            "packageId": "esim-greece-15days-un2gb-all",
            "price": 1.32,
            "day": 15,
            "isUnlimited": True,
            "isAPNAutomatic": False,
            "dataAmount": 9007199254740991,
            "callAmount": -1,
            "smsUnit": "",
            "withSMS": True,
            "throttle": {"throttleSpeed": 128, "throttleSpeedUnit": "kbps"},
            "requirements": {"travelDate": True},
            "notes": ["one"],
        },
        {"packageId": "esim-greece-30days-1gb-all", "price": 2},
    ],
}


def answer(body: object, status: int = 200, **headers: str) -> HttpResponse:
    """Return a response of JSON, text or bytes."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return HttpResponse(status, headers, text if isinstance(text, bytes) else text.encode())


def data(value: object) -> HttpResponse:
    """Return a response in the usual envelope."""
    return answer({"status": "success", "data": value})


def parsed(value: object) -> Any:
    """Return a value as it is after a round trip through JSON."""
    return parse(json.dumps(value).encode())


def undecodable(endpoint: Endpoint[..., Any], response: HttpResponse) -> DecodeError:
    """Return the error of a response that cannot be decoded."""
    with pytest.raises(DecodeError) as caught:
        decoded(endpoint, response)
    return caught.value


# ---------------------------------------------------------------- valid responses


def test_order():
    """An order is read with all its fields."""
    order = decoded(Orders.get, data(ORDER))
    assert order == Order(
        id=ORDER["id"],
        reference_id="my-ref-1",
        status="COMPLETED",
        total=Decimal("2.36"),
        currency="USD",
        order_type="api",
        created_at=datetime(2024, 11, 17, 9, 58, 55, tzinfo=UTC),
        updated_at=datetime(2024, 11, 17, 9, 59, 0, tzinfo=UTC),
        items=(
            OrderLine(
                esim_id="0b9f2c66-52a5-4b1e-9d5c-0a41b7d3f002",
                package_id="esim-greece-30days-1gb-all",
                package="1 GB - 30 Days",
                type="esim",
                price=Decimal("1.18"),
                created_at=datetime(2024, 11, 17, 9, 58, 55, tzinfo=UTC),
                updated_at=datetime(2024, 11, 17, 9, 58, 55, tzinfo=UTC),
            ),
        ),
    )
    assert type(order.items) is tuple


def test_catalogue_page():
    """A page has destinations with packages, and each package knows its destination."""
    page = decoded(Packages.page, data({"packages": [GROUP], "page": "1", "pageSize": 50}))
    (group,) = page.groups
    unlimited, plain = page.packages
    assert group.destination.id == "greece-esims"
    assert unlimited.destination is plain.destination is group.destination
    assert (group.destination.min_price, group.destination.max_price) == (Decimal("1.1"), 24)
    assert group.destination.signals[0].networks == ("4G", "5G")
    assert (unlimited.data_amount, unlimited.call_amount, unlimited.sms_unit) == (None, None, None)
    assert unlimited.with_sms
    assert not unlimited.is_apn_automatic
    assert unlimited.requirements.travel_date
    assert unlimited.throttle.throttle_speed == 128
    assert unlimited.notes == ("one",)
    assert (page.page, page.page_size, page.total, page.total_pages) == (1, 50, None, None)


@pytest.mark.parametrize(
    ("endpoint", "body", "length"),
    [
        (Countries.list, {"data": {"countries": [{"code": "GR", "name": "Greece"}] * 2}}, 2),
        (Orders.list, {"data": {"orders": [ORDER]}}, 1),
        (Esims.list, {"data": [ESIM, ESIM, ESIM]}, 3),
        (Devices.list, {"data": []}, 0),
        (Esims.apply_order, {"data": [ESIM]}, 1),
    ],
)
def test_lists(endpoint, body, length):
    """A list is a tuple, wherever it lies in the envelope."""
    values = decoded(endpoint, answer(body))
    assert type(values) is tuple
    assert len(values) == length


def test_response_without_an_envelope():
    """A response may be the body itself."""
    bare = Endpoint("GET", "/x", GetBalance, Balance, data_path="")
    assert decoded(bare, answer({"balance": 5})) == Balance(balance=Decimal(5))
    assert undecodable(bare, answer({"balance": "x"})).problems == ('$.balance: a number expected, not "x"',)


def test_unknown_keys_are_ignored():
    """Unknown keys are ignored at any depth."""
    changed = {**ORDER, "new": {"a": [1]}, "items": [{**ORDER["items"][0], "newer": None}]}
    assert decoded(Orders.get, answer({"status": "success", "data": changed, "meta": 5})) == decoded(
        Orders.get, data(ORDER)
    )


@pytest.mark.parametrize(
    ("key", "default"), [("referenceId", None), ("status", "PENDING"), ("currency", "USD"), ("items", ())]
)
def test_missing_and_null_keys_take_defaults(key, default):
    """A missing key and a null key both take the default of the field."""
    missing = {name: value for name, value in ORDER.items() if name != key}
    name = re.sub("[A-Z]", lambda match: "_" + match.group().lower(), key)
    for body in (missing, {**missing, key: None}):
        assert getattr(decoded(Orders.get, data(body)), name) == default


def test_minimal_esim():
    """An eSIM needs only an id; every other key may be missing or null."""
    nulls = {
        **dict.fromkeys(("iccid", "status", "esim", "apn", "data", "notes", "createdAt", "withUsageCheck")),
        "id": "e",
    }
    for body in ({"id": "e"}, nulls):
        esim = decoded(Esims.get, data(body))
        assert esim == Esim(id="e")
        assert esim.status is EsimStatus.UNKNOWN
        assert esim.with_usage_check


def test_nested_nulls():
    """A null inside a list item takes the default of its field."""
    order = decoded(Orders.get, data({**ORDER, "items": [{"packageId": None, "price": None, "package": "x"}]}))
    assert order.items == (OrderLine(package="x"),)


def test_field_named_data():
    """An object may have a field of its own named ``data``."""
    (package,) = decoded(
        TopUps.packages, data([{"packageId": "a", "price": 1, "data": {"dataAmount": 5, "isUnlimited": False}}])
    )
    assert package.data.data_amount == 5


@pytest.mark.parametrize("status", ["NEW", "READY", "SUSPENDED", "ready", ""])
def test_states(status):
    """A state has its type and its text, known or not."""
    esim = decoded(Esims.get, data({**ESIM, "status": status}))
    assert type(esim.status) is EsimStatus
    assert str(esim.status) == esim.status == status


def test_iccid_as_a_number():
    """An ICCID that comes as a number is text with all its digits."""
    assert decoded(Esims.get, data({"id": "e", "iccid": 89910000000000000001})).iccid == "89910000000000000001"


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", fullmatch=True))
def test_money_is_exact(text):
    """An amount has exactly the value of the digits in the body."""
    body = f'{{"data": {{"balance": {text}}}}}'
    assert decoded(Account.balance, answer(body)).balance == Decimal(text)


def test_repeated_keys():
    """Of a repeated key the last one counts."""
    assert (
        decoded(Account.balance, answer('{"data": {"balance": 1}, "data": {"balance": 2, "balance": 3}}')).balance == 3
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(encoding):
    """JSON is read in any of its encodings."""
    body = '{"data": {"countries": [{"code": "AX", "name": "Åland"}]}}'.encode(encoding)
    assert decoded(Countries.list, answer(body))[0].name == "Åland"


def test_custom_decoder():
    """An undocumented response is read by the endpoint's own decoder."""
    assert decoded(Service.health, answer({"ok": 1.5})).raw == {"ok": Decimal("1.5")}
    assert decoded(Service.health, answer("<p>up</p>")).raw == "<p>up</p>"


# ---------------------------------------------------------------- invalid responses


def test_problem_has_a_path():
    """A problem names its path in the body and what was expected there."""
    items = [ORDER["items"][0]] * 3 + [{**ORDER["items"][0], "price": "free"}]
    error = undecodable(Orders.list, data({"orders": [ORDER, {**ORDER, "items": items}]}))
    assert error.problems == ('$.data.orders[1].items[3].price: a number expected, not "free"',)
    assert "$.data.orders[1].items[3].price" in str(error)
    assert not error.garbled


def test_paths_have_json_names():
    """The path of a problem consists of JSON names."""
    bad = {**ORDER, "orderType": [], "items": [{**ORDER["items"][0], "esimId": True}]}
    assert set(undecodable(Orders.get, data(bad)).problems) == {
        "$.data.orderType: text expected, not []",
        "$.data.items[0].esimId: text expected, not true",
    }


def test_paths_in_the_catalogue():
    """Groups, destinations and renamed fields have their paths in the body too."""
    package = {"packageId": "a", "price": 1, "isAPNAutomatic": "yes"}
    bad = {"packages": [{"id": "g", "packages": []}, {"id": [], "packages": [package]}]}
    assert set(undecodable(Packages.page, data(bad)).problems) == {
        "$.data.packages[1].id: text expected, not []",
        '$.data.packages[1].packages[0].isAPNAutomatic: true or false expected, not "yes"',
    }


def test_dollar_in_a_value():
    """A value with a dollar sign is shown unchanged."""
    error = undecodable(Orders.get, data({**ORDER, "total": "LPA:1$host$code"}))
    assert error.problems == ('$.data.total: a number expected, not "LPA:1$host$code"',)


@pytest.mark.parametrize("value", ["a @ b", "a: b", "$.x", "x\ny", "x\u2028y"])
def test_odd_values_in_problems(value):
    """Values that look like a path, or have several lines, do not break the text of a problem."""
    error = undecodable(Orders.get, data({**ORDER, "total": value}))
    assert error.problems == (f"$.data.total: a number expected, not {json.dumps(value)}",)


@pytest.mark.parametrize("key", ["id", "total"])
def test_required_keys(key):
    """A required key is named if it is missing or null."""
    missing = {name: value for name, value in ORDER.items() if name != key}
    for body in (missing, {**missing, key: None}):
        (problem,) = undecodable(Orders.get, data(body)).problems
        assert problem == f"$.data.{key}: missing"


def test_at_most_twenty_problems():
    """At most 20 problems are reported."""
    error = undecodable(Esims.list, data([{"id": []} for _ in range(50)]))
    assert len(error.problems) == 20
    assert error.problems[0] == "$.data[0].id: text expected, not []"
    assert str(error).count("expected, not") == 1


@pytest.mark.parametrize(
    "body", [{}, {"status": "success"}, {"data": {}}, {"data": []}, {"data": None}, {"data": 5}, []]
)
def test_missing_data(body):
    """A body without the data path is an error that names the path."""
    error = undecodable(Orders.list, answer(body))
    assert "data.orders" in error.problems[0]
    assert error.body == json.dumps(body)
    assert not error.garbled


@pytest.mark.parametrize("body", [5, "text", None, True, [], {}])
def test_not_an_object(body):
    """Anything else than the expected object is an error with its path."""
    assert undecodable(Orders.get, data(body)).problems[0].startswith("$.data")
    assert undecodable(Orders.get, answer(json.dumps(body))).problems[0].startswith("$")


@pytest.mark.parametrize("value", [{}, "ab", 5, None, True])
def test_not_an_array(value):
    """Anything else than the expected array is an error; text is not read as a list of letters."""
    assert undecodable(Esims.list, data(value)).problems[0].startswith("$.data")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b" ",
        b"<html><title>502 Bad Gateway</title></html>",
        b'{"data": {"id": ',
        b'{"data": {"balance": 1}} and more',
        b'{"data": {"balance": NaN}}',
        b'{"data": {"balance": Infinity}}',
        b'{"data": {"balance": -Infinity}}',
        b'{"data": {"balance": 01}}',
        b'{"data": {"balance": 1e99999999999999999999}}',
        b'{"data": {"balance": ' + b"9" * 5000 + b"}}",
        b'{"data": {"currency": "\xff\xfe"}}',
        b"\xff\xfe",
        b"\x00",
        b"{'data': 1}",
        b"[" * 100_000,
        b"[" * 100_000 + b"]" * 100_000,
        b'{"data":' * 100_000 + b"1" + b"}" * 100_000,
    ],
)
def test_not_json(body):
    """A body that is not readable JSON is garbled, and worth another attempt."""
    error = undecodable(Account.balance, answer(body))
    assert error.garbled
    assert error.body == body.decode(errors="replace")
    assert len(error.problems) == 1
    with pytest.raises(ValueError, match=r"\w"):
        parse(body)


@pytest.mark.parametrize("number", ["1e999999999", "-1e999999999", "1e-999999999"])
@pytest.mark.parametrize("key", ["id", "iccid", "createdAt", "withTopUp", "status", "esim"])
def test_huge_exponents(key, number):
    """A number with a huge exponent is read or refused without delay."""
    response = answer(f'{{"data": {{"id": "e", "{key}": {number}}}}}')
    if key == "createdAt" and number.startswith("1e-"):
        assert decoded(Esims.get, response).created_at == datetime(1970, 1, 1, tzinfo=UTC)
    else:
        assert re.match(r"\$\.data\.\w+: .* expected, not ", undecodable(Esims.get, response).problems[0])


@pytest.mark.parametrize("number", ["1e999999999", "-1e999999999"])
def test_huge_amounts(number):
    """An amount with a huge exponent, with which arithmetic would not end, is refused."""
    error = undecodable(Account.balance, answer(f'{{"data": {{"balance": {number}}}}}'))
    assert error.problems[0].startswith("$.data.balance: a number expected")


def test_lone_surrogates():
    """A lone surrogate is kept in text, and shown in ASCII in a problem."""
    assert decoded(Esims.get, data({"id": "\ud800"})).id == "\ud800"
    error = undecodable(Esims.get, data({"id": "e", "esim": "\ud800"}))
    assert error.problems == ('$.data.esim: an object expected, not "\\ud800"',)
    assert str(error).encode()


@pytest.mark.parametrize(
    ("notes", "texts"),
    [
        (["one", "two"], ("one", "two")),
        (["one", {"a": [1.5, None]}, 7, None, True], ("one", '{"a": ["1.5", null]}', "7", "true")),
        ("one", ("one",)),
        ({"a": 1}, ('{"a": 1}',)),
        (1.5, ("1.5",)),
        (None, ()),
    ],
)
def test_texts_that_are_displayed(notes, texts):
    """An odd entry among texts that are only displayed is returned as JSON, and costs nothing else."""
    esim = decoded(Esims.get, data({"id": "e", "notes": notes}))
    assert (esim.id, esim.notes) == ("e", texts)


@pytest.mark.parametrize("key", ["notes", "coverages", "benefits"])
def test_opaque_content(key):
    """Content of the insurance company may be any JSON."""
    package = {"packageId": "insurance-a", "price": 1.5}
    for content, expected in (
        (["text", {"title": "t", "amount": 1.5}, ["x"]], ("text", {"title": "t", "amount": Decimal("1.5")}, ["x"])),
        ({"title": "t"}, ({"title": "t"},)),
        ("text", ("text",)),
    ):
        owner = package if key == "notes" else {}
        product = {"id": "i", "packages": [package | ({key: content} if owner else {})]}
        product |= {} if owner else {key: content}
        found = decoded(Insurance.package, data(product))
        assert getattr(found.packages[0] if owner else found, key) == expected
        assert found.packages[0].price == Decimal("1.5")


def test_signals_that_cannot_be_decoded():
    """An odd entry of the coverage is omitted, and costs no package."""
    package = {"packageId": "p", "price": 1}
    signals = [{"code": "GR", "networks": ["4G", 5]}, "GR", {"code": ["GR"]}, {"code": "IT"}]
    page = decoded(Packages.page, data({"packages": [{"id": "g", "packages": [package], "signals": signals}]}))
    (found,) = page.packages
    assert [(signal.code, signal.networks) for signal in found.destination.signals] == [("GR", ("4G", "5")), ("IT", ())]


@pytest.mark.parametrize(
    ("key", "wrong"), [("dateTime", "yesterday"), ("dateTime", {}), ("timeStamp", "soon"), ("timeStamp", 10**40)]
)
def test_time_of_an_event(key, wrong):
    """One of the two times of an event that cannot be decoded is ``None``, and costs nothing else."""
    times = {"timeStamp": 1756528208, "dateTime": "2025-08-30 04:30:08"}
    (event,) = decoded(Esims.events, answer(json.dumps({"events": [{"iccid": "1", **times, key: wrong}]}))).events
    known = {event.time_stamp, event.date_time}
    assert known == {None, datetime(2025, 8, 30, 4, 30, 8, tzinfo=UTC)}


@pytest.mark.parametrize(
    "wrap", ["%s", '{"x": %s}', '{"data": %s}', '{"data": {"id": %s}}', '{"data": {"id": "e", "x": %s, "notes": null}}']
)
def test_any_depth(wrap):
    """A response nested at any depth is a value or a ``DecodeError``, also at the limit of Python's stack."""
    for depth in (1, 10, *range(900, 1000, 7), 5000):
        response = answer(wrap % ("[" * depth + "]" * depth))
        try:
            assert isinstance(decoded(Esims.get, response), Esim)
        except DecodeError as error:
            assert error.problems  # noqa: PT017
        assert status_error(attrs.evolve(response, status=500)).status == 500


def test_evidence():
    """The error of an unreadable response keeps the body, its ids and the request id, so that no order is lost."""
    body = json.dumps({"data": {**ORDER, "total": None}})
    error = undecodable(Orders.create, answer(body, **{"cf-ray": "ray-1"}))
    assert error.body == body
    assert error.ids == (ORDER["id"], "my-ref-1", ORDER["items"][0]["esimId"])
    assert error.request_id == "ray-1"
    assert error.sent == "answered"


@given(st.integers(0, len(json.dumps({"status": "success", "data": ORDER})) - 1))
def test_truncated(length):
    """A truncated response is garbled, and every complete id in it is kept."""
    whole = json.dumps({"status": "success", "data": ORDER})
    error = undecodable(Orders.create, answer(whole[:length]))
    assert error.garbled
    came = [identity for identity in find_ids(whole) if whole.index(identity) + len(identity) < length]
    assert list(error.ids)[: len(came)] == came


# ---------------------------------------------------------------- any JSON at all

KEYS = sorted(set(re.findall(r'"(\w+)":', json.dumps([ORDER, ESIM, GROUP]))) | {"data", "orders", "countries", "."})
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.decimals(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "NEW", "1", "-1", 0, -1, 2**53 - 1, 10**100, Decimal("1e999999999"), "\ud800"])
    | st.text()
)
ANY_JSON = st.recursive(
    SCALARS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYS), inner, max_size=8)
        | st.dictionaries(st.text(), inner, max_size=3)
    ),
    max_leaves=25,
)
SAMPLES = st.sampled_from([ORDER, ESIM, GROUP, [ORDER], [ESIM], {"packages": [GROUP]}, GROUP["packages"], []])


@st.composite
def nearly_valid(draw: st.DrawFn) -> Any:
    """Generate responses that are valid but for a few values."""
    value = parsed(draw(SAMPLES))
    for _ in range(draw(st.integers(1, 4))):
        node = value
        while node and draw(st.integers(0, 3)):
            key = (
                draw(st.sampled_from(sorted(node)))
                if isinstance(node, dict)
                else draw(st.sampled_from(range(len(node))))
            )
            if not isinstance(node[key], dict | list):
                break
            node = node[key]
        if not node:
            continue
        key = draw(st.sampled_from(sorted(node))) if isinstance(node, dict) else draw(st.sampled_from(range(len(node))))
        node[key] = draw(SCALARS | ANY_JSON)
    return value


@given(st.sampled_from(DESCRIBED), ANY_JSON | nearly_valid())
def test_structure_of_any_json(endpoint, value):
    """Any JSON is structured as a value of the type, or refused with the path of each problem."""
    try:
        result, problems = structure(value, endpoint.response), []
    except ValueError as error:
        result, problems = None, str(error).splitlines()
    if problems:
        assert 1 <= len(problems) <= 20
        assert all(re.match(r"\$[\w.\[\]]*: .", problem) for problem in problems)
    else:
        assert isinstance(result, getattr(endpoint.response, "__origin__", endpoint.response))


@given(
    st.sampled_from([*ENDPOINTS.values()]),
    st.binary()
    | st.text().map(str.encode)
    | (ANY_JSON | nearly_valid().map(lambda value: {"data": value})).map(
        lambda value: json.dumps(value, default=str).encode()
    ),
    st.integers(300, 599),
)
def test_any_bytes(endpoint, body, status):
    """Any body is a value or a ``DecodeError`` with evidence, and any error status is an error with a message."""
    try:
        decoded(endpoint, answer(body))
    except DecodeError as error:
        assert error.body == body.decode(errors="replace")  # noqa: PT017
        assert error.problems  # noqa: PT017
    error = status_error(answer(body, status))
    assert error.status == status
    assert error.message


@given(st.sampled_from([Orders.get, Esims.get, Orders.list]), st.data())
def test_flipped_bytes(endpoint, draw):
    """A response with a few bytes changed is a value or a ``DecodeError``."""
    whole = bytearray(json.dumps({"data": {**ORDER, **ESIM, "orders": [ORDER]}}).encode())
    for _ in range(draw.draw(st.integers(1, 4))):
        whole[draw.draw(st.integers(0, len(whole) - 1))] = draw.draw(st.integers(0, 255))
    try:
        decoded(endpoint, answer(bytes(whole)))
    except DecodeError as error:
        assert error.problems  # noqa: PT017


def test_json_is_not_modified():
    """Structuring does not modify the parsed JSON."""
    value = {"packages": [parsed(GROUP)], "page": None}
    before = copy.deepcopy(value)
    structure(value, PackagePage)
    with pytest.raises(ValueError, match="array"):
        structure({**value, "packages": "x"}, PackagePage)
    assert value == before


def test_unreadable_totals():
    """A total that is no number counts as missing, since it only affects speed."""
    page = structure(
        {"packages": [parsed(GROUP)], "total": "many", "totalPages": [], "page": 1.5, "pageSize": "20"}, PackagePage
    )
    assert (page.total, page.total_pages, page.page, page.page_size) == (None, None, None, 20)


def test_same_object():
    """A field that is read from its owner's object sees the same keys, and a key of that special name has no effect."""
    group = structure({**parsed(GROUP), SAME_OBJECT: 5}, DestinationGroup)
    assert group.destination.country_name == "Greece"


# ---------------------------------------------------------------- names

SNAKE = st.from_regex(r"[a-z][a-z]{0,8}(_[a-z]{1,8}){0,4}", fullmatch=True)


def camel(name: str) -> str:
    """Convert a name to camelCase, independently of the library."""
    return re.sub(r"_([a-z])", lambda match: match.group(1).upper(), name)


@given(SNAKE)
@example("a_b_c_d")
@example("id")
def test_names_are_camel_case(name):
    """Every snake_case field has its name in camelCase as JSON name."""
    assert json_names(attrs.make_class("Anything", {name: attrs.field(type=str)})) == {name: camel(name)}


def test_names():
    """Fields are written under their JSON names, and read from them."""
    kind = attrs.make_class("Anything", {name: attrs.field(type=str) for name in ("esim_id", "is_unlimited", "id")})
    sent = unstructure(kind("1", "2", "3"))
    assert sent == {"esimId": "1", "isUnlimited": "2", "id": "3"}
    assert structure(sent, kind) == kind("1", "2", "3")


@attrs.frozen
class Odd:
    """A value with a JSON name of its own, and a field that is not in JSON."""

    with_sms: bool = attrs.field(metadata=json_name("withSMS"))
    place: str = attrs.field(default="here", metadata=json_name(None))


def test_json_name():
    """A field may set its JSON name; the camelCase of its own name is then unknown."""
    assert structure({"withSMS": True}, Odd).with_sms is True
    assert unstructure(Odd(with_sms=True))["withSMS"] is True
    with pytest.raises(ValueError, match=r"\$\.with.*: missing"):
        structure({"withSms": True}, Odd)


def test_fields_outside_json():
    """A field without a JSON name is neither read nor written."""
    assert structure({"withSMS": True, "place": "there"}, Odd).place == "here"
    assert unstructure(Odd(with_sms=True)) == {"withSMS": True}


PRICES = st.decimals(0, 10**6, places=2, allow_nan=False)
TIMES = st.integers(1, 2**32).map(lambda seconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds))
LINES = st.builds(
    OrderLine, price=PRICES, package_id=st.text(), esim_id=st.text(min_size=1), created_at=st.none() | TIMES
)


@given(
    st.builds(
        Order,
        id=st.text(),
        total=PRICES,
        status=st.text().map(OrderStatus),
        items=st.lists(LINES, max_size=3).map(tuple),
        created_at=st.none() | TIMES,
        reference_id=st.none() | st.text(min_size=1),
    )
)
def test_round_trip(order):
    """A value that is written as JSON is read back as the same value."""
    assert structure(parse(json.dumps(unstructure(order)).encode()), Order) == order


@given(st.builds(TopUpPackage, package_id=st.text(), price=PRICES, day=st.none() | st.integers(0, 1000)))
def test_round_trip_of_nested_values(package):
    """Nested values are read back too."""
    assert structure(parse(json.dumps(unstructure(package)).encode()), TopUpPackage) == package


# ---------------------------------------------------------------- ids


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("", ()),
        ("<html>502</html>", ()),
        ('{"id": "0b9f2c66-52a5-4b1e-9d5c-0a41b7d3f001"', ("0b9f2c66-52a5-4b1e-9d5c-0a41b7d3f001",)),
        ("0B9F2C66-52A5-4B1E-9D5C-0A41B7D3F001", ("0B9F2C66-52A5-4B1E-9D5C-0A41B7D3F001",)),
        ("0b9f2c66-52a5-4b1e-9d5c-0a41b7d3f00", ()),
        ("0b9f2c66-52a5-4b1e-9d5c", ()),
        ('"iccid":"8910"', ("8910",)),
        ('"iccid": "8910", "x": 1', ("8910",)),
        ('"iccid": ""', ()),
        ('"ICCID": "8910"', ("8910",)),
        ('"iccid": "8910', ()),
        ('"referenceId": "my ref/1"', ("my ref/1",)),
        ('"referenceId":"a","referenceId":"b"', ("a", "b")),
        ('"iccid":"1","iccid":"1","referenceId":"1"', ("1",)),
        ('"other": "8910"', ()),
        ('"esimIccid": "8910"', ()),
        (
            '"referenceId": "0b9f2c66-52a5-4b1e-9d5c-0a41b7d3f001", "id": "0b9f2c66-52a5-4b1e-9d5c-0a41b7d3f001"',
            ("0b9f2c66-52a5-4b1e-9d5c-0a41b7d3f001",),
        ),
    ],
)
def test_ids(text, ids):
    """UUIDs, ICCIDs and references are found in order, each once."""
    assert find_ids(text) == ids


def test_numeric_iccids():
    """An ICCID that is a number is found too."""
    assert find_ids('{"iccid": 8910000000000000001, "x": 1}') == ("8910000000000000001",)


@given(st.lists(st.uuids().map(str), max_size=5), st.text(alphabet='xyz<>{}[]": ,\n', max_size=20))
def test_every_id_is_found(ids, between):
    """Every UUID is found, in order and once, whatever stands between them."""
    text = between.join(["", *ids, *ids, ""])
    if not between:
        text = " ".join(ids + ids)
    found = find_ids(text)
    assert [each for each in found if _is_uuid(each)] == list(dict.fromkeys(ids))


def _is_uuid(text: str) -> bool:
    try:
        return str(UUID(text)) == text
    except ValueError:
        return False


@given(st.text())
def test_ids_of_any_text(text):
    """Each id that is found in a text is a part of it, once."""
    found = find_ids(text)
    assert len(set(found)) == len(found)
    assert all(each in text for each in found)


def test_ids_of_a_huge_text():
    """A long text full of near matches is searched without delay."""
    assert find_ids('"iccid":' * 50_000 + '"referenceId": "' * 50_000 + "0b9f2c66-" * 50_000) is not None


# ---------------------------------------------------------------- error responses


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"message": "Unknown error", "status": "failed"}, "Unknown error"),
        ({"error": '"items" is required'}, '"items" is required'),
        ({"message": "Open already", "status": "failed", "code": "OPEN", "refundId": "r"}, "Open already"),
        ({"message": "one", "error": "two", "details": {"message": "three"}, "data": {"message": "four"}}, "one"),
        ({"error": "two", "details": {"message": "three"}, "data": {"message": "four"}}, "two"),
        ({"details": {"message": "three"}, "data": {"message": "four"}}, "three"),
        ({"data": {"message": "four"}, "error": {"message": "five"}}, "four"),
        ({"error": {"message": "five"}}, "five"),
        ({"message": "", "error": "two"}, "two"),
        ({"message": None, "error": "two"}, "two"),
        ({"message": ["x"], "error": "two"}, "two"),
        ({"message": 5, "details": "x", "data": [], "error": "two"}, "two"),
        ({"details": {"message": 5}, "data": {"message": "four"}}, "four"),
        ({"status": "failed"}, '{"status": "failed"}'),
        ([1, 2], "[1, 2]"),
        ("Bad gateway", "Bad gateway"),
        (" Bad \n gateway\t", "Bad gateway"),
        ("", "no message in the response"),
        ("   ", "no message in the response"),
        ("x" * 500, "x" * 200),
        ("<html><head><title>502 Bad\n Gateway</title></head><body>x</body></html>", "502 Bad Gateway"),
        ('<TITLE lang="en">Just a moment...</TITLE>', "Just a moment..."),
        ("<html><body><h1>Oops</h1></body></html>", "no message in the response"),
        ("<html><title></title></html>", "no message in the response"),
        ("<title>cut off", "cut off"),
        ({"message": "<b>bold</b>"}, "<b>bold</b>"),
        (b"\xff\xfe\xfa", "\ufffd\ufffd\ufffd"),
        ('{"message": "cut o', '{"message": "cut o'),
    ],
)
def test_message_of_an_error(body, message):
    """The server's message is found in all its shapes, and in a gateway's page."""
    error = status_error(answer(body, 500))
    assert isinstance(error, ServerError)
    assert error.message == error.args[0] == message
    assert str(error).startswith(f"{message} [500")


def test_facts_of_an_error():
    """A status error keeps status, code, body, time to wait and request id."""
    body = {"message": "Open already", "status": "failed", "code": "OPEN"}
    error = status_error(answer(body, 409, **{"retry-after": "7", "x-request-id": "r-1"}))
    assert type(error) is ConflictError
    assert (error.status, error.code, error.body) == (409, "OPEN", json.dumps(body))
    assert (error.retry_after, error.request_id, error.sent) == (7, "r-1", "answered")


def test_missing_facts():
    """Facts that a response does not have are ``None``."""
    error = status_error(answer(b"", 401))
    assert type(error) is AuthenticationError
    assert (error.code, error.body, error.retry_after, error.request_id) == (None, "", None, None)


@pytest.mark.parametrize("code", [5, None, ["x"], {}])
def test_code_is_text(code):
    """A code that is not text is ignored."""
    assert status_error(answer({"message": "x", "code": code}, 400)).code is None


# ---------------------------------------------------------------- requests


@pytest.mark.parametrize(
    ("endpoint", "request_", "query"),
    [
        (Account.balance, GetBalance(), ""),
        (Countries.list, ListCountries(), ""),
        (Countries.list, ListCountries(geography="local"), "geography=local"),
        (Packages.page, ListPackages(), "page=1&pageSize=50"),
        (
            Packages.page,
            ListPackages(page=2, country="Åland Islands", country_code="AX", is_unlimited=False, days=7, gbs=1.5),
            "page=2&pageSize=50&country=%C3%85land%20Islands&countryCode=AX&days=7&gbs=1.5&isUnlimited=false",
        ),
        (Packages.page, ListPackages(is_unlimited=True), "page=1&pageSize=50&isUnlimited=true"),
        (Packages.page, ListPackages(gbs=Decimal("0.50")), "page=1&pageSize=50&gbs=0.50"),
        (
            Packages.page,
            ListPackages(country="a&b=c?d#e/f+g%h"),
            "page=1&pageSize=50&country=a%26b%3Dc%3Fd%23e%2Ff%2Bg%25h",
        ),
        (Orders.get, GetOrder(reference_id="my ref"), "referenceId=my%20ref"),
        (Orders.list, ListOrders(), "limit=50"),
        (Esims.get, GetEsim(esim_id="e"), "esimId=e"),
        (Esims.list, ListEsims(status="READY", reference_id="r"), "status=READY&limit=50&referenceId=r"),
        (TopUps.packages, ListTopUps("8910"), "iccid=8910"),
    ],
)  # fmt: skip
def test_reads(endpoint, request_, query):
    """The fields of a read go into the query in camelCase, percent-encoded, without those that are ``None``."""
    assert encoded(endpoint, request_) == HttpRequest("GET", endpoint.path, query, None)


@pytest.mark.parametrize(
    ("endpoint", "request_", "body"),
    [
        (
            Orders.create,
            CreateOrder([OrderItem("esim-a"), OrderItem("esim-b", 2)], reference_id="r"),
            {
                "items": [{"packageId": "esim-a", "quantity": 1}, {"packageId": "esim-b", "quantity": 2}],
                "referenceId": "r",
            },
        ),
        (Orders.create_instant, CreateOrder([OrderItem("a")]), {"items": [{"packageId": "a", "quantity": 1}]}),
        (Esims.apply, ApplyEsim("e"), {"esimId": "e"}),
        (Esims.apply, ApplyEsim("e", start_date=dt.date(2027, 7, 1)), {"esimId": "e", "startDate": "2027-07-01"}),
        (Esims.apply_order, ApplyOrder("r", start_date="2027-07-01"), {"referenceId": "r", "startDate": "2027-07-01"}),
        (
            TopUps.create,
            CreateTopUp("8910", "a", reference_id="Ü"),
            {"iccid": "8910", "packageId": "a", "referenceId": "Ü"},
        ),
    ],
)  # fmt: skip
def test_writes(endpoint, request_, body):
    """The fields of other requests go into a JSON body, defaults included."""
    made = encoded(endpoint, request_)
    assert (made.method, made.path, made.query) == ("POST", endpoint.path, "")
    assert json.loads(made.body) == body


def test_same_bytes():
    """The same request is encoded as the same bytes."""
    request = CreateOrder([OrderItem("a", 2)], reference_id="r")
    assert encoded(Orders.create, request) == encoded(Orders.create, request)
    assert encoded(Orders.create, request).body == b'{"items": [{"packageId": "a", "quantity": 2}], "referenceId": "r"}'


@attrs.frozen(kw_only=True)
class Everything:
    """A request with fields of every type, most of them falsy."""

    zero: int = 0
    no: bool = False
    blank: str = ""
    empty: tuple[str, ...] = ()
    nothing: None = None
    optional_text: str | None = None
    money: Decimal = Decimal("1.10")
    on_day: dt.date = dt.date(2027, 7, 1)
    at_time: datetime = datetime(2027, 7, 1, 12, 30, 15, 999, tzinfo=timezone(timedelta(hours=2)))
    inner: Any = None


@attrs.frozen
class Inner:
    """A nested value."""

    some_text: str | None = None
    some_number: int | None = 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_none_is_left_out_of_bodies(method):
    """Only ``None`` is left out of a body, at any depth; zero, false and empty values are sent."""
    body = encoded(Endpoint(method, "/x", Everything, Balance), Everything(inner=Inner())).body
    assert json.loads(body) == {
        "zero": 0,
        "no": False,
        "blank": "",
        "empty": [],
        "money": "1.10",
        "onDay": "2027-07-01",
        "atTime": "2027-07-01T10:30:15Z",
        "inner": {"someNumber": 0},
    }


def test_none_is_left_out_of_queries():
    """Only ``None`` is left out of a query; dates are ISO text and booleans are lower case."""
    query = encoded(Endpoint("GET", "/x", Everything, Balance), Everything()).query
    assert parse_qsl(query, keep_blank_values=True) == [
        ("zero", "0"),
        ("no", "false"),
        ("blank", ""),
        ("empty", "[]"),
        ("money", "1.10"),
        ("onDay", "2027-07-01"),
        ("atTime", "2027-07-01T10:30:15Z"),
    ]


@pytest.mark.parametrize("method", ["POST", "PUT"])
def test_writes_without_fields(method):
    """A request without fields sends an empty object."""
    assert encoded(Endpoint(method, "/x", GetBalance, Balance), GetBalance()) == HttpRequest(method, "/x", "", b"{}")


@attrs.frozen
class Named:
    """A request whose fields are in the path."""

    unique_name: str
    part: int = 1
    rest: str | None = None


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("plain", "/api/esim/plain/1"),
        ("a b", "/api/esim/a%20b/1"),
        ("a/b", "/api/esim/a%2Fb/1"),
        ("../x", "/api/esim/..%2Fx/1"),
        ("a?b#c", "/api/esim/a%3Fb%23c/1"),
        ("100%", "/api/esim/100%25/1"),
        ("Åland", "/api/esim/%C3%85land/1"),
        ("{part}", "/api/esim/%7Bpart%7D/1"),
    ],
)
def test_fields_in_the_path(name, path):
    """A field that the path names is quoted as one segment, and sent nowhere else."""
    get = Endpoint("GET", "/api/esim/{uniqueName}/{part}", Named, Balance)
    post = Endpoint("POST", "/api/esim/{uniqueName}/{part}", Named, Balance)
    assert encoded(get, Named(name, rest="r")) == HttpRequest("GET", path, "rest=r")
    assert encoded(post, Named(name)) == HttpRequest("POST", path, "", b"{}")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_in_the_path(name):
    """Any text in a path is one ASCII segment that unquotes to the same text."""
    path = encoded(Endpoint("GET", "/api/{uniqueName}/x", Named, Balance), Named(name)).path
    assert re.fullmatch(r"/api/[\w.~%-]+/x", path, re.ASCII)
    assert unquote(path.removeprefix("/api/").removesuffix("/x")) == name


@given(
    st.builds(
        ListPackages,
        page=st.integers(1, 10**6),
        country=st.none() | st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip),
        gbs=st.none() | st.decimals(Decimal("0.001"), 10**6, places=3),
        is_unlimited=st.none() | st.booleans(),
        package_id=st.none() | st.text(st.characters(exclude_categories=["Cs"])).filter(str.strip),
    )
)
def test_any_query(request_):
    """Any query is ASCII without whitespace, and holds exactly the fields of the request."""
    query = encoded(Packages.page, request_).query
    assert re.fullmatch(r"[\w.~%&=/-]+", query, re.ASCII)
    said = {camel(name): value for name, value in attrs.asdict(request_).items() if value is not None}
    assert parse_qsl(query, strict_parsing=True, keep_blank_values=True) == [
        (key, str(value).lower() if isinstance(value, bool) else str(value)) for key, value in said.items()
    ]


@pytest.mark.parametrize(
    ("gbs", "text"), [(Decimal(10).normalize(), "10"), (Decimal("1E+2"), "100"), (Decimal("1E-7"), "0.0000001")]
)
def test_decimals_have_no_exponent(gbs, text):
    """A Decimal is written without an exponent."""
    assert encoded(TopUps.packages, ListTopUps("8910", gbs=gbs)).query == f"iccid=8910&gbs={text}"


def test_reads_without_arguments():
    """Every read without required arguments is a request without a body."""
    for name, row in ENDPOINTS.items():
        required = [field for field in attrs.fields(row.request) if field.default is attrs.NOTHING]
        if (
            row.method == "GET"
            and not required
            and name not in {"orders.get", "esims.get", "esims.events", "insurance.get_order"}
        ):
            made = encoded(row, row.request())
            assert (made.method, made.path, made.body) == ("GET", row.path, None), name


def test_package_has_its_own_id():
    """A package is read with its own id, not that of its group."""
    page = structure({"packages": [parsed(GROUP)]}, PackagePage)
    assert isinstance(page.packages[0], Package)
    assert [package.package_id for package in page] == ["esim-greece-15days-un2gb-all", "esim-greece-30days-1gb-all"]
