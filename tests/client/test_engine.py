"""The engine over real sockets: what is sent again, what is in doubt, and how long a call may take."""

import asyncio
import json
import logging
import pickle
import re
import traceback
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import anyio
import pytest
from support.clients import QUICK
from support.servers import Clock, Raw, answer, answering, bound, nobody

from roamify_async import (
    APIStatusError,
    AsyncRoamify,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    NotFoundError,
    OrderItem,
    PackageNotFoundError,
    PermissionDeniedError,
    PurchaseInDoubtError,
    RateLimitError,
    RequestTimeoutError,
    Retries,
    Roamify,
    RoamifyError,
    ServerError,
    Settings,
    Timeouts,
)
from roamify_async._core import engine
from roamify_async._http.messages import AttemptResult, HttpResponse, NoResponse
from roamify_async.purchasing import machine
from roamify_async.sandbox import Sandbox

TOKEN = "rk_live_0123456789abcdef"
BALANCE = "/api/balance"
APPLY = "/api/esim/apply"
ORDER = "/api/esim/order"
INSTANT = "/api/esim/order/instant"
TOP_UP = "/api/esim/order/topup"
MONEY = '{"data": {"balance": 1}}'
CODES = '"iccid": "8900", "esim": {"lpaCode": "LPA:1$h$c"}'
BOOKED = (
    '{"data": {"id": "o1", "total": 1, "items": [{"esimId": "e1", "packageId": "p1"}], '
    f'"esims": [{{"id": "e1", {CODES}}}], {CODES}}}}}'
)
NO_ORDERS = '{"data": {"orders": []}}'
BLIND = QUICK.changed(check_packages=False, look_first=False)
"""Settings under which a purchase is sent at once."""
RAISE = {"on_doubt": "raise", "retries": QUICK.retries, "check_packages": False, "look_first": False}
"""Settings under which nothing is looked for and nothing is waited for."""


@pytest.fixture
async def clock(monkeypatch):
    """Return a clock that the test moves; the engine's waits between tries take no time."""
    made = Clock(monkeypatch)
    monkeypatch.setattr(engine.anyio, "sleep", made.sleep)
    return made


def asked(sandbox, line):
    """Count the requests that came for something."""
    return sandbox.state()["requests"].get(line, 0)


async def until(condition):
    """Run the loop until a condition is true."""
    for _ in range(100_000):
        if condition():
            return
        await asyncio.sleep(0)
    raise AssertionError("it never came to that")


async def failure(call, kind):
    """Return the error with which a call ends; among the public classes it is exactly of that one."""
    with pytest.raises(kind) as caught:
        await call
    assert next(base for base in type(caught.value).__mro__ if base.__module__ == RoamifyError.__module__) is kind
    return caught.value


class Wire:
    """Stands in for the transport's ``send``: gives outcomes one by one, the last for ever, and notes the limits."""

    def __init__(self, *outcomes: AttemptResult) -> None:
        """Choose the outcomes."""
        self._outcomes = list(outcomes)
        self.timeouts: list[Timeouts] = []

    async def __call__(self, request, timeouts, *, agent, proxy, send_state=None, max_size=0) -> AttemptResult:
        """Send."""
        self.timeouts.append(timeouts)
        return self._outcomes.pop(0) if len(self._outcomes) > 1 else self._outcomes[0]


def came(status=200, body=BOOKED, **headers: str):
    """Make an answer."""
    return HttpResponse(status, {name.replace("_", "-"): value for name, value in headers.items()}, body.encode())


UNSENT = NoResponse("connect", "no", "refused")
LATE_UNSENT = NoResponse("timeout", "no", "no place in the pool")


# ---------------------------------------------------------------- reads


READ_FAULTS = {
    # fault: class, sent, status, what the message holds
    "drop": (ConnectionLostError, "maybe", None, "127.0.0.1"),
    "reset": (ConnectionLostError, "maybe", None, "127.0.0.1"),
    "truncated": (DecodeError, "answered", None, "the response is not JSON"),
    "garbled": (DecodeError, "answered", None, "the response is not JSON"),
    "429": (RateLimitError, "answered", 429, "Too many requests, please try again later"),
    "429_date": (RateLimitError, "answered", 429, "Too many requests, please try again later"),
    "500": (ServerError, "answered", 500, "Internal server error"),
    "502": (ServerError, "answered", 502, "Bad gateway"),
    "503": (ServerError, "answered", 503, "Service temporarily unavailable, please try again later"),
    "500_html": (ServerError, "answered", 500, "500 | api.getroamify.com"),
    "502_html": (ServerError, "answered", 502, "502 | api.getroamify.com"),
    "503_html": (ServerError, "answered", 503, "503 | api.getroamify.com"),
    "500_empty": (ServerError, "answered", 500, "no message in the response"),
    "502_empty": (ServerError, "answered", 502, "no message in the response"),
    "503_empty": (ServerError, "answered", 503, "no message in the response"),
}


@pytest.mark.parametrize("fault", READ_FAULTS)
async def test_read_gives_up_after_five_tries(sandbox, client, clock, fault):
    """A read is tried five times; then the error says what the last try came to."""
    kind, sent, status, text = READ_FAULTS[fault]
    sandbox.fail("GET", BALANCE, fault, times=50)
    error = await failure(client.account.balance(), kind)
    assert len(clock.slept) == 4
    assert asked(sandbox, f"GET {BALANCE}") == 5
    assert (error.sent, error.method, error.path) == (sent, "GET", BALANCE)
    assert text in str(error)
    assert f"GET {BALANCE}" in str(error)
    if isinstance(error, APIStatusError):
        assert (error.status, error.message) == (status, text)
        assert str(status) in str(error)
    if sent == "answered":
        assert re.fullmatch(r"[0-9a-f]{16}-FRA", error.request_id)
        assert error.request_id in str(error)
    else:
        assert error.request_id is None


@pytest.mark.parametrize(
    "fault", sorted(READ_FAULTS.keys() - {"429_date"})
)  # a date is a second ahead: nobody waits here
async def test_read_recovers(sandbox, either, fault):
    """A read whose trouble is over by the fourth try gives the answer, and is not sent again."""
    sandbox.fail("GET", BALANCE, fault, times=3)
    assert (await either.account.balance()).balance == Decimal(1000)
    assert asked(sandbox, f"GET {BALANCE}") == 4


async def test_read_at_once(sandbox, client, clock):
    """A read that succeeds is sent once, and nothing is waited for."""
    await client.account.balance()
    assert (asked(sandbox, f"GET {BALANCE}"), clock.slept) == (1, [])


