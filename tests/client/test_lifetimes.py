"""How clients end: by Ctrl-C, other threads and loops, garbage collection and the interpreter's exit.

Each test runs over sockets and leaves no thread, task or socket behind.
"""

import asyncio
import gc
import re
import signal
import textwrap
import threading
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import anyio
import pytest
from support.clients import HANG, QUICK, InThread
from support.programs import run_program
from support.servers import Connection, Raw, answer

from roamify_async import (
    AsyncRoamify,
    ConfigurationError,
    NotFoundError,
    OrderItem,
    Roamify,
    RoamifyError,
)
from roamify_async.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("frozen_heap")

PACKAGE = "esim-greece-30days-1gb-all"
PAGES = "/api/esim/packages"
BALANCE = "GET /api/balance"

interrupting = pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="no signals to threads on this system")


def sockets() -> int:
    """Return the number of open sockets of this process, where the system tells."""
    links = Path("/proc/self/fd")
    if not links.is_dir():
        return 0
    return sum(link.is_symlink() and str(link.readlink()).startswith("socket:") for link in links.iterdir())


def threads() -> list[threading.Thread]:
    """Return the library's threads."""
    return [thread for thread in threading.enumerate() if thread.name == "roamify_async"]


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """Fail if a test leaves a thread or a socket behind."""
    gc.collect()
    before, open_before = set(threading.enumerate()), sockets()
    yield
    gc.collect()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    # Of the others' threads, asyncio's and that of an optional resolver of aiohttp's stay for the next client.
    others = re.compile("asyncio|_run_safe_shutdown_loop")
    left = {thread for thread in threading.enumerate() if thread not in before and not others.search(thread.name)}
    assert left == set()
    assert sockets() <= open_before


@pytest.fixture
def served(nothing_left) -> Iterator[Sandbox]:
    """Run a sandbox in a thread of its own, for tests whose own thread blocks."""
    with Sandbox(packages=300) as sandbox:
        yield sandbox


def blocking(served: Sandbox) -> Roamify:
    """Create a synchronous client."""
    return Roamify(served.token, base_url=served.url, settings=QUICK)


def until(served: Sandbox, line: str, count: int = 1) -> None:
    """Wait until this many requests have arrived."""
    served.wait_for(line, count, timeout=HANG)


def ctrl_c() -> None:
    """Send SIGINT to the main thread."""
    signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)


class InBackground:
    """Runs a function in another thread; its error is raised at the end of the block."""

    def __init__(self, work: Callable[[], object]) -> None:
        """Set the function."""
        self._pool = ThreadPoolExecutor(1)
        self._work = work

    def __enter__(self) -> None:
        """Start it."""
        self._done = self._pool.submit(self._work)

    def __exit__(self, *_: object) -> None:
        """Wait for it."""
        self._done.result(20)
        self._pool.shutdown()


def in_loop(roamify: Roamify, function: Callable[[], object]) -> Any:
    """Run a function in the thread of a synchronous client."""

    async def call() -> object:
        return function()

    return roamify._mode.run(call)


def settled(roamify: Roamify) -> None:
    """Wait until no page is being fetched."""
    while in_loop(roamify, lambda: len(roamify._engine.transport._tasks)):
        pass


# ---------------------------------------------------------------- Ctrl-C


class BlockedWork:
    """A call whose clean-up ends when the test releases it."""

    def __init__(self) -> None:
        """Begin with nothing done."""
        self.begun, self.cleaning = threading.Event(), threading.Event()
        self.steps: list[str] = []

    async def __call__(self, *_: object, **__: object) -> None:
        """Wait for ever, then clean up."""
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        self.begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            self.cleaning.set()
            # The scope keeps anyio from cancelling again and again; a task's own cancel() comes once.
            with anyio.CancelScope(shield=True):
                while not self._end.is_set():
                    with suppress(asyncio.CancelledError):
                        await self._end.wait()
            self.steps.append("cleaned up")

    def release(self) -> None:
        """Make the clean-up end."""
        if self.begun.is_set() and not self.steps:
            self.steps.append("released")
            self._loop.call_soon_threadsafe(self._end.set)

    def interrupt(self) -> None:
        """Press Ctrl-C once the work has begun, and wait until it is cancelled."""
        assert self.begun.wait(20)
        ctrl_c()
        if not self.cleaning.wait(10):  # a signal is not seen until the next one if it arrives just before a wait
            ctrl_c()
            assert self.cleaning.wait(10)


