"""Runs coroutines for the synchronous client: an event loop in a daemon thread, and an anyio portal into it."""

import asyncio
import atexit
import logging
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

from .callbacks import CallbackQueue, callback_queue, purchases

T = TypeVar("T")

log: logging.Logger = logging.getLogger("roamify_async")

LINGER: Final = 0.05
"""Seconds for which the thread of a client that was not closed continues, so that its sockets can close."""
GRACE: Final = 2.0
"""Seconds in which calls in progress must end after their connections were closed."""
FACTS: Final = ("reference_id", "journal")
"""Attributes that a call adds to the exception that cancels it."""


class _LoopThread:
    """A daemon thread with an event loop, and the portal into it.

    anyio's ``start_blocking_portal`` joins its thread when garbage-collected, which hangs at interpreter exit.
    """

    def __init__(self) -> None:
        started: Future[tuple[BlockingPortal, asyncio.AbstractEventLoop]] = Future()
        self._thread = threading.Thread(target=_run_loop, args=(started,), name="roamify_async", daemon=True)
        self._thread.start()
        self.portal, self.loop = started.result()

    @property
    def is_current(self) -> bool:
        """Whether the caller is running in this thread."""
        return threading.current_thread() is self._thread

    def stop(self) -> None:
        """Cancel the tasks in the thread and end it. May be called from any thread, or from a finalizer."""
        with suppress(RuntimeError):  # It has ended.
            self.loop.call_soon_threadsafe(self._stop)

    def _stop(self) -> None:
        self._stopping = self.loop.create_task(self.portal.stop(cancel_remaining=True))

    def stop_soon(self) -> None:
        """End the thread after ``LINGER`` seconds, so that the sockets of the client close first."""
        with suppress(RuntimeError):
            self.loop.call_soon_threadsafe(self.loop.call_later, LINGER, self._stop)

    def join(self) -> None:
        """Wait until the thread has ended."""
        self._thread.join()


def _run_loop(started: "Future[tuple[BlockingPortal, asyncio.AbstractEventLoop]]") -> None:
    async def run() -> None:
        async with BlockingPortal() as portal:
            started.set_result((portal, asyncio.get_running_loop()))
            await portal.sleep_until_stopped()

    try:
        anyio.run(run, backend="asyncio", backend_options={"use_uvloop": find_spec("uvloop") is not None})
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)  # No event loop could be created. The waiting thread raises the error.


