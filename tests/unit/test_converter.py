"""Values become JSON and come back: what goes out is what was said, what comes in is a value or a DecodeError."""

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
from support.endpoints import decoded, encoded

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
from roamify_async._core.endpoint import Endpoint, endpoints
from roamify_async._http.messages import HttpRequest, HttpResponse
from roamify_async._serde.converter import parse, structure, unstructure
from roamify_async._serde.envelope import find_ids, status_error
from roamify_async.api.account import Account
from roamify_async.api.countries import Countries
from roamify_async.api.devices import Devices
from roamify_async.api.esims import Esims
from roamify_async.api.orders import Orders
from roamify_async.api.packages import Packages
from roamify_async.api.service import Service
from roamify_async.api.topups import TopUps
from roamify_async.models._fields import SAME_OBJECT, json_name
from roamify_async.models.account import GetBalance
from roamify_async.models.countries import ListCountries
from roamify_async.models.esims import ApplyEsim, ApplyOrder, GetEsim, ListEsims
from roamify_async.models.events import GetEvents
from roamify_async.models.orders import GetOrder, ListOrders
from roamify_async.models.packages import DestinationGroup, ListPackages, PackagePage
from roamify_async.models.topups import ListTopUps

ROOMS = (Account, Countries, Devices, Esims, Orders, Packages, Service, TopUps)
ROWS = [row for room in ROOMS for row in endpoints(room).values()]
DESCRIBED = [row for row in ROWS if row.decode is None]

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
    """Make an answer of JSON, or of text, or of bytes."""
    text = body if isinstance(body, str | bytes) else json.dumps(body)
    return HttpResponse(status, headers, text if isinstance(text, bytes) else text.encode())


def data(value: object) -> HttpResponse:
    """Make an answer in the usual envelope."""
    return answer({"status": "success", "data": value})


def parsed(value: object) -> Any:
    """Give a value as it is once it has come over the wire."""
    return parse(json.dumps(value).encode())


def undecodable(endpoint: Endpoint[..., Any], response: HttpResponse) -> DecodeError:
    """Give the error that an answer ends with."""
    with pytest.raises(DecodeError) as caught:
        decoded(endpoint, response)
    return caught.value


# ---------------------------------------------------------------- answers that are as described


def test_order():
    """An order is read with all that it says."""
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
    """A group of packages is its destination and its packages, and each package knows what it is for."""
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
    """A list is a tuple of its values, wherever the envelope has it."""
    values = decoded(endpoint, answer(body))
    assert type(values) is tuple
    assert len(values) == length


def test_answer_without_an_envelope():
    """An answer may be the body itself."""
    bare = Endpoint("GET", "/x", GetBalance, Balance, data_path="")
    assert decoded(bare, answer({"balance": 5})) == Balance(balance=Decimal(5))
    assert undecodable(bare, answer({"balance": "x"})).problems == ('$.balance: a number expected, not "x"',)


def test_unknown_keys_are_ignored():
    """Keys that are not known, at any depth, are no news."""
    changed = {**ORDER, "new": {"a": [1]}, "items": [{**ORDER["items"][0], "newer": None}]}
    assert decoded(Orders.get, answer({"status": "success", "data": changed, "meta": 5})) == decoded(
        Orders.get, data(ORDER)
    )


@pytest.mark.parametrize(
    ("key", "default"), [("referenceId", None), ("status", "PENDING"), ("currency", "USD"), ("items", ())]
)
def test_missing_and_null_keys_take_defaults(key, default):
    """A key that is missing and one that is null both give the field's default."""
    missing = {name: value for name, value in ORDER.items() if name != key}
    name = re.sub("[A-Z]", lambda match: "_" + match.group().lower(), key)
    for body in (missing, {**missing, key: None}):
        assert getattr(decoded(Orders.get, data(body)), name) == default


