"""Receiver: its handlers, its deadline, its responses, and what it marks as handled."""

import asyncio
import logging
import threading
from contextvars import ContextVar
from datetime import timedelta
from functools import partial

import anyio.lowlevel
import pytest
from support.deliveries import BODY, EVENT, EVENTS, SECRET, SIGNATURE, body_of, parsed, patient

from roamify_async import ConfigurationError, webhooks
from roamify_async.webhooks import MemoryStore, Receiver, WebhookEvent, sign


class Deadlines:
    """Replaces ``anyio.move_on_after``: a deadline passes when the test calls ``reach``."""

    def __init__(self) -> None:
        """Create it in the running loop."""
        self.loop = asyncio.get_running_loop()
        self.latest = anyio.CancelScope()

    def __call__(self, seconds: float) -> anyio.CancelScope:
        """Return a new scope."""
        self.latest = anyio.CancelScope()
        return self.latest

    def reach(self) -> None:
        """Make the latest deadline pass; callable from any thread."""
        self.loop.call_soon_threadsafe(self.latest.cancel)


@pytest.fixture
async def deadlines(monkeypatch):
    """Replace the deadlines of receivers."""
    deadlines = Deadlines()
    monkeypatch.setattr(anyio, "move_on_after", deadlines)
    return deadlines


class ObservedStore(MemoryStore):
    """A store that sets an event when a claim is finished or released."""

    def __init__(self) -> None:
        """Create an empty store."""
        super().__init__()
        self.ended = threading.Event()

    def finish(self, key: str) -> None:
        """Mark as handled and set the event."""
        super().finish(key)
        self.ended.set()

    def release(self, key: str) -> None:
        """Release and set the event."""
        super().release(key)
        self.ended.set()

    async def wait_ended(self) -> None:
        """Wait for the event."""
        assert await asyncio.to_thread(self.ended.wait, 10)


async def status(receiver: Receiver, body: bytes = BODY) -> int:
    """Deliver a body and return the status of the response."""
    return (await receiver.receive(body, sign(body, SECRET))).status


async def do_nothing(event: WebhookEvent) -> None:
    """Handle an event."""


# ---------------------------------------------------------------- handlers


async def test_handler_receives_the_event():
    """The handler is called with the value that ``parse`` returns."""
    seen: list[WebhookEvent] = []
    receiver = patient(seen.append)
    for event in EVENTS.values():
        assert await status(receiver, body_of(event)) == 200
    assert seen == [*map(parsed, EVENTS.values())]


async def test_async_handlers_are_awaited():
    """A coroutine function, a method, a partial and an object with an async call run in the event loop."""
    loops: list[object] = []

    async def function(event: WebhookEvent) -> None:
        loops.append(asyncio.get_running_loop())

    class Handling:
        async def method(self, event: WebhookEvent) -> None:
            await function(event)

        async def __call__(self, event: WebhookEvent) -> None:
            await function(event)

    for handler in (function, Handling().method, partial(function), Handling()):
        assert await status(patient(handler)) == 200
    assert loops == [asyncio.get_running_loop()] * 4


async def test_plain_handler_runs_in_a_thread():
    """A plain function may block: it runs outside the event loop's thread, in the caller's context."""
    observed: list[object] = []
    user = ContextVar[str]("user")
    user.set("anna")

    def handler(event: WebhookEvent) -> None:
        observed.extend([threading.current_thread(), user.get()])

    assert await status(patient(handler)) == 200
    assert observed[0] is not threading.current_thread()
    assert observed[1] == "anna"


async def test_plain_handler_must_not_return_a_coroutine(caplog):
    """A plain function that returns a coroutine has failed; the log names the mistake."""

    async def work(event: WebhookEvent) -> None:
        raise AssertionError("never started")

    receiver = Receiver(lambda event: work(event), SECRET)  # noqa: PLW0108 -- the lambda is what is tested
    assert [await status(receiver), await status(receiver)] == [500, 500]
    assert "make it an async def" in caplog.text


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_failed_event_is_handled_again(kind, caplog):
    """An exception of the handler is logged, the response is 500, and the next delivery is handled."""
    calls: list[str] = []

    def plain(event: WebhookEvent) -> None:
        calls.append(event.key)
        if len(calls) == 1:
            raise LookupError("no such customer")

    async def awaited(event: WebhookEvent) -> None:
        plain(event)

    receiver = patient(plain if kind == "plain" else awaited)
    assert [await status(receiver) for _ in range(4)] == [500, 200, 200, 200]
    assert calls == [EVENT.key] * 2
    assert "no such customer" in caplog.text


async def test_replay_is_not_handled():
    """Equal bodies are handled once; another body is another event."""
    seen: list[WebhookEvent] = []
    receiver = patient(seen.append)
    later = body_of({**EVENTS["usage"], "data": {"timestamp": 1700014400}})
    assert [await status(receiver, body) for body in (BODY, BODY, later, BODY, later)] == [200] * 5
    assert len(seen) == 2