@pytest.mark.parametrize(
    ("fault", "kind"), [("401", AuthenticationError), ("403_html", PermissionDeniedError), ("409", ConflictError)]
)
async def test_refused_read(sandbox, client, clock, fault, kind):
    """A read that is refused for good is sent once."""
    sandbox.fail("GET", BALANCE, fault, times=50)
    error = await failure(client.account.balance(), kind)
    assert (error.sent, asked(sandbox, f"GET {BALANCE}"), clock.slept) == ("answered", 1, [])


async def test_missing_is_not_asked_for_again(sandbox, client, clock):
    """Neither is one for what does not exist."""
    error = await failure(client.orders.get(order_id="none"), NotFoundError)
    assert (error.message, error.status) == ("Order not found", 404)
    assert asked(sandbox, "GET /api/esim/order") == 1


@pytest.mark.parametrize("tries", [1, 2, 7])
async def test_tries(sandbox, client, clock, tries):
    """``Retries(tries=)`` says how often a request is sent."""
    sandbox.fail("GET", BALANCE, "503", times=50)
    await failure(client.with_settings(retries=Retries(tries=tries)).account.balance(), ServerError)
    assert (asked(sandbox, f"GET {BALANCE}"), len(clock.slept)) == (tries, tries - 1)


async def test_one_try_is_one_request(sandbox, client):
    """``Retries(tries=1)`` never sends again, not even a read whose connection was cut."""
    sandbox.fail("GET", BALANCE, "drop", times=50)
    await failure(client.with_settings(retries=Retries(tries=1)).account.balance(), ConnectionLostError)
    assert asked(sandbox, f"GET {BALANCE}") == 1


async def test_read_on_a_dead_connection(clock):
    """A read whose kept connection turns out to be dead is sent again at once, on a new one."""

    async def play(connection):
        while await connection.request():
            if len(connection.server.requests) == 2:
                return
            await connection.write(answer(MONEY))

    async with Raw(play) as server, AsyncRoamify(TOKEN, base_url=server.url) as client:
        await client.account.balance()
        assert (await client.account.balance()).balance == 1
        assert (server.connections, len(server.requests)) == (2, 3)
    assert clock.slept == [0]


async def test_waits_grow(sandbox, client, clock):
    """Without a Retry-After the waits double up to the longest, and up to half of each is taken away at random."""
    sandbox.fail("GET", BALANCE, "503", times=50)
    retries = Retries(tries=7, wait=1, longest_wait=6)
    await failure(client.with_settings(retries=retries).account.balance(), ServerError)
    for slept, full in zip(clock.slept, [1, 2, 4, 6, 6, 6], strict=True):
        assert full / 2 <= slept <= full


@pytest.mark.parametrize("fault", ["429", "503"])
async def test_retry_after_seconds(sandbox, client, clock, fault):
    """A server's Retry-After is waited for exactly, even beyond the longest wait of our own."""
    sandbox.fail("GET", BALANCE, fault, times=2, seconds=17)
    await client.account.balance()
    assert clock.slept == [17, 17]


async def test_retry_after_date(sandbox, client, clock):
    """So is one that is a date."""
    sandbox.fail("GET", BALANCE, "429_date", seconds=30)
    await client.account.balance()
    (slept,) = clock.slept
    assert 29 < slept <= 31


@pytest.mark.parametrize("value", ["soon", "-5", "Wed, 21 Oct 99999999999999999999 07:28:00 GMT", "1" * 400])
async def test_retry_after_that_says_nothing(clock, value):
    """A Retry-After that cannot be read is as none, and no odd exception comes of it."""
    async with Raw(answering(answer("{}", 429, Retry_After=value))) as server:
        async with AsyncRoamify(TOKEN, base_url=server.url, settings=QUICK) as client:
            error = await failure(client.account.balance(), RateLimitError)
        assert len(server.requests) == 5
    assert error.retry_after is None
    assert max(clock.slept) <= 0.001


# ---------------------------------------------------------------- deadlines


async def test_retry_after_beyond_the_deadline(sandbox, client, clock):
    """A wait that would pass the call's own deadline is not begun."""
    sandbox.fail("GET", BALANCE, "429", times=50, seconds=60)
    error = await failure(client.with_settings(retries=Retries(deadline=50)).account.balance(), RateLimitError)
    assert (error.retry_after, clock.slept, asked(sandbox, f"GET {BALANCE}")) == (60, [], 1)
    assert "retry after 60 s" in str(error)


@pytest.mark.parametrize("scope", [anyio.fail_after, anyio.move_on_after])
async def test_retry_after_beyond_the_callers_deadline(sandbox, client, clock, scope):
    """Nor is one that would pass a deadline that the caller has set around the call: the refusal is raised at once."""
    sandbox.fail("GET", BALANCE, "429", times=50, seconds=60)
    with scope(50):
        error = await failure(client.account.balance(), RateLimitError)
    assert (error.retry_after, clock.slept, asked(sandbox, f"GET {BALANCE}")) == (60, [], 1)


async def test_callers_deadline_that_suffices(sandbox, client, clock):
    """A wait that fits into the caller's deadline is made."""
    sandbox.fail("GET", BALANCE, "429", seconds=40)
    with anyio.fail_after(50):
        await client.account.balance()
    assert clock.slept == [40]


async def test_default_deadline(sandbox, client, clock):
    """By default the tries of a call may take two minutes together."""
    sandbox.fail("GET", BALANCE, "503", times=50, seconds=50)
    await failure(client.account.balance(), ServerError)
    assert (clock.slept, asked(sandbox, f"GET {BALANCE}")) == ([50, 50], 3)


async def test_one_deadline_for_all_tries(monkeypatch, sandbox, client, clock):
    """One deadline holds for all tries with their waits, and each try is cut to what is left of it."""
    sandbox.fail("GET", BALANCE, "503", times=50, seconds=4)
    given: list[float] = []
    send = client._engine.transport.send

    async def noting(request, timeouts, **facts: Any):
        given.append(timeouts.total)
        return await send(request, timeouts, **facts)

    monkeypatch.setattr(client._engine.transport, "send", noting)
    await failure(client.with_settings(retries=Retries(deadline=10)).account.balance(), ServerError)
    assert (clock.slept, asked(sandbox, f"GET {BALANCE}")) == ([4, 4], 3)
    assert given == pytest.approx([10, 6, 2], abs=0.9)
    assert all(left <= full for left, full in zip(given, [10, 6, 2], strict=True))


