"""Signed events on their way to the partner's receiver: one after the other, each tried until it is acknowledged."""

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

from .data.packages import Json, dumps
from .options import Options

_KEPT: Final = 1_000  # deliveries that are listed


@define(eq=False)
class Delivery:
    """One event to deliver; its status is that of the last answer, None where none came in time."""

    id: int
    event: str
    body: bytes
    tries: int = 0
    status: int | None = None
    state: Literal["waiting", "acknowledged", "given up", "dropped"] = "waiting"

    def shown(self) -> Json:
        """Show it as the control plane does, with its body as the very text that is signed."""
        names = ("id", "event", "tries", "status", "state")
        return {name: getattr(self, name) for name in names} | {"body": self.body.decode()}


@define(eq=False)
class Webhooks:
    """The events of one sandbox and the URL they go to; whoever changes them holds the lock."""

    _options: Options
    _now: Callable[[], float]
    _lock: Any  # the class of a lock has no public name in Python 3.11
    url: str | None = field(init=False)
    _made: int = field(default=0, init=False)
    _open: dict[int, Delivery] = field(factory=dict[int, Delivery], init=False)
    _queue: list[tuple[float, int]] = field(factory=list[tuple[float, int]], init=False)  # when to try which
    _recent: "deque[Delivery]" = field(factory=lambda: deque[Delivery](maxlen=_KEPT), init=False)
    _waiting: list["Future[None]"] = field(factory=list["Future[None]"], init=False)
    _trying: tuple[Delivery, asyncio.Timeout] | None = field(default=None, init=False)
    _wake: Callable[[], object] = field(default=lambda: None, init=False)

    def __attrs_post_init__(self) -> None:
        self.url = self._options.webhook_url

    def send(self, *events: Json) -> None:
        """Send events, if there is a URL to send them to."""
        for event in events:
            self.send_body(f"{event['event_category']}.{event['event_type']}", dumps(event).encode(errors="replace"))

    @contextmanager
    def quiet(self) -> Generator[None, None, None]:
        """Send nothing of what happens in the block."""
        url, self.url = self.url, None
        try:
            yield
        finally:
            self.url = url

    def send_body(self, event: str, body: bytes) -> None:
        """Send these bytes as such an event; first tries go before repeated ones."""
        if self.url is not None:
            self._made += 1
            delivery = self._open[self._made] = Delivery(self._made, event, body)
            self._recent.append(delivery)
            heappush(self._queue, (0.0, delivery.id))
            self._wake()

    def recent(self) -> list[Delivery]:
        """List the last deliveries, oldest first."""
        return [*self._recent]

    def stop(self) -> None:
        """Send nothing any more, and drop what is not acknowledged."""
        self.url = None
        self._queue.clear()
        for delivery in [*self._open.values()]:
            self._end(delivery, "dropped")
        self._wake()

    def reset(self) -> None:
        """Return to the URL of the start, and forget every delivery."""
        self.stop()
        self._recent.clear()
        self._made = 0
        self.url = self._options.webhook_url

    def look(self) -> None:
        """Look again at what is due: the clock was moved."""
        self._wake()

    def settled(self) -> "Future[None]":
        """Give what is done once nothing waits to be delivered."""
        future: Future[None] = Future()
        self._waiting.append(future)
        self._tell()
        return future

    async def run(self) -> None:
        """Deliver what is due, for ever."""
        loop, due = asyncio.get_running_loop(), asyncio.Event()
        self._wake = lambda: loop.call_soon_threadsafe(self._look, due)
        timeout = aiohttp.ClientTimeout(total=None)
        # A connection for each try: one that was kept open may be dead, and that would count as a try.
        connector = aiohttp.TCPConnector(force_close=True)
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
        """Take the delivery that is due, or tell how many seconds there is none."""
        with self._lock:
            if not self._queue:
                return None, None
            wait = self._queue[0][0] - self._now()
            return (None, wait) if wait > 0 else (self._open[heappop(self._queue)[1]], None)

    def _look(self, due: asyncio.Event) -> None:
        """See what has changed: something may be due, and nobody waits for the answer to what was dropped."""
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
                return  # dropped since it was found due, by another thread
            delivery.tries += 1
        status = None
        with suppress(aiohttp.ClientError, OSError):  # a timeout is an OSError
            async with asyncio.timeout(self._options.webhook_timeout) as limit:
                self._trying = delivery, limit
                async with session.post(url, data=delivery.body, headers=headers, allow_redirects=False) as answer:
                    status = answer.status
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
        self._tell()

    def _tell(self) -> None:
        if not self._open:
            for future in self._no_longer_waiting():
                future.set_result(None)

    def _fail(self) -> None:
        for future in self._no_longer_waiting():
            future.set_exception(RuntimeError("the sandbox stopped"))

    def _no_longer_waiting(self) -> list["Future[None]"]:
        waiting, self._waiting = self._waiting, []
        return [future for future in waiting if future.set_running_or_notify_cancel()]
