"""What a block that listens hears: each answer as it came, of either client, and nothing once it is over."""

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
    """A call that succeeds shows what came over the wire."""
    with capture_responses() as answers:
        balance = await either.account.balance()
    (heard,) = answers
    assert (heard.method, heard.path, heard.query, heard.status) == ("GET", "/api/balance", "", 200)
    assert json.loads(heard.text, parse_float=Decimal)["data"]["balance"] == balance.balance
    assert heard.headers["content-type"].startswith("application/json")
    assert "token" not in repr(heard)
    assert repr(heard) == f"<RawResponse GET /api/balance: 200, {len(heard.body)} bytes>"


async def test_each_try(sandbox, either):
    """Refusals are answers, and so is every try; a try to which nothing came leaves nothing."""
    sandbox.fail("GET", "/api/balance", "503", times=2)
    with capture_responses() as answers:
        await either.account.balance()
    assert [heard.status for heard in answers] == [503, 503, 200]
    sandbox.fail("GET", "/api/balance", "drop")
    with capture_responses() as answers:
        await either.account.balance()
    assert [heard.status for heard in answers] == [200]


async def test_failures(either, opened):
    """A call that fails shows the answer too, if there was one."""
    with capture_responses() as answers, pytest.raises(NotFoundError) as caught:
        await either.orders.get(order_id="0f7c0e5e-1c52-4b0e-9d0b-6a1f8f6a1111")
    assert [(heard.status, heard.text) for heard in answers] == [(404, caught.value.body)]
    assert answers[0].query == "orderId=0f7c0e5e-1c52-4b0e-9d0b-6a1f8f6a1111"
    async with Raw(answering(answer("<html>"))) as server:
        client = await opened(server.url)
        with capture_responses() as answers, pytest.raises(DecodeError):
            await client.esims.apply("e")
        assert (answers[0].path, answers[0].text) == ("/api/esim/apply", "<html>")
    with nobody() as url, capture_responses() as answers:
        client = await opened(url)
        with pytest.raises(ConnectError):
            await client.account.balance()
    assert answers == []


async def test_nothing_outside(either, monkeypatch):
    """Outside of such a block nothing is made of an answer, and a block that is over hears no more."""
    with capture_responses() as answers:
        await either.account.balance()
    monkeypatch.setattr(capture_module, "RawResponse", None)
    await either.account.balance()
    assert len(answers) == 1


async def test_nested(either):
    """The inner block and the outer one both hear; the outer one goes on when the inner one is over."""
    with capture_responses() as outer:
        await either.account.balance()
        with capture_responses() as inner:
            await either.devices.list()
        await either.countries.list()
    assert [heard.path for heard in inner] == ["/api/compatible-devices"]
    assert [heard.path for heard in outer] == ["/api/balance", "/api/compatible-devices", "/api/esim/countries"]
    assert outer[1] is inner[0]


async def test_over_by_an_error(either):
    """A block that an error ends is over as well."""
    with pytest.raises(ZeroDivisionError), capture_responses() as answers:
        raise ZeroDivisionError
    await either.account.balance()
    assert answers == []


async def test_pages_in_parallel(either):
    """All pages are heard that are fetched at once, each once."""
    with capture_responses() as answers:
        catalogue = await either.packages.list(page_size=5, concurrency=4)
    pages = [heard for heard in answers if heard.path == "/api/esim/packages"]
    assert len(pages) > 4
    assert len({heard.query for heard in pages}) == len(pages)
    ids = {
        package["packageId"]
        for heard in pages
        for group in json.loads(heard.text)["data"]["packages"]
        for package in group["packages"]
    }
    assert ids == {package.package_id for package in catalogue}


async def test_iteration(either):
    """What an iteration fetches ahead is heard too."""
    with capture_responses() as answers:
        packages = await collect(either, page_size=5, concurrency=3)
    assert sum(heard.text.count('"packageId"') for heard in answers) == len(packages)


async def test_bulk(either):
    """Every order of a bulk is heard, with the look-ups of prices."""
    requests = [CreateOrder([OrderItem(PACKAGE)], reference_id=f"r{number}") for number in range(5)]
    with capture_responses() as answers:
        report = await either.orders.bulk(requests, concurrency=3)
    assert report.counts["ordered"] == 5
    ordered = [json.loads(heard.text)["data"]["id"] for heard in answers if heard.method == "POST"]
    assert sorted(ordered) == sorted(line.order.id for line in report.lines)
    assert any(heard.path == "/api/esim/packages" for heard in answers)


async def test_purchase_in_doubt(sandbox, either):
    """A purchase whose answer was lost shows the look-up that found it."""
    sandbox.fail("POST", "/api/esim/order", "drop", when="after")
    with capture_responses() as answers:
        order = await either.orders.create([OrderItem(PACKAGE)])
    assert {heard.path for heard in answers} == {"/api/esim/orders"}
    assert order.id in answers[-1].text


async def test_tasks_of_the_block(client):
    """Tasks that the block starts are heard, those of others are not, and none once the block is over."""
    go = asyncio.Event()

    async def later() -> None:
        await go.wait()
        await client.devices.list()

    other = asyncio.create_task(later())
    with capture_responses() as answers:
        await asyncio.gather(client.account.balance(), asyncio.create_task(client.countries.list()))
        late = asyncio.create_task(later())
        await asyncio.sleep(0)
    go.set()
    await asyncio.gather(other, late)
    assert sorted(heard.path for heard in answers) == ["/api/balance", "/api/esim/countries"]


def test_blocking_without_a_loop():
    """A plain script hears its own calls, also those of an iteration that it leaves early."""
    with Sandbox(packages=300) as sandbox, Roamify(sandbox.token, base_url=sandbox.url) as roamify:
        with capture_responses() as answers:
            roamify.account.balance()
            first = next(iter(roamify.packages.iter(page_size=5)))
        assert answers[0].path == "/api/balance"
        assert first.package_id in answers[1].text


async def test_secrets(opened):
    """Cookies are left out, and a server that gives the token back is not believed."""
    echo = answer(
        '{"data": {"balance": 1, "currency": "secret-token"}}',
        Set_Cookie="__cf_bm=1; Path=/",
        X_Echo="secret-token",
        CF_Ray="ray-1",
    )
    async with Raw(answering(echo)) as server:
        client = await opened(server.url)
        with capture_responses() as answers:
            await client.request("GET", "/api/x", params={"t": "secret-token"})
        (heard,) = answers
        shown = [
            heard.text,
            heard.path,
            heard.query,
            str(dict(heard.headers)),
            str(attrs.asdict(heard)),
            str(pickle.dumps(heard)),
        ]
        assert not any("secret-token" in text for text in shown)
        assert heard.headers["x-echo"] == "***"
        assert "set-cookie" not in heard.headers
        assert heard.request_id == "ray-1"


async def test_value():
    """An answer is a value: it can be pickled and compared, and not changed; what is no UTF-8 is replaced."""
    async with Raw(answering(answer(b'{"data": {"balance": 1, "x": "\xff"}}'))) as server:
        async with AsyncRoamify("secret-token", base_url=server.url, settings=QUICK) as client:
            with capture_responses() as answers, pytest.raises(DecodeError):
                await client.esims.apply("e")
        heard: RawResponse = answers[0]
        assert pickle.loads(pickle.dumps(heard)) == heard
        assert "\N{REPLACEMENT CHARACTER}" in heard.text
        with pytest.raises(attrs.exceptions.FrozenInstanceError):
            heard.status = 1