async def test_deadline_ends_a_try(clock):
    """A try that is under way when the deadline comes is ended by it, and is the last."""
    async with Raw(silence) as server:
        settings = Settings(retries=Retries(deadline=5))
        async with AsyncRoamify(TOKEN, base_url=server.url, settings=settings) as client:
            call = asyncio.ensure_future(client.account.balance())
            await server.came.wait()
            clock.move(6)
            error = await failure(call, RequestTimeoutError)
        assert (error.sent, len(server.requests), clock.slept) == ("maybe", 1, [])


async def test_deadline_passed_while_waiting(monkeypatch, sandbox, client, clock):
    """A try that gets its place after the deadline is not sent: the call ends with what the try before came to."""

    async def oversleep(seconds: float) -> None:
        clock.move(seconds + 20)

    monkeypatch.setattr(engine.anyio, "sleep", oversleep)
    sandbox.fail("GET", BALANCE, "429", seconds=1)
    await failure(client.with_settings(retries=Retries(deadline=10)).account.balance(), RateLimitError)
    assert asked(sandbox, f"GET {BALANCE}") == 1


async def test_timeout_is_tried_again(clock):
    """A read without an answer in time is sent again, and gives the answer of the next try."""

    async def play(connection):
        await connection.request()
        if len(connection.server.requests) == 1:
            clock.move(31)
            await asyncio.Event().wait()
        await connection.write(answer(MONEY))

    async with Raw(play) as server, AsyncRoamify(TOKEN, base_url=server.url) as client:
        assert (await client.account.balance()).balance == 1
        assert len(server.requests) == 2
    assert len(clock.slept) == 1


async def silence(connection):
    """Read and never answer."""
    await connection.request()
    await asyncio.Event().wait()


# ---------------------------------------------------------------- time limits


LIMITS = {
    # who, what the caller says -> connect, read, total
    "default": ("account.balance", (), Timeouts(), (10, None, 30)),
    "row": ("esims.apply", ("e",), Timeouts(), (10, None, 100)),
    "purchase": ("orders.create", ([OrderItem("p")],), Timeouts(), (10, None, 60)),
    "caller over default": ("account.balance", (), Timeouts(total=7, read=3), (10, 3, 7)),
    "caller over row": ("esims.apply", ("e",), Timeouts(total=7, connect=2), (2, None, 7)),
    "caller besides row": ("esims.apply", ("e",), Timeouts(connect=2), (2, None, 100)),
    "more than the row": ("orders.create", ([OrderItem("p")],), Timeouts(total=110), (10, None, 110)),
}


@pytest.mark.parametrize(("row", "arguments", "given", "limits"), LIMITS.values(), ids=LIMITS)
async def test_whose_limits_hold(monkeypatch, row, arguments, given, limits):
    """A caller's limits beat those of the row, which beat the default; each limit by itself."""
    async with AsyncRoamify(TOKEN, settings=Settings(timeouts=given, check_packages=False)) as client:
        item = '{"esimId": "e1", "packageId": "p"}'
        wire = Wire(came(body=f'{{"data": {{"id": "o1", "total": 1, "balance": 1, "items": [{item}], {CODES}}}}}'))
        monkeypatch.setattr(client._engine.transport, "send", wire)
        room, name = row.split(".")
        await getattr(getattr(client, room), name)(*arguments)
    (timeouts,) = wire.timeouts
    assert (timeouts.connect, timeouts.read, timeouts.total) == limits


@pytest.mark.parametrize(("given", "total"), [(300, 300), (float("inf"), float("inf"))])
async def test_long_tries(monkeypatch, given, total):
    """A try that may take longer than the usual deadline gets its time."""
    async with AsyncRoamify(TOKEN, settings=Settings(timeouts=Timeouts(total=given), check_packages=False)) as client:
        wire = Wire(came(body=MONEY))
        monkeypatch.setattr(client._engine.transport, "send", wire)
        await client.account.balance()
    assert wire.timeouts[0].total == pytest.approx(total)


# ---------------------------------------------------------------- the queue


async def test_queue(clock):
    """No more requests are in flight than may be, and waiting for a place costs no time of a call's own."""
    in_flight = peak = gathered = 0
    gate = asyncio.Event()

    async def play(connection):
        nonlocal in_flight, peak, gathered, gate
        while await connection.request():
            in_flight, gathered = in_flight + 1, gathered + 1
            peak = max(peak, in_flight)
            if gathered == 5:  # all that may be in flight are here; each batch takes 8 s of the limit's 10
                clock.move(8)
                gate.set()
                gate, gathered = asyncio.Event(), 0
            else:
                await gate.wait()
            in_flight -= 1
            await connection.write(answer(MONEY))

    settings = Settings(concurrency=5, timeouts=Timeouts(total=10), retries=Retries(deadline=12))
    async with Raw(play) as server, AsyncRoamify(TOKEN, base_url=server.url, settings=settings) as client:
        balances = await asyncio.gather(*(client.account.balance() for _ in range(50)))
        assert len(balances) == len(server.requests) == 50
        assert server.connections == peak == 5
    assert clock.slept == []


async def test_time_in_the_queue_is_not_the_calls(clock):
    """A call that waited for a place longer than all its tries may take is tried again all the same."""
    go_on = asyncio.Event()

    async def play(connection):
        await connection.request()
        await go_on.wait()
        await connection.write(answer(MONEY))
        while await connection.request():
            busy = len(connection.server.requests) == 2
            await connection.write(answer("{}", 503, Retry_After="1") if busy else answer(MONEY))

    settings = Settings(concurrency=1, retries=Retries(deadline=10))
    async with Raw(play) as server, AsyncRoamify(TOKEN, base_url=server.url, settings=settings) as client:
        patient = client.with_settings(retries=Retries(deadline=100))
        calls = [asyncio.ensure_future(one.account.balance()) for one in (patient, client)]
        await server.came.wait()
        clock.move(20)
        go_on.set()
        await asyncio.gather(*calls)
        assert (len(server.requests), clock.slept) == (3, [1])


async def test_place_is_free_between_tries(monkeypatch):
    """A call that waits for its next try holds no place in the queue."""
    waiting, over = asyncio.Event(), asyncio.Event()

    async def sleep(_: float) -> None:
        waiting.set()
        await over.wait()

    monkeypatch.setattr(engine.anyio, "sleep", sleep)
    busy = answer("{}", 503, Retry_After="1")
    async with Raw(answering(busy, answer(MONEY))) as server:
        async with AsyncRoamify(TOKEN, base_url=server.url, settings=Settings(concurrency=1)) as client:
            first = asyncio.ensure_future(client.account.balance())
            await waiting.wait()
            await client.account.balance()
            over.set()
            await first
        assert len(server.requests) == 3


