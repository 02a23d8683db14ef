"""``capture_responses`` captures each response of its block, and nothing after it."""

import asyncio
import json
import pickle
from decimal import Decimal

import attrs
import pytest
from support.clients import QUICK, collect
from support.servers import Raw, answer, answering, nobody

from roamify_async import (
    AsyncRoamify,
    ConnectError,
    CreateOrder,
    DecodeError,
    NotFoundError,
    OrderItem,
    RawResponse,
    Roamify,
    capture_responses,
)
from roamify_async._http import capture as capture_module
from roamify_async.sandbox import Sandbox

PACKAGE = "esim-greece-30days-1gb-all"


async def test_success(either):
    """A call's response is captured as it came."""
    with capture_responses() as responses:
        balance = await either.account.balance()
    (captured,) = responses
    assert (captured.method, captured.path, captured.query, captured.status) == ("GET", "/api/balance", "", 200)
    assert json.loads(captured.text, parse_float=Decimal)["data"]["balance"] == balance.balance
    assert captured.headers["content-type"].startswith("application/json")
    assert "token" not in repr(captured)
    assert repr(captured) == f"<RawResponse GET /api/balance: 200, {len(captured.body)} bytes>"


async def test_each_attempt(sandbox, either):
    """Every attempt that was answered is captured, refusals included."""
    sandbox.fail("GET", "/api/balance", "503", times=2)
    with capture_responses() as responses:
        await either.account.balance()
    assert [captured.status for captured in responses] == [503, 503, 200]
    sandbox.fail("GET", "/api/balance", "drop")
    with capture_responses() as responses:
        await either.account.balance()
    assert [captured.status for captured in responses] == [200]


async def test_failures(either, opened):
    """The response of a failed call is captured, if there was one."""
    with capture_responses() as responses, pytest.raises(NotFoundError) as caught:
        await either.orders.get(order_id="0f7c0e5e-1c52-4b0e-9d0b-6a1f8f6a1111")
    assert [(captured.status, captured.text) for captured in responses] == [(404, caught.value.body)]
    assert responses[0].query == "orderId=0f7c0e5e-1c52-4b0e-9d0b-6a1f8f6a1111"
    async with Raw(answering(answer("<html>"))) as server:
        client = await opened(server.url)
        with capture_responses() as responses, pytest.raises(DecodeError):
            await client.esims.apply("e")
        assert (responses[0].path, responses[0].text) == ("/api/esim/apply", "<html>")
    with nobody() as url, capture_responses() as responses:
        client = await opened(url)
        with pytest.raises(ConnectError):
            await client.account.balance()
    assert responses == []


async def test_nothing_outside(either, monkeypatch):
    """Nothing is captured outside the block or after it."""
    with capture_responses() as responses:
        await either.account.balance()
    monkeypatch.setattr(capture_module, "RawResponse", None)
    await either.account.balance()
    assert len(responses) == 1


async def test_nested(either):
    """Nested blocks both capture; the outer one continues after the inner one."""
    with capture_responses() as outer:
        await either.account.balance()
        with capture_responses() as inner:
            await either.devices.list()
        await either.countries.list()
    assert [captured.path for captured in inner] == ["/api/compatible-devices"]
    assert [captured.path for captured in outer] == ["/api/balance", "/api/compatible-devices", "/api/esim/countries"]
    assert outer[1] is inner[0]


async def test_block_ended_by_an_error(either):
    """A block that ends with an error captures nothing afterwards."""
    with pytest.raises(ZeroDivisionError), capture_responses() as responses:
        raise ZeroDivisionError
    await either.account.balance()
    assert responses == []


async def test_concurrent_pages(either):
    """Pages that are fetched concurrently are captured, each as often as it was read."""
    with capture_responses() as responses:
        catalogue = await either.packages.list(page_size=5, concurrency=4)
    pages = [captured for captured in responses if captured.path == "/api/esim/packages" and captured.status == 200]
    assert len(pages) > 4
    assert len(pages) - len({captured.query for captured in pages}) <= 2  # The end is read twice.
    ids = {
        package["packageId"]
        for captured in pages
        for group in json.loads(captured.text)["data"]["packages"]
        for package in group["packages"]
    }
    assert ids == {package.package_id for package in catalogue}


