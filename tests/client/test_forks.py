"""Clients and forks: a child opens clients anew, and nothing that it does reaches the connections of its parent."""

import os
import textwrap
from collections.abc import Iterator

import pytest
from support.programs import Ended, run_program

from roamify_async.sandbox import Sandbox

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

HEAD = """
import asyncio, ctypes, gc, multiprocessing, os, sys, threading, warnings
from roamify_async import *
from roamify_async import _fork
warnings.simplefilter("ignore", DeprecationWarning)  # newer Pythons warn of forks in a process with threads

PACKAGE = "esim-greece-30days-1gb-all"

def in_child(function, fork=os.fork):
    sys.stdout.flush()
    child = fork()
    if not child:
        function()
        sys.exit(0)
    print("child ended with", os.waitpid(child, 0)[1])

def report(call):
    try:
        print(call())
    except RoamifyError as error:
        print(f"{type(error).__name__}: {error}")
"""


UNDER_WAY_AT_FORK = "this process was forked while the call was under way, which continues in the parent process only"
PAGES_OF_PARENT = "the pages are being read in another event loop, or in the process before a fork"
LOOP_OF_PARENT = (
    "this AsyncRoamify was called in an event loop that was made before a fork, and belongs to the parent process: "
    "make a new loop in each process, for example by asyncio.run"
)
NO_LOOP = (
    "this AsyncRoamify needs a running asyncio event loop: call it in asyncio.run(), or in anyio.run() with the "
    "asyncio backend. Under trio, use Roamify in a thread: await trio.to_thread.run_sync(...)"
)


@pytest.fixture
def served() -> Iterator[Sandbox]:
    """Run a sandbox in a thread of its own."""
    with Sandbox(packages=300) as sandbox:
        yield sandbox


def run(body: str, served: Sandbox) -> Ended:
    """Run a program whose processes use the sandbox; it ends without messages."""
    ended = run_program(HEAD + textwrap.dedent(body), served)
    assert (ended.code, ended.err) == (0, "")
    return ended


CLIENTS = {
    "sync": """
        roamify = Roamify()
        def use():
            return roamify.account.balance().balance
        def close():
            roamify.close()
    """,
    "sync view": """
        roamify = Roamify()
        view = roamify.with_settings(user_agent="view")
        def use():
            return len(list(view.packages.iter(page_size=100))) + 700
        def close():
            roamify.close()
    """,
    "async": """
        roamify, loop = AsyncRoamify(), asyncio.new_event_loop()
        def use():
            return loop.run_until_complete(roamify.account.balance()).balance
        def close():
            loop.run_until_complete(roamify.aclose())
    """,
}


@pytest.mark.parametrize("before", [pytest.param("new", marks=pytest.mark.long), "open"])
@pytest.mark.parametrize(
    "name", ["sync view", *(pytest.param(name, marks=pytest.mark.long) for name in ("sync", "async"))]
)
def test_fork(name, before, served):
    """A client opens anew in each child. However a child ends, the connections of its parent live on."""
    tail = """
        def child(end):
            global roamify, view, use, close, loop
            loop = asyncio.new_event_loop()
            if end != "unused":
                print(end, use())
            if end == "collected":
                roamify = view = use = close = None
                gc.collect()
                return
            close()
            try:
                use()
            except ConfigurationError as error:
                print(end, error)
            loop.close()

        for end in ("closed", "collected", "unused"):
            in_child(lambda: child(end))
            print("parent", use())
        close()
    """
    start = "use()\n" if before == "open" else ""
    ended = run(textwrap.dedent(CLIENTS[name]) + start + textwrap.dedent(tail), served)
    closed = f"this {'AsyncRoamify' if name == 'async' else 'Roamify'} is closed: make a new one"
    parent = ["child ended with 0", "parent 1000"]
    assert ended.lines == [
        *("closed 1000", f"closed {closed}", *parent),
        *("collected 1000", *parent),
        *(f"unused {closed}", *parent),
    ]


@pytest.mark.long
def test_fork_without_hooks(served):
    """A client opens anew in a child that was forked in C, where Python's hooks do not run."""
    ended = run(
        """
        roamify = Roamify()
        report(lambda: roamify.account.balance().balance)
        def child():
            report(lambda: roamify.account.balance().balance)
            sys.stdout.flush()
            os._exit(0)  # at an exit, Python would wait for the threads of the parent
        in_child(child, fork=ctypes.PyDLL(None).fork)
        report(lambda: roamify.account.balance().balance)
        """,
        served,
    )
    assert ended.lines == ["1000", "1000", "child ended with 0", "1000"]


