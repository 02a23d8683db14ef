"""Runs the caller's code, such as iterables and progress callbacks, in the caller's thread with either client."""

import asyncio
import queue
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeVar

T = TypeVar("T")


class CallbackQueue:
    """A queue of functions for a thread that is blocked in a call of the synchronous client."""

    def __init__(self) -> None:
        # Not imported by name, since gevent may replace it later by one that does not block all green threads.
        self._functions: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._is_closed = False

    async def submit(self, function: Callable[[], T]) -> T:
        """Run *function* in the blocked thread and return its result."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def complete(setter: Callable[[Any], None], value: object) -> None:
            if not self._is_closed:  # Also in a process that *function* forked, where the loop does not run.
                loop.call_soon_threadsafe(_complete, setter, future, value)

        def run() -> None:
            try:
                result = function()
            except StopIteration as error:  # A future does not accept this exception.
                stopped = RuntimeError(f"the caller's code raised {error!r}")
                complete(future.set_exception, stopped)
            except Exception as error:  # noqa: BLE001 -- raised where the result is awaited
                complete(future.set_exception, error)
            else:
                complete(future.set_result, result)

        self._functions.put(run)
        return await future

    def close(self) -> None:
        """End ``run_until_closed``, since the call has ended."""
        self._is_closed = True
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
