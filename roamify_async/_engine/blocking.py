"""The blocking view's way into an event loop: one daemon thread, one portal, the same coroutines."""

import asyncio
import atexit
import os
import sys
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from importlib.util import find_spec
from typing import Any, Final, Generic, TypeVar

import anyio
from anyio import CancelScope
from anyio.from_thread import BlockingPortal

from roamify_async.errors import ConfigurationError

from .caller import Mailbox, mailbox

T = TypeVar("T")


class _Thread:
    """A daemon thread with an event loop, and the portal into it.

    anyio's own way to start one joins the thread when it is collected, which never ends at the interpreter's exit.
    """

    def __init__(self) -> None:
        started: Future[tuple[BlockingPortal, asyncio.AbstractEventLoop]] = Future()
        self._thread = threading.Thread(target=_serve, args=(started,), name="roamify_async", daemon=True)
        self._thread.start()
        self.portal, self.loop = started.result()

    @property
    def is_current(self) -> bool:
        """Whether this is the thread that asks."""
        return threading.current_thread() is self._thread

    def end(self) -> None:
        """Let the thread end soon, and cancel what runs in it; from any thread, also from a collector's."""
        with suppress(RuntimeError):  # It ended already.
            self.loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        self._stopping = self.loop.create_task(self.portal.stop(cancel_remaining=True))

    def abandon(self) -> None:
        """End as one who was dropped open: what else was dropped with it may close its sockets first."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.call_later, LINGER, self._stop)

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()


def _serve(started: "Future[tuple[BlockingPortal, asyncio.AbstractEventLoop]]") -> None:
    async def serve() -> None:
        async with BlockingPortal() as portal:
            started.set_result((portal, asyncio.get_running_loop()))
            await portal.sleep_until_stopped()

    try:
        anyio.run(serve, backend="asyncio", backend_options={"use_uvloop": find_spec("uvloop") is not None})
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)  # No loop could be made: the one who waits for it is told why.


LINGER: Final = 0.05
"""Seconds for which the thread of a client that was dropped open goes on."""
GRACE: Final = 2.0
"""Seconds that calls under way have to end once their connections are closed."""


class Blocking:
    """Calls block; the event loop of one own thread runs them. It opens at first use."""

    def __init__(self, clean_up: Callable[[], Awaitable[None]], *, patience: float) -> None:
        self._clean_up = clean_up
        """What is run in the loop before the thread ends."""
        self._patience = patience
        """Seconds for which an interrupted call may still clean up."""
        self._lock = threading.Lock()
        self._thread: _Thread | None = None
        self._calls: set[Future[Any]] = set()
        self._pid = os.getpid()
        self._closed = False

    @property
    def state(self) -> str:
        """``"new"``, ``"open"`` or ``"closed"``."""
        return "closed" if self._closed else "new" if self._thread is None else "open"

    @property
    def is_busy(self) -> bool:
        """Whether calls are under way."""
        return bool(self._calls)

    def open(self) -> _Thread:
        """Start the thread, if it does not run yet.

        Raises ``ConfigurationError`` after close, after a fork, and in the thread itself.
        """
        if os.getpid() != self._pid:
            raise ConfigurationError("this Roamify was made before a fork: make one in each process")
        thread = self._thread
        if thread is None:
            with self._lock:
                if self._closed:
                    raise ConfigurationError("this Roamify is closed: make a new one")
                if self._thread is None:
                    self._thread = _Thread()
                    weakref.finalize(self, self._thread.abandon).atexit = False
                    _open_ones.add(self)
                thread = self._thread
        if thread.is_current:
            raise ConfigurationError(
                "this Roamify was called on its own event loop, which would wait for itself: "
                "await an AsyncRoamify there"
            )
        return thread

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run *function* in the thread's loop and wait for what it gives.

        On Ctrl-C the call is cancelled, and its clean-up waited for; a second Ctrl-C leaves at once.
        """
        thread = self.open()
        call, box = _Call(function), Mailbox()
        try:
            future = self._submit(thread, call, box)
            box.serve()
            return future.result()
        except CancelledError:
            raise call.noted(ConfigurationError("this Roamify was closed while the call was under way")) from None
        except BaseException as interrupt:
            call.is_stopped = True  # at once, for it may not have begun yet
            if not call.ended.is_set():
                with suppress(RuntimeError):
                    thread.portal.start_task_soon(call.stop)
                    call.ended.wait(self._patience)
                call.noted(interrupt)
            raise

    def _submit(self, thread: _Thread, call: "_Call[T]", box: Mailbox) -> "Future[T]":
        context = mailbox.set(box)
        try:
            future: Future[T] = thread.portal.start_task_soon(call.run)
        except RuntimeError as closing:
            raise ConfigurationError("this Roamify is closed: make a new one") from closing
        finally:
            mailbox.reset(context)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        future.add_done_callback(lambda _: box.close())
        return future

    def finish(self, function: Callable[[], Awaitable[object]]) -> None:
        """Run the clean-up of something that was left: now, or soon where this is the loop's own thread."""
        thread = self._thread
        if thread is None or os.getpid() != self._pid or sys.is_finalizing():
            return
        if thread.is_current:
            asyncio.run_coroutine_threadsafe(_awaited(function), thread.loop)
        else:
            self.run(function)

    def close(self) -> None:
        """Clean up in the loop, then end the thread; calls under way fail, or are cancelled if they do not end soon.

        Closing twice does nothing.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            thread, self._thread, self._closed = self._thread, None, True
        _open_ones.discard(self)
        if thread is None:
            return
        try:
            thread.portal.start_task_soon(self._clean_up).result()
            # A purchase whose connection is gone says what it knows; so nothing is cancelled that ends by itself.
            wait([*self._calls], timeout=GRACE)
        finally:
            thread.end()
            thread.join()


_open_ones: "weakref.WeakSet[Blocking]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close what was left open, while its threads still run."""
    for blocking in [*_open_ones]:
        if not blocking.is_busy:  # A call of a daemon thread is left to end with the process.
            blocking.close()


async def _awaited(function: Callable[[], Awaitable[object]]) -> None:
    await function()


class _Call(Generic[T]):
    """One call in the portal that can be stopped from another thread, even before it starts."""

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        self._function = function
        self._scope: CancelScope | None = None
        self.is_stopped = False
        self.ended = threading.Event()
        self._notes: list[str] = []

    async def run(self) -> T:
        try:
            return await self._run()
        finally:
            self.ended.set()

    async def _run(self) -> T:
        if not self.is_stopped:
            with CancelScope() as self._scope:
                try:
                    return await self._function()
                except BaseException as error:
                    self._notes = getattr(error, "__notes__", [])
                    raise
        raise CancelledError

    def stop(self) -> None:
        """Cancel the call; it runs in the loop, after the call has begun if that was started before it."""
        if self._scope is None:
            self.ended.set()
        else:
            self._scope.cancel()

    def noted(self, error: BaseException) -> BaseException:
        """Put on *error* what the call's own end had to say."""
        for note in self._notes:
            error.add_note(note)
        return error