@interrupting
def test_ctrl_c_waits_for_the_clean_up(served):
    """Ctrl-C cancels the call and returns once its clean-up is done."""
    held = BlockedWork()

    def background() -> None:
        try:
            held.interrupt()
        finally:
            held.release()

    with Roamify(served.token, base_url=served.url) as roamify:
        with InBackground(background), pytest.raises(KeyboardInterrupt):
            roamify._mode.run(held)
        assert held.steps == ["released", "cleaned up"]
        assert roamify.account.balance().balance == 1000


@interrupting
def test_second_ctrl_c_leaves_at_once(served):
    """A second Ctrl-C does not wait for the clean-up; closing the client does."""
    held = BlockedWork()

    def background() -> None:
        held.interrupt()
        ctrl_c()

    with Roamify(served.token, base_url=served.url) as roamify:
        try:
            with InBackground(background), pytest.raises(KeyboardInterrupt):
                roamify._mode.run(held)
            assert held.steps == []
            assert roamify.account.balance().balance == 1000
        finally:
            held.release()
    assert held.steps == ["released", "cleaned up"]


@interrupting
def test_ctrl_c_in_a_list(served):
    """Ctrl-C in ``packages.list`` cancels the requests of its pages."""
    served.fail("GET", PAGES, "slow", query={"page": "3"}, seconds=600)

    def background() -> None:
        until(served, f"GET {PAGES}", 3)
        ctrl_c()

    with blocking(served) as roamify:
        with InBackground(background), pytest.raises(KeyboardInterrupt):
            roamify.packages.list(page_size=10)
        assert in_loop(roamify, lambda: len(roamify._engine.transport._tasks)) == 0
        assert roamify.account.balance().balance == 1000


@interrupting
def test_ctrl_c_while_an_iterator_waits(served):
    """Ctrl-C while ``packages.iter`` waits for a page cancels the requests of its pages."""
    served.fail("GET", PAGES, "slow", query={"page": "3"}, seconds=600)
    seen = []

    def background() -> None:
        until(served, f"GET {PAGES}", 3)
        ctrl_c()

    def walk_on() -> None:
        for package in roamify.packages.iter(page_size=10):
            seen.append(package)  # noqa: PERF402 -- what came before the interruption counts

    with blocking(served) as roamify:
        with InBackground(background), pytest.raises(KeyboardInterrupt):
            walk_on()
        assert seen
        assert in_loop(roamify, lambda: len(roamify._engine.transport._tasks)) == 0
        assert roamify.account.balance().balance == 1000


@interrupting
def test_ctrl_c_between_two_items(served):
    """Ctrl-C in the body of a loop over ``packages.iter`` cancels the requests of its pages."""
    served.fail("GET", PAGES, "slow", query={"page": "3"}, seconds=600)

    def walk_on() -> None:
        for _ in roamify.packages.iter(page_size=10):
            signal.raise_signal(signal.SIGINT)

    with blocking(served) as roamify:
        with pytest.raises(KeyboardInterrupt):
            walk_on()
        assert in_loop(roamify, lambda: len(roamify._engine.transport._tasks)) == 0
        assert roamify.account.balance().balance == 1000


