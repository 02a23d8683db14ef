"""Many at once: limited, rate-limited, and in order."""

from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import Final, TypeVar

import anyio
from aiolimiter import AsyncLimiter

T = TypeVar("T")
R = TypeVar("R")

SHORTEST_REST: Final = 5.0
"""Seconds for which a queue gives way at the least."""


class Queue:
    """A queue in front of the wire: so many in flight at once, so many a second.

    It hands out places in the order in which they were asked for. Made inside the event loop that uses it.
    """

    def __init__(self, concurrency: int, rate: float | None = None, *, is_yielding: bool = False) -> None:
        self._places = anyio.Semaphore(concurrency, max_value=concurrency, fast_acquire=True)
        # A bucket of one: evenly spaced, since a burst of a second's worth is what servers refuse.
        self._rate = None if rate is None else AsyncLimiter(1, 1 / rate)
        # Where it gives way to a busy server, half of the places are enough for a while.
        self._half = anyio.Semaphore(max(1, concurrency // 2), fast_acquire=True) if is_yielding else None
        self._halved_until = float("-inf")
        self._halved: set[int] = set()

    def give_way(self, seconds: float | None) -> None:
        """Let only half of the places be taken for a while: the server has too much to do."""
        if self._half is not None:
            self._halved_until = anyio.current_time() + max(SHORTEST_REST, seconds or 0)

    async def __aenter__(self) -> None:
        """Wait for a place, then for the rate."""
        try:
            self._places.acquire_nowait()
        except anyio.WouldBlock:
            await self._places.acquire()
        if self._half is None and self._rate is None:
            return
        try:
            if self._half is not None and anyio.current_time() < self._halved_until:
                await self._half.acquire()
                self._halved.add(anyio.get_current_task().id)
            if self._rate is not None:
                await self._rate.acquire()
        except BaseException:
            self._leave()
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the place back."""
        self._leave()

    def _leave(self) -> None:
        if self._halved and (task := anyio.get_current_task().id) in self._halved and self._half is not None:
            self._halved.discard(task)
            self._half.release()
        self._places.release()


async def gather(call: Callable[[T], Awaitable[R]], values: Iterable[T]) -> tuple[R | Exception, ...]:
    """Call for all values at once and give one outcome each, in their order: what came, or the error it ended with."""
    outcomes: dict[int, R | Exception] = {}

    async def one(place: int, value: T) -> None:
        try:
            outcomes[place] = await call(value)
        except Exception as error:  # noqa: BLE001 -- one failure is one outcome, and hurts no other
            outcomes[place] = error

    taken = [*values]  # before the group is open: what the iterator raises is not to come out in one
    async with anyio.create_task_group() as group:
        for place, value in enumerate(taken):
            group.start_soon(one, place, value)
    return tuple(outcomes[place] for place in range(len(outcomes)))


def all_of(outcomes: tuple[R | Exception, ...]) -> tuple[R, ...]:
    """Give what came of all calls, or raise the first error."""
    done: list[R] = []
    for outcome in outcomes:
        if isinstance(outcome, Exception):
            raise outcome
        done.append(outcome)
    return tuple(done)