# ---------------------------------------------------------------- actions


BRIEF = Retries(wait=0.001, longest_wait=0.001, deadline=0.1)
"""Under these a call gives up soon."""


@pytest.mark.parametrize(
    ("fault", "kind", "sent"),
    [
        ("drop", ConnectionLostError, "maybe"),
        ("reset", ConnectionLostError, "maybe"),
        ("500", ServerError, "answered"),
        ("503", ServerError, "answered"),
        ("503_html", ServerError, "answered"),
        ("502_empty", ServerError, "answered"),
        ("truncated", DecodeError, "answered"),
        ("garbled", DecodeError, "answered"),
        ("pending", ServerError, "answered"),
        ("401", AuthenticationError, "answered"),
        ("409", ConflictError, "answered"),
    ],
)
async def test_action_is_not_repeated(sandbox, either, fault, kind, sent):
    """An action that may have been done is sent once; where its eSIM does not get ready, its failure is raised."""
    order = await either.orders.create([OrderItem(plain(sandbox))])
    sandbox.fail("POST", APPLY, fault, times=50)
    with pytest.raises(kind) as caught:
        await either.with_settings(retries=BRIEF).esims.apply(order.items[0].esim_id)
    assert caught.value.sent == sent
    assert asked(sandbox, f"POST {APPLY}") == 1


@pytest.mark.parametrize("fault", ["drop", "reset", "503_html", "502_empty", "truncated", "garbled", "409", "pending"])
async def test_action_that_was_done_is_read(sandbox, either, fault):
    """An action whose answer was lost is sent once, and its eSIM is read."""
    order = await either.orders.create([OrderItem(plain(sandbox))])
    sandbox.fail("POST", APPLY, fault, when="after", times=50)
    assert (await either.esims.apply(order.items[0].esim_id)).is_installable
    assert asked(sandbox, f"POST {APPLY}") == 1


async def test_action_without_an_answer_is_not_repeated(clock):
    """One that got no answer in time is not sent again: its eSIM is read."""
    ready = {"id": "e1", "iccid": "8900", "status": "READY", "esim": {"lpaCode": "LPA:1$a$b"}}

    async def play(connection):
        while request := await connection.request():
            if request.line.startswith("POST"):
                await asyncio.Event().wait()
            await connection.write(answer(json.dumps({"data": ready})))

    async with Raw(play) as server, AsyncRoamify(TOKEN, base_url=server.url) as client:
        call = asyncio.ensure_future(client.esims.apply("e1"))
        await server.came.wait()
        clock.move(99)
        await asyncio.sleep(0)
        assert not call.done()
        clock.move(2)
        assert (await call).id == "e1"
        assert [request.line.split()[0] for request in server.requests] == ["POST", "GET"]


async def test_action_waits_for_its_turn(sandbox, client, clock):
    """An action that came too soon was not done, and is sent again."""
    order = await client.orders.create([OrderItem(plain(sandbox))])
    sandbox.fail("POST", APPLY, "429", times=2, seconds=3)
    assert (await client.esims.apply(order.items[0].esim_id)).is_installable
    assert (asked(sandbox, f"POST {APPLY}"), clock.slept) == (3, [3, 3])


CALLS = {
    "read": (lambda client: client.account.balance(), MONEY),
    "action": (lambda client: client.esims.apply("e1"), BOOKED),
    "order": (lambda client: client.orders.create([OrderItem("p1")]), BOOKED),
    "instant": (lambda client: client.orders.create_instant([OrderItem("p1")]), BOOKED),
    "top-up": (lambda client: client.topups.create("8900", "p1"), BOOKED),
}


@pytest.mark.parametrize(("call", "text"), CALLS.values(), ids=CALLS)
async def test_refused_connection_is_tried_again(monkeypatch, call, text):
    """What was never sent is sent again, whatever it is: a server that is there at the third try gets it once."""
    slept: list[float] = []
    sock = bound()
    server = Raw(answering(answer(text)), sock=sock)

    async def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 2:
            await server.__aenter__()

    monkeypatch.setattr(engine.anyio, "sleep", sleep)
    async with AsyncRoamify(TOKEN, base_url=server.url, settings=Settings(check_packages=False)) as client:
        await call(client)
        assert (len(slept), len(server.requests)) == (2, 1)
    await server.__aexit__()


@pytest.mark.parametrize(("call", "_"), CALLS.values(), ids=CALLS)
async def test_refused_connection(clock, call, _):
    """Where nobody is there to the last, nothing was sent, and that is all there is to it."""
    with nobody() as url:
        async with AsyncRoamify(TOKEN, base_url=url, settings=Settings(check_packages=False)) as client:
            error = await failure(call(client), ConnectError)
    assert (error.sent, len(clock.slept)) == ("no", 4)
    assert url.removeprefix("http://") in str(error)


# ---------------------------------------------------------------- purchases


def plain(sandbox):
    """Return a package that can be bought in every way."""
    return sandbox.kinds["plain"][0]


@asynccontextmanager
async def open_shop(**options: Any):
    """Run a sandbox with some options, and open a client of it."""
    async with (
        Sandbox(packages=300, **options) as sandbox,
        AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as client,
    ):
        yield sandbox, client


class Shop:
    """One way to buy in a sandbox, and how often it was asked for and done."""

    def __init__(self, sandbox, client, way) -> None:
        """Choose the way."""
        self.sandbox = sandbox
        self.client = client
        self.line = {"order": ORDER, "instant": INSTANT, "top-up": TOP_UP}[way]
        self.package_id = plain(sandbox)
        self._way = way
        self._iccid = ""
        self._before = 0

    async def ready(self):
        """Have an eSIM where one is needed."""
        if self._way == "top-up":
            (line,) = (await self.client.orders.create([OrderItem(self.package_id)])).items
            self._iccid = (await self.client.esims.apply(line.esim_id)).iccid
            offered = [package.package_id for package in await self.client.topups.packages(self._iccid)]
            self.package_id = next(package_id for package_id in offered if package_id != plain(self.sandbox))
            self._before = 1
        return self

    def buy(self, package_id=None, **facts: Any):
        """Return the coroutine that buys."""
        package_id = package_id or self.package_id
        if self._way == "top-up":
            return self.client.topups.create(self._iccid, package_id, **facts)
        create = self.client.orders.create if self._way == "order" else self.client.orders.create_instant
        return create([OrderItem(package_id)], **facts)

    def fail(self, fault, when="before", times=1, seconds=0.0):
        """Script a fault of this way to buy."""
        self.sandbox.fail("POST", self.line, fault, when=when, times=times, seconds=seconds)

    @property
    def posts(self):
        """Count the requests to buy."""
        return asked(self.sandbox, f"POST {self.line}")

    @property
    def booked(self):
        """Return what was bought."""
        return self.sandbox.state()["orders"][self._before :]