@pytest.mark.long
def test_pool_of_forks(served):
    """The workers of a pool use the client of their module."""
    ended = run(
        """
        roamify = Roamify()
        def work(number):
            return len(roamify.packages.list()), os.getpid()
        print(work(0)[0])
        with multiprocessing.get_context("fork").Pool(2) as pool:
            counts, pids = zip(*pool.map(work, range(8), chunksize=1))
        print(set(counts), os.getpid() in pids)
        print(roamify.account.balance().balance)
        roamify.close()
        """,
        served,
    )
    assert ended.lines == ["300", "{300} False", "1000"]


@pytest.mark.long
def test_fork_in_a_callback(served):
    """A call that is under way at the fork fails in the child, and goes on in the parent."""
    ended = run(
        """
        roamify, children = Roamify(), []
        def on_progress(progress):
            if not children:
                sys.stdout.flush()
                children.append(os.fork())
        def buy():
            requests = [CreateOrder([OrderItem(PACKAGE)], reference_id=f"order-{n}") for n in range(5)]
            return roamify.orders.bulk(requests, on_progress=on_progress).counts["ordered"]
        try:
            print(buy())
            print("child ended with", os.waitpid(children[0], 0)[1])
        except ConfigurationError as error:
            print(error.sent, error)
            print(roamify.account.balance().currency, flush=True)
        """,
        served,
    )
    assert sorted(ended.lines) == ["5", "USD", "child ended with 0", f"no {UNDER_WAY_AT_FORK}"]
    assert len(served.state()["orders"]) == 5


@pytest.mark.long
def test_exit_in_a_callback(served):
    """A child that exits in a callback does not wait for the call of the parent."""
    ended = run(
        """
        roamify = Roamify(settings=Settings(reconcile_window=600))
        def on_progress(progress):
            in_child(lambda: sys.exit(3))
        requests = [CreateOrder([OrderItem(PACKAGE)], reference_id="order-1")]
        print(roamify.orders.bulk(requests, on_progress=on_progress).counts["ordered"])
        """,
        served,
    )
    assert ended.lines == ["child ended with 768", "1"]


@pytest.mark.long
def test_calls_of_other_threads(served):
    """Calls of other threads go on in the parent; in the child, they take no slots and hold no references."""
    served.fail("POST", "/api/esim/order", "slow", seconds=1)
    ended = run(
        """
        roamify = Roamify(settings=Settings(concurrency=1, look_first=False, check_packages=False))
        sending = threading.Event()
        exchange = roamify._engine.transport.send
        def send(message, *args, **options):
            if message.method == "POST":
                sending.set()
            return exchange(message, *args, **options)
        roamify._engine.transport.send = send
        def buy():
            return roamify.orders.create([OrderItem(PACKAGE)], reference_id="order-1")
        thread = threading.Thread(target=lambda: print("parent", buy().was_found))
        thread.start()
        sending.wait()
        ended, end = os.pipe()
        child = os.fork()
        if not child:
            os.close(end)
            print("child", roamify.account.balance().currency)
            os.read(ended, 1)  # until the parent has its order
            roamify = roamify.with_settings(look_first=True)
            print("child", buy().was_found)
            sys.exit(0)
        thread.join()
        sys.stdout.flush()
        os.close(end)
        print("child ended with", os.waitpid(child, 0)[1])
        """,
        served,
    )
    assert sorted(ended.lines) == ["child True", "child USD", "child ended with 0", "parent False"]
    assert len(served.state()["orders"]) == 1


@pytest.mark.long
def test_doubts_are_inherited(served):
    """A purchase that was in doubt before the fork is in doubt in the child too."""
    served.fail("POST", "/api/esim/order", "drop", when="after")
    served.fail("GET", "*", "drop", times=40)
    ended = run(
        """
        settings = Settings(reconcile_window=0.1, check_packages=False, look_first=False)
        roamify = Roamify(settings=settings)
        try:
            roamify.orders.create([OrderItem(PACKAGE)], reference_id="order-1")
        except PurchaseInDoubtError:
            pass
        def other():
            return roamify.orders.create([OrderItem(PACKAGE, 2)], reference_id="order-1")
        def child():
            print([doubt.reference_id for doubt in roamify.doubts()])
            report(other)
        in_child(child)
        """,
        served,
    )
    assert ended.lines[0] == "['order-1']"
    assert ended.lines[1].startswith("ConflictError: another purchase under the reference 'order-1' is in doubt")