async def test_refund_is_identified_by_its_id():
    """A refund event with the same id and another body is handled once."""
    seen: list[WebhookEvent] = []
    receiver = patient(seen.append)
    event = EVENTS["refunded"]
    again = {**event, "data": {**event["data"], "attempt": 2}}
    assert [await status(receiver, body_of(one)) for one in (event, again)] == [200, 200]
    assert len(seen) == 1


async def test_delivery_during_handling_is_a_conflict():
    """While an event is handled, another delivery of it is 409; afterwards it is 200."""
    started, proceed = asyncio.Event(), asyncio.Event()
    calls: list[str] = []

    async def handler(event: WebhookEvent) -> None:
        calls.append(event.key)
        started.set()
        await proceed.wait()

    receiver = patient(handler)
    first = asyncio.create_task(status(receiver))
    await started.wait()
    assert await asyncio.gather(*(status(receiver) for _ in range(5))) == [409] * 5
    proceed.set()
    assert await first == 200
    assert await status(receiver) == 200
    assert calls == [EVENT.key]


@pytest.mark.parametrize("kind", ["async", "plain"])
async def test_simultaneous_deliveries_are_handled_once(kind):
    """One of many simultaneous deliveries calls the handler."""
    calls: list[str] = []

    def plain(event: WebhookEvent) -> None:
        calls.append(event.key)

    async def awaited(event: WebhookEvent) -> None:
        await anyio.lowlevel.checkpoint()
        calls.append(event.key)

    receiver = patient(plain if kind == "plain" else awaited)
    statuses = await asyncio.gather(*(status(receiver) for _ in range(20)))
    assert set(statuses) <= {200, 409}
    assert 200 in statuses
    assert calls == [EVENT.key]


# ---------------------------------------------------------------- deadline and cancellation


async def test_deadline_ends_a_delivery(caplog):
    """After the deadline the response is 500, and the log names the event."""

    async def handler(event: WebhookEvent) -> None:
        await anyio.sleep_forever()

    assert await status(Receiver(handler, SECRET, deadline=0.01)) == 500
    assert f"did not finish event {EVENT.key} within 0.01 s" in caplog.text


async def test_late_async_handler_is_cancelled(deadlines):
    """An async handler is cancelled at the deadline, and the event is handled at the next delivery."""
    ends: list[str] = []

    async def handler(event: WebhookEvent) -> None:
        if not ends:
            deadlines.reach()
            try:
                await anyio.sleep_forever()
            finally:
                ends.append("cancelled")
        ends.append("handled")

    receiver = patient(handler)
    assert [await status(receiver), await status(receiver)] == [500, 200]
    assert ends == ["cancelled", "handled"]


async def test_late_plain_handler_continues(deadlines):
    """A plain handler continues after the deadline; the event is marked when it returns and handled once."""
    proceed, calls = threading.Event(), list[str]()
    store = ObservedStore()

    def handler(event: WebhookEvent) -> None:
        calls.append(event.key)
        deadlines.reach()
        proceed.wait(10)

    receiver = patient(handler, store=store)
    assert [await status(receiver), await status(receiver)] == [500, 409]
    proceed.set()
    await store.wait_ended()
    assert await status(receiver) == 200
    assert calls == [EVENT.key]


async def test_late_failure_is_logged(deadlines, caplog):
    """A plain handler that fails after the deadline is logged, and the event is handled at the next delivery."""
    proceed = threading.Event()
    store = ObservedStore()

    def handler(event: WebhookEvent) -> None:
        if not proceed.is_set():
            deadlines.reach()
            proceed.wait(10)
            raise LookupError("failed after the deadline")

    receiver = patient(handler, store=store)
    assert await status(receiver) == 500
    proceed.set()
    await store.wait_ended()
    assert await status(receiver) == 200
    assert "failed after the deadline" in caplog.text


async def test_cancelled_delivery_is_handled_again():
    """A delivery can be cancelled, and the event is handled at the next one."""
    started = asyncio.Event()
    seen: list[WebhookEvent] = []

    async def handler(event: WebhookEvent) -> None:
        if not started.is_set():
            started.set()
            await anyio.sleep_forever()
        seen.append(event)

    receiver = patient(handler)
    task = asyncio.create_task(status(receiver))
    await started.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await status(receiver) == 200
    assert seen == [EVENT]


async def test_slow_store_does_not_delay_the_response(deadlines):
    """The response is 500 at the deadline although the store is slow, and a claim made after it is released."""
    store, proceed = ObservedStore(), threading.Event()
    claim = store.claim

    def slow_claim(key: str) -> webhooks.Claim:
        deadlines.reach()
        proceed.wait(10)
        return claim(key)

    store.claim = slow_claim  # type: ignore[method-assign]
    receiver = patient(do_nothing, store=store)
    assert await status(receiver) == 500
    proceed.set()
    await store.wait_ended()
    store.claim = claim  # type: ignore[method-assign]
    assert await status(receiver) == 200


