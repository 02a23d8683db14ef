"""Runs coroutines for the synchronous client: an event loop in a daemon thread, and an anyio portal into it."""

import _thread
import asyncio
import atexit
import inspect
import logging
import selectors
import socket
import sys
import threading
import warnings
import weakref
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future, wait
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from types import BuiltinFunctionType
from typing import Any, Final, Generic, TypeVar

import anyio
from anyio import CancelScope
from anyio.from_thread import BlockingPortal

from roamify_async._fork import check_process, renew_in_children
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
        arguments = (_backend_options(), started)
        self._thread = threading.Thread(target=_run_loop, args=arguments, name="roamify_async", daemon=True)
        self._thread.start()
        self.portal: BlockingPortal
        self.loop: asyncio.AbstractEventLoop
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


def _run_loop(options: dict[str, object], started: "Future[tuple[BlockingPortal, asyncio.AbstractEventLoop]]") -> None:
    async def run() -> None:
        async with BlockingPortal() as portal:
            started.set_result((portal, asyncio.get_running_loop()))
            await portal.sleep_until_stopped()

    try:
        anyio.run(run, backend="asyncio", backend_options=options)
    except BaseException as error:
        if started.done():
            raise
        started.set_exception(error)  # No event loop could be created. The waiting thread raises the error.


def _backend_options() -> dict[str, object]:
    if isinstance(_thread.start_new_thread, BuiltinFunctionType):
        return {"loop_factory": _uvloop if find_spec("uvloop") is not None else asyncio.new_event_loop}
    # Otherwise threading was patched, usually by gevent, and starts green threads.
    if getattr(anyio.from_thread, "get_ident", threading.get_ident) is not threading.get_ident:
        raise ConfigurationError(
            "threads were patched (by gevent?) after roamify_async was imported: patch them before all other imports; "
            "with gunicorn's --preload, in its configuration file"
        )
    return {"loop_factory": _green_loop}


def _uvloop() -> asyncio.AbstractEventLoop:
    """Return an event loop of uvloop that resolves names in Python's threads.

    Those of libuv, which it would use, crash a forked process when that ends: libuv tries to join them.
    """
    base: type[asyncio.AbstractEventLoop] = import_module("uvloop").Loop
    made: asyncio.AbstractEventLoop = type("Loop", (base,), {"getaddrinfo": _getaddrinfo, "__module__": "uvloop"})()
    return made


async def _getaddrinfo(loop: asyncio.AbstractEventLoop, host: Any, port: Any, *, flags: int = 0, **options: int) -> Any:
    try:  # Addresses, as of each connection, need no thread.
        return socket.getaddrinfo(host, port, flags=flags | socket.AI_NUMERICHOST, **options)
    except socket.gaierror:
        return await loop.run_in_executor(None, partial(socket.getaddrinfo, host, port, flags=flags, **options))