@pytest.fixture(params=["order", "instant", "top-up"])
async def shop(request, sandbox, client):
    """Buy in each way, awaiting; nothing is looked for."""
    return await Shop(sandbox, client.with_settings(**RAISE), request.param).ready()


@pytest.fixture(params=["order", "instant", "top-up"])
async def either_shop(request, sandbox, either):
    """Buy in each way, with both clients; nothing is looked for."""
    return await Shop(sandbox, either.with_settings(**RAISE), request.param).ready()


DOUBTS = {
    "cut before": ("drop", "before", ConnectionLostError, "maybe"),
    "cut after": ("drop", "after", ConnectionLostError, "maybe"),
    "cut in half": ("reset", "after", ConnectionLostError, "maybe"),
    "500": ("500", "after", ServerError, "answered"),
    "502": ("502_html", "after", ServerError, "answered"),
    "503": ("503", "after", ServerError, "answered"),
    "503 before": ("503", "before", ServerError, "answered"),
    "503 page": ("503_html", "after", ServerError, "answered"),
    "503 empty": ("503_empty", "after", ServerError, "answered"),
    "truncated": ("truncated", "after", DecodeError, "answered"),
    "garbled": ("garbled", "after", DecodeError, "answered"),
    "garbled before": ("garbled", "before", DecodeError, "answered"),
}


@pytest.mark.parametrize(("fault", "when", "kind", "sent"), DOUBTS.values(), ids=DOUBTS)
async def test_purchase_in_doubt(either_shop, fault, when, kind, sent):
    """A purchase with an unknown outcome is sent once, and its error holds all that is known."""
    shop = either_shop
    shop.fail(fault, when, times=50)
    for number, reference in enumerate((None, "my-order-1"), 1):
        with pytest.raises(PurchaseInDoubtError) as caught:
            await shop.buy(reference_id=reference)
        error = caught.value
        assert shop.posts == number
        booked = shop.booked[number - 1 :]
        assert isinstance(error.reason, kind)
        assert error.sent == error.reason.sent == sent
        assert error.package_ids == error.reason.package_ids == (shop.package_id,)
        assert error.reference_id == error.reason.reference_id == error.request.reference_id
        assert [order["referenceId"] for order in booked] == [error.reference_id] * (when == "after")
        assert error.reference_id == (reference or str(UUID(error.reference_id)))
        assert error.request.packages() == {shop.package_id: 1}
        assert (error.method, error.path) == ("POST", shop.line)
        assert error.request_id == error.reason.request_id
        assert (error.request_id is None) == (sent == "maybe")
        assert f"orders.reconcile({error.reference_id!r})" in str(error)
        assert shop.package_id in str(error)
        again = pickle.loads(pickle.dumps(error))
        assert (again.reference_id, type(again.reason), again.sent) == (error.reference_id, type(error.reason), sent)


async def test_answer_that_was_cut_names_the_order(shop):
    """Of an answer that cannot be read the error keeps the text and every id in it: the order is not lost."""
    shop.fail("truncated", "after")
    error = await failure(shop.buy(reference_id="my-order-1"), PurchaseInDoubtError)
    (order,) = shop.booked
    assert order["id"] in error.reason.ids
    assert order["id"] in error.reason.body


async def test_purchase_without_an_answer(shop, clock):
    """A purchase that got no answer in time is in doubt, and is sent once."""
    before = len(shop.sandbox.state()["orders"])
    shop.fail("slow", "after", seconds=600)
    call = asyncio.ensure_future(shop.buy(reference_id="my-order-1"))
    await until(lambda: len(shop.sandbox.state()["orders"]) > before)
    clock.move(61)
    error = await failure(call, PurchaseInDoubtError)
    assert type(error.reason) is RequestTimeoutError
    assert (error.sent, error.reference_id, shop.posts, len(shop.booked)) == ("maybe", "my-order-1", 1, 1)


async def test_each_purchase_has_its_own_reference(shop):
    """Purchases without a reference get different ones, which the answers carry."""
    orders = [await shop.buy() for _ in range(3)]
    assert [order["referenceId"] for order in shop.booked] == [order.reference_id for order in orders]
    assert len({str(UUID(order.reference_id)) for order in orders}) == 3
    assert (await shop.buy(reference_id="mine")).reference_id == "mine"
    assert shop.booked[-1]["referenceId"] == "mine"


async def test_purchase_that_came_too_soon(shop, clock):
    """A purchase that came too soon is sent again after its wait, with the same reference, and is booked once."""
    shop.fail("429", times=2, seconds=3)
    order = await shop.buy()
    assert (shop.posts, clock.slept) == (3, [3, 3])
    assert [booked["referenceId"] for booked in shop.booked] == [order.reference_id]


async def test_purchase_that_came_too_soon_to_the_last(shop, clock):
    """One that is refused so to the last was not bought, and is not in doubt."""
    shop.fail("429", times=50, seconds=3)
    error = await failure(shop.buy(reference_id="my-order-1"), RateLimitError)
    assert (error.sent, error.reference_id, error.package_ids) == ("answered", "my-order-1", (shop.package_id,))
    assert (shop.posts, shop.booked) == (5, [])


async def test_purchase_that_may_not_wait(shop, clock):
    """Nor is one that would have to wait beyond the caller's deadline."""
    shop.fail("429", times=50, seconds=60)
    with anyio.fail_after(50):
        await failure(shop.buy(), RateLimitError)
    assert (shop.posts, shop.booked, clock.slept) == (1, [], [])


@pytest.mark.parametrize(("fault", "kind"), [("401", AuthenticationError), ("403_html", PermissionDeniedError)])
async def test_refused_purchase(either_shop, fault, kind):
    """A purchase that is refused was not bought; the error is that of the refusal, with the purchase's names."""
    shop = either_shop
    shop.fail(fault, times=50)
    with pytest.raises(kind) as caught:
        await shop.buy(reference_id="my-order-1")
    error = caught.value
    assert (error.sent, error.reference_id, error.package_ids) == ("answered", "my-order-1", (shop.package_id,))
    assert "my-order-1" in str(error)
    assert (shop.posts, shop.booked) == (1, [])