@pytest.mark.parametrize("moment", ["before", "after"])
async def test_claim_of_a_cancelled_delivery_is_released(moment):
    """A delivery that is cancelled just before or after a thread claims its event releases the claim."""
    loop, store = asyncio.get_running_loop(), ObservedStore()
    claim, proceed, tasks = store.claim, threading.Event(), list[asyncio.Task[int]]()

    def cancelled_claim(key: str) -> webhooks.Claim:
        outcome: webhooks.Claim = "busy"
        if moment == "after":
            outcome = claim(key)
        loop.call_soon_threadsafe(tasks[0].cancel)
        loop.call_soon_threadsafe(proceed.set)
        proceed.wait(10)
        return claim(key) if moment == "before" else outcome

    store.claim = cancelled_claim  # type: ignore[method-assign]
    receiver = patient(do_nothing, store=store)
    tasks.append(asyncio.create_task(status(receiver)))
    with pytest.raises(asyncio.CancelledError):
        await tasks[0]
    await store.wait_ended()
    store.claim = claim  # type: ignore[method-assign]
    assert await status(receiver) == 200


@pytest.mark.parametrize("step", ["claim", "finish"])
async def test_broken_store_is_a_failure(step, caplog):
    """If the store fails, the response is 500 and the log has the reason: whether the event was handled is unknown."""

    class BrokenStore(MemoryStore):
        def claim(self, key: str) -> webhooks.Claim:
            if step == "claim":
                raise OSError("no database")
            return super().claim(key)

        def finish(self, key: str) -> None:
            raise OSError("no database")

    for handler in (do_nothing, repr):
        caplog.clear()
        assert await status(Receiver(handler, SECRET, store=BrokenStore())) == 500
        assert "no database" in caplog.text


# ---------------------------------------------------------------- responses and options


async def test_responses_are_json():
    """Each response has the documented form and reveals nothing else."""
    receiver = Receiver(repr, SECRET, limit=len(BODY))
    assert (await receiver.receive(BODY, SIGNATURE)).body == b'{"code": 200, "status": "success"}'
    assert (await receiver.receive(BODY, None)).body == b'{"code": 401, "status": "bad signature"}'
    assert (await receiver.receive(b"[]", sign(b"[]", SECRET))).body == b'{"code": 400, "status": "unreadable"}'
    assert (await receiver.receive(BODY + b" ", SIGNATURE)).body == b'{"code": 413, "status": "too large"}'


async def test_rejections_are_logged_without_secrets(caplog):
    """The log has the reason for a rejection, and neither the secret nor the signature."""
    caplog.set_level(logging.WARNING)
    receiver = Receiver(repr, [SECRET, "another"])
    await receiver.receive(BODY, "sha256=" + SIGNATURE)
    assert "has a prefix" in caplog.text
    assert SIGNATURE not in caplog.text
    assert SECRET not in caplog.text + repr(receiver)


def test_secret_comes_from_the_environment(monkeypatch):
    """The secret defaults to that of the environment; without one, the error names the variable."""
    monkeypatch.delenv("ROAMIFY_WEBHOOK_SECRET", raising=False)
    with pytest.raises(ConfigurationError, match="ROAMIFY_WEBHOOK_SECRET"):
        Receiver(repr)
    monkeypatch.setenv("ROAMIFY_WEBHOOK_SECRET", f" {SECRET}\n")
    assert Receiver(repr).receive_blocking(BODY, SIGNATURE).status == 200


def test_options_are_validated():
    """A wrong handler, secret, deadline or limit is refused when the receiver is created."""
    for wrong in ({"deadline": 0}, {"deadline": float("nan")}, {"limit": 0}):
        with pytest.raises(ValueError, match=rf"{next(iter(wrong))} must be"):
            Receiver(repr, SECRET, **wrong)
    with pytest.raises(TypeError, match="callable"):
        Receiver("handle", SECRET)
    with pytest.raises(ConfigurationError, match="no webhook secret"):
        Receiver(repr, " ")


def test_deadline():
    """The default deadline is below the 3 seconds that Roamify waits; a ``timedelta`` is converted to seconds."""
    assert 1 < Receiver(repr, SECRET).deadline < 3
    assert Receiver(repr, SECRET, deadline=timedelta(milliseconds=1500)).deadline == 1.5


def test_receive_blocking():
    """Without a running loop, async and plain handlers are called once for each event."""
    seen: list[WebhookEvent] = []

    async def awaited(event: WebhookEvent) -> None:
        await anyio.lowlevel.checkpoint()
        seen.append(event)

    for handler in (awaited, seen.append):
        receiver = patient(handler)
        assert [receiver.receive_blocking(BODY, SIGNATURE).status for _ in range(2)] == [200, 200]
    assert seen == [EVENT, EVENT]
