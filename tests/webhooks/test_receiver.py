"""A receiver handles each event once, answers in time, and leaves unmarked what was not handled."""

import asyncio
import logging
import threading
from collections.abc import AsyncIterator
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from typing import Any

import anyio.lowlevel
import httpx
import pytest
from aiohttp import ClientSession, web
from starlette.applications import Starlette
from starlette.routing import Mount
from support.deliveries import EVENTS, SECRET, body_of, headers_of, parsed

from roamify_async import ConfigurationError, webhooks
from roamify_async.webhooks import AsgiApp, MemoryStore, Receiver, WebhookEvent, once, sign

BODY = body_of(EVENTS["usage"])
SIGNATURE = sign(BODY, SECRET)
EVENT = parsed(EVENTS["usage"])


class Deadlines:
    """Stands in for the clock: the deadline of a delivery passes when the handler says so."""

    def __init__(self) -> None:
        """Begin without a delivery."""
        self.loop = asyncio.get_running_loop()
        self.latest = anyio.CancelScope()

    def __call__(self, seconds: float) -> anyio.CancelScope:
        """Begin a delivery."""
        self.latest = anyio.CancelScope()
        return self.latest

    def reach(self) -> None:
        """Let the latest deadline pass, from any thread."""
        self.loop.call_soon_threadsafe(self.latest.cancel)


@pytest.fixture
async def deadlines(monkeypatch):
    """Let no deadline pass by itself."""
    deadlines = Deadlines()
    monkeypatch.setattr(anyio, "move_on_after", deadlines)
    return deadlines


async def status(receiver: Receiver, body: bytes = BODY) -> int:
    """Deliver a body and give the status of the answer."""
    return (await receiver.receive(body, sign(body, SECRET))).status


# ---------------------------------------------------------------- handlers


@pytest.mark.parametrize("name", EVENTS)
async def test_handler_is_given_the_event(name):
    """The handler gets the value that ``parse`` gives."""
    seen: list[WebhookEvent] = []
    assert await status(Receiver(seen.append, SECRET), body_of(EVENTS[name])) == 200
    assert seen == [parsed(EVENTS[name])]


async def test_every_kind_of_async_handler_is_awaited():
    """A coroutine function, a method, a partial and an object whose call is one run in the event loop."""
    loops: list[object] = []

    async def function(event: WebhookEvent) -> None:
        loops.append(asyncio.get_running_loop())

    class Handling:
        async def method(self, event: WebhookEvent) -> None:
            await function(event)

        async def __call__(self, event: WebhookEvent) -> None:
            await function(event)

    for handler in (function, Handling().method, partial(function), Handling()):
        assert await status(Receiver(handler, SECRET)) == 200
    assert loops == [asyncio.get_running_loop()] * 4


async def test_plain_handler_runs_in_a_thread():
    """A plain function may block: it runs beside the event loop, and sees the caller's context."""
    where: list[object] = []
    user = ContextVar[str]("user")
    user.set("anna")

    def handler(event: WebhookEvent) -> None:
        where.extend([threading.current_thread(), user.get()])

    assert await status(Receiver(handler, SECRET)) == 200
    assert where[0] is not threading.current_thread()
    assert where[1] == "anna"


async def test_coroutine_of_a_plain_handler_is_a_failure(caplog):
    """A plain function that gives a coroutine has done nothing yet: that is said, and the event is not marked."""

    async def work(event: WebhookEvent) -> None:
        raise AssertionError("never begun")

    receiver = Receiver(lambda event: work(event), SECRET)  # noqa: PLW0108 -- that is what is tried
    assert [await status(receiver), await status(receiver)] == [500, 500]
    assert "make it an async def" in caplog.text


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_failed_handler_leaves_no_mark(kind, caplog):
    """What a handler raises is logged and answered with 500, and the next delivery is handled."""
    calls: list[str] = []

    def plain(event: WebhookEvent) -> None:
        calls.append(event.key)
        if len(calls) == 1:
            raise LookupError("no such customer")

    async def awaited(event: WebhookEvent) -> None:
        plain(event)

    receiver = Receiver(plain if kind == "plain" else awaited, SECRET)
    assert [await status(receiver) for _ in range(4)] == [500, 200, 200, 200]
    assert calls == [EVENT.key] * 2
    assert "no such customer" in caplog.text