async def test_iteration(either):
    """Pages that an iterator fetches ahead are captured."""
    with capture_responses() as responses:
        packages = await collect(either, page_size=5, concurrency=3)
    assert sum(captured.text.count('"packageId"') for captured in responses) == len(packages)


async def test_bulk(either):
    """All orders and price look-ups of a bulk purchase are captured."""
    requests = [CreateOrder([OrderItem(PACKAGE)], reference_id=f"r{number}") for number in range(5)]
    with capture_responses() as responses:
        report = await either.orders.bulk(requests, concurrency=3)
    assert report.counts["ordered"] == 5
    ordered = [json.loads(captured.text)["data"]["id"] for captured in responses if captured.method == "POST"]
    assert sorted(ordered) == sorted(line.order.id for line in report.lines)
    assert any(captured.path == "/api/esim/packages" for captured in responses)


async def test_purchase_in_doubt(sandbox, either):
    """The look-up that found a purchase is captured."""
    sandbox.fail("POST", "/api/esim/order", "drop", when="after")
    with capture_responses() as responses:
        order = await either.orders.create([OrderItem(PACKAGE)])
    assert [captured.path for captured in responses] == ["/api/esim/packages", "/api/esim/orders"]
    assert order.id in responses[-1].text


async def test_tasks_of_the_block(client):
    """Tasks that the block starts are captured until it ends; other tasks are not."""
    go = asyncio.Event()

    async def later() -> None:
        await go.wait()
        await client.devices.list()

    other = asyncio.create_task(later())
    with capture_responses() as responses:
        await asyncio.gather(client.account.balance(), asyncio.create_task(client.countries.list()))
        late = asyncio.create_task(later())
        await asyncio.sleep(0)
    go.set()
    await asyncio.gather(other, late)
    assert sorted(captured.path for captured in responses) == ["/api/balance", "/api/esim/countries"]


def test_sync_client():
    """A script captures its own calls, also those of an iterator that it leaves early."""
    with Sandbox(packages=300) as sandbox, Roamify(sandbox.token, base_url=sandbox.url) as roamify:
        with capture_responses() as responses:
            roamify.account.balance()
            first = next(iter(roamify.packages.iter(page_size=5)))
        assert responses[0].path == "/api/balance"
        assert first.package_id in responses[1].text


async def test_secrets(opened):
    """Cookies are left out, and the token is redacted even if the server returns it."""
    echo = answer(
        '{"data": {"balance": 1, "currency": "secret-token"}}',
        Set_Cookie="__cf_bm=1; Path=/",
        X_Echo="secret-token",
        CF_Ray="ray-1",
    )
    async with Raw(answering(echo)) as server:
        client = await opened(server.url)
        with capture_responses() as responses:
            await client.request("GET", "/api/x", params={"t": "secret-token"})
        (captured,) = responses
        shown = [
            captured.text,
            captured.path,
            captured.query,
            str(dict(captured.headers)),
            str(attrs.asdict(captured)),
            str(pickle.dumps(captured)),
        ]
        assert not any("secret-token" in text for text in shown)
        assert captured.headers["x-echo"] == "***"
        assert "set-cookie" not in captured.headers
        assert captured.request_id == "ray-1"


async def test_value():
    """A captured response is an immutable value that can be pickled and compared."""
    async with Raw(answering(answer(b'{"data": {"balance": 1, "x": "\xff"}}'))) as server:
        async with AsyncRoamify("secret-token", base_url=server.url, settings=QUICK) as client:
            with capture_responses() as responses, pytest.raises(DecodeError):
                await client.esims.apply("e")
        captured: RawResponse = responses[0]
        assert pickle.loads(pickle.dumps(captured)) == captured
        assert "\N{REPLACEMENT CHARACTER}" in captured.text
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            captured.status = 1
