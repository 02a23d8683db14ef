"""Many at once: limited, rate-limited, and in order."""

from collections.abc import Awaitable, Callable, Iterable
from types import TracebackType
from typing import TypeVar

import anyio
from aiolimiter import AsyncLimiter

T = TypeVar("T")
R = TypeVar("R")


class Queue:
    """A queue in front of the wire: so many in flight at once, so many a second.

    It hands out places in the order in which they were asked for. Made inside the event loop that uses it.
    """

    def __init__(self, concurrency: int, rate: float | None = None) -> None:
        self._places = anyio.Semaphore(concurrency, max_value=concurrency, fast_acquire=True)
        # A bucket of one: evenly spaced, since a burst of a second's worth is what servers refuse.
        self._rate = None if rate is None else AsyncLimiter(1, 1 / rate)

    async def __aenter__(self) -> None:
        """Wait for a place, then for the rate."""
        await self._places.acquire()
        if self._rate is not None:
            try:
                await self._rate.acquire()
            except BaseException:
                self._places.release()
                raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the place back."""
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
