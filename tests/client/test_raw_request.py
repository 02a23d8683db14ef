"""Calls of any path: the same engine, and a token that is sent to no other host."""

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
CREDENTIALS = Credentials("https://api.example", "secret-token")
PACKAGE = "esim-greece-30days-1gb-all"


def build(*arguments: Any):
    """Return the endpoint and the request of a call."""
    return build_request(CREDENTIALS, *arguments)


async def test_reads(either):
    """The body is returned as parsed, or as the response type, which is read from the envelope if there is one."""
    body = await either.request("GET", "/api/balance")
    assert body == {"status": "success", "data": {"balance": body["data"]["balance"], "currency": "USD"}}
    assert isinstance(body["data"]["balance"], Decimal | int)
    balance = await either.request("get", "/api/balance", response_type=Balance)
    assert balance == await either.account.balance()
    assert await either.request("GET", "/api/balance", response_type=dict) == body
    assert await either.request("GET", "/api/balance", response_type=object) == body


async def test_writes(sandbox, either):
    """A body is sent under JSON names, and the response is read like an endpoint's."""
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
    """Parameters are encoded as in the API's own calls, without those that are ``None``."""
    _, request = build("GET", "/api/x", params, None, dict)
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
    """A body has exact numbers, ISO dates and JSON names; a missing one is ``{}``."""
    _, request = build(method, "/api/x", None, body, dict)
    sent = None if request.body is None else request.body.decode().replace(", ", ",").replace(": ", ":")
    assert sent == text
    if isinstance(body, dict) and "price" in body:
        assert json.loads(request.body or b"", parse_float=Decimal)["price"] == body["price"]


@pytest.mark.parametrize("body", [Decimal("0.1234567890123456789"), Decimal("1e-400"), float("nan"), NAIVE])
def test_bodies_that_lose_information(body):
    """A number that would lose digits, and a time without a time zone, are refused before anything is sent."""
    with pytest.raises(ValueError, match=r"digits|JSON compliant|time zone"):
        build("POST", "/api/x", None, {"value": body}, dict)


@pytest.mark.parametrize("body", [{1, 2}, {"key": object()}, b"bytes"])
def test_bodies_that_are_not_json(body):
    """Values that JSON does not know raise a ``TypeError``."""
    with pytest.raises(TypeError, match="json must consist of JSON types, Decimals, dates and requests"):
        build("POST", "/api/x", None, body, dict)


@pytest.mark.parametrize("value", [[1], {}, b"x", object(), Enum("Colour", "RED")])
def test_invalid_params(value):
    """A parameter without a text form raises a ``TypeError`` that names it."""
    with pytest.raises(TypeError, match=r"params\['a'\] must be"):
        build("GET", "/api/x", {"a": value}, None, dict)
    with pytest.raises(ValueError, match="no time zone"):
        build("GET", "/api/x", {"a": NAIVE}, None, dict)


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
    """Anything but a path of the API is refused before anything is sent, since the token is sent along."""
    async with Raw(answering(answer())) as server, AsyncRoamify("secret-token", base_url=server.url) as client:
        with pytest.raises(ValueError, match=r"^path must"):
            await client.request("GET", path)
        assert server.connections == 0


@pytest.mark.parametrize(
    "path", ["/api/a b".replace(" ", "%20"), "/api/Åland", "/", "/@evil.example", "/a//b", "/...", "/a..b"]
)
async def test_paths(path):
    """Other paths are percent-encoded once, below the path of the base URL."""
    async with (
        Raw(answering(answer('{"a": 1.10}'))) as server,
        AsyncRoamify("secret-token", base_url=f"{server.url}/base") as client,
    ):
        assert await client.request("GET", path) == {"a": Decimal("1.10")}
        (request,) = server.requests
        assert request.line == f"GET /base{path.replace('Å', '%C3%85')} HTTP/1.1"
        assert request.get("Authorization") == "Bearer secret-token"
        assert request.get("Host") == server.url.removeprefix("http://")


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
    """An unknown method, and a path that is not text, are refused."""
    with pytest.raises(kind, match="must be"):
        build(method, path, None, None, dict)