async def test_replay_is_not_handled():
    """The same body is handled once, however often it comes; another body is another event."""
    seen: list[WebhookEvent] = []
    receiver = Receiver(seen.append, SECRET)
    later = body_of({**EVENTS["usage"], "data": {"timestamp": 1700014400}})
    assert [await status(receiver, body) for body in (BODY, BODY, later, BODY, later)] == [200] * 5
    assert len(seen) == 2


async def test_refund_is_known_by_its_id():
    """A refund's event that was written anew is the same event."""
    seen: list[WebhookEvent] = []
    receiver = Receiver(seen.append, SECRET)
    event = EVENTS["refunded"]
    again = {**event, "data": {**event["data"], "attempt": 2}}
    assert [await status(receiver, body_of(one)) for one in (event, again)] == [200, 200]
    assert len(seen) == 1


async def test_concurrent_deliveries_run_the_handler_once():
    """While an event is handled, the same event is told to come again; afterwards it is done."""
    begun, go = asyncio.Event(), asyncio.Event()
    runs: list[str] = []

    async def handler(event: WebhookEvent) -> None:
        runs.append(event.key)
        begun.set()
        await go.wait()

    receiver = Receiver(handler, SECRET)
    first = asyncio.create_task(status(receiver))
    await begun.wait()
    assert await asyncio.gather(*(status(receiver) for _ in range(5))) == [409] * 5
    go.set()
    assert await first == 200
    assert await status(receiver) == 200
    assert runs == [EVENT.key]


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_simultaneous_deliveries_run_the_handler_once(kind):
    """Of many deliveries that come at one moment, one runs the handler."""
    runs: list[str] = []

    def plain(event: WebhookEvent) -> None:
        runs.append(event.key)

    async def awaited(event: WebhookEvent) -> None:
        await anyio.lowlevel.checkpoint()
        runs.append(event.key)

    receiver = Receiver(plain if kind == "plain" else awaited, SECRET)
    answers = await asyncio.gather(*(status(receiver) for _ in range(20)))
    assert set(answers) <= {200, 409}
    assert 200 in answers
    assert runs == [EVENT.key]


# ---------------------------------------------------------------- in time


async def test_deadline_ends_a_delivery(caplog):
    """A handler that never ends is answered for with 500 after the deadline."""

    async def handler(event: WebhookEvent) -> None:
        await anyio.sleep_forever()

    assert await status(Receiver(handler, SECRET, deadline=0.01)) == 500
    assert f"not done with {EVENT.key} after 0.01 s" in caplog.text


async def test_slow_async_handler_is_cancelled(deadlines):
    """An async handler that passes the deadline is cancelled, and the event is handled when it comes again."""
    ends: list[str] = []

    async def handler(event: WebhookEvent) -> None:
        if not ends:
            deadlines.reach()
            try:
                await anyio.sleep_forever()
            finally:
                ends.append("cancelled")
        ends.append("handled")

    receiver = Receiver(handler, SECRET)
    assert [await status(receiver), await status(receiver)] == [500, 200]
    assert ends == ["cancelled", "handled"]


class Watched(MemoryStore):
    """A store that tells when a claim ends."""

    def __init__(self) -> None:
        """Begin with no claim."""
        super().__init__()
        self.ended = threading.Event()

    def finish(self, key: str) -> None:
        """Mark, and tell."""
        super().finish(key)
        self.ended.set()

    def release(self, key: str) -> None:
        """Let go, and tell."""
        super().release(key)
        self.ended.set()


async def test_slow_plain_handler_goes_on_and_is_marked(deadlines):
    """A plain handler that passes the deadline is not run again while it runs, nor after it ended well."""
    go, runs = threading.Event(), list[str]()
    store = Watched()

    def handler(event: WebhookEvent) -> None:
        runs.append(event.key)
        deadlines.reach()
        go.wait(10)

    receiver = Receiver(handler, SECRET, store=store)
    assert [await status(receiver), await status(receiver)] == [500, 409]
    go.set()
    assert await asyncio.to_thread(store.ended.wait, 10)
    assert await status(receiver) == 200
    assert runs == [EVENT.key]