def test_smallest_answers():
    """An eSIM needs no more than an id, whatever else is missing or null."""
    nulls = {
        **dict.fromkeys(("iccid", "status", "esim", "apn", "data", "notes", "createdAt", "withUsageCheck")),
        "id": "e",
    }
    for body in ({"id": "e"}, nulls):
        esim = decoded(Esims.get, data(body))
        assert esim == Esim(id="e")
        assert esim.status is EsimStatus.UNKNOWN
        assert esim.with_usage_check


def test_nulls_deep_inside():
    """A null in an item of a list takes the default of that item."""
    order = decoded(Orders.get, data({**ORDER, "items": [{"packageId": None, "price": None, "package": "x"}]}))
    assert order.items == (OrderLine(package="x"),)


def test_inner_envelope_name():
    """An object may have a key named like the envelope."""
    (package,) = decoded(
        TopUps.packages, data([{"packageId": "a", "price": 1, "data": {"dataAmount": 5, "isUnlimited": False}}])
    )
    assert package.data.data_amount == 5


@pytest.mark.parametrize("status", ["NEW", "READY", "SUSPENDED", "ready", ""])
def test_states(status):
    """A state is of its set and keeps its text, known or not."""
    esim = decoded(Esims.get, data({**ESIM, "status": status}))
    assert type(esim.status) is EsimStatus
    assert str(esim.status) == esim.status == status


def test_codes_of_digits():
    """ICCIDs that come as numbers are text, with all their digits."""
    assert decoded(Esims.get, data({"id": "e", "iccid": 89910000000000000001})).iccid == "89910000000000000001"


@given(st.from_regex(r"-?(0|[1-9][0-9]{0,40})(\.[0-9]{1,40})?([eE][+-]?[0-9]{1,2})?", fullmatch=True))
def test_money_is_exact(text):
    """A price has exactly the value of the digits that came over the wire."""
    body = f'{{"data": {{"balance": {text}}}}}'
    assert decoded(Account.balance, answer(body)).balance == Decimal(text)


def test_repeated_keys():
    """Of a key that comes twice the last counts."""
    assert (
        decoded(Account.balance, answer('{"data": {"balance": 1}, "data": {"balance": 2, "balance": 3}}')).balance == 3
    )


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_encodings(encoding):
    """JSON in any of its encodings is read."""
    body = '{"data": {"countries": [{"code": "AX", "name": "Åland"}]}}'.encode(encoding)
    assert decoded(Countries.list, answer(body))[0].name == "Åland"


def test_own_reader():
    """An answer that the API does not describe is read by the row's own reader."""
    assert decoded(Service.health, answer({"ok": 1.5})).raw == {"ok": Decimal("1.5")}
    assert decoded(Service.health, answer("<p>up</p>")).raw == "<p>up</p>"


# ---------------------------------------------------------------- answers that are not


def test_problem_has_its_place():
    """A problem says where in the body it is and what was expected there."""
    items = [ORDER["items"][0]] * 3 + [{**ORDER["items"][0], "price": "free"}]
    error = undecodable(Orders.list, data({"orders": [ORDER, {**ORDER, "items": items}]}))
    assert error.problems == ('$.data.orders[1].items[3].price: a number expected, not "free"',)
    assert "$.data.orders[1].items[3].price" in str(error)
    assert not error.garbled


def test_place_of_a_problem_is_the_body_s():
    """The place of a problem is written in the names of the body, so that it can be found there."""
    bad = {**ORDER, "orderType": [], "items": [{**ORDER["items"][0], "esimId": True}]}
    assert set(undecodable(Orders.get, data(bad)).problems) == {
        "$.data.orderType: text expected, not []",
        "$.data.items[0].esimId: text expected, not true",
    }


