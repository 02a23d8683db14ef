"""Calls to any path: the same engine, and a token that goes nowhere else."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any

import pytest
from support.servers import Raw, answer, answering, nobody

from roamify_async import (
    AsyncRoamify,
    Balance,
    ConnectError,
    ConnectionLostError,
    Country,
    CreateOrder,
    DecodeError,
    NotFoundError,
    Order,
    OrderItem,
    ServerError,
)
from roamify_async._core.endpoint import ACTION, READ
from roamify_async._core.raw_request import build_request
from roamify_async._http.credentials import Credentials

NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001
ACCESS = Credentials("https://api.example", "secret-token")
PACKAGE = "esim-greece-30days-1gb-all"


def made(*arguments: Any):
    """Make the row and the request of a call."""
    return build_request(ACCESS, *arguments)


async def test_reads(either):
    """A body comes as it is, or as the values that the caller names, from the envelope if there is one."""
    body = await either.request("GET", "/api/balance")
    assert body == {"status": "success", "data": {"balance": body["data"]["balance"], "currency": "USD"}}
    assert isinstance(body["data"]["balance"], Decimal | int)
    balance = await either.request("get", "/api/balance", response_type=Balance)
    assert balance == await either.account.balance()
    assert await either.request("GET", "/api/balance", response_type=dict) == body
    assert await either.request("GET", "/api/balance", response_type=object) == body


async def test_changes(sandbox, either):
    """A body goes out with the wire's names, and what is made is read as the same values that rows give."""
    wanted = CreateOrder([OrderItem(PACKAGE, 2)], reference_id="by-hand")
    order = await either.request("POST", "/api/esim/order", json=wanted, response_type=Order)
    assert isinstance(order, Order)
    assert order == await either.orders.get(reference_id="by-hand")
    (booked,) = sandbox.state()["orders"]
    assert (booked["id"], len(order.items)) == (order.id, 2)


@pytest.mark.parametrize(
    ("params", "query"),
    [
        ({"a": None, "b": True, "c": False}, "b=true&c=false"),
        ({"day": date(2027, 7, 1)}, "day=2027-07-01"),
        ({"from": datetime(2026, 1, 1, 2, tzinfo=timezone(timedelta(hours=2)))}, "from=2026-01-01T00%3A00%3A00Z"),
        ({"gbs": Decimal("1E+2"), "n": 3, "x": 0.5}, "gbs=100&n=3&x=0.5"),
        ({"country": "Åland & Co/?"}, "country=%C3%85land%20%26%20Co%2F%3F"),
        ({}, ""),
        (None, ""),
    ],
)
def test_params(params, query):
    """Parameters are written as the API's own calls write them, without what is ``None``."""
    _, request = made("GET", "/api/x", params, None, dict)
    assert (request.query, request.body) == (query, None)


@pytest.mark.parametrize(
    ("method", "body", "text"),
    [
        ("POST", None, "{}"),
        ("PUT", None, "{}"),
        ("PATCH", None, "{}"),
        ("DELETE", None, None),
        ("GET", None, None),
        ("POST", {"price": Decimal("1.10"), "n": None}, '{"price":1.1,"n":null}'),
        ("POST", {"day": date(2027, 7, 1)}, '{"day":"2027-07-01"}'),
        ("POST", {"big": Decimal(10) ** 30, "small": Decimal("-0.000001")}, f'{{"big":{10**30},"small":-1e-06}}'),
        ("POST", [OrderItem("p", 2)], '[{"packageId":"p","quantity":2}]'),
        ("PATCH", {"at": datetime(2026, 1, 1, tzinfo=UTC)}, '{"at":"2026-01-01T00:00:00Z"}'),
        ("DELETE", {"name": "Ω"}, '{"name":"Ω"}'),
    ],
)  # fmt: skip
def test_bodies(method, body, text):
    """A body goes out with exact numbers, ISO dates and the wire's names; one that is missing is an empty object."""
    _, request = made(method, "/api/x", None, body, dict)
    sent = None if request.body is None else request.body.decode().replace(", ", ",").replace(": ", ":")
    assert sent == text
    if isinstance(body, dict) and "price" in body:
        assert json.loads(request.body or b"", parse_float=Decimal)["price"] == body["price"]


@pytest.mark.parametrize("body", [Decimal("0.1234567890123456789"), Decimal("1e-400"), float("nan"), NAIVE])
def test_bodies_that_lose_something(body):
    """A number that would lose digits, and a time without a zone, are refused before anything is sent."""
    with pytest.raises(ValueError, match=r"digits|JSON compliant|time zone"):
        made("POST", "/api/x", None, {"value": body}, dict)


@pytest.mark.parametrize("body", [{1, 2}, {"key": object()}, b"bytes"])
def test_bodies_that_are_no_json(body):
    """What JSON does not know is a ``TypeError`` that says what it knows."""
    with pytest.raises(TypeError, match="json must consist of JSON types, Decimals, dates and requests"):
        made("POST", "/api/x", None, body, dict)


