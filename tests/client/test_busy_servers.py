"""A server that is busy, or cannot take all connections, is not hammered, and the error says what to do."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import anyio
import pytest
from support.clients import QUICK
from support.servers import Clock, Raw, answer, answering, nobody
from support.shop import PACKAGE, Shop, envelope, failure

from roamify_async import AsyncRoamify, ConnectError, CreateOrder, OrderItem, Retries

TOKEN = "secret-token"
BALANCE = answer(b'{"status": "success", "data": {"balance": 1, "currency": "USD"}}')
PATIENT = QUICK.changed(retries=Retries(wait=1))


def http_date(moment):
    """Return a time as headers have it."""
    return format_datetime(moment, usegmt=True)


@pytest.fixture
async def clock(monkeypatch):
    """Make waits take no time."""
    made = Clock(monkeypatch)
    monkeypatch.setattr(anyio, "sleep", made.sleep)
    return made


@pytest.mark.parametrize("ahead", [-3600, 0, 3600])
@pytest.mark.parametrize("status", [429, 503])
async def test_date_of_a_server_with_another_clock(clock, status, ahead):
    """A date in ``Retry-After`` is compared with the server's own clock."""
    now = datetime.now(UTC) + timedelta(seconds=ahead)
    busy = answer("{}", status, Date=http_date(now), Retry_After=http_date(now + timedelta(seconds=7)))
    async with (
        Raw(answering(busy, BALANCE)) as server,
        AsyncRoamify(TOKEN, base_url=server.url, settings=PATIENT) as client,
    ):
        await client.account.balance()
    assert clock.slept == [7]


@pytest.mark.parametrize("asked", ["0", "0.001", "Wed, 21 Oct 2015 07:28:00 GMT"])
async def test_no_wait_asked_for(clock, asked):
    """A ``Retry-After`` that is shorter than the usual wait, or over, does not shorten it."""
    async with (
        Raw(answering(answer("{}", 429, Retry_After=asked))) as server,
        AsyncRoamify(TOKEN, base_url=server.url, settings=PATIENT) as client,
    ):
        with pytest.raises(Exception, match="429"):
            await client.account.balance()
    assert [full / 2 <= slept <= full for slept, full in zip(clock.slept, (1, 2, 4, 8), strict=True)] == [True] * 4


@pytest.mark.parametrize("asked", ["0", "Wed, 21 Oct 2015 07:28:00 GMT", None])
async def test_bulk_while_the_server_is_busy(clock, asked):
    """All lines of a bulk order are bought, once each, although the server is busy when they are first sent."""
    loop = asyncio.get_running_loop()
    headers = {} if asked is None else {"Retry_After": asked}

    def busy(shop, body):
        shop.faults.append(busy)
        if loop.time() < over:
            return failure(429, **headers)
        return envelope(shop.book(body))

    async with Shop(faults=[busy]) as shop, AsyncRoamify(TOKEN, base_url=shop.url, settings=QUICK) as client:
        over = loop.time() + 1.5
        report = await client.orders.bulk([CreateOrder([OrderItem(PACKAGE)]) for _ in range(40)])
    assert report.counts["ordered"] == len(shop.orders) == 40


# ---------------------------------------------------------------- few connections


async def test_few_connections(clock):
    """If connections are refused while others of the client are answered, the error advises a lower concurrency."""

    async def play(connection):
        while await connection.request():
            if len(server.requests) == 2:
                server.refuse()
                refused.set()
                await over.wait()
            await connection.write(BALANCE)

    refused, over = asyncio.Event(), asyncio.Event()
    async with Raw(play) as server, AsyncRoamify(TOKEN, base_url=server.url, settings=QUICK) as client:
        await client.account.balance()
        held = asyncio.ensure_future(client.account.balance())
        await refused.wait()
        with pytest.raises(ConnectError, match=r"lower Settings\(concurrency=16\)"):
            await client.account.balance()
        over.set()
        await held


@pytest.mark.parametrize("calls", [1, 3])
async def test_no_server_at_all(clock, calls):
    """If no connection was ever answered, concurrency is not the reason."""
    with nobody() as url:
        async with AsyncRoamify(TOKEN, base_url=url, settings=QUICK) as client:
            errors = await asyncio.gather(*[client.account.balance() for _ in range(calls)], return_exceptions=True)
    assert [type(error) for error in errors] == [ConnectError] * calls
    assert not any("concurrency" in str(error) for error in errors)