def test_place_of_a_problem_in_the_catalogue():
    """Groups, their destinations and odd names have their places in the body, too."""
    package = {"packageId": "a", "price": 1, "isAPNAutomatic": "yes"}
    bad = {"packages": [{"id": "g", "packages": []}, {"id": [], "packages": [package]}]}
    assert set(undecodable(Packages.page, data(bad)).problems) == {
        "$.data.packages[1].id: text expected, not []",
        '$.data.packages[1].packages[0].isAPNAutomatic: true or false expected, not "yes"',
    }


def test_dollars_in_values_are_left_alone():
    """A value that is shown in a problem is shown as it came."""
    error = undecodable(Orders.get, data({**ORDER, "total": "LPA:1$host$code"}))
    assert error.problems == ('$.data.total: a number expected, not "LPA:1$host$code"',)


@pytest.mark.parametrize("value", ["a @ b", "a: b", "$.x", "x\ny", "x\u2028y"])
def test_odd_values_in_problems(value):
    """A value that looks like a place, or has lines, does not break the problem's text."""
    error = undecodable(Orders.get, data({**ORDER, "total": value}))
    assert error.problems == (f"$.data.total: a number expected, not {json.dumps(value)}",)


@pytest.mark.parametrize("key", ["id", "total"])
def test_required_keys(key):
    """What an order cannot do without is named where it is missing, and where it is null."""
    missing = {name: value for name, value in ORDER.items() if name != key}
    for body in (missing, {**missing, key: None}):
        (problem,) = undecodable(Orders.get, data(body)).problems
        assert problem == f"$.data.{key}: missing"


def test_at_most_twenty_problems():
    """Of very many problems the first twenty are told."""
    error = undecodable(Esims.list, data([{"id": []} for _ in range(50)]))
    assert len(error.problems) == 20
    assert error.problems[0] == "$.data[0].id: text expected, not []"
    assert str(error).count("expected, not") == 1


@pytest.mark.parametrize(
    "body", [{}, {"status": "success"}, {"data": {}}, {"data": []}, {"data": None}, {"data": 5}, []]
)
def test_answers_without_an_answer(body):
    """A body that does not have the answer where it should be is told so."""
    error = undecodable(Orders.list, answer(body))
    assert "data.orders" in error.problems[0]
    assert error.body == json.dumps(body)
    assert not error.garbled


@pytest.mark.parametrize("body", [5, "text", None, True, [], {}])
def test_answers_of_a_wrong_kind(body):
    """Something else than an object where an object should be is an error with the place."""
    assert undecodable(Orders.get, data(body)).problems[0].startswith("$.data")
    assert undecodable(Orders.get, answer(json.dumps(body))).problems[0].startswith("$")


@pytest.mark.parametrize("value", [{}, "ab", 5, None, True])
def test_arrays_are_arrays(value):
    """Something else than an array where an array should be is an error: text is not a list of letters."""
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
def test_answers_that_are_no_json(body):
    """What is no JSON that can be read is garbled: another try may bring a whole answer."""
    error = undecodable(Account.balance, answer(body))
    assert error.garbled
    assert error.body == body.decode(errors="replace")
    assert len(error.problems) == 1
    with pytest.raises(ValueError, match=r"\w"):
        parse(body)


@pytest.mark.parametrize("number", ["1e999999999", "-1e999999999", "1e-999999999"])
@pytest.mark.parametrize("key", ["id", "iccid", "createdAt", "withTopUp", "status", "notes", "esim"])
def test_monstrous_numbers(key, number):
    """A number with a monstrous exponent ends at once, in a value or an error."""
    response = answer(f'{{"data": {{"id": "e", "{key}": {number}}}}}')
    if key == "createdAt" and number.startswith("1e-"):
        assert decoded(Esims.get, response).created_at == datetime(1970, 1, 1, tzinfo=UTC)
    else:
        assert re.match(r"\$\.data\.\w+: .* expected, not ", undecodable(Esims.get, response).problems[0])


@pytest.mark.parametrize("number", ["1e999999999", "-1e999999999"])
def test_monstrous_money(number):
    """Money of a monstrous size keeps its value: it is the caller who has to laugh."""
    assert decoded(Account.balance, answer(f'{{"data": {{"balance": {number}}}}}')).balance == Decimal(number)