@pytest.mark.long
def test_iterator_does_not_outlive_a_fork(served):
    """An iteration that began before the fork fails in the child, and goes on in the parent."""
    ended = run(
        """
        roamify = Roamify()
        items, fresh = roamify.packages.iter(page_size=10), roamify.packages.iter()
        next(items)
        def child():
            report(lambda: len(list(items)))
            report(lambda: len(list(fresh)))
        in_child(child)
        print(len(list(items)) + 1)

        client, loop = AsyncRoamify(), asyncio.new_event_loop()
        async def rest():
            return len([item async for item in items])
        items = client.packages.iter(page_size=10)
        loop.run_until_complete(anext(items))
        in_child(lambda: report(lambda: asyncio.run(asyncio.wait_for(rest(), 10))))
        print(loop.run_until_complete(rest()) + 1)
        loop.run_until_complete(client.aclose())
        """,
        served,
    )
    assert ended.lines == [
        f"ConfigurationError: {UNDER_WAY_AT_FORK}",
        *("300", "child ended with 0", "300"),
        f"ConfigurationError: {PAGES_OF_PARENT}",
        *("child ended with 0", "300"),
    ]


ASYNC = """
    settings = Settings(timeouts=Timeouts(total=8), retries=Retries(tries=1))
    client, loop = AsyncRoamify(settings=settings), asyncio.new_event_loop()
    def use():
        return loop.run_until_complete(client.account.balance()).balance
    use()
"""
COLLECTED = """
    def child():
        global client, use
        client = use = None
        gc.collect()
    in_child(child)
    report(use)
    loop.run_until_complete(client.aclose())
"""
UNDER_WAY = """
    call = loop.create_task(client.devices.list())
    while "GET /api/compatible-devices" not in seen:
        loop.run_until_complete(asyncio.sleep(0))
    async def wait_for_call():
        await asyncio.wait([call], timeout=1.5)  # until the response has arrived
    in_child(lambda: loop.run_until_complete(wait_for_call()))
    report(lambda: len(loop.run_until_complete(call)) > 0)
    loop.run_until_complete(client.aclose())
"""
SEEN = """
    seen, send = [], client._engine.transport.send
    async def sending(message, *args, **options):
        loop.call_later(0.05, seen.append, f"{message.method} {message.path}")
        return await send(message, *args, **options)
    client._engine.transport.send = sending
"""
UNPROTECTED = """
    _fork._instances.clear()
"""


@pytest.mark.long
def test_sockets_of_the_parent(served):
    """A child that collects a client does not take its sockets out of the selector of the parent."""
    assert run(textwrap.dedent(ASYNC + COLLECTED), served).lines == ["child ended with 0", "1000"]


@pytest.mark.long
def test_control_of_the_sockets(served):
    """Control: without the hooks, the parent does not hear from its connection any more."""
    ended = run_program(HEAD + textwrap.dedent(ASYNC + UNPROTECTED + COLLECTED), served)
    assert "RequestTimeoutError" in ended.out


@pytest.mark.long
@pytest.mark.parametrize("protected", [True, False])
def test_responses_of_the_parent(protected, served):
    """A child that runs the event loop of its parent does not read its responses, and does without the hooks."""
    served.fail("GET", "/api/compatible-devices", "slow", seconds=0.5)
    body = ASYNC + SEEN + ("" if protected else UNPROTECTED) + UNDER_WAY
    ended = run_program(HEAD + textwrap.dedent(body), served)
    assert ("True" in ended.lines, "Error" in ended.out) == (protected, not protected), ended


@pytest.mark.long
def test_loop_of_the_parent(served):
    """An asynchronous client refuses the event loop that its parent used: it is shared with the parent."""
    ended = run(
        textwrap.dedent(ASYNC)
        + textwrap.dedent(
            """
            in_child(lambda: report(use))
            print(use())

            async def fork():
                sys.stdout.flush()
                child = os.fork()
                if not child:
                    call = client.account.balance()
                    report(lambda: call.send(None))
                    sys.stdout.flush()
                    os._exit(0)
                return os.waitpid(child, 0)[1]
            print(loop.run_until_complete(fork()))
            loop.run_until_complete(client.aclose())
            """
        ),
        served,
    )
    assert ended.lines == [
        f"ConfigurationError: {LOOP_OF_PARENT}",
        *("child ended with 0", "1000"),
        f"ConfigurationError: {NO_LOOP}",
        "0",
    ]
