"""Runs the caller's code, such as iterables and progress callbacks, in the caller's thread with either client."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class CallbackQueue:
    """A queue of functions for a thread that is blocked in a call of the synchronous client."""

    def __init__(self) -> None:
        self._functions: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    async def submit(self, function: Callable[[], T]) -> T:
        """Run *function* in the blocked thread and return its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def run() -> None:
            try:
                result = function()
            except StopIteration as error:  # A future does not accept this exception.
                stopped = RuntimeError(f"the caller's code raised {error!r}")
                loop.call_soon_threadsafe(_complete, future.set_exception, future, stopped)
            except Exception as error:  # noqa: BLE001 -- raised where the result is awaited
                loop.call_soon_threadsafe(_complete, future.set_exception, future, error)
            else:
                loop.call_soon_threadsafe(_complete, future.set_result, future, result)

        self._functions.put(run)
        return await future

    def close(self) -> None:
        """End ``run_until_closed``, since the call has ended."""
        self._functions.put(None)

    def run_until_closed(self) -> None:
        """Run submitted functions until the queue is closed."""
        while (run := self._functions.get()) is not None:
            run()


def _complete(setter: Callable[[Any], None], future: "asyncio.Future[Any]", value: object) -> None:
    if not future.done():
        setter(value)


callback_queue: ContextVar[CallbackQueue | None] = ContextVar("callback_queue", default=None)
"""The queue of the blocked thread during a call of the synchronous client, else ``None``."""

purchases: ContextVar[list[str] | None] = ContextVar("purchases", default=None)
"""References of the purchases that a call of the synchronous client has made, else ``None``."""


def note_purchase(reference: str) -> None:
    """Record that the call has made a purchase, in case the caller is interrupted before the result arrives."""
    made = purchases.get()
    if made is not None:
        made.append(reference)


async def run_in_caller(function: Callable[[], T]) -> T:
    """Run *function* in the thread that made the call."""
    queue = callback_queue.get()
    return function() if queue is None else await queue.submit(function)