def test_lone_surrogates():
    """Half a character pair in a text is kept, and shown in ASCII where it is wrong."""
    assert decoded(Esims.get, data({"id": "\ud800"})).id == "\ud800"
    error = undecodable(Esims.get, data({"id": "e", "notes": "\ud800"}))
    assert error.problems == ('$.data.notes: an array expected, not "\\ud800"',)
    assert str(error).encode()


@pytest.mark.parametrize(
    "wrap", ["%s", '{"x": %s}', '{"data": %s}', '{"data": {"id": %s}}', '{"data": {"id": "e", "x": %s, "notes": null}}']
)
def test_any_depth(wrap):
    """However deep an answer is nested, it is a value or a DecodeError, also where Python's stack just ends."""
    for depth in (1, 10, *range(900, 1000), 5000):
        response = answer(wrap % ("[" * depth + "]" * depth))
        try:
            assert isinstance(decoded(Esims.get, response), Esim)
        except DecodeError as error:
            assert error.problems  # noqa: PT017
        assert status_error(attrs.evolve(response, status=500)).status == 500


def test_evidence():
    """An answer that cannot be read never loses an order: body, ids and the request's name are kept."""
    body = json.dumps({"data": {**ORDER, "total": None}})
    error = undecodable(Orders.create, answer(body, **{"cf-ray": "ray-1"}))
    assert error.body == body
    assert error.ids == (ORDER["id"], "my-ref-1", ORDER["items"][0]["esimId"])
    assert error.request_id == "ray-1"
    assert error.sent == "answered"


@given(st.integers(0, len(json.dumps({"status": "success", "data": ORDER})) - 1))
def test_cut_off(length):
    """An answer that is cut off anywhere is garbled, and every id that came whole is kept."""
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
def nearly_right(draw: st.DrawFn) -> Any:
    """Make an answer that is right but for a few places."""
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


@given(st.sampled_from(DESCRIBED), ANY_JSON | nearly_right())
def test_read_gives_a_value_or_a_value_error(endpoint, value):
    """Whatever JSON holds, reading it gives a value of the kind, or a ValueError that has the place of each problem."""
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
    st.sampled_from(ROWS),
    st.binary()
    | st.text().map(str.encode)
    | (ANY_JSON | nearly_right().map(lambda value: {"data": value})).map(
        lambda value: json.dumps(value, default=str).encode()
    ),
    st.integers(300, 599),
)
def test_any_bytes(endpoint, body, status):
    """Whatever bytes come, a success is a value or a DecodeError with its evidence, and a refusal is an error."""
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
    """An answer with a few bytes changed is a value or a DecodeError."""
    whole = bytearray(json.dumps({"data": {**ORDER, **ESIM, "orders": [ORDER]}}).encode())
    for _ in range(draw.draw(st.integers(1, 4))):
        whole[draw.draw(st.integers(0, len(whole) - 1))] = draw.draw(st.integers(0, 255))
    try:
        decoded(endpoint, answer(bytes(whole)))
    except DecodeError as error:
        assert error.problems  # noqa: PT017


def test_values_of_json_are_not_changed():
    """PagePrefetcher leaves the parsed JSON as it is."""
    value = {"packages": [parsed(GROUP)], "page": None}
    before = copy.deepcopy(value)
    structure(value, PackagePage)
    with pytest.raises(ValueError, match="array"):
        structure({**value, "packages": "x"}, PackagePage)
    assert value == before


def test_hints_that_cannot_be_read():
    """A total that is no number counts as one that is missing: it decides on speed only."""
    page = structure(
        {"packages": [parsed(GROUP)], "total": "many", "totalPages": [], "page": 1.5, "pageSize": "20"}, PackagePage
    )
    assert (page.total, page.total_pages, page.page, page.page_size) == (None, None, None, 20)