@interrupting
def test_second_ctrl_c_in_an_iterator(served, monkeypatch):
    """A second Ctrl-C while an iterator cleans up raises ``KeyboardInterrupt``, and the client stays usable."""
    held = BlockedWork()

    def background() -> None:
        held.interrupt()
        ctrl_c()

    with blocking(served) as roamify:
        try:
            with monkeypatch.context() as patched:
                patched.setattr(roamify._engine.transport, "send", held)
                with InBackground(background), pytest.raises(KeyboardInterrupt):
                    next(roamify.packages.iter())
        finally:
            held.release()
        assert roamify.account.balance().balance == 1000


@interrupting
def test_ctrl_c_before_the_call_has_begun(served, monkeypatch):
    """Ctrl-C before the call has started in a busy loop prevents it from being sent."""
    stopped, submitted, free = threading.Event(), threading.Semaphore(0), threading.Event()

    def busy() -> None:
        stopped.set()
        free.wait(HANG)

    def background() -> None:
        submitted.acquire()
        ctrl_c()
        # The cancellation waits behind the call. A signal that comes right before the thread blocks does not wake it.
        while not submitted.acquire(timeout=10):
            ctrl_c()
        free.set()

    with blocking(served) as roamify:
        loop = roamify._mode.open().loop
        loop.call_soon_threadsafe(busy)
        stopped.wait()
        real = loop.call_soon_threadsafe

        def submit(*args: Any, **kwargs: Any) -> Any:
            handle = real(*args, **kwargs)
            submitted.release()
            return handle

        with monkeypatch.context() as patched:
            patched.setattr(loop, "call_soon_threadsafe", submit)
            with InBackground(background), pytest.raises(KeyboardInterrupt):
                roamify.orders.create([OrderItem(PACKAGE)], reference_id="r-1")
        roamify.account.balance()
        assert served.state()["requests"] == {BALANCE: 1}
        assert in_loop(roamify, lambda: len(asyncio.all_tasks())) <= 3


# ---------------------------------------------------------------- iterators


async def test_async_iterator_left(client):
    """An asynchronous iterator that is left early or dropped is closed, and does not block the client."""
    async for _ in client.packages.iter(page_size=10):
        break
    items = client.packages.iter(page_size=10)
    await anext(items)
    del items
    never = client.packages.iter()
    del never
    gc.collect()
    while client._engine.transport._tasks:
        await asyncio.wait([*client._engine.transport._tasks])
    assert (await client.account.balance()).balance == 1000


def test_iterator_collected_in_the_clients_thread(served):
    """An iterator that is garbage-collected in the client's own thread is closed there."""
    served.fail("GET", PAGES, "slow", query={"page": "3"}, seconds=600)
    with blocking(served) as roamify:
        items = roamify.packages.iter(page_size=10)
        next(items)
        circle = SimpleNamespace(items=items)
        circle.itself = circle
        del items, circle
        in_loop(roamify, gc.collect)
        settled(roamify)
        assert roamify.account.balance().balance == 1000


def test_iterator_outlives_its_client(served):
    """An iterator whose client was closed raises at its next item, and can be closed and collected."""
    roamify = blocking(served)
    one, other, never = (roamify.packages.iter(page_size=10) for _ in range(3))
    next(one)
    next(other)
    roamify.close()
    with pytest.raises(ConfigurationError, match="closed"):
        list(one)
    other.close()
    never.close()
    del one, other, never
    gc.collect()


def test_close_under_an_iteration(served):
    """Closing the client ends an iteration in another thread with an error."""
    served.fail("GET", PAGES, "slow", query={"page": "3"}, seconds=600)
    roamify = blocking(served)
    with ThreadPoolExecutor(1) as pool:
        walk = pool.submit(lambda: list(roamify.packages.iter(page_size=10)))
        until(served, f"GET {PAGES}", 3)
        roamify.close()
        with pytest.raises(ConfigurationError, match="closed"):
            walk.result(20)


# ---------------------------------------------------------------- before open, after close, in other loops