@pytest.mark.parametrize("value", [[1], {}, b"x", object(), Enum("Colour", "RED")])
def test_params_that_are_none(value):
    """A parameter that has no text of its own is a ``TypeError`` that names it."""
    with pytest.raises(TypeError, match=r"params\['a'\] must be"):
        made("GET", "/api/x", {"a": value}, None, dict)
    with pytest.raises(ValueError, match="no time zone"):
        made("GET", "/api/x", {"a": NAIVE}, None, dict)


OTHER_HOSTS = [
    "https://evil.example/api/balance",
    "//evil.example/api/balance",
    ".evil.example/api",
    "@evil.example/api",
    ":80/api",
    "api/balance",
    "",
    "?x",
]
OTHER_PATHS = [
    "/api/../admin",
    "/..",
    "/api/%2e%2e/admin",
    "/api/%2E./admin",
    "/api/..%2fadmin",
    "/api/..\\admin",
    "/api/./x",
    "/api/x?y=1",
    "/api/x#y",
    "/api/x\r\nHost: evil.example",
    "/api/x y",
    "/api/\u2028",
    "/api/\x00",
]


@pytest.mark.parametrize("path", OTHER_HOSTS + OTHER_PATHS)
async def test_no_other_host(path):
    """What is not a path of the API is refused before anything is sent: the token goes to one host."""
    async with Raw(answering(answer())) as server, AsyncRoamify("secret-token", base_url=server.url) as client:
        with pytest.raises(ValueError, match=r"^path must"):
            await client.request("GET", path)
        assert server.connections == 0


@pytest.mark.parametrize(
    "path", ["/api/a b".replace(" ", "%20"), "/api/Åland", "/", "/@evil.example", "/a//b", "/...", "/a..b"]
)
async def test_paths(path):
    """Every other path goes to the client's own host, percent-encoded once, below the base URL's own path."""
    async with (
        Raw(answering(answer('{"a": 1.10}'))) as server,
        AsyncRoamify("secret-token", base_url=f"{server.url}/base") as client,
    ):
        assert await client.request("GET", path) == {"a": Decimal("1.10")}
        (asked,) = server.requests
        assert asked.line == f"GET /base{path.replace('Å', '%C3%85')} HTTP/1.1"
        assert asked.get("Authorization") == "Bearer secret-token"
        assert asked.get("Host") == server.url.removeprefix("http://")


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        (1, "/a", ValueError),
        ("BREW", "/a", ValueError),
        ("CONNECT", "/a", ValueError),
        ("GET", 1, TypeError),
        ("GET", b"/a", TypeError),
    ],
)
def test_wrong_arguments(method, path, kind):
    """A method that is none, and a path that is no text, are refused."""
    with pytest.raises(kind, match="must be"):
        made(method, path, None, None, dict)


def test_token_in_a_path():
    """The token is refused in a path, which logs and errors show, and is not echoed."""
    with pytest.raises(ValueError, match="the token") as caught:
        made("GET", "/api/ secret-token", None, None, dict)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", [object(), 5, "Order", OrderItem("p"), type("Plain", (), {})])
def test_answers_that_cannot_be_read(kind):
    """An answer that nothing can be read as is refused before anything is sent."""
    with pytest.raises(TypeError, match="response_type must be"):
        made("GET", "/a", None, None, kind)


@pytest.mark.parametrize(
    ("method", "kind"),
    [("GET", READ), ("head", READ), ("POST", ACTION), ("PUT", ACTION), ("PATCH", ACTION), ("DELETE", ACTION)],
)
def test_kinds(method, kind):
    """Only what reads may be repeated."""
    row, request = made(method, "/a", None, None, dict)
    assert row.safety is kind
    assert row.method == request.method == method.upper()


@pytest.mark.parametrize(
    ("body", "kind", "value"),
    [
        ({"status": "success", "data": {"balance": 1.5}}, Balance, Balance(balance=Decimal("1.5"))),
        ({"data": {"balance": 1.5}}, Balance, Balance(balance=Decimal("1.5"))),
        ({"balance": 1.5}, Balance, Balance(balance=Decimal("1.5"))),
        ({"balance": 2, "status": "READY", "data": {"balance": 1}}, Balance, Balance(balance=Decimal(2))),
        ({"data": [{"code": "GR", "name": "Greece"}]}, tuple[Country, ...], (Country(code="GR", name="Greece"),)),
        ([{"code": "GR", "name": "Greece"}], list[Country], [Country(code="GR", name="Greece")]),
        ([1.10], list, [Decimal("1.10")]),
        ({"data": [1]}, list, [1]),
        ({"data": [1]}, dict, {"data": [1]}),
        ({"a": 1}, dict[str, Decimal], {"a": Decimal(1)}),
        ([1], object, [1]),
        (None, object, None),
    ],
)  # fmt: skip
async def test_answers(opened, body, kind, value):
    """The answer is what the caller names, read from the envelope where there is one."""
    async with Raw(answering(answer(json.dumps(body)))) as server:
        client = await opened(server.url)
        got = await client.request("GET", "/api/x", response_type=kind)
        assert got == value
        assert type(got) is type(value)


