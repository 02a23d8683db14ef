"""The engine: encodes requests, sends them, decides on retries, and decodes responses."""

import logging
import time
from collections.abc import Awaitable, Callable, Sequence
from copy import copy
from functools import cached_property, partial
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeVar

import anyio
import attrs
from anyio.lowlevel import checkpoint_if_cancelled

from roamify_async._http import hosts
from roamify_async._http.capture import record
from roamify_async._http.messages import AttemptResult, HttpRequest, HttpResponse, NoResponse, SendState
from roamify_async._http.transport import Transport
from roamify_async._serde.envelope import decode, encode, refuse_failed_envelope, status_error
from roamify_async.errors import (
    ConnectError,
    ConnectionLostError,
    DecodeError,
    RequestTimeoutError,
    ResponseTooLargeError,
    RoamifyError,
    Sent,
    TransportError,
)
from roamify_async.ledger.protocol import PurchaseLedger
from roamify_async.settings import DEFAULT_TIMEOUTS, Settings, Timeouts

from . import telemetry
from .concurrency import Limiter
from .endpoint import Endpoint, Safety
from .memory import Memory
from .pagination import PagePrefetcher, PageT, PrefetchWindow
from .retry import Retry, decide, is_success

T = TypeVar("T")

log: logging.Logger = logging.getLogger("roamify_async")

MIN_DEADLINE: Final = 120.0
"""Seconds for all attempts together, unless the caller sets a deadline or a single attempt needs more."""
OVERLOADED: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
"""Statuses that indicate an overloaded server."""
_STRENGTH: Final[tuple[Sent, ...]] = ("no", "maybe", "answered")
_FAILURES: Final[dict[str, tuple[type[TransportError | DecodeError], str]]] = {
    "connect": (ConnectError, "cannot connect to {host}"),
    "lost": (ConnectionLostError, "connection to {host} closed before a complete response was received"),
    "timeout": (RequestTimeoutError, "no complete response from {host} in time"),
    "too_large": (ResponseTooLargeError, "{host} sent more than Settings(max_response_size=) allows"),
    "coding": (DecodeError, "{host} sent a response in a coding that was not asked for"),
}


class Purchase(Protocol):
    """Makes a purchase exactly once."""

    def __call__(self, engine: "Engine", endpoint: Endpoint[..., T], request: Any, /) -> Awaitable[T]:
        """Make the purchase of *request*, and return its response."""
        ...


