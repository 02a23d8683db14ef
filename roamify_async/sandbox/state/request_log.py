"""The requests that were received: how many of each kind, the latest ones, and waiting for further ones."""

from collections import Counter, deque
from collections.abc import Mapping
from concurrent.futures import Future
from typing import Final

from attrs import define, field

METHODS: Final = ("GET", "POST", "PUT", "PATCH", "DELETE")
IN_PROGRESS: Final = "in progress"

KEPT: Final = 1_000
"""The number of requests that the log has."""

_LONGEST_PATH: Final = 120  # characters
_LONGEST_BODY: Final = 2**16  # bytes


def parse_endpoint(name: str) -> str:
    """Return the name of an endpoint, such as `POST /api/esim/order`; raises ValueError for anything else."""
    method, _, path = name.partition(" ")
    if method not in METHODS or not path.startswith("/"):
        raise ValueError(f"expected a method and a path such as 'POST /api/esim/order', not {name!r}")
    return name


@define(eq=False)
class LoggedRequest:
    """One request; its status is that of the response, or a word if no complete response was sent."""

    method: str
    path: str
    at: float
    fault: str
    query: dict[str, str] = field(factory=dict[str, str])
    body: bytes = b""
    """The body; empty if it is very long."""
    status: int | str = IN_PROGRESS


@define
class RequestLog:
    """The requests to the API since the start or the last reset."""

    counts: Counter[str] = field(factory=Counter[str], init=False)
    """The number of requests, by endpoint name."""
    recent: "deque[LoggedRequest]" = field(factory=lambda: deque[LoggedRequest](maxlen=KEPT), init=False)
    faulty: "deque[LoggedRequest]" = field(factory=lambda: deque[LoggedRequest](maxlen=KEPT), init=False)
    """The latest requests that a fault was injected into."""
    _waiters: list[tuple[str, int, "Future[None]"]] = field(factory=list[tuple[str, int, "Future[None]"]], init=False)

    def count(self, endpoint: str) -> None:
        """Count a request, and wake those who waited for it."""
        self.counts[endpoint] += 1
        self._wake()

    def add(
        self, method: str, path: str, at: float, fault: str, *, query: Mapping[str, str], body: bytes
    ) -> LoggedRequest:
        """Log a request and return its entry, whose status is set when it is answered."""
        shortened = path if len(path) <= _LONGEST_PATH else path[: _LONGEST_PATH - 1] + "…"
        kept = body if len(body) <= _LONGEST_BODY else b""
        entry = LoggedRequest(method, shortened, at, fault, dict(query), kept)
        self.recent.append(entry)
        if fault:
            self.faulty.append(entry)
        return entry

    def expect(self, endpoint: str, count: int) -> "Future[None]":
        """Return a future that is done when this many requests to the endpoint have been received."""
        future: Future[None] = Future()
        self._waiters.append((parse_endpoint(endpoint), count, future))
        self._wake()
        return future

    def reset(self) -> None:
        """Clear the log; waiters keep waiting."""
        self.counts.clear()
        self.recent.clear()
        self.faulty.clear()

    def close(self) -> None:
        """Fail all waiters."""
        for _, _, future in self._waiters:
            if future.set_running_or_notify_cancel():
                future.set_exception(RuntimeError("the sandbox was stopped"))

    def _wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for endpoint, count, future in waiters:
            if self.counts[endpoint] < count:
                self._waiters.append((endpoint, count, future))
            elif future.set_running_or_notify_cancel():
                future.set_result(None)