def test_same_object():
    """A field that is read from its owner's object sees the same keys, and a key of that odd name has no say."""
    group = structure({**parsed(GROUP), SAME_OBJECT: 5}, DestinationGroup)
    assert group.destination.country_name == "Greece"


# ---------------------------------------------------------------- names

SNAKE = st.from_regex(r"[a-z][a-z]{0,8}(_[a-z]{1,8}){0,4}", fullmatch=True)


def camel(name: str) -> str:
    """Write a name in camelCase, in another way than the library does."""
    return re.sub(r"_([a-z])", lambda match: match.group(1).upper(), name)


@given(st.lists(SNAKE, min_size=1, max_size=4, unique_by=camel), st.lists(st.text(min_size=1), min_size=4, max_size=4))
@example(["esim_id", "is_unlimited", "a_b_c_d", "id"], ["1", "2", "3", "4"])
def test_names(names, texts):
    """Every snake_case field is its camelCase key on the wire, and comes back from it."""
    kind = attrs.make_class("Anything", {f"{name}_x": attrs.field(type=str) for name in names})
    value = kind(*texts[: len(names)])
    sent = unstructure(value)
    assert sent == {camel(f"{name}_x"): text for name, text in zip(names, texts, strict=False)}
    assert structure(parse(json.dumps(sent).encode()), kind) == value


@attrs.frozen
class Odd:
    """A value with an odd name, and with one that is not on the wire."""

    with_sms: bool = attrs.field(metadata=json_name("withSMS"))
    place: str = attrs.field(default="here", metadata=json_name(None))


def test_odd_names():
    """A field may say its own name on the wire; the camelCase of its name is then unknown."""
    assert structure({"withSMS": True}, Odd).with_sms is True
    assert unstructure(Odd(with_sms=True))["withSMS"] is True
    with pytest.raises(ValueError, match=r"\$\.with.*: missing"):
        structure({"withSms": True}, Odd)


def test_fields_that_are_not_on_the_wire():
    """A field that is not on the wire is neither read nor written."""
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
    """What is written as JSON is read back as the same value: text, money, times, lists and what is None."""
    assert structure(parse(json.dumps(unstructure(order)).encode()), Order) == order


@given(st.builds(TopUpPackage, package_id=st.text(), price=PRICES, day=st.none() | st.integers(0, 1000)))
def test_round_trip_of_nested_values(package):
    """Nested values come back as well."""
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
    """UUIDs anywhere, and the texts of ICCIDs and references, are found in their order, each once."""
    assert find_ids(text) == ids


def test_iccids_that_are_numbers():
    """An ICCID that is sent as a number is found as well."""
    assert find_ids('{"iccid": 8910000000000000001, "x": 1}') == ("8910000000000000001",)


@given(st.lists(st.uuids().map(str), max_size=5), st.text(alphabet='xyz<>{}[]": ,\n', max_size=20))
def test_every_id_is_found(ids, between):
    """Whatever stands between them, every UUID is found, in its order, once."""
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
    """Any text has ids or none, each once and each a part of it."""
    found = find_ids(text)
    assert len(set(found)) == len(found)
    assert all(each in text for each in found)


def test_ids_of_a_huge_text():
    """A huge text that is full of beginnings is searched at once."""
    assert find_ids('"iccid":' * 50_000 + '"referenceId": "' * 50_000 + "0b9f2c66-" * 50_000) is not None


# ---------------------------------------------------------------- refusals


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
def test_message_of_a_refusal(body, message):
    """The server's own words are found in each of its shapes, and in a gateway's page."""
    error = status_error(answer(body, 500))
    assert isinstance(error, ServerError)
    assert error.message == error.args[0] == message
    assert str(error).startswith(f"{message} [500")