class Engine:
    """Sends the requests of a client, or of a view of a client with other settings."""

    def __init__(
        self,
        transport: Transport,
        settings: Settings,
        purchase: Purchase,
        *,
        limiter: Limiter | None = None,
        memory: Memory | None = None,
    ) -> None:
        self.transport = transport
        self.settings = settings
        self.memory: Memory = memory or Memory()
        self._purchase = purchase
        self._limiter = limiter
        self._timeouts: dict[float | None, Timeouts] = {}
        """Timeouts of one attempt, by the timeout of the endpoint."""

    @cached_property
    def single_try(self) -> "Engine":
        """A view of this engine that sends each request once."""
        retries = attrs.evolve(self.settings.retries, tries=1)
        return self.view(self.settings.changed(retries=retries))

    def view(self, settings: Settings, limiter: Limiter | None = None) -> "Engine":
        """Return an engine with other settings, and optionally another limiter, that shares everything else."""
        return Engine(self.transport, settings, self._purchase, limiter=limiter or self._limiter, memory=self.memory)

    def with_ledger(self, ledger: PurchaseLedger) -> "Engine":
        """Return an engine that claims purchases in a ledger, and shares everything else."""
        memory = copy(self.memory)
        memory.ledger = ledger
        return Engine(self.transport, self.settings, self._purchase, limiter=self._limiter, memory=memory)

    async def send(self, endpoint: Endpoint[..., T], request: object, /) -> T:
        """Send a request, and return its response. A purchase is made exactly once."""
        if endpoint.safety is Safety.PURCHASE:
            return await self._purchase(self, endpoint, request)
        if endpoint.prepare is not None:
            request = await endpoint.prepare(self, request)
        if endpoint.recover is None:
            return await self.exchange(endpoint, request)
        try:
            return await self.exchange(endpoint, request)
        except RoamifyError as error:
            failure = error.with_traceback(None)
        return await endpoint.recover(self, request, failure)

    def prefetch(
        self,
        fetch: Callable[[int, PageT | None], Awaitable[PageT]],
        page_size: int,
        concurrency: int | None,
        known: Sequence[PageT] = (),
    ) -> PagePrefetcher[PageT]:
        """Return a prefetcher, which requests several pages at once and returns them in order.

        *known* are the pages of an earlier reading.
        """
        size = concurrency or self.settings.concurrency
        window = PrefetchWindow(size=size, page_size=page_size, expected=len(known))
        return PagePrefetcher(fetch, window, self.transport.spawn, known)

    async def exchange(
        self,
        endpoint: Endpoint[..., T],
        request: object,
        send_state: SendState | None = None,
        *,
        etag: str | None = None,
    ) -> T:
        """Send a request as often as its safety allows, and return the decoded response.

        *send_state* records when the body may have left. With *etag* the endpoint decodes a 304 too. Raises the failure
        of the last attempt.
        """
        settings = self.settings
        if hosts.check is not None:
            hosts.check(self.transport.credentials.base_url)
        self.transport.open()
        message = encode(request, endpoint.method, endpoint.path)
        if etag is not None:
            message = attrs.evolve(message, etag=etag)
        clock = _Clock(settings, self._timeouts_for(endpoint.timeout))
        tries, sent, error = 0, _STRENGTH[0], None
        while True:
            outcome = await self._attempt(endpoint, message, clock, send_state, error, request)
            tries += 1
            result = self._interpret(endpoint, message, outcome)
            if not isinstance(result, RoamifyError):
                if log.isEnabledFor(logging.DEBUG):
                    facts = _facts(request, outcome, tries, "answered")
                    log.debug("%s %s: %s", message.method, message.path, _text(outcome), extra=facts)
                break
            error = result
            sent = max(sent, error.sent, key=_STRENGTH.index)
            error.with_facts(sent=sent, method=message.method, path=message.path, page=getattr(request, "page", None))
            decision = decide(
                endpoint.safety,
                outcome,
                tries=tries,
                time_left=clock.left(),
                retries=settings.retries,
                readable=not (isinstance(error, DecodeError) and error.garbled),
            )
            facts = _facts(request, outcome, tries, error.sent)
            if not isinstance(decision, Retry) or self.transport.state == "closed":
                plural = "tries" if tries > 1 else "try"
                text = "%s %s: %s, after %d %s"
                log.debug(text, message.method, message.path, _text(outcome), tries, plural, extra=facts)
                raise error
            text = "%s %s: %s; again in %.2f s"
            log.info(text, message.method, message.path, _text(outcome), decision.delay, extra=facts)
            telemetry.count("roamify.retries")
            await anyio.sleep(decision.delay)
        if endpoint.check is not None:
            await endpoint.check(self, request, result)
        return result

    async def _attempt(
        self,
        endpoint: Endpoint[..., T],
        message: HttpRequest,
        clock: "_Clock",
        send_state: SendState | None,
        error: RoamifyError | None,
        request: object,
    ) -> AttemptResult:
        """Send a request once, when the limiter lets it. Raises *error*, of the last attempt, if the time is over."""
        settings = self.settings
        limiter = self._limiter or self._shared_limiter()
        call, queued = telemetry.current(), time.monotonic()
        async with limiter:
            if endpoint.safety is not Safety.READ:
                # An open connection has no other checkpoint before the body is written.
                await checkpoint_if_cancelled()
            if send_state is not None and send_state.guard is not None:
                await send_state.guard.ready()
            left = clock.start()
            if error is not None and left <= 0:
                raise error
            send = partial(
                self.transport.send,
                message,
                clock.limit(left),
                agent=settings.user_agent,
                proxy=settings.proxy,
                send_state=send_state,
                max_size=settings.max_response_size,
            )
            if call is None:
                outcome = await send()
            else:
                outcome = await call.send(
                    send,
                    rank=endpoint.safety.name,
                    method=message.method,
                    template=None if isinstance(request, HttpRequest) else endpoint.path,
                    host=self.transport.credentials.host,
                    reference=getattr(request, "reference_id", None),
                    waited=time.monotonic() - queued,
                )
        if isinstance(outcome, HttpResponse):
            self._observe(message, outcome, limiter)
        elif outcome.failure == "connect" and limiter.in_flight and self.memory.was_answered:
            outcome = attrs.evolve(outcome, reason=f"{outcome.reason}; {_advice(settings, limiter)}")
        return outcome

    def _observe(self, message: HttpRequest, response: HttpResponse, limiter: Limiter) -> None:
        self.memory.was_answered = True
        record(message, response, self.transport.credentials.redact)
        self.memory.note_date(response.headers.get("date"))
        if response.status in OVERLOADED:
            limiter.throttle(response.retry_after())

    def _shared_limiter(self) -> Limiter:
        if self.memory.limiter is None:
            self.memory.limiter = Limiter(self.settings.concurrency, self.settings.rate)
        return self.memory.limiter

    def _timeouts_for(self, endpoint_timeout: float | None) -> Timeouts:
        timeouts = self._timeouts.get(endpoint_timeout)
        if timeouts is None:
            timeouts = self.settings.timeouts.over(Timeouts(total=endpoint_timeout)).over(DEFAULT_TIMEOUTS)
            self._timeouts[endpoint_timeout] = timeouts
        return timeouts

    def _interpret(self, endpoint: Endpoint[..., T], message: HttpRequest, outcome: AttemptResult) -> T | RoamifyError:
        """Return the decoded response of an attempt, or its error."""
        if isinstance(outcome, NoResponse):
            error_class, text = _FAILURES[outcome.failure]
            host = self.transport.credentials.host
            return error_class(f"{text.format(host=host)}: {outcome.reason}", sent=outcome.sent)
        is_unchanged = outcome.status == HTTPStatus.NOT_MODIFIED and message.etag is not None
        if not is_success(outcome.status) and not is_unchanged:
            return status_error(outcome)
        try:
            if endpoint.safety is not Safety.READ:
                refuse_failed_envelope(outcome)
            if endpoint.decode is not None:
                return endpoint.decode(outcome)
            return decode(outcome, endpoint.response, endpoint.data_path, method=endpoint.method)
        except DecodeError as error:
            return error.with_traceback(None)


