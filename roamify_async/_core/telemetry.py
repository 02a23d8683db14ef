"""Spans and metrics of OpenTelemetry, for programs that have imported it; all others pay one look into ``sys.modules``.

A call is one span over all of its attempts and look-ups, and each HTTP request is a span below it. Attributes never
contain a token, an LPA code, an ICCID or data of a traveller: requests are named by the template of their path.

Processors and exporters are a program's own. What they raise is logged, and never takes the place of a result.
"""

import logging
import sys
import time
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any, Final, Literal, Protocol, TypeVar

import attrs

from roamify_async._http.messages import AttemptResult, HttpResponse
from roamify_async._version import __version__
from roamify_async.errors import PurchaseInDoubtError, RoamifyError, Sent

T = TypeVar("T")

log: logging.Logger = logging.getLogger("roamify_async")

NAME: Final = "roamify_async"
_RANKS: Final = ("READ", "ACTION", "PURCHASE")
"""Names of ``Safety``. What a call tells of its requests refers to those with the last of these."""
_STRENGTH: Final[tuple[Sent, ...]] = ("no", "maybe", "answered")
_MODULES: Final = frozenset({"opentelemetry.trace", "opentelemetry.metrics"})
_COUNTERS: Final = {
    "roamify.calls": ("{call}", "Calls, by outcome"),
    "roamify.retries": ("{request}", "Requests that were sent again"),
    "roamify.doubts": ("{purchase}", "Purchases of which it is not known whether they were booked"),
    "roamify.spent": ("USD", "Money spent by purchases that these calls made"),
}
_HISTOGRAMS: Final = {
    "roamify.queue.duration": ("s", "Time for which requests waited for the client's own limits"),
    "roamify.reconcile.duration": ("s", "Time for which purchases were looked up"),
}


class _Sink(Protocol):
    """A counter, or a histogram."""

    def __call__(self, amount: float, attributes: dict[str, str] | None = None, /) -> None:
        """Add an amount."""
        ...


@attrs.frozen
class Tools:
    """The tracer and the instruments."""

    trace: Any
    context: Any
    tracer: Any
    sinks: dict[str, _Sink]


@cache
def _load() -> Tools:
    from opentelemetry import context, metrics, trace

    meter: Any = metrics.get_meter(NAME, __version__)
    sinks: dict[str, _Sink] = {
        name: _guarded(meter.create_counter(name, unit=unit, description=text).add)
        for name, (unit, text) in _COUNTERS.items()
    }
    for name, (unit, text) in _HISTOGRAMS.items():
        sinks[name] = _guarded(meter.create_histogram(name, unit=unit, description=text).record)
    return Tools(trace, context, trace.get_tracer(NAME, __version__), sinks)


def _guarded(sink: _Sink) -> _Sink:
    def record(amount: float, attributes: dict[str, str] | None = None, /) -> None:
        with guard():
            sink(amount, attributes)

    return record


@contextmanager
def guard() -> Generator[None, None, None]:
    """Log what the block raises."""
    try:
        yield
    except Exception:
        log.exception("OpenTelemetry failed; the call goes on")


def _tools() -> Tools | None:
    """Return the tools if the program uses OpenTelemetry."""
    return None if _MODULES.isdisjoint(sys.modules) else _load()


