"""The blocking view's way into an event loop: one daemon thread, one portal, the same coroutines."""

import asyncio
import os
import threading
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from contextlib import suppress
from typing import Generic, TypeVar

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

    def join(self) -> None:
        """Wait for its end."""
        self._thread.join()


def _serve(started: "Future[tuple[BlockingPortal, asyncio.AbstractEventLoop]]") -> None:
    async def serve() -> None:
        async with BlockingPortal() as portal:
            started.set_result((portal, asyncio.get_running_loop()))
            await portal.sleep_until_stopped()

    anyio.run(serve, backend="asyncio")


class Blocking:
    """Calls block; the event loop of one own thread runs them. It opens at first use."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        """Seconds for which an interrupted call may still clean up."""
        self._lock = threading.Lock()
        self._thread: _Thread | None = None
        self._pid = os.getpid()
        self._closed = False

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
                    # Also at the interpreter's exit, while the thread can still end.
                    weakref.finalize(self, self._thread.end)
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
        context = mailbox.set(box)
        try:
            future: Future[T] = thread.portal.start_task_soon(call.run)
        except RuntimeError as closing:
            raise ConfigurationError("this Roamify is closed: make a new one") from closing
        finally:
            mailbox.reset(context)
        future.add_done_callback(lambda _: box.close())
        try:
            box.serve()
            return future.result()
        except CancelledError:
            raise call.noted(ConfigurationError("this Roamify was closed while the call was under way")) from None
        except BaseException as interrupt:
            if not future.done():
                self._stop(thread, call, future)
                call.noted(interrupt)
            raise

    def finish(self, function: Callable[[], Awaitable[object]]) -> None:
        """Run the clean-up of something that was left: now, or soon where this is the loop's own thread."""
        thread = self._thread
        if thread is None or os.getpid() != self._pid:
            return
        if thread.is_current:
            asyncio.run_coroutine_threadsafe(_awaited(function), thread.loop)
        else:
            self.run(function)

    def close(self, clean_up: Callable[[], Awaitable[None]]) -> None:
        """Run *clean_up* in the loop, then end the thread; calls under way are cancelled.

        Closing twice does nothing.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            thread, self._thread, self._closed = self._thread, None, True
        if thread is None:
            return
        try:
            thread.portal.start_task_soon(clean_up).result()
        finally:
            thread.end()
            thread.join()

    def _stop(self, thread: _Thread, call: "_Call[T]", future: "Future[T]") -> None:
        with suppress(RuntimeError, CancelledError, TimeoutError):
            thread.portal.start_task_soon(call.stop)
            future.exception(self._patience)


async def _awaited(function: Callable[[], Awaitable[object]]) -> None:
    await function()


class _Call(Generic[T]):
    """One call in the portal that can be stopped from another thread, even before it starts."""

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        self._function = function
        self._scope: CancelScope | None = None
        self._stopped = False
        self._notes: list[str] = []

    async def run(self) -> T:
        with CancelScope() as self._scope:
            if self._stopped:
                self._scope.cancel()
            try:
                return await self._function()
            except BaseException as error:
                self._notes = getattr(error, "__notes__", [])
                raise
        raise CancelledError

    def stop(self) -> None:
        """Cancel the call; runs in the loop, so that it meets the call in a known state."""
        self._stopped = True
        if self._scope is not None:
            self._scope.cancel()

    def noted(self, error: BaseException) -> BaseException:
        """Put on *error* what the call's own end had to say."""
        for note in self._notes:
            error.add_note(note)
        return error