async def test_late_failure_is_logged_and_not_marked(deadlines, caplog):
    """A plain handler that fails after the deadline is logged, and the next delivery is handled."""
    go = threading.Event()
    store = Watched()

    def handler(event: WebhookEvent) -> None:
        if not go.is_set():
            deadlines.reach()
            go.wait(10)
            raise LookupError("too late and wrong")

    receiver = Receiver(handler, SECRET, store=store)
    assert await status(receiver) == 500
    go.set()
    assert await asyncio.to_thread(store.ended.wait, 10)
    assert await status(receiver) == 200
    assert "too late and wrong" in caplog.text


async def test_cancelled_delivery_leaves_no_mark():
    """A server that cancels a delivery gets its way, and the next one is handled."""
    begun = asyncio.Event()
    seen: list[WebhookEvent] = []

    async def handler(event: WebhookEvent) -> None:
        if not begun.is_set():
            begun.set()
            await anyio.sleep_forever()
        seen.append(event)

    receiver = Receiver(handler, SECRET)
    task = asyncio.create_task(status(receiver))
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await status(receiver) == 200
    assert seen == [EVENT]


async def test_slow_store_does_not_pass_the_deadline(deadlines):
    """Where the store does not answer in time, the delivery does; what is claimed too late is given back."""
    store, go = Watched(), threading.Event()
    claim = store.claim

    def claiming(key: str) -> webhooks.Claim:
        deadlines.reach()
        go.wait(10)
        return claim(key)

    async def handler(event: WebhookEvent) -> None:
        pass

    store.claim = claiming  # type: ignore[method-assign]
    receiver = Receiver(handler, SECRET, store=store)
    assert await status(receiver) == 500
    go.set()
    assert await asyncio.to_thread(store.ended.wait, 10)
    store.claim = claim  # type: ignore[method-assign]
    assert await status(receiver) == 200


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_delivery_cancelled_while_it_claims_leaves_no_mark(moment):
    """A delivery that is cancelled while a thread still claims the event, or just has, gives the claim back."""
    loop, store = asyncio.get_running_loop(), Watched()
    claim, go, tasks = store.claim, threading.Event(), list[asyncio.Task[int]]()

    def claiming(key: str) -> webhooks.Claim:
        found: webhooks.Claim = "busy"
        if moment == "after":
            found = claim(key)
        loop.call_soon_threadsafe(tasks[0].cancel)
        loop.call_soon_threadsafe(go.set)
        go.wait(10)
        return claim(key) if moment == "before" else found

    async def handler(event: WebhookEvent) -> None:
        pass

    store.claim = claiming  # type: ignore[method-assign]
    receiver = Receiver(handler, SECRET, store=store)
    tasks.append(asyncio.create_task(status(receiver)))
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    assert await asyncio.to_thread(store.ended.wait, 10)
    store.claim = claim  # type: ignore[method-assign]
    assert await status(receiver) == 200


@pytest.mark.parametrize("step", ["claim", "finish"])
@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_broken_store_is_a_failure(step, kind, caplog):
    """A store that fails is a 500 with its reason in the log, for nobody knows whether the event was handled."""

    class Broken(MemoryStore):
        def claim(self, key: str) -> webhooks.Claim:
            if step == "claim":
                raise OSError("no database")
            return super().claim(key)

        def finish(self, key: str) -> None:
            raise OSError("no database")

    async def awaited(event: WebhookEvent) -> None:
        pass

    handler = awaited if kind == "async" else repr
    assert await status(Receiver(handler, SECRET, store=Broken())) == 500
    assert "no database" in caplog.text


# ---------------------------------------------------------------- what it refuses


async def test_answers_are_json_with_a_code():
    """The answers are those that Roamify's documentation asks for, and say nothing else."""
    receiver = Receiver(repr, SECRET, limit=len(BODY))
    assert (await receiver.receive(BODY, SIGNATURE)).body == b'{"code": 200, "status": "success"}'
    assert (await receiver.receive(BODY, None)).body == b'{"code": 401, "status": "bad signature"}'
    assert (await receiver.receive(b"[]", sign(b"[]", SECRET))).body == b'{"code": 400, "status": "unreadable"}'
    assert (await receiver.receive(BODY + b" ", SIGNATURE)).body == b'{"code": 413, "status": "too large"}'