async def test_bad_purchase(sandbox, client):
    """What the server does not take is refused, not in doubt."""
    order = await client.orders.create([OrderItem(plain(sandbox))])
    esim = await client.esims.apply(order.items[0].esim_id)
    unfit = next(id for id in sandbox.kinds["plain"] if id.split("-")[1] != plain(sandbox).split("-")[1])
    unchecked = client.with_settings(check_packages=False)
    error = await failure(unchecked.topups.create(esim.iccid, unfit), BadRequestError)
    assert error.package_ids == (unfit,)
    assert len(sandbox.state()["orders"]) == 1


async def test_redirected_purchase():
    """A purchase that is answered with a redirect is in doubt, and the other place is not asked."""
    async with Raw(answering(answer(BOOKED))) as elsewhere:
        redirect = answer("", 302, Location=elsewhere.url)
        async with Raw(answering(redirect)) as server:
            async with AsyncRoamify(TOKEN, base_url=server.url, settings=Settings(**RAISE)) as client:
                error = await failure(client.orders.create([OrderItem("p1")]), PurchaseInDoubtError)
            assert error.reason.status == 302
            assert len(server.requests) == 1
        assert elsewhere.connections == 0


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirected_read(opened, status):
    """A read that is answered with a redirect says where it leads and what to correct, and is sent once."""
    redirect = answer("", status, Location="https://new.example.com/api/balance")
    async with Raw(answering(redirect)) as server:
        error = await failure((await opened(server.url)).account.balance(), APIStatusError)
        assert len(server.requests) == 1
    assert "'https://new.example.com/api/balance'" in str(error)
    assert "correct the base URL" in str(error)


@pytest.mark.parametrize("status", [301, 307, 308])
async def test_purchase_at_an_old_address(opened, status):
    """A purchase that was not taken at this address is refused, not in doubt, and its error says where to go."""
    redirect = answer("", status, Location="https://new.example.com/api/esim/order")
    async with Raw(answering(redirect)) as server:
        client = (await opened(server.url)).with_settings(check_packages=False)
        error = await failure(client.orders.create([OrderItem("p1")]), APIStatusError)
        assert len(server.requests) == 1
    assert "correct the base URL" in str(error)


async def test_conflict_with_our_order(either_shop):
    """A conflict where our own order stands under the reference gives that order."""
    shop = either_shop
    shop.fail("409", "after")
    order = await shop.buy(reference_id="my-order-1")
    (booked,) = shop.booked
    assert (order.id, order.reference_id, shop.posts) == (booked["id"], "my-order-1", 1)
    assert str(order.total) == booked["total"]


async def test_conflict_with_our_instant_order(sandbox, client):
    """An instant order that is found comes with its eSIMs, ready to install."""
    sandbox.fail("POST", INSTANT, "409", when="after")
    order = await client.orders.create_instant([OrderItem(plain(sandbox), 3)], reference_id="my-order-1")
    assert len(order.esims) == 3
    assert all(esim.is_installable for esim in order.esims)


async def test_conflict_with_an_order_that_shows_its_esims():
    """An instant order that is shown with its eSIMs, and without packages, is ours if it has as many."""
    async with open_shop(instant_order_shows="esims") as (sandbox, client):
        sandbox.fail("POST", INSTANT, "409", when="after")
        order = await client.orders.create_instant([OrderItem(plain(sandbox), 2)], reference_id="my-order-1")
        (booked,) = sandbox.state()["orders"]
        assert order.id == booked["id"]
        assert len(order.esims) == 2


async def test_conflict_with_an_order_of_another_reference():
    """An order that a server shows although its reference is another is not taken for ours."""
    now = int(datetime.now(UTC).timestamp())
    other = {"id": "o1", "referenceId": "theirs", "total": 1, "createdAt": now, "items": [{"packageId": "p1"}]}

    async def play(connection):
        while request := await connection.request():
            listing = answer(json.dumps({"data": {"orders": [other]}}))
            await connection.write(answer("{}", 409) if request.line.startswith("POST") else listing)

    async with Raw(play) as server, AsyncRoamify(TOKEN, base_url=server.url, settings=BLIND) as client:
        await failure(client.orders.create([OrderItem("p1")], reference_id="ours"), ConflictError)
        other["referenceId"] = "ours"
        assert (await client.orders.create([OrderItem("p1")], reference_id="ours")).id == "o1"


@pytest.mark.parametrize("way", ["order", "instant", "top-up"])
async def test_response_with_another_reference(way):
    """A response that carries another reference than the purchase leaves a doubt, and is named."""
    theirs = json.dumps({"data": {"id": "o1", "referenceId": "theirs", "total": 1}})
    calls = {
        "order": lambda client: client.orders.create([OrderItem("p1")], reference_id="ours"),
        "instant": lambda client: client.orders.create_instant([OrderItem("p1")], reference_id="ours"),
        "top-up": lambda client: client.topups.create("8900", "p1", reference_id="ours"),
    }
    async with Raw(answering(answer(theirs))) as server:
        async with AsyncRoamify(TOKEN, base_url=server.url, settings=Settings(**RAISE)) as client:
            error = await failure(calls[way](client), PurchaseInDoubtError)
        assert len(server.requests) == 1
    assert type(error.reason) is DecodeError
    assert "another reference: theirs" in str(error)
    assert (error.reference_id, error.reason.ids, [order.id for order in error.found]) == ("ours", ("o1",), ["o1"])


async def test_conflict_without_an_order(either_shop):
    """A conflict where nothing stands under the reference is a refusal."""
    shop = either_shop
    shop.fail("409", "before")
    with pytest.raises(ConflictError) as caught:
        await shop.buy(reference_id="my-order-1")
    assert (caught.value.sent, caught.value.reference_id) == ("answered", "my-order-1")
    assert (shop.posts, shop.booked) == (1, [])


async def test_conflict_that_cannot_be_looked_into(shop):
    """A conflict into which it cannot be looked is in doubt."""
    shop.fail("409", "after")
    shop.sandbox.fail("GET", "*", "503", times=None)
    error = await failure(shop.buy(), PurchaseInDoubtError)
    assert type(error.reason) is ConflictError
    assert len(shop.booked) == 1


@pytest.fixture
async def strict():
    """Open a client of a sandbox that takes each reference once."""
    async with open_shop(duplicate_reference="conflict") as shop:
        yield shop


async def test_same_purchase_twice(strict):
    """The same purchase under the same reference gives the order that is there."""
    sandbox, client = strict
    first = await client.orders.create([OrderItem(plain(sandbox), 2)], reference_id="r1")
    second = await client.orders.create([OrderItem(plain(sandbox)), OrderItem(plain(sandbox))], reference_id="r1")
    assert (first.id, len(sandbox.state()["orders"])) == (second.id, 1)