def test_token_in_a_path():
    """The token is refused in a path, which is logged, and is not repeated."""
    with pytest.raises(ValueError, match="the token") as caught:
        build("GET", "/api/ secret-token", None, None, dict)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("kind", [object(), 5, "Order", OrderItem("p"), type("Plain", (), {})])
def test_invalid_response_types(kind):
    """A response type that nothing can be read as is refused before anything is sent."""
    with pytest.raises(TypeError, match="response_type must be"):
        build("GET", "/a", None, None, kind)


@pytest.mark.parametrize(
    ("method", "kind"),
    [("GET", READ), ("head", READ), ("POST", ACTION), ("PUT", ACTION), ("PATCH", ACTION), ("DELETE", ACTION)],
)
def test_safety(method, kind):
    """Only GET and HEAD are reads."""
    row, request = build(method, "/a", None, None, dict)
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
async def test_response_types(opened, body, kind, value):
    """The response has the requested type, read from the envelope if there is one."""
    async with Raw(answering(answer(json.dumps(body)))) as server:
        client = await opened(server.url)
        got = await client.request("GET", "/api/x", response_type=kind)
        assert got == value
        assert type(got) is type(value)


async def test_text(opened):
    """A response that is not JSON is text for ``object``, and otherwise an error with the text."""
    async with Raw(answering(answer("up", 200, Content_Type="text/plain"))) as server:
        client = await opened(server.url)
        assert await client.request("GET", "/api/x", response_type=object) == "up"
        with pytest.raises(DecodeError) as caught:
            await client.request("POST", "/api/x")
        assert (caught.value.body, caught.value.path) == ("up", "/api/x")
        assert len(server.requests) == 2


async def test_wrong_shape(opened):
    """A response that is not of the requested type is a ``DecodeError`` with the path."""
    async with Raw(answering(answer('{"status": "success", "data": {"balance": []}}'), answer("[1]"))) as server:
        client = await opened(server.url)
        with pytest.raises(DecodeError) as caught:
            await client.request("GET", "/api/x", response_type=Balance)
        assert caught.value.problems == ("$.data.balance: a number expected, not []",)
        with pytest.raises(DecodeError, match="an object expected"):
            await client.request("GET", "/api/x")


async def test_no_body(opened):
    """A response without a body by the rules of HTTP is ``{}``."""
    gone = b"HTTP/1.1 204 No Content\r\n\r\n"
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"
    async with Raw(answering(gone, head)) as server:
        client = await opened(server.url)
        assert await client.request("DELETE", "/api/x") == {}
        assert await client.request("HEAD", "/api/x") == {}
        assert [request.line.split(" ")[0] for request in server.requests] == ["DELETE", "HEAD"]


async def test_errors(sandbox, either):
    """An error status raises its error; only reads are sent again."""
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
    """An action whose connection was lost is not sent again."""
    sandbox.fail("POST", "/api/esim/order", "drop", when="after")
    with pytest.raises(ConnectionLostError) as caught:
        await either.request("POST", "/api/esim/order", json=CreateOrder([OrderItem(PACKAGE)], reference_id="r"))
    assert caught.value.sent == "maybe"
    assert len(sandbox.state()["orders"]) == 1


async def test_actions_that_never_left(opened):
    """An action that was never sent says so."""
    with nobody() as url:
        client = await opened(url)
        with pytest.raises(ConnectError) as caught:
            await client.request("DELETE", "/api/x")
        assert caught.value.sent == "no"


async def test_settings(opened):
    """The settings of a view apply."""
    async with Raw(answering(answer())) as server:
        client = await opened(server.url)
        await client.with_settings(user_agent="mine/1").request("GET", "/api/x", params={"a": 1})
        (request,) = server.requests
        assert (request.line, request.get("User-Agent")) == ("GET /api/x?a=1 HTTP/1.1", "mine/1")


FAR = datetime.max.replace(tzinfo=timezone(-timedelta(hours=5)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
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
async def test_unencodable_arguments(either, sandbox, arguments, error, message):
    """Values that a query or JSON cannot hold are refused before anything is sent."""
    with pytest.raises(error, match=message):
        await either.request("POST", "/api/esim/sms", **arguments)
    assert not sandbox.state()["requests"]


async def test_dict_of_objects(either):
    """The response type may be a ``dict`` of any values."""
    assert (await either.request("GET", "/api/balance", response_type=dict[str, object]))["status"] == "success"