def test_facts_of_a_refusal():
    """A refusal keeps its status, code, whole body, wait and name."""
    body = {"message": "Open already", "status": "failed", "code": "OPEN"}
    error = status_error(answer(body, 409, **{"retry-after": "7", "x-request-id": "r-1"}))
    assert type(error) is ConflictError
    assert (error.status, error.code, error.body) == (409, "OPEN", json.dumps(body))
    assert (error.retry_after, error.request_id, error.sent) == (7, "r-1", "answered")


def test_facts_that_are_missing():
    """A refusal that says nothing has neither code nor wait nor name."""
    error = status_error(answer(b"", 401))
    assert type(error) is AuthenticationError
    assert (error.code, error.body, error.retry_after, error.request_id) == (None, "", None, None)


@pytest.mark.parametrize("code", [5, None, ["x"], {}])
def test_code_is_text(code):
    """A code is text, or none."""
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
    """The fields of a read go into the query: in camelCase, percent-encoded, and without what is None."""
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
def test_changes(endpoint, request_, body):
    """The fields of a change go into a JSON body, those that have their default value too."""
    made = encoded(endpoint, request_)
    assert (made.method, made.path, made.query) == ("POST", endpoint.path, "")
    assert json.loads(made.body) == body


def test_same_bytes():
    """The same request is the same bytes."""
    request = CreateOrder([OrderItem("a", 2)], reference_id="r")
    assert encoded(Orders.create, request) == encoded(Orders.create, request)
    assert encoded(Orders.create, request).body == b'{"items": [{"packageId": "a", "quantity": 2}], "referenceId": "r"}'


@attrs.frozen(kw_only=True)
class Everything:
    """A request with fields of every kind, all of them with values that look like nothing."""

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
    """A value inside another."""

    some_text: str | None = None
    some_number: int | None = 0


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_none_is_left_out_and_nothing_else(method):
    """Only None is left out, at any depth: zero, false, and empty values are what the caller said."""
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
    """In a query, too, only None is left out; dates are ISO text, and booleans small letters."""
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
def test_changes_without_fields(method):
    """A change without fields sends an empty object."""
    assert encoded(Endpoint(method, "/x", GetBalance, Balance), GetBalance()) == HttpRequest(method, "/x", "", b"{}")


@attrs.frozen
class Named:
    """A request whose fields stand in the path."""

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
    """A field that the path names stands there, quoted as a whole, and nowhere else."""
    get = Endpoint("GET", "/api/esim/{uniqueName}/{part}", Named, Balance)
    post = Endpoint("POST", "/api/esim/{uniqueName}/{part}", Named, Balance)
    assert encoded(get, Named(name, rest="r")) == HttpRequest("GET", path, "rest=r")
    assert encoded(post, Named(name)) == HttpRequest("POST", path, "", b"{}")


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1))
def test_any_text_in_the_path(name):
    """Any text in a path is one segment of ASCII, and comes back whole."""
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
    """Any query is ASCII without white space, and holds exactly what the caller said."""
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
    """A Decimal goes out in plain digits, whatever its exponent: a server reads "1E+1" as it likes."""
    assert encoded(TopUps.packages, ListTopUps("8910", gbs=gbs)).query == f"iccid=8910&gbs={text}"


def test_every_row_encodes_its_defaults():
    """Every read that needs no argument makes a request without a body."""
    for row in ROWS:
        required = [field for field in attrs.fields(row.request) if field.default is attrs.NOTHING]
        if row.method == "GET" and not required and row.request not in (GetOrder, GetEsim, GetEvents):
            made = encoded(row, row.request())
            assert (made.method, made.path, made.body) == ("GET", row.path, None)


def test_package_keeps_its_name():
    """A package is read by its own id, whatever the group's is."""
    page = structure({"packages": [parsed(GROUP)]}, PackagePage)
    assert isinstance(page.packages[0], Package)
    assert [package.package_id for package in page] == ["esim-greece-15days-un2gb-all", "esim-greece-30days-1gb-all"]