def _green_loop() -> asyncio.AbstractEventLoop:
    """Return an event loop for a green thread.

    uvloop would block all green threads. Since they share a thread of the system, asyncio would see this loop running
    in all of them, and refuse to run another. So it does not count as running while it waits for events, which is when
    the others run.
    """
    selector = selectors.DefaultSelector()
    loop, select = asyncio.SelectorEventLoop(selector), selector.select

    def wait_for_events(timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        hooks = sys.get_asyncgen_hooks()
        asyncio._set_running_loop(None)  # noqa: SLF001 -- meant for implementations of event loops
        sys.set_asyncgen_hooks(None, None)
        try:
            return select(timeout)
        finally:
            asyncio._set_running_loop(loop)  # noqa: SLF001
            sys.set_asyncgen_hooks(*hooks)

    selector.select = wait_for_events  # type: ignore[method-assign]
    return loop


class Sync:
    """Mode of ``Roamify``: calls block while the event loop of the client's thread runs them."""

    def __init__(self, clean_up: Callable[[], Awaitable[None]], *, grace: float) -> None:
        self._clean_up = clean_up
        """Runs in the event loop before the thread ends."""
        self._grace = grace
        """Seconds in which an interrupted call must clean up."""
        self._thread: _LoopThread | None = None
        self._stop_soon: weakref.finalize[[], Sync] | None = None
        self._calls: dict[Future[Any], CallbackQueue] = {}
        self._closed = False
        self.process: int = 0
        """Number of forks since the client was created; a call or an iterator does not outlive one."""
        renew_in_children(self)

    @property
    def _lock(self) -> threading.Lock:
        """Lock for opening and closing, made at first use: gevent may replace locks after the client was created."""
        lock: threading.Lock = vars(self).setdefault("lock", threading.Lock())
        return lock

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

        Raises ``ConfigurationError`` after close, and in the thread itself.
        """
        check_process()
        thread = self._thread
        if thread is None:
            with self._lock:
                if self._closed:
                    raise ConfigurationError("this Roamify is closed: make a new one")
                if self._thread is None:
                    self._thread = _LoopThread()
                    self._stop_soon = weakref.finalize(self, self._thread.stop_soon)
                    self._stop_soon.atexit = False
                    _open_instances.add(self)
                thread = self._thread
        if thread.is_current:
            raise ConfigurationError(
                "this Roamify was called on its own event loop, which would wait for itself: "
                "await an AsyncRoamify there"
            )
        return thread

    def renew(self) -> None:
        """Leave the thread to the parent process after a fork, so that the client opens anew in this one."""
        if self._stop_soon is not None:
            self._stop_soon.detach()
        _open_instances.discard(self)
        vars(self).pop("lock", None)
        self._thread = self._stop_soon = None
        self.process += 1
        calls, self._calls = self._calls, {}
        for callbacks in calls.values():  # The thread that forked may be in one of these calls.
            callbacks.close()

    def check_fork(self, process: int) -> None:
        """Raise ``ConfigurationError`` if what began in *process* is continued in a forked one."""
        check_process()
        if process != self.process:
            raise ConfigurationError(
                "this process was forked while the call was under way, which continues in the parent process only"
            )

    def run(self, function: Callable[[], Awaitable[T]], process: int | None = None) -> T:
        """Run *function* in the event loop of the thread, and wait for its result.

        On Ctrl-C the call is cancelled, and its end is awaited. A second Ctrl-C raises immediately. With *process*,
        *function* continues what began in that one.
        """
        thread = self.open()
        _warn_in_event_loop()
        return self._run(thread, function, process)

    def _run(self, thread: _LoopThread, function: Callable[[], Awaitable[T]], process: int | None) -> T:
        process = self.process if process is None else process
        self.check_fork(process)
        call, callbacks = _Call(function), CallbackQueue()
        try:
            future = self._submit(thread, call, callbacks)
            self.check_fork(process)
            callbacks.run_until_closed()
            self.check_fork(process)
            return future.result()
        except CancelledError:
            raise call.with_notes(ConfigurationError("this Roamify was closed while the call was under way")) from None
        except BaseException as interrupt:
            if process != self.process:
                raise  # The call continues in the parent process.
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
        self._calls[future] = callbacks
        future.add_done_callback(self._end)
        return future

    def _end(self, future: "Future[Any]") -> None:
        callbacks = self._calls.pop(future, None)
        if callbacks is not None:
            callbacks.close()

    def finish(self, function: Callable[[], Awaitable[object]], process: int) -> None:
        """Run the clean-up of an iterator that was left; later if called in the thread of the event loop."""
        check_process()
        thread = self._thread
        if thread is None or process != self.process or sys.is_finalizing():
            return
        if thread.is_current:
            asyncio.run_coroutine_threadsafe(_await(function), thread.loop)
        else:
            self._run(thread, function, process)

    def close(self) -> None:
        """Clean up in the event loop, and end the thread.

        Calls in progress fail, or are cancelled after ``GRACE`` seconds. Closing twice does nothing.
        """
        check_process()
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


_PACKAGE: Final = __name__.partition(".")[0]


def _warn_in_event_loop() -> None:
    """Warn if the calling thread runs an event loop, which a blocking call stops; cells of notebooks may do so."""
    if asyncio._get_running_loop() is None or _is_in_ipython():  # noqa: SLF001 -- documented, and does not raise
        return
    level, frame = 1, inspect.currentframe()
    while frame is not None and frame.f_globals.get("__name__", "").partition(".")[0] == _PACKAGE:
        level, frame = level + 1, frame.f_back  # The warning names the line of the caller's.
    warnings.warn(
        "this Roamify was called in a running event loop, and blocks it until the call ends: "
        "await an AsyncRoamify, or call in a thread, as by asyncio.to_thread",
        RuntimeWarning,
        level,
    )


def _is_in_ipython() -> bool:
    ipython = sys.modules.get("IPython")
    return ipython is not None and ipython.get_ipython() is not None


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
