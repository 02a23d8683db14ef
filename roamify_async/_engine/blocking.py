"""The blocking view's way into an event loop: one daemon thread, one portal, the same coroutines."""

import asyncio
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager
from typing import Generic, TypeVar

from anyio import CancelScope
from anyio.from_thread import BlockingPortal, start_blocking_portal

from roamify_async.errors import ConfigurationError

T = TypeVar("T")


class Blocking:
    """Calls block; the event loop of one own thread runs them. It opens at first use."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        """Seconds for which an interrupted call may still clean up."""
        self._lock = threading.Lock()
        self._manager: AbstractContextManager[BlockingPortal] | None = None
        self._portal: BlockingPortal | None = None
        self._thread: int | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._pid = os.getpid()
        self._closed = False

    @property
    def is_open(self) -> bool:
        """Whether a thread runs for it."""
        return self._portal is not None

    def open(self) -> BlockingPortal:
        """Start the thread, if it does not run yet.

        Raises ``ConfigurationError`` after close, after a fork, and in the thread itself.
        """
        if os.getpid() != self._pid:
            raise ConfigurationError("this Roamify was made before a fork: make one in each process")
        if threading.get_ident() == self._thread:
            raise ConfigurationError(
                "this Roamify was called on its own event loop, which would wait for itself: "
                "await an AsyncRoamify there"
            )
        with self._lock:
            if self._closed:
                raise ConfigurationError("this Roamify is closed: make a new one")
            if self._portal is None:
                self._manager = start_blocking_portal("asyncio", name="roamify_async")
                self._portal = self._manager.__enter__()
                self._thread = self._portal.start_task_soon(threading.get_ident).result()
                self._loop = self._portal.start_task_soon(asyncio.get_running_loop).result()
            return self._portal

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run *function* in the thread's loop and wait for what it gives.

        On Ctrl-C the call is cancelled, and its clean-up waited for; a second Ctrl-C leaves at once.
        """
        portal = self.open()
        call = _Call(function)
        try:
            future: Future[T] = portal.start_task_soon(call.run)
        except RuntimeError as closing:
            raise ConfigurationError("this Roamify is closed: make a new one") from closing
        try:
            return future.result()
        except CancelledError:
            raise call.noted(ConfigurationError("this Roamify was closed while the call was under way")) from None
        except BaseException as interrupt:
            if not future.done():
                self._stop(call, future)
                call.noted(interrupt)
            raise

    def finish(self, function: Callable[[], Awaitable[object]]) -> None:
        """Run the clean-up of something that was left: now, or soon where this is the loop's own thread."""
        portal = self._portal
        if portal is None or self._loop is None or os.getpid() != self._pid:
            return
        if threading.get_ident() == self._thread:
            asyncio.run_coroutine_threadsafe(_awaited(function), self._loop)
        else:
            self.run(function)

    def close(self, clean_up: Callable[[], Awaitable[None]]) -> None:
        """Run *clean_up* in the loop, then end the thread; calls under way are cancelled.

        Closing twice does nothing.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            portal, manager = self._portal, self._manager
            self._closed, self._portal, self._manager = True, None, None
        if portal is None or manager is None:
            return
        try:
            portal.start_task_soon(clean_up).result()
        finally:
            portal.start_task_soon(portal.stop, True).result()  # True: cancel what remains
            manager.__exit__(None, None, None)

    def _stop(self, call: "_Call[T]", future: "Future[T]") -> None:
        portal = self._portal
        if portal is not None:
            portal.start_task_soon(call.stop)
            try:
                future.exception(self._patience)
            except (CancelledError, TimeoutError):
                return


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