class _Clock:
    """The time of a call over all attempts. It starts when the first attempt leaves the limiter."""

    def __init__(self, settings: Settings, timeouts: Timeouts) -> None:
        deadline = settings.retries.deadline
        self._timeouts = timeouts
        self._allowance = max(MIN_DEADLINE, timeouts.total or 0) if deadline is None else deadline
        self._end: float | None = None

    def start(self) -> float:
        """Start the clock at the first call. Return the remaining seconds."""
        now = anyio.current_time()
        if self._end is None:
            self._end = now + self._allowance
        return self._end - now

    def left(self) -> float:
        """Return the seconds within which another attempt must start, by the deadline and the caller's cancel scope."""
        return min(self.start(), anyio.current_effective_deadline() - anyio.current_time())

    def limit(self, left: float) -> Timeouts:
        """Return timeouts of an attempt that takes at most the remaining seconds."""
        timeouts = self._timeouts
        return Timeouts(total=max(left, 0.001)).over(timeouts) if left < (timeouts.total or left) else timeouts


def log_facts(*, reference_id: str | None, tries: int, sent: Sent, outcome: str) -> dict[str, object]:
    """Return the ``extra`` of a log record: attributes whose names begin with ``roamify_``, without personal data."""
    facts = {"reference_id": reference_id, "tries": tries, "sent": sent, "outcome": outcome}
    return {f"roamify_{name}": value for name, value in facts.items()}


def _facts(request: object, outcome: AttemptResult, tries: int, sent: Sent) -> dict[str, object]:
    reference_id: str | None = getattr(request, "reference_id", None)
    what = str(outcome.status) if isinstance(outcome, HttpResponse) else outcome.failure
    return log_facts(reference_id=reference_id, tries=tries, sent=sent, outcome=what)


def _advice(settings: Settings, limiter: Limiter) -> str:
    return (
        f"{limiter.in_flight} other requests are in flight, and the server may take no more connections: "
        f"lower Settings(concurrency={settings.concurrency})"
    )


def _text(outcome: AttemptResult) -> str:
    return str(outcome.status) if isinstance(outcome, HttpResponse) else f"{outcome.failure} ({outcome.reason})"