@pytest.mark.parametrize("quantity", [1, 3])
async def test_other_purchase_under_the_reference(strict, quantity):
    """Another purchase under the same reference is a conflict, which names the order that is there."""
    sandbox, client = strict
    first = await client.orders.create([OrderItem(plain(sandbox), 2)], reference_id="r1")
    error = await failure(client.orders.create([OrderItem(plain(sandbox), quantity)], reference_id="r1"), ConflictError)
    assert first.id in str(error)
    assert len(sandbox.state()["orders"]) == 1


async def test_too_little_money():
    """A balance that does not suffice is a conflict, not a doubt."""
    async with open_shop(balance="0.01") as (sandbox, client):
        error = await failure(client.orders.create([OrderItem(plain(sandbox))]), ConflictError)
    assert "Insufficient partner balance" in str(error)


async def test_unknown_package(shop):
    """A package that does not exist is an error that names it, not a doubt."""
    shop.client = shop.client.with_settings(check_packages=True)
    error = await failure(shop.buy("no-such-package"), PackageNotFoundError)
    assert "there is no package 'no-such-package'" in str(error)
    assert (error.status, error.sent, error.package_ids) == (404, "no", ("no-such-package",))
    assert (shop.posts, shop.booked) == (0, [])


async def test_unknown_package_among_others(sandbox, client):
    """Of several packages only those are named that do not exist."""
    items = [OrderItem(plain(sandbox)), OrderItem("no-such-package")]
    error = await failure(client.orders.create(items), PackageNotFoundError)
    assert "there is no package 'no-such-package'" in str(error)
    assert error.package_ids == ("no-such-package",)


async def test_unknown_package_that_cannot_be_looked_up(shop):
    """Where it cannot be known whether the package exists, the purchase is in doubt."""
    shop.sandbox.fail("GET", "*", "503", times=50)
    error = await failure(shop.buy("no-such-package"), PurchaseInDoubtError)
    assert type(error.reason) is ServerError


@pytest.mark.parametrize("way", ["order", "instant", "top-up"])
@pytest.mark.parametrize("reference", [None, "my-order-1"], ids=["own", "given"])
async def test_cancelled_purchase(caplog, way, reference):
    """A purchase that is cancelled leaves its reference as a note on the exception and in the log."""
    facts = {"reference_id": reference}
    calls = {
        "order": lambda client: client.orders.create([OrderItem("p1")], **facts),
        "instant": lambda client: client.orders.create_instant([OrderItem("p1")], **facts),
        "top-up": lambda client: client.topups.create("8900", "p1", **facts),
    }
    async with Raw(silence) as server, AsyncRoamify(TOKEN, base_url=server.url, settings=BLIND) as client:
        call = asyncio.ensure_future(calls[way](client))
        await server.came.wait()
        call.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await call
        assert len(server.requests) == 1
        sent = re.search(rb'"referenceId": "([^"]+)"', server.requests[0].body).group(1).decode()
    if reference is not None:
        assert sent == reference
    (note,) = caught.value.__notes__
    (record,) = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert record.name == "roamify_async"
    for text in note, record.getMessage():
        assert sent in text
        assert f"orders.reconcile({sent!r})" in text


# ---------------------------------------------------------------- how far it got


async def test_strongest_of_several_tries():
    """Of several tries the strongest counts: a read that was answered once was answered, wherever it ended."""

    async def play(connection):
        await connection.request()
        connection.server.refuse()
        await connection.write(answer("{}", 503))

    async with Raw(play) as server, AsyncRoamify(TOKEN, base_url=server.url, settings=BLIND) as client:
        error = await failure(client.account.balance(), ConnectError)
        assert (error.sent, len(server.requests)) == ("answered", 1)


async def test_stronger_than_a_refused_connection():
    """A read that may have been sent may have been, even if the last connection was refused."""

    async def play(connection):
        await connection.request()
        connection.server.refuse()
        await connection.write(answer(MONEY)[:-1])

    async with Raw(play) as server, AsyncRoamify(TOKEN, base_url=server.url, settings=BLIND) as client:
        error = await failure(client.account.balance(), ConnectError)
        assert (error.sent, len(server.requests)) == ("maybe", 1)


@pytest.fixture
async def buying(monkeypatch):
    """Buy over a wire whose outcomes the test chooses; those of look-ups too."""
    monkeypatch.setattr(machine, "MIN_RATE_LIMIT_DELAY", 0)
    async with AsyncRoamify(TOKEN, settings=Settings(**RAISE)) as client:

        async def buy(*outcomes: AttemptResult):
            wire = Wire(*outcomes)
            monkeypatch.setattr(client._engine.transport, "send", wire)
            try:
                return wire, await client.orders.create([OrderItem("p1")])
            except RoamifyError as error:
                return wire, error

        yield buy


TOO_SOON = came(429, "{}", retry_after="0")
NONE = came(body=NO_ORDERS)


async def test_purchase_lost_after_a_refusal(buying):
    """A purchase that was refused, sent again and lost is in doubt."""
    wire, error = await buying(TOO_SOON, NONE, NONE, NoResponse("lost", "maybe", "reset"))
    assert type(error) is PurchaseInDoubtError
    assert type(error.reason) is ConnectionLostError
    assert len(wire.timeouts) == 4


@pytest.mark.parametrize(("unsent", "kind"), [(UNSENT, ConnectError), (LATE_UNSENT, RequestTimeoutError)])
async def test_purchase_never_sent(buying, unsent, kind):
    """A purchase that never left in all tries was not bought."""
    wire, error = await buying(unsent)
    assert type(error) is kind
    assert (error.sent, len(wire.timeouts)) == ("no", 5)
    assert error.package_ids == ("p1",)


@pytest.mark.parametrize(("unsent", "kind"), [(UNSENT, ConnectError), (LATE_UNSENT, RequestTimeoutError)])
async def test_purchase_never_sent_after_a_refusal(buying, unsent, kind):
    """Nor was one that was refused as too soon and then never left: no try can have booked it."""
    wire, error = await buying(TOO_SOON, NONE, NONE, unsent)
    assert type(error) is kind
    assert len(wire.timeouts) == 3 + 5


async def test_purchase_sent_after_it_had_not_left(buying):
    """A purchase that did not leave is sent again, and its answer counts."""
    wire, order = await buying(UNSENT, LATE_UNSENT, TOO_SOON, NONE, NONE, came(), NONE)
    assert (order.id, len(wire.timeouts)) == ("o1", 7)


# ---------------------------------------------------------------- secrets


