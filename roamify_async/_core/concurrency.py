"""Concurrency: a limiter for requests, polling, and gathering the outcomes of many calls."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable
from types import TracebackType
from typing import Final, TypeVar

import anyio
from aiolimiter import AsyncLimiter

T = TypeVar("T")
R = TypeVar("R")

MIN_THROTTLE: Final = 5.0
"""Shortest time in seconds for which a limiter is throttled."""
FIRST_PAUSE: Final = 0.25
"""Seconds between the first two polls. Each further pause is twice as long."""
LONGEST_PAUSE: Final = 5.0
"""Longest pause in seconds between two polls."""


class Limiter:
    """Limits the number of requests in flight, and the number of requests started per second.

    Requests wait in the order in which they were made, before their timeouts start. A limiter must be created in the
    event loop that uses it.

    With *is_adaptive*, ``throttle`` halves the limit temporarily.
    """

    def __init__(self, concurrency: int, rate: float | None = None, *, is_adaptive: bool = False) -> None:
        self._limit = anyio.CapacityLimiter(concurrency)
        # A bucket of one token spaces requests evenly. With a larger one, those of a whole second would start at once.
        self._rate = None if rate is None else AsyncLimiter(1, 1 / rate)
        self._concurrency = concurrency
        self._is_adaptive = is_adaptive
        self._throttled_until: float | None = None

    @property
    def in_flight(self) -> int:
        """Number of requests that hold a slot."""
        return self._limit.borrowed_tokens

    def throttle(self, seconds: float | None) -> None:
        """Halve the limit for *seconds*, but at least ``MIN_THROTTLE``, since the server is overloaded."""
        if self._is_adaptive:
            self._throttled_until = anyio.current_time() + max(MIN_THROTTLE, seconds or 0)
            self._limit.total_tokens = max(1, self._concurrency // 2)

    def _recover(self) -> None:
        if self._throttled_until is None or self._limit.borrowed_tokens > self._limit.total_tokens:
            return  # AnyIO 4.14 would grant what is added to waiting requests, however many slots are still taken.
        if anyio.current_time() >= self._throttled_until:
            self._throttled_until = None
            self._limit.total_tokens = self._concurrency

    async def __aenter__(self) -> None:
        """Wait for a free slot, and then until the rate allows a start."""
        self._recover()
        try:
            self._limit.acquire_nowait()
        except anyio.WouldBlock:
            await self._limit.acquire()
        if self._rate is None:
            return
        try:
            await self._rate.acquire()
        except BaseException:
            self._limit.release()
            raise

    async def __aexit__(
        self, error_type: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Release the slot."""
        self._limit.release()
        self._recover()


async def poll(window: float) -> AsyncGenerator[None, None]:
    """Yield immediately and then after increasing pauses, for the last time when *window* seconds have passed."""
    end, pause = anyio.current_time() + window, FIRST_PAUSE
    while True:
        started = anyio.current_time()
        yield
        if started >= end:
            return
        await anyio.sleep(max(0.0, min(pause, end - anyio.current_time())))
        pause = min(2 * pause, LONGEST_PAUSE)


async def gather(call: Callable[[T], Awaitable[R]], values: Iterable[T]) -> tuple[R | Exception, ...]:
    """Call for all values concurrently, and return the outcomes in order. Failures are returned, not raised."""
    outcomes: dict[int, R | Exception] = {}

    async def run(index: int, value: T) -> None:
        try:
            outcomes[index] = await call(value)
        except Exception as error:  # noqa: BLE001 -- failures are returned, not raised
            outcomes[index] = error

    taken = [*values]  # Before the group opens, which would raise an error of the iterable in an ExceptionGroup.
    async with anyio.create_task_group() as group:
        for index, value in enumerate(taken):
            group.start_soon(run, index, value)
    return tuple(outcomes[index] for index in range(len(outcomes)))


def raise_first(outcomes: tuple[R | Exception, ...]) -> tuple[R, ...]:
    """Return the results of ``gather``, or raise the first failure among them."""
    results: list[R] = []
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
        results.append(outcome)
    return tuple(results)