class Sync:
    """Mode of ``Roamify``: calls block while the event loop of the client's thread runs them."""

    def __init__(self, clean_up: Callable[[], Awaitable[None]], *, grace: float) -> None:
        self._clean_up = clean_up
        """Runs in the event loop before the thread ends."""
        self._grace = grace
        """Seconds in which an interrupted call must clean up."""
        self._lock = threading.Lock()
        self._thread: _LoopThread | None = None
        self._calls: set[Future[Any]] = set()
        self._pid = os.getpid()
        self._closed = False

    @property
    def state(self) -> str:
        """``"new"``, ``"open"`` or ``"closed"``."""
        return "closed" if self._closed else "new" if self._thread is None else "open"

    @property
    def is_busy(self) -> bool:
        """Whether calls are in progress."""
        return bool(self._calls)

    def open(self) -> _LoopThread:
        """Start the thread, if it is not running.

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
                    self._thread = _LoopThread()
                    weakref.finalize(self, self._thread.stop_soon).atexit = False
                    _open_instances.add(self)
                thread = self._thread
        if thread.is_current:
            raise ConfigurationError(
                "this Roamify was called on its own event loop, which would wait for itself: "
                "await an AsyncRoamify there"
            )
        return thread

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run *function* in the event loop of the thread, and wait for its result.

        On Ctrl-C the call is cancelled, and its end is awaited. A second Ctrl-C raises immediately.
        """
        thread = self.open()
        call, callbacks = _Call(function), CallbackQueue()
        try:
            future = self._submit(thread, call, callbacks)
            callbacks.run_until_closed()
            return future.result()
        except CancelledError:
            raise call.with_notes(ConfigurationError("this Roamify was closed while the call was under way")) from None
        except BaseException as interrupt:
            call.is_stopped = True  # Set here, since the call may not have started.
            if not call.ended.is_set():
                with suppress(RuntimeError):
                    thread.portal.start_task_soon(call.stop)
                    call.ended.wait(self._grace)
            call.with_notes(interrupt)
            raise

    def _submit(self, thread: _LoopThread, call: "_Call[T]", callbacks: CallbackQueue) -> "Future[T]":
        context, made = callback_queue.set(callbacks), purchases.set(call.purchases)
        try:
            future: Future[T] = thread.portal.start_task_soon(call.run)
        except RuntimeError as closing:
            raise ConfigurationError("this Roamify is closed: make a new one") from closing
        finally:
            callback_queue.reset(context)
            purchases.reset(made)
        self._calls.add(future)
        future.add_done_callback(self._calls.discard)
        future.add_done_callback(lambda _: callbacks.close())
        return future

    def finish(self, function: Callable[[], Awaitable[object]]) -> None:
        """Run the clean-up of an iterator that was left; later if called in the thread of the event loop."""
        thread = self._thread
        if thread is None or os.getpid() != self._pid or sys.is_finalizing():
            return
        if thread.is_current:
            asyncio.run_coroutine_threadsafe(_await(function), thread.loop)
        else:
            self.run(function)

    def close(self) -> None:
        """Clean up in the event loop, and end the thread.

        Calls in progress fail, or are cancelled after ``GRACE`` seconds. Closing twice does nothing.
        """
        if os.getpid() != self._pid:
            return
        with self._lock:
            thread, self._thread, self._closed = self._thread, None, True
        _open_instances.discard(self)
        if thread is None:
            return
        try:
            thread.portal.start_task_soon(self._clean_up).result()
            # A purchase whose connection was closed ends by itself, and reports its reference.
            wait([*self._calls], timeout=GRACE)
        finally:
            thread.stop()
            thread.join()


_open_instances: "weakref.WeakSet[Sync]" = weakref.WeakSet()


@atexit.register
def _close_all() -> None:
    """Close clients that were not closed, while their threads are still running."""
    for sync in [*_open_instances]:
        if not sync.is_busy:  # A call in a daemon thread ends with the process.
            sync.close()


async def _await(function: Callable[[], Awaitable[object]]) -> None:
    await function()


class _Call(Generic[T]):
    """A call in the portal, which another thread can stop even before it starts."""

    def __init__(self, function: Callable[[], Awaitable[T]]) -> None:
        self._function = function
        self._scope: CancelScope | None = None
        self.is_stopped = False
        self.ended = threading.Event()
        self.purchases: list[str] = []
        """References of the purchases that the call has made."""
        self._error: BaseException | None = None
        self._notes: list[str] = []
        self._facts: dict[str, object] = {}
        """The reference of a purchase, or the journal of a bulk order, that the caller does not get."""

    async def run(self) -> T:
        try:
            return await self._run()
        finally:
            self.ended.set()

    async def _run(self) -> T:
        if not self.is_stopped:
            with CancelScope() as self._scope:
                try:
                    result = await self._function()
                except BaseException as error:
                    self._error = error
                    self._notes = getattr(error, "__notes__", [])
                    facts = {name: getattr(error, name, None) for name in FACTS}
                    self._facts = {name: value for name, value in facts.items() if value is not None}
                    raise
                return result
        raise CancelledError

    def stop(self) -> None:
        """Cancel the call. Runs in the event loop."""
        if self._scope is None:
            self.ended.set()
        else:
            self._scope.cancel()

    def with_notes(self, error: BaseException) -> BaseException:
        """Add what the caller does not get to *error*: the notes and the facts of the call, and of its purchases."""
        if error is self._error:
            return error
        for note in self._notes:
            error.add_note(note)
        if self._error is None:
            for reference in self.purchases:
                note = f"the purchase with reference {reference} was made before the call was interrupted"
                log.warning("%s", note)
                error.add_note(note)
                self._facts["reference_id"] = reference
        for name, value in self._facts.items():
            setattr(error, name, value)
        return error
