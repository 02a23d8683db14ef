"""Delivery of signed webhook events to the partner's receiver, one at a time, with retries."""

import asyncio
import hmac
from collections import deque
from collections.abc import Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from heapq import heappop, heappush
from typing import Any, Final, Literal

import aiohttp
from attrs import define, field

from .data.encoding import Json, dumps
from .options import Options

_LISTED: Final = 1_000  # deliveries


@define(eq=False)
class Delivery:
    """One event to deliver; `status` is that of the last response, None if there was none in time."""

    id: int
    event: str
    body: bytes
    tries: int = 0
    status: int | None = None
    state: Literal["waiting", "acknowledged", "given up", "dropped"] = "waiting"

    def to_json(self) -> Json:
        """Return the delivery as the control API shows it, with the signed body as text."""
        names = ("id", "event", "tries", "status", "state")
        return {name: getattr(self, name) for name in names} | {"body": self.body.decode()}


@define(eq=False)
class Webhooks:
    """The webhook events of one sandbox; hold the sandbox's lock while calling its methods."""

    _options: Options
    _now: Callable[[], float]
    _lock: Any  # the class of a lock has no public name in Python 3.11
    url: str | None = field(init=False)
    _count: int = field(default=0, init=False)
    _open: dict[int, Delivery] = field(factory=dict[int, Delivery], init=False)
    _queue: list[tuple[float, int]] = field(factory=list[tuple[float, int]], init=False)  # time of the next attempt, id
    _recent: "deque[Delivery]" = field(factory=lambda: deque[Delivery](maxlen=_LISTED), init=False)
    _waiting: list["Future[None]"] = field(factory=list["Future[None]"], init=False)
    _trying: tuple[Delivery, asyncio.Timeout] | None = field(default=None, init=False)
    _wake: Callable[[], object] = field(default=lambda: None, init=False)

    def __attrs_post_init__(self) -> None:
        self.url = self._options.webhook_url

    def send(self, *events: Json) -> None:
        """Queue events, if there is a URL to send them to."""
        for event in events:
            self.send_body(f"{event['event_category']}.{event['event_type']}", dumps(event).encode(errors="replace"))

    @contextmanager
    def muted(self) -> Generator[None, None, None]:
        """Drop the events that are sent within the block."""
        url, self.url = self.url, None
        try:
            yield
        finally:
            self.url = url

    def send_body(self, event: str, body: bytes) -> None:
        """Queue an event with this body; first attempts take precedence over retries."""
        if self.url is not None:
            self._count += 1
            delivery = self._open[self._count] = Delivery(self._count, event, body)
            self._recent.append(delivery)
            heappush(self._queue, (0.0, delivery.id))
            self._wake()

    def recent(self) -> list[Delivery]:
        """Return the latest deliveries, oldest first."""
        return [*self._recent]

    def stop(self) -> None:
        """Drop all unacknowledged events, and send none from now on."""
        self.url = None
        self._queue.clear()
        for delivery in [*self._open.values()]:
            self._end(delivery, "dropped")
        self._wake()

    def reset(self, options: Options) -> None:
        """Drop everything, and restore the URL of the options."""
        self.stop()
        self._options = options
        self._recent.clear()
        self._count = 0
        self.url = self._options.webhook_url

    def check_due(self) -> None:
        """Check again which events are due, after the clock was advanced."""
        self._wake()

    def settled(self) -> "Future[None]":
        """Return a future that is done when no event is waiting to be delivered."""
        future: Future[None] = Future()
        self._waiting.append(future)
        self._notify()
        return future

    async def run(self) -> None:
        """Deliver events when they are due, until cancelled."""
        loop, due = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(self._on_wake, due)
        timeout = aiohttp.ClientTimeout(total=None)
        # One connection per attempt: a dead keep-alive connection would count as an attempt.
        connector = aiohttp.TCPConnector(force_close=True, resolver=aiohttp.ThreadedResolver())
        try:
            async with aiohttp.ClientSession(connector=connector, timeout=timeout) as session:
                while True:
                    due.clear()
                    delivery, wait = self._next()
                    if delivery:
                        await self._try(session, delivery)
                    else:
                        with suppress(TimeoutError):
                            await asyncio.wait_for(due.wait(), wait)
        finally:
            with self._lock:
                self._wake = lambda: None
                self._fail()

    def _next(self) -> tuple[Delivery | None, float | None]:
        """Return the delivery that is due, or the seconds until the next one."""
        with self._lock:
            if not self._queue:
                return None, None
            wait = self._queue[0][0] - self._now()
            return (None, wait) if wait > 0 else (self._open[heappop(self._queue)[1]], None)

    def _on_wake(self, due: asyncio.Event) -> None:
        """Wake the loop, and stop waiting for the response to an event that was dropped."""
        due.set()
        if self._trying:
            delivery, limit = self._trying
            if delivery.state == "dropped" and not limit.expired():
                limit.reschedule(asyncio.get_running_loop().time())

    async def _try(self, session: aiohttp.ClientSession, delivery: Delivery) -> None:
        signature = hmac.new(self._options.webhook_secret.encode(), delivery.body, "sha256").hexdigest()
        headers = {"Content-Type": "application/json", "X-Roamify-Signature": signature}
        with self._lock:
            url = self.url
            if url is None or self._open.get(delivery.id) is not delivery:
                return  # dropped by another thread meanwhile
            delivery.tries += 1
        status = None
        with suppress(aiohttp.ClientError, OSError):  # a timeout is an OSError
            async with asyncio.timeout(self._options.webhook_timeout) as limit:
                self._trying = delivery, limit
                async with session.post(url, data=delivery.body, headers=headers, allow_redirects=False) as response:
                    status = response.status
        self._trying = None
        with self._lock:
            if self._open.get(delivery.id) is not delivery:
                return  # dropped meanwhile
            delivery.status = status
            if status == 200:  # noqa: PLR2004
                self._end(delivery, "acknowledged")
            elif delivery.tries > len(self._options.webhook_retry_after):
                self._end(delivery, "given up")
            else:
                later = self._now() + self._options.webhook_retry_after[delivery.tries - 1]
                heappush(self._queue, (later, delivery.id))

    def _end(self, delivery: Delivery, state: Literal["acknowledged", "given up", "dropped"]) -> None:
        delivery.state = state
        del self._open[delivery.id]
        self._notify()

    def _notify(self) -> None:
        if not self._open:
            for future in self._take_waiting():
                future.set_result(None)

    def _fail(self) -> None:
        for future in self._take_waiting():
            future.set_exception(RuntimeError("the sandbox was stopped"))

    def _take_waiting(self) -> list["Future[None]"]:
        waiting, self._waiting = self._waiting, []
        return [future for future in waiting if future.set_running_or_notify_cancel()]
