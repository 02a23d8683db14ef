"""Every row of the API, against its sample: the documented request and answer."""

import asyncio
import json
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from aiohttp import web
from support.described import Description, anonymous

import roamify_async
from roamify_async import AsyncRoamify, Roamify
from roamify_async._core.endpoint import ACTION, PURCHASE, READ, Endpoint, Resource, endpoints
from roamify_async._http.messages import HttpResponse
from roamify_async._serde.envelope import decode, encode

SAMPLES = Path(__file__).parents[1] / "samples"
ROOMS = {name: type(room) for name, room in vars(AsyncRoamify("token")).items() if isinstance(room, Resource)}
ROWS = {f"{name}.{call}": row for name, room in ROOMS.items() for call, row in endpoints(room).items()}
NAMES = {name: getattr(roamify_async, name) for name in roamify_async.__all__}
NAMES |= {"Decimal": Decimal, "datetime": datetime, "date": date, "UTC": UTC}


def sample(name: str) -> dict:
    """Read the sample of a row."""
    return json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))


def request_of(name: str, row: Endpoint) -> object:
    """Make the request that a sample describes."""
    return eval(f"row.request({sample(name)['call']})", NAMES, {"row": row})


def test_samples_match_rows():
    """Each row has a sample, and each sample a row."""
    assert {path.stem for path in SAMPLES.glob("*.json")} == set(ROWS)


def test_rows_match_the_description():
    """Every path of the API's description has a row, and every row a path; what older texts have is no row."""
    operations = Description().operations.items()
    described = {anonymous(f"{method} {path}") for (method, path), told in operations if not told.get("deprecated")}
    assert {anonymous(f"{row.method} {row.path}") for row in ROWS.values()} == described
    assert len(described) > 30


@pytest.mark.parametrize("name", ROWS)
def test_request(name):
    """A row's request goes out as documented: method, path, query and body, and nothing besides."""
    row, wanted = ROWS[name], sample(name)["request"]
    http = encode(row, request_of(name, row))
    assert (http.method, http.path) == (wanted["method"], wanted["path"])
    assert row.method == http.method
    assert row.path == http.path or "{" in row.path
    assert dict(parse_qsl(http.query)) == wanted["query"]
    assert (None if http.body is None else json.loads(http.body)) == wanted["body"]


@pytest.mark.parametrize("name", ROWS)
def test_answer(name):
    """A row's documented answer becomes the values that it stands for."""
    held = sample(name)
    answer = decode(ROWS[name], HttpResponse(held["status"], {}, json.dumps(held["answer"]).encode()))
    for fact in held["expect"]:
        assert eval(fact, NAMES, {"answer": answer}), fact


def test_kinds():
    """Only GETs are repeated; what spends money can be looked up; every other POST is an action."""
    for name, row in ROWS.items():
        assert (row.method == "GET") == (row.safety is READ), name
        assert (row.look_up is not None) == (row.safety is PURCHASE), name
        assert row.kind in {READ, PURCHASE, ACTION}
    assert {name for name, row in ROWS.items() if row.safety is PURCHASE} == {
        "orders.create",
        "orders.create_instant",
        "topups.create",
        "vouchers.create",
        "insurance.order",
    }


def test_timeouts():
    """The endpoints that are slow by the documentation say so themselves."""
    assert {name: row.timeout for name, row in ROWS.items() if row.timeout} == {
        "orders.create": 60,
        "orders.create_instant": 60,
        "topups.create": 60,
        "esims.apply": 100,
        "esims.apply_order": 100,
        "vouchers.create": 90,
        "insurance.order": 60,
        "insurance.apply": 90,
    }


def test_rows_are_documented():
    """Each row says what it does, and its request class names the page of the API it comes from."""
    for name, row in ROWS.items():
        assert "``/" in row.__doc__, name


async def test_both_clients_decode_every_sample():
    """Both clients give the same value for each documented answer, over real sockets."""

    async def answer(request: web.Request) -> web.Response:
        held = sample(request.headers["User-Agent"])
        assert request.headers["Authorization"] == "Bearer secret-token"
        return web.json_response(held["answer"], status=held["status"])

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    url = "http://{}:{}".format(*runner.addresses[0])
    blocking = Roamify("secret-token", base_url=url)
    async with AsyncRoamify("secret-token", base_url=url) as awaiting:
        for name, row in ROWS.items():
            room, call = name.split(".")
            arguments = f"call({sample(name)['call']})"
            there = getattr(getattr(awaiting.with_settings(user_agent=name), room), call)
            here = getattr(getattr(blocking.with_settings(user_agent=name), room), call)
            one = await eval(arguments, NAMES, {"call": there})
            other = await asyncio.to_thread(lambda a=arguments, c=here: eval(a, NAMES, {"call": c}))
            assert one == other, name
            assert one == decode(row, HttpResponse(200, {}, json.dumps(sample(name)["answer"]).encode()))
    await asyncio.to_thread(blocking.close)
    await runner.cleanup()
