"""Running what the caller gave (iterables, callbacks) in the caller's own thread, whichever view it came through."""

import asyncio
from collections.abc import Callable
from contextvars import ContextVar
from queue import SimpleQueue
from typing import Any, TypeVar

T = TypeVar("T")


class Mailbox:
    """Errands for a thread that waits for the end of its call, and runs them meanwhile."""

    def __init__(self) -> None:
        self._errands: SimpleQueue[Callable[[], None] | None] = SimpleQueue()

    async def ask(self, function: Callable[[], T]) -> T:
        """Have *function* run in the waiting thread."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()

        def errand() -> None:
            try:
                result = function()
            except StopIteration as error:  # which a future does not take
                stopped = RuntimeError(f"the caller's code raised {error!r}")
                loop.call_soon_threadsafe(_settle, answer.set_exception, answer, stopped)
            except Exception as error:  # noqa: BLE001 -- it is raised where it was asked for
                loop.call_soon_threadsafe(_settle, answer.set_exception, answer, error)
            else:
                loop.call_soon_threadsafe(_settle, answer.set_result, answer, result)

        self._errands.put(errand)
        return await answer

    def close(self) -> None:
        """Let the thread know that its call has ended."""
        self._errands.put(None)

    def serve(self) -> None:
        """Run errands until the call has ended."""
        while (errand := self._errands.get()) is not None:
            errand()


def _settle(set_to: Callable[[Any], None], answer: "asyncio.Future[Any]", value: object) -> None:
    if not answer.done():
        set_to(value)


mailbox: ContextVar[Mailbox | None] = ContextVar("mailbox", default=None)
"""The waiting thread of a call that came through the blocking view."""


async def in_caller(function: Callable[[], T]) -> T:
    """Run *function* in the thread of the one who made the call."""
    box = mailbox.get()
    return function() if box is None else await box.ask(function)