async def walk(client: Any) -> Any:
    """Return the first item of an iterator, with either client."""
    if isinstance(client, InThread):
        return await asyncio.to_thread(lambda: next(client._target.packages.iter()))
    return await anext(client.packages.iter())


CALLS = {
    "endpoint": lambda client: client.account.balance(),
    "method": lambda client: client.packages.list(),
    "purchase": lambda client: client.orders.create([OrderItem(PACKAGE)]),
    "iterator": walk,
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("mode", ["async", "sync"])
async def test_before_and_after(mode, call, sandbox):
    """Every kind of call opens a new client, and raises on a closed one."""
    make = AsyncRoamify if mode == "async" else Roamify
    client = make(sandbox.token, base_url=sandbox.url, settings=QUICK)
    view = client.with_settings(user_agent="view")
    either = client if mode == "async" else InThread(client)
    other = view if mode == "async" else InThread(view)
    assert await CALLS[call](either)
    await (client.aclose() if mode == "async" else asyncio.to_thread(client.close))
    for closed in (either, other):
        with pytest.raises(ConfigurationError, match="closed: make a new one"):
            await CALLS[call](closed)


@pytest.mark.parametrize("call", CALLS)
def test_second_loop(call, served):
    """Every kind of call raises in a second event loop."""
    client = AsyncRoamify(served.token, base_url=served.url, settings=QUICK)

    async def first() -> None:
        await CALLS[call](client)
        await asyncio.to_thread(asyncio.run, second())
        assert await CALLS[call](client)
        await client.aclose()

    async def second() -> None:
        with pytest.raises(ConfigurationError, match=r"another event loop: .* or use one Roamify, which blocks"):
            await CALLS[call](client)

    asyncio.run(first())


@pytest.mark.parametrize("call", [*CALLS])
def test_on_its_own_loop(call, served):
    """Every kind of blocking call raises in the client's own loop, and harms nothing."""
    with blocking(served) as roamify:
        blocked = {**CALLS, "iterator": lambda client: next(client.packages.iter())}[call]
        with pytest.raises(ConfigurationError, match="own event loop"):
            in_loop(roamify, lambda: blocked(roamify))
        assert blocked(roamify)


def test_one_client_in_several_loops(served):
    """A synchronous client can be called while any loop runs, and from its worker threads."""
    with blocking(served) as roamify:

        async def directly() -> Any:
            return roamify.account.balance().balance

        async def in_threads() -> Any:
            return await asyncio.gather(*(asyncio.to_thread(lambda: roamify.account.balance().balance) for _ in "abc"))

        for _ in range(2):
            with pytest.warns(RuntimeWarning, match="blocks it until the call ends: await an AsyncRoamify") as caught:
                assert asyncio.run(directly()) == 1000
            assert [warning.filename for warning in caught] == [__file__]
            assert asyncio.run(in_threads()) == [1000] * 3
        assert len(threads()) == 1


# ---------------------------------------------------------------- threads


def test_opened_by_many_threads_at_once(served):
    """A client that many threads use first at the same time starts one thread."""
    for _ in range(5):
        roamify, barrier = blocking(served), threading.Barrier(16)

        def first(roamify: Roamify = roamify, barrier: threading.Barrier = barrier) -> int:
            barrier.wait()
            roamify._mode.open()
            return len(threads())

        with ThreadPoolExecutor(16) as pool:
            assert {call.result(20) for call in [pool.submit(first) for _ in range(16)]} == {1}
        assert roamify.account.balance().balance == 1000
        roamify.close()
        assert threads() == []


def test_no_event_loop(served, monkeypatch):
    """If no event loop can be created, the call raises the reason; later calls try again."""

    def run(*_: object, **__: object) -> None:
        raise OSError("too many open files")

    roamify = Roamify(served.token, base_url=served.url)
    with monkeypatch.context() as patch:
        patch.setattr(anyio, "run", run)
        with pytest.raises(OSError, match="too many open files"):
            roamify.service.health()
    assert roamify.service.health()
    roamify.close()


def test_closed_by_many_threads_at_once(served):
    """Many threads may close a client while others use it; all calls raise, and none hangs."""
    for _ in range(5):
        roamify, barrier = blocking(served), threading.Barrier(16)
        roamify.account.balance()

        def use(roamify: Roamify = roamify, barrier: threading.Barrier = barrier) -> str:
            barrier.wait()
            while True:
                try:
                    roamify.account.balance()
                except RoamifyError as error:
                    return str(error)

        def close(roamify: Roamify = roamify, barrier: threading.Barrier = barrier) -> str:
            barrier.wait()
            roamify.close()
            return "closed"

        with ThreadPoolExecutor(16) as pool:
            outcomes = [pool.submit(work) for work in [use, close] * 8]
            assert all("closed" in each.result(20) for each in outcomes)
        assert threads() == []


# ---------------------------------------------------------------- views, sessions, expressions


def dropped(caught: list[warnings.WarningMessage]) -> list[str]:
    """Return the texts of warnings."""
    return [str(warning.message) for warning in caught]


def test_view_opens_first(served):
    """A view that is used first opens its client, and closing it closes nothing."""
    roamify = blocking(served)
    with roamify.with_settings(user_agent="view") as view:
        assert view.account.balance().balance == 1000
    assert roamify.account.balance().balance == 1000
    assert len(threads()) == 1
    roamify.close()
    with pytest.raises(ConfigurationError, match="closed"):
        view.account.balance()
    with pytest.raises(ConfigurationError, match="closed"):
        roamify.with_settings(user_agent="later").account.balance()


async def test_async_view_opens_first(sandbox):
    """A view of an asynchronous client opens it too; a view of a closed client is closed."""
    roamify = AsyncRoamify(sandbox.token, base_url=sandbox.url)
    async with roamify.with_settings(user_agent="view") as view:
        assert (await view.account.balance()).balance == 1000
    assert (await roamify.account.balance()).balance == 1000
    assert repr(roamify).endswith("open>")
    await roamify.aclose()
    with pytest.raises(ConfigurationError, match="closed"):
        await roamify.with_settings(user_agent="later").account.balance()


async def test_view_outlives_its_client(sandbox):
    """A view keeps the connections of a client that was dropped, and warns when it is dropped itself."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        view = AsyncRoamify(sandbox.token, base_url=sandbox.url).with_settings(user_agent="view")
        gc.collect()
        assert (await view.account.balance()).balance == 1000
        gc.collect()
        assert dropped(caught) == []
        del view
        gc.collect()
        await asyncio.sleep(0)
        gc.collect()
    assert [text for text in dropped(caught) if "this AsyncRoamify was dropped unclosed" not in text] == []
    assert len(caught) == 1


def test_blocking_view_outlives_its_client(served):
    """A synchronous view keeps the thread of a client that was dropped; the thread ends with the view."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        view = blocking(served).with_settings(user_agent="view")
        gc.collect()
        assert view.account.balance().balance == 1000
        gc.collect()
        assert dropped(caught) == []
        (thread,) = threads()
        del view
        gc.collect()
        thread.join(5)
        gc.collect()
    assert [text for text in dropped(caught) if "this Roamify was dropped unclosed" not in text] == []
    assert len(caught) == 1


def test_blocking_expression(served):
    """A synchronous client in an expression lives until its call ends; then its thread ends, and it warns."""
    for _ in range(3):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            assert blocking(served).account.balance().balance == 1000
            assert next(blocking(served).packages.iter()).package_id
            gc.collect()
            for thread in threads():
                thread.join(5)
                assert not thread.is_alive()
            gc.collect()
        assert [text for text in dropped(caught) if "this Roamify was dropped unclosed" not in text] == []


async def test_expression(sandbox):
    """Every kind of call works on an asynchronous client in an expression, which warns once."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for call in CALLS.values():
            assert await call(AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK))
        while len(caught) < len(CALLS):
            gc.collect()  # the loop closes an async generator that was dropped in its own time
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        gc.collect()
    assert {text.partition(":")[0] for text in dropped(caught)} == {"this AsyncRoamify was dropped unclosed"}
    assert len(caught) == len(CALLS)


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="the system does not tell what a process holds")
def test_dropped_after_their_loop(served):
    """Clients that are dropped after their event loop has ended leave no descriptors, even if aiodns is installed."""

    async def use() -> None:
        await AsyncRoamify(served.token, base_url=served.url, settings=QUICK).account.balance()

    def drop(count: int) -> None:
        for _ in range(count):
            asyncio.run(use())
            gc.collect()

    def descriptors() -> int:
        return len([*Path("/proc/self/fd").iterdir()])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        drop(3)
        before = descriptors()
        drop(10)
    assert descriptors() <= before + 2


async def test_session_of_the_caller(sandbox):
    """A caller's session does not affect URLs, cookies and errors, and stays open."""

    async def cookie(connection: Connection) -> None:
        while await connection.request():
            await connection.write(answer('{"data": {"balance": 5}}', Set_Cookie="ours=1"))

    async with (
        Raw(cookie) as server,
        aiohttp.ClientSession("http://127.0.0.1:1", cookies={"theirs": "1"}, raise_for_status=True) as session,
    ):
        for _ in range(2):
            async with AsyncRoamify(sandbox.token, base_url=sandbox.url, session=session) as roamify:
                assert (await roamify.account.balance()).balance == 1000
                with pytest.raises(NotFoundError):
                    await roamify.orders.get(reference_id="nobody's")
                assert len([package async for package in roamify.packages.iter()]) == 300
            assert not session.closed
        async with AsyncRoamify("t", base_url=server.url, session=session) as roamify:
            for _ in range(2):
                assert (await roamify.account.balance()).balance == 5
        assert [request.get("Cookie") for request in server.requests] == [None, None]
        assert [morsel.key for morsel in session.cookie_jar] == ["theirs"]


# ---------------------------------------------------------------- exits and loops


HEAD = """
import asyncio, sys, threading, time
from roamify_async import *
roamify = Roamify()
"""


EXITS = {
    "open client": "print(roamify.account.balance().balance)",
    "unfinished iterator": """
        items = roamify.packages.iter(page_size=10)
        next(items)
        print(1000)
    """,
    "call in flight": """
        def call():
            roamify.with_settings(user_agent="slow").devices.list()
        threading.Thread(target=call, daemon=True).start()
        while not roamify._engine.transport.state == "open":
            time.sleep(0.005)
        print(roamify.account.balance().balance)
    """,
    "async client": """
        client = AsyncRoamify()
        items = client.packages.iter(page_size=10)
        async def main():
            await anext(items)
            print((await client.account.balance()).balance)
        asyncio.run(main())
    """,
    "inside a block": """
        with roamify:
            print(roamify.account.balance().balance)
            sys.exit(0)
    """,
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=[] if name == "call in flight" else pytest.mark.long) for name in EXITS]
)
def test_exit(name, served):
    """However a program leaves its client, it exits at once and without messages."""
    served.fail("GET", "/api/compatible-devices", "slow", seconds=600)
    ended = run_program(HEAD + textwrap.dedent(EXITS[name]), served, timeout=30)  # It starts and ends promptly.
    assert (ended.code, ended.lines, ended.err) == (0, ["1000"], "")


def test_uvloop(served):
    """The synchronous client runs in uvloop if that is installed."""
    pytest.importorskip("uvloop")
    with Roamify(served.token, base_url=served.url) as roamify:
        loop = roamify._mode.open().loop
        assert type(loop).__module__.startswith("uvloop")
        assert roamify.account.balance().balance == 1000