async def echo(connection):
    """Answer 401 with the request's own headers in the message, and 200 with them to a POST, as no JSON."""
    while request := await connection.request():
        status = 200 if request.line.startswith("POST") else 401
        text = f'{{"message": "you sent {request.get("Authorization")}"}}'
        await connection.write(answer(text if status == 401 else f"<p>{text}</p>", status))


async def errors(client, lost):
    """Return an error of each kind of a call: refused, unreadable, in doubt, and not connected."""
    found = []
    for call in (
        client.account.balance(),
        client.esims.apply("e1"),
        client.orders.create([OrderItem("p1")]),
        lost.account.balance(),
        lost.topups.create("8900", "p1"),
    ):
        with pytest.raises(RoamifyError) as caught:
            await call
        found.append(caught.value)
    assert [type(error) for error in found[:1] + found[2:]] == [
        AuthenticationError,
        PurchaseInDoubtError,
        ConnectError,
        ConnectError,
    ]
    assert isinstance(found[1], DecodeError)
    return found


def everything(error):
    """Render an error in every way in which it may end up in a log, local variables included."""
    trace = traceback.TracebackException.from_exception(error, capture_locals=True)
    chained: list[Any] = []
    while trace is not None:
        chained += trace.format(chain=False)
        trace = trace.__cause__ or trace.__context__
    return "".join([*chained, repr(error), str(error), repr(vars(error)), repr(pickle.dumps(error, 0))])


async def test_no_token_in_errors_and_logs(caplog):
    """The token stands in no error, no traceback with local variables, and no log line of any library."""
    caplog.set_level(logging.DEBUG)
    settings = Settings(**RAISE)
    async with Raw(echo) as server:
        with nobody() as nowhere:
            async with (
                AsyncRoamify(TOKEN, base_url=server.url, settings=settings) as client,
                AsyncRoamify(TOKEN, base_url=nowhere, settings=settings) as lost,
            ):
                found = await errors(client, lost)
                assert TOKEN not in repr((client, lost, client.orders, settings))
        assert all(f"Bearer {TOKEN}" == request.get("Authorization") for request in server.requests)
    for error in found:
        shown = everything(error)
        assert re.search(r"\n +engine = |\n +self = ", shown)  # local variables are there
        assert TOKEN not in shown
    assert any(record.name == "roamify_async" for record in caplog.records)
    assert TOKEN not in caplog.text
    assert "you sent Bearer ***" in str(found[0])


def test_no_token_in_blocking_errors(caplog):
    """Nor does it in those of the blocking client."""
    caplog.set_level(logging.DEBUG)
    with nobody() as url, Roamify(TOKEN, base_url=url, settings=QUICK) as client:
        with pytest.raises(ConnectError) as caught:
            client.account.balance()
        assert TOKEN not in everything(caught.value)
    assert TOKEN not in caplog.text


@pytest.mark.parametrize("kind", [AsyncRoamify, Roamify])
@pytest.mark.parametrize(
    ("token", "base_url"),
    [(TOKEN, "ftp://example.com"), (TOKEN, "http://example.com"), (f"{TOKEN} {TOKEN}", "https://example.com")],
    ids=["no URL", "clear text", "bad token"],
)
def test_no_token_in_errors_of_the_start(kind, token, base_url):
    """Nor does it where the client cannot be made."""

    def make(given):
        try:
            kind(given.pop(), base_url=base_url)
        except ConfigurationError as error:
            return error
        raise AssertionError("it was made")

    assert TOKEN not in everything(make([token]))


async def test_log_lines(sandbox, client, caplog):
    """Each try that failed is a line at INFO with the wait, and the end of a call one at DEBUG."""
    caplog.set_level(logging.DEBUG, "roamify_async")
    sandbox.fail("GET", BALANCE, "503")
    await client.account.balance()
    lines = [(record.levelname, record.getMessage()) for record in caplog.records if record.name == "roamify_async"]
    assert lines == [("INFO", f"GET {BALANCE}: 503; again in 0.00 s"), ("DEBUG", f"GET {BALANCE}: 200")]


# ---------------------------------------------------------------- views


async def test_view_shares_the_queue():
    """A view waits in its client's queue, and uses its connection."""
    go_on = asyncio.Event()

    async def play(connection):
        while await connection.request():
            await go_on.wait()
            await connection.write(answer(MONEY))

    settings = Settings(concurrency=1)
    async with Raw(play) as server, AsyncRoamify(TOKEN, base_url=server.url, settings=settings) as client:
        view = client.with_settings(user_agent="view/1")
        assert type(view) is AsyncRoamify
        calls = [asyncio.ensure_future(one.account.balance()) for one in (client, view, client)]
        await server.came.wait()
        for _ in range(50):
            await asyncio.sleep(0)
        assert len(server.requests) == 1
        go_on.set()
        await asyncio.gather(*calls)
        assert [request.get("User-Agent") == "view/1" for request in server.requests] == [False, True, False]
        assert server.connections == 1


async def test_view_has_its_own_settings(sandbox, client, clock):
    """A view's settings are its own; those of its client stay as they are."""
    view = client.with_settings(retries=Retries(tries=2))
    assert view.settings == client.settings.changed(retries=Retries(tries=2))
    assert client.settings == QUICK
    sandbox.fail("GET", BALANCE, "503", times=50)
    await failure(view.account.balance(), ServerError)
    assert asked(sandbox, f"GET {BALANCE}") == 2
    assert view.with_settings(user_agent="x").settings.retries.tries == 2


async def test_view_cannot_change_the_connections():
    """A view cannot change settings of the shared connections, nor settings that do not exist."""
    client = AsyncRoamify(TOKEN)
    for change in ("concurrency", "rate", "ssl", "trust_env", "allow_http", "trace_configs", "no_such_setting"):
        with pytest.raises(TypeError, match=f"not {change}"):
            client.with_settings(**{change: 1})


async def test_closing_a_view(sandbox, client):
    """Closing a view does nothing; closing its client closes it."""
    view = client.with_settings(user_agent="view/1")
    async with view as same:
        assert same is view
    await view.aclose()
    await view.account.balance()
    await client.account.balance()
    await client.aclose()
    with pytest.raises(ConfigurationError, match="is closed"):
        await view.account.balance()
    assert asked(sandbox, f"GET {BALANCE}") == 2


def test_closing_a_blocking_view():
    """So it is with the blocking client."""
    with Sandbox(packages=100) as sandbox:
        with Roamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as client:
            with client.with_settings(user_agent="view/1") as view:
                view.account.balance()
            view.close()
            view.account.balance()
            client.account.balance()
        with pytest.raises(ConfigurationError, match="is closed"):
            view.account.balance()
        assert asked(sandbox, f"GET {BALANCE}") == 3