async def test_refusals_are_logged_without_secrets(caplog):
    """The log says why a delivery was refused, and shows neither secret nor signature."""
    caplog.set_level(logging.WARNING)
    receiver = Receiver(repr, [SECRET, "another"])
    await receiver.receive(BODY, "sha256=" + SIGNATURE)
    assert "has a prefix" in caplog.text
    assert SIGNATURE not in caplog.text
    assert SECRET not in caplog.text + repr(receiver)


def test_secret_comes_from_the_environment(monkeypatch):
    """Without a secret the environment's is taken; without that either, the error says what to set."""
    monkeypatch.delenv("ROAMIFY_WEBHOOK_SECRET", raising=False)
    with pytest.raises(ConfigurationError, match="ROAMIFY_WEBHOOK_SECRET"):
        Receiver(repr)
    monkeypatch.setenv("ROAMIFY_WEBHOOK_SECRET", f" {SECRET}\n")
    assert Receiver(repr).receive_blocking(BODY, SIGNATURE).status == 200


@pytest.mark.parametrize("wrong", [{"deadline": 0}, {"deadline": float("nan")}, {"limit": 0}])
def test_limits_are_positive(wrong):
    """A deadline or a limit of nothing is refused when the receiver is made."""
    with pytest.raises(ValueError, match=rf"{next(iter(wrong))} must be"):
        Receiver(repr, SECRET, **wrong)


def test_handler_is_callable():
    """What cannot be called is refused when the receiver is made, and not at the first delivery."""
    with pytest.raises(TypeError, match="callable"):
        Receiver("handle", SECRET)


def test_deadline_is_below_what_roamify_waits():
    """By default the receiver answers before Roamify stops waiting; a ``timedelta`` is seconds."""
    assert 1 < Receiver(repr, SECRET).deadline < 3
    assert Receiver(repr, SECRET, deadline=timedelta(milliseconds=1500)).deadline == 1.5


def test_blocking_receiver_runs_both_kinds_of_handlers():
    """Where no loop runs, async and plain handlers are run all the same, and each event once."""
    seen: list[WebhookEvent] = []

    async def awaited(event: WebhookEvent) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(event)

    for handler in (awaited, seen.append):
        receiver = Receiver(handler, SECRET)
        assert [receiver.receive_blocking(BODY, SIGNATURE).status for _ in range(2)] == [200, 200]
    assert seen == [EVENT, EVENT]


# ---------------------------------------------------------------- once


def test_memory_is_bounded():
    """The memory store forgets the oldest keys that are done, and no others."""
    store = MemoryStore(size=3)
    for key in "abcd":
        store.claim(key)
        store.finish(key)
    assert repr(store) == "MemoryStore(3 of 3)"
    assert [store.claim(key) for key in "bcda"] == ["done", "done", "done", "new"]


def test_once_marks_after_success():
    """``once`` marks an event when its block has ended, and releases it when the block raises."""
    store = MemoryStore()
    with pytest.raises(KeyboardInterrupt), once(EVENT, store):
        raise KeyboardInterrupt
    with once(EVENT, store) as claim:
        assert claim == "new"
        with once(EVENT, store) as other:
            assert other == "busy"
    with once(EVENT, store) as claim:
        assert claim == "done"


def test_failing_second_block_releases_nothing():
    """A block that did not get the claim does not give it back either."""
    store = MemoryStore()
    with once(EVENT, store):
        with pytest.raises(LookupError), once(EVENT, store):
            raise LookupError
        assert store.claim(EVENT.key) == "busy"
    assert store.claim(EVENT.key) == "done"


# ---------------------------------------------------------------- aiohttp


async def test_aiohttp_refuses_what_is_announced_too_large():
    """A body that is said to be over the limit is refused before it comes."""
    app = web.Application()
    app.router.add_post("/roamify", webhooks.aiohttp_handler(Receiver(repr, SECRET, limit=100)))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    reader, writer = await asyncio.open_connection(*runner.addresses[0])
    writer.write(b"POST /roamify HTTP/1.1\r\nHost: app\r\nContent-Length: 101\r\n\r\n")
    assert b"413" in await reader.readline()
    writer.close()
    await writer.wait_closed()
    await runner.cleanup()