async def test_text(opened):
    """What is no JSON is text where anything will do, and else an error that has it."""
    async with Raw(answering(answer("up", 200, Content_Type="text/plain"))) as server:
        client = await opened(server.url)
        assert await client.request("GET", "/api/x", response_type=object) == "up"
        with pytest.raises(DecodeError) as caught:
            await client.request("POST", "/api/x")
        assert (caught.value.body, caught.value.path) == ("up", "/api/x")
        assert len(server.requests) == 2


async def test_wrong_shape(opened):
    """An answer that is not what the caller names is a ``DecodeError`` that says where."""
    async with Raw(answering(answer('{"status": "success", "data": {"balance": []}}'), answer("[1]"))) as server:
        client = await opened(server.url)
        with pytest.raises(DecodeError) as caught:
            await client.request("GET", "/api/x", response_type=Balance)
        assert caught.value.problems == ("$.data.balance: a number expected, not []",)
        with pytest.raises(DecodeError, match="an object expected"):
            await client.request("GET", "/api/x")


async def test_no_body(opened):
    """An answer that has no body by the rules of HTTP is an empty object."""
    gone = b"HTTP/1.1 204 No Content\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    async with Raw(answering(gone, head)) as server:
        client = await opened(server.url)
        assert await client.request("DELETE", "/api/x") == {}
        assert await client.request("HEAD", "/api/x") == {}
        assert [asked.line.split(" ")[0] for asked in server.requests] == ["DELETE", "HEAD"]


async def test_refusals(sandbox, either):
    """A refusal is the error of its status; a read is asked for again, and nothing else is."""
    with pytest.raises(NotFoundError) as caught:
        await either.request("GET", "/api/nowhere")
    assert (caught.value.method, caught.value.path) == ("GET", "/api/nowhere")
    sandbox.fail("GET", "/api/balance", "500", times=2)
    assert (await either.request("GET", "/api/balance"))["status"] == "success"
    sandbox.fail("POST", "/api/esim/apply", "500")
    with pytest.raises(ServerError):
        await either.request("POST", "/api/esim/apply", json={"esimId": "e"})
    counts = sandbox.state()["requests"]
    assert (counts["GET /api/balance"], counts["POST /api/esim/apply"]) == (3, 1)


async def test_lost_actions(sandbox, either):
    """An action whose line went dead is not sent again; one that never left is."""
    sandbox.fail("POST", "/api/esim/order", "drop", when="after")
    with pytest.raises(ConnectionLostError) as caught:
        await either.request("POST", "/api/esim/order", json=CreateOrder([OrderItem(PACKAGE)], reference_id="r"))
    assert caught.value.sent == "maybe"
    assert len(sandbox.state()["orders"]) == 1


async def test_actions_that_never_left(opened):
    """An action that found nobody was certainly not sent, and says so."""
    with nobody() as url:
        client = await opened(url)
        with pytest.raises(ConnectError) as caught:
            await client.request("DELETE", "/api/x")
        assert caught.value.sent == "no"


async def test_settings(opened):
    """A view's settings hold for these calls as for all."""
    async with Raw(answering(answer())) as server:
        client = await opened(server.url)
        await client.with_settings(user_agent="mine/1").request("GET", "/api/x", params={"a": 1})
        (asked,) = server.requests
        assert (asked.line, asked.get("User-Agent")) == ("GET /api/x?a=1 HTTP/1.1", "mine/1")


FAR = datetime.max.replace(tzinfo=timezone(-timedelta(hours=5)))


@pytest.mark.parametrize(
    ("given", "error", "told"),
    [
        ({"params": [("a", "b")]}, TypeError, "params must be a dict"),
        ({"params": "a=b"}, TypeError, "params must be a dict"),
        ({"params": {"a": float("nan")}}, ValueError, "must be a finite number"),
        ({"params": {"a": Decimal("Infinity")}}, ValueError, "must be a finite number"),
        ({"params": {"a": FAR}}, ValueError, "out of range in UTC"),
        ({"json": {"a": Decimal("Infinity")}}, ValueError, "JSON has no number for"),
        ({"json": {"a": Decimal("sNaN")}}, ValueError, "JSON has no number for"),
        ({"json": {"a": FAR}}, ValueError, "out of range in UTC"),
    ],
)
async def test_what_cannot_be_written(either, sandbox, given, error, told):
    """What no query and no JSON can hold is a clear error before anything is sent."""
    with pytest.raises(error, match=told):
        await either.request("POST", "/api/esim/sms", **given)
    assert not sandbox.state()["requests"]


async def test_answer_of_any_values(either):
    """An answer may be said to be a dict of whatever."""
    assert (await either.request("GET", "/api/balance", response_type=dict[str, object]))["status"] == "success"