class Call:
    """A call of a client, as its span tells it."""

    def __init__(self, tools: Tools, name: str) -> None:
        self._tools = tools
        self._name = name
        self._span: Any = tools.tracer.start_span(
            f"roamify.{name}", kind=tools.trace.SpanKind.INTERNAL, attributes={"roamify.call": name}
        )
        self._references: set[str] = set()
        self._tries: dict[str, int] = dict.fromkeys(_RANKS, 0)
        self._sent: dict[str, Sent] = dict.fromkeys(_RANKS, "no")
        self._has_ended = False

    @contextmanager
    def active(self) -> Generator[None, None, None]:
        """Make this the current call of the block, and its span the current one."""
        token = _current.set(self)
        try:
            with self._tools.trace.use_span(self._span, record_exception=False, set_status_on_exception=False):
                yield
        finally:
            _current.reset(token)

    async def send(
        self,
        send: Callable[[], Awaitable[AttemptResult]],
        *,
        rank: str,
        method: str,
        template: str | None,
        host: str,
        reference: str | None,
        waited: float,
    ) -> AttemptResult:
        """Send a request in a span of its own, which replaces that of other instrumentation of aiohttp.

        The other one would contain the URL, whose query may contain an ICCID.
        """
        outcome: AttemptResult | None = None
        self._tools.sinks["roamify.queue.duration"](waited)
        self._tries[rank] += 1
        if reference is not None:
            self._references.add(reference)
        address, _, port = host.rpartition(":") if host.rpartition(":")[2].isdigit() else (host, "", "")
        facts: dict[str, str | int] = {"http.request.method": method, "server.address": address}
        facts |= {"server.port": int(port)} if port else {}
        facts |= {"url.template": template} if template else {}
        name = f"{method} {template}" if template else method
        trace, context = self._tools.trace, self._tools.context
        span = trace.INVALID_SPAN
        with guard():
            span = self._tools.tracer.start_span(name, kind=trace.SpanKind.CLIENT, attributes=facts)
        try:
            with trace.use_span(span, record_exception=False, set_status_on_exception=False), _alone(context):
                outcome = await send()
        finally:
            with guard():
                self._end_request(span, outcome)
        assert outcome is not None  # noqa: S101 -- no context manager above suppresses exceptions
        sent: Sent = "answered" if isinstance(outcome, HttpResponse) else outcome.sent
        if _STRENGTH.index(sent) > _STRENGTH.index(self._sent[rank]):
            self._sent[rank] = sent
        return outcome

    def _end_request(self, span: Any, outcome: AttemptResult | None) -> None:
        """End the span of a request; one without an outcome was cancelled."""
        problem = None if outcome is None else _problem(outcome)
        if isinstance(outcome, HttpResponse):
            span.set_attribute("http.response.status_code", outcome.status)
        if problem is not None:
            span.set_attribute("error.type", problem)
            span.set_status(self._tools.trace.Status(self._tools.trace.StatusCode.ERROR))
        span.end()

    def end(self, result: object = None, error: BaseException | None = None) -> None:
        """End the span, with the outcome of the call."""
        if not self._has_ended:
            self._has_ended = True
            with guard():
                self._end(result, error)

    def _end(self, result: object, error: BaseException | None) -> None:
        rank = next((rank for rank in reversed(_RANKS) if self._tries[rank]), "READ")
        sent, reference = self._sent[rank], getattr(error or result, "reference_id", None)
        if isinstance(error, RoamifyError):
            sent = error.sent
        references = self._references | ({reference} if isinstance(reference, str) else set[str]())
        facts: dict[str, str | int] = {"roamify.tries": self._tries[rank], "roamify.sent": sent}
        facts["roamify.outcome"] = outcome = _outcome(result, error)
        if len(references) == 1:
            (facts["roamify.reference_id"],) = references
        self._span.set_attributes(facts)
        if error is not None:
            self._span.set_attribute("error.type", outcome)
            trace = self._tools.trace
            self._span.set_status(trace.Status(trace.StatusCode.ERROR))
        self._span.end()
        self._tools.sinks["roamify.calls"](1, {"roamify.call": self._name, "roamify.outcome": outcome})


def _problem(outcome: AttemptResult) -> str | None:
    """Return the type of the error of a request."""
    if isinstance(outcome, HttpResponse):
        return str(outcome.status) if outcome.status >= 400 else None  # noqa: PLR2004
    return outcome.failure


@contextmanager
def _alone(context: Any) -> Generator[None, None, None]:
    """Keep other instrumentation from making a span of the request, if this version of OpenTelemetry can."""
    key = getattr(context, "_SUPPRESS_HTTP_INSTRUMENTATION_KEY", None)
    if key is None:
        yield
        return
    token = context.attach(context.set_value(key, value=True))
    try:
        yield
    finally:
        context.detach(token)


_current: ContextVar[Call | None] = ContextVar("call", default=None)


def current() -> Call | None:
    """Return the call under way, or ``None`` without OpenTelemetry."""
    return _current.get()


def start(name: str) -> Call | None:
    """Start a call, such as ``"orders.create"``. Return ``None`` without OpenTelemetry."""
    with guard():
        tools = _tools()
        return None if tools is None else Call(tools, name)
    return None


async def observe(name: str, function: Callable[[], Awaitable[T]]) -> T:
    """Await *function* as a call."""
    call = start(name)
    if call is None:
        return await function()
    try:
        with call.active():
            result = await function()
    except BaseException as error:
        call.end(error=error)
        raise
    call.end(result)
    return result


def _outcome(result: object, error: BaseException | None) -> str:
    """Return ``"ok"``, ``"found"``, ``"in_doubt"``, ``"cancelled"`` or the class of the error."""
    if error is None:
        return "found" if getattr(result, "was_found", False) is True else "ok"
    if isinstance(error, PurchaseInDoubtError):
        return "in_doubt"
    return type(error).__name__ if isinstance(error, Exception) else "cancelled"


def count(name: Literal["roamify.retries", "roamify.doubts"]) -> None:
    """Count one."""
    tools = _tools()
    if tools is not None:
        tools.sinks[name](1)


def count_spending(booked: object) -> None:
    """Count what a purchase cost, unless it existed before."""
    tools, total = _tools(), getattr(booked, "total", None)
    if tools is not None and total is not None and not getattr(booked, "was_found", False):
        tools.sinks["roamify.spent"](float(total))


@contextmanager
def reconciling() -> Generator[None, None, None]:
    """Measure the time of the block, which looks a purchase up."""
    tools, began = _tools(), time.monotonic()
    try:
        yield
    finally:
        if tools is not None:
            tools.sinks["roamify.reconcile.duration"](time.monotonic() - began)