async def test_aiohttp_takes_what_a_middleware_has_read():
    """A body that was read before the handler is verified all the same, and one in pieces as a whole."""
    seen: list[WebhookEvent] = []

    @web.middleware
    async def reading(request: web.Request, handler: Any) -> Any:
        await request.read()
        return await handler(request)

    async def pieces() -> AsyncIterator[bytes]:
        yield BODY[:9]
        yield BODY[9:]

    app = web.Application(middlewares=[reading])
    app.router.add_post("/roamify", webhooks.aiohttp_handler(Receiver(seen.append, SECRET)))
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    url = f"http://127.0.0.1:{runner.addresses[0][1]}/roamify"
    async with ClientSession() as session, session.post(url, data=pieces(), headers=headers_of(BODY)) as response:
        assert (response.status, response.content_type) == (200, "application/json")
    assert seen == [EVENT]
    await runner.cleanup()


# ---------------------------------------------------------------- ASGI


async def exchange(app: AsgiApp, scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Play a server that sends these messages, and give what the application answers."""
    waiting, sent = [*messages], list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return [*sent, {"unread": len(waiting)}]


def http(method: str = "POST") -> dict[str, Any]:
    """Make the scope of a delivery, with header names as some proxies write them."""
    headers = [(name.encode(), value.encode()) for name, value in headers_of(BODY).items()]
    return {"type": "http", "method": method, "headers": headers}


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    """Make a message with a piece of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


async def test_asgi_takes_a_body_in_pieces():
    """A body that comes in pieces is verified as a whole."""
    seen: list[WebhookEvent] = []
    pieces = [part(BODY[:9], more=True), {"type": "http.request", "more_body": True}, part(BODY[9:], more=False)]
    start, end, rest = await exchange(AsgiApp(Receiver(seen.append, SECRET)), http(), *pieces)
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert dict(start["headers"]) == {
        b"content-type": b"application/json",
        b"content-length": str(len(end["body"])).encode(),
    }
    assert (seen, rest) == ([EVENT], {"unread": 0})


async def test_asgi_stops_reading_at_the_limit():
    """A body without an end is read as far as the limit, and refused."""
    endless = [part(b"x" * 10, more=True)] * 100
    start, _, rest = await exchange(AsgiApp(Receiver(repr, SECRET, limit=25)), http(), *endless)
    assert (start["status"], rest) == (413, {"unread": 97})


async def test_asgi_says_nothing_to_who_has_gone():
    """A sender that goes away in the middle of its body is not answered, and nothing is handled."""
    seen: list[WebhookEvent] = []
    messages = [part(BODY[:9], more=True), {"type": "http.disconnect"}]
    assert await exchange(AsgiApp(Receiver(seen.append, SECRET)), http(), *messages) == [{"unread": 0}]
    assert not seen


@pytest.mark.parametrize("method", ["GET", "PUT", "HEAD"])
async def test_asgi_takes_posts_only(method):
    """Any other method is told so."""
    start, *_ = await exchange(AsgiApp(Receiver(repr, SECRET)), http(method))
    assert (start["status"], dict(start["headers"])[b"allow"]) == (405, b"POST")


async def test_asgi_starts_and_ends_with_its_server():
    """On its own under a server, the application takes part in its start and end."""
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    assert await exchange(AsgiApp(Receiver(repr, SECRET)), {"type": "lifespan"}, *messages) == [
        {"type": "lifespan.startup.complete"},
        {"type": "lifespan.shutdown.complete"},
        {"unread": 0},
    ]


async def test_asgi_closes_websockets_and_refuses_the_rest():
    """A websocket is closed before it opens; a scope of a kind that ASGI has no word for is a ValueError."""
    app = AsgiApp(Receiver(repr, SECRET))
    assert await exchange(app, {"type": "websocket"}, {"type": "websocket.connect"}) == [
        {"type": "websocket.close", "code": 1000},
        {"unread": 0},
    ]
    with pytest.raises(ValueError, match="come over HTTP, not 'mqtt'"):
        await exchange(app, {"type": "mqtt"})


async def test_asgi_can_be_mounted():
    """Mounted, it answers below its path; that path itself without a slash is a redirect of Starlette's."""
    app = Starlette(routes=[Mount("/roamify", AsgiApp(Receiver(repr, SECRET)))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as browser:
        answers = [
            await browser.post(path, content=BODY, headers=headers_of(BODY)) for path in ("/roamify/", "/roamify")
        ]
    assert [answer.status_code for answer in answers] == [200, 307]
