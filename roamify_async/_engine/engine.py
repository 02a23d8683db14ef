"""The one loop: encode, send, judge, wait, decode."""

import logging
from collections.abc import Awaitable, Callable
from datetime import datetime
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeVar

import anyio
from anyio.lowlevel import checkpoint_if_cancelled

from roamify_async.errors import (
    ConnectError,
    ConnectionLostError,
    DecodeError,
    RequestTimeoutError,
    RoamifyError,
    Sent,
    TransportError,
)
from roamify_async.settings import DEFAULT_TIMEOUTS, Settings, Timeouts

from .answers import hear
from .crowd import Queue
from .envelope import decode, encode, refusal
from .facade import Endpoint, Kind
from .paging import PageT, Plan, Reading
from .retry import Again, is_success, judge
from .transport import Transport
from .wire import HttpResponse, NoResponse, Outcome, Trail

T = TypeVar("T")

log: logging.Logger = logging.getLogger("roamify_async")

SHORTEST_DEADLINE: Final = 120.0
"""Seconds that all tries may take together where the caller sets no limit and no single try needs more."""
BUSY: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
"""Answers of a server that has too much to do."""
_STRENGTH: Final[tuple[Sent, ...]] = ("no", "maybe", "answered")
_FAILURES: Final[dict[str, tuple[type[TransportError], str]]] = {
    "connect": (ConnectError, "no connection to {host}"),
    "lost": (ConnectionLostError, "the connection to {host} broke before a whole answer had come"),
    "timeout": (RequestTimeoutError, "{host} gave no whole answer in time"),
}


class Purchase(Protocol):
    """Makes sure that what a request buys exists, once."""

    def __call__(self, engine: "Engine", endpoint: Endpoint[..., T], request: Any, /) -> Awaitable[T]:
        """Buy, and give the answer."""
        ...


class Engine:
    """Sends the requests of one client, or of a view of it with other settings."""

    def __init__(
        self, transport: Transport, settings: Settings, purchase: Purchase, queue: Queue | None = None
    ) -> None:
        self.transport = transport
        self._queue = queue
        self.settings = settings
        self.doubts: dict[str, datetime] = {}
        """References that were left in doubt, and when each was first sent."""
        self.under_way: set[str] = set()
        """References of purchases that are being made: one reference is one purchase."""
        self._purchase = purchase
        self._limits: dict[float | None, Timeouts] = {}
        """Of one try, by the time that the endpoint needs."""

    def view(self, settings: Settings, queue: Queue | None = None) -> "Engine":
        """Give an engine with other settings, and perhaps a queue of its own, that shares everything else."""
        view = Engine(self.transport, settings, self._purchase, queue or self._queue)
        view.doubts, view.under_way = self.doubts, self.under_way
        return view

    async def send(self, endpoint: Endpoint[..., T], request: object, /) -> T:
        """Send a request and give its answer; a purchase is made sure of."""
        if endpoint.kind is Kind.PURCHASE:
            return await self._purchase(self, endpoint, request)
        if endpoint.recover is None:
            return await self.exchange(endpoint, request)
        try:
            return await self.exchange(endpoint, request)
        except RoamifyError as error:
            failure = error.with_traceback(None)
        return await endpoint.recover(self, request, failure)

    def pages(self, fetch: Callable[[int], Awaitable[PageT]], size: int, concurrency: int | None) -> Reading[PageT]:
        """Read pages of so many results, several at once and in order, until an empty one."""
        plan = Plan(window=concurrency or self.settings.concurrency, size=size)
        return Reading(fetch, plan, self.transport.spawn)

    async def exchange(self, endpoint: Endpoint[..., T], request: object, trail: Trail | None = None) -> T:
        """Send a request as often as its kind allows; give the decoded answer, or raise what the last try came to.

        The trail is told when bytes of the request leave.
        """
        transport, settings = self.transport, self.settings
        transport.open()
        wired = encode(endpoint, request)
        timeouts = self._timeouts(endpoint.timeout)
        clock = _Clock(settings, timeouts)
        tries, sent, error = 0, _STRENGTH[0], None
        queue = self._queue or transport.queue
        while True:
            async with queue:
                if endpoint.kind is not Kind.READ:
                    # On a connection that is open it would be written before the next await that cancels.
                    await checkpoint_if_cancelled()
                left = clock.start()
                if error is not None and left <= 0:
                    raise error
                outcome = await transport.send(
                    wired, clock.cut(timeouts, left), agent=settings.user_agent, proxy=settings.proxy, trail=trail
                )
            if isinstance(outcome, HttpResponse):
                hear(wired, outcome, transport.access.redact)
                if outcome.status in BUSY:
                    queue.give_way(outcome.retry_after())
            tries += 1
            result = self._result(endpoint, outcome)
            if not isinstance(result, RoamifyError):
                if log.isEnabledFor(logging.DEBUG):
                    log.debug("%s %s: %s", wired.method, wired.path, _shown(outcome))
                break
            error = result
            sent = max(sent, error.sent, key=_STRENGTH.index)
            error.about(sent=sent, method=wired.method, path=wired.path, page=getattr(request, "page", None))
            verdict = judge(
                endpoint.kind,
                outcome,
                tries=tries,
                time_left=clock.left(),
                retries=settings.retries,
                readable=not (isinstance(error, DecodeError) and error.garbled),
            )
            if not isinstance(verdict, Again) or transport.state == "closed":
                log.debug("%s %s: %s, after %d tries", wired.method, wired.path, _shown(outcome), tries)
                raise error
            log.info("%s %s: %s; again in %.2f s", wired.method, wired.path, _shown(outcome), verdict.wait)
            await anyio.sleep(verdict.wait)
        if endpoint.check is not None:
            await endpoint.check(self, request, result)
        return result

    def _timeouts(self, needed: float | None) -> Timeouts:
        limits = self._limits.get(needed)
        if limits is None:
            limits = self.settings.timeouts.over(Timeouts(total=needed)).over(DEFAULT_TIMEOUTS)
            self._limits[needed] = limits
        return limits

    def _result(self, endpoint: Endpoint[..., T], outcome: Outcome) -> T | RoamifyError:
        if isinstance(outcome, NoResponse):
            kind, text = _FAILURES[outcome.failure]
            return kind(f"{text.format(host=self.transport.access.host)}: {outcome.reason}", sent=outcome.sent)
        if not is_success(outcome.status):
            return refusal(outcome)
        try:
            return decode(endpoint, outcome)
        except DecodeError as error:
            return error.with_traceback(None)


class _Clock:
    """The time that one call has over all its tries; it starts when the first try leaves the queue."""

    def __init__(self, settings: Settings, timeouts: Timeouts) -> None:
        asked = settings.retries.deadline
        self._allowance = max(SHORTEST_DEADLINE, timeouts.total or 0) if asked is None else asked
        self._end: float | None = None

    def start(self) -> float:
        """Start at the first call; give the seconds that are left of the allowance."""
        now = anyio.current_time()
        if self._end is None:
            self._end = now + self._allowance
        return self._end - now

    def left(self) -> float:
        """Give the seconds in which a next try must begin: before the call's end and the caller's own deadline."""
        return min(self.start(), anyio.current_effective_deadline() - anyio.current_time())

    @staticmethod
    def cut(timeouts: Timeouts, left: float) -> Timeouts:
        """Let a try take no longer than what is left."""
        return Timeouts(total=max(left, 0.001)).over(timeouts) if left < (timeouts.total or left) else timeouts


def _shown(outcome: Outcome) -> str:
    return str(outcome.status) if isinstance(outcome, HttpResponse) else f"{outcome.failure} ({outcome.reason})"
