"""How clients open and close: asynchronous ones in their loop, synchronous ones in scripts, threads and notebooks."""

import asyncio
import contextvars
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.clients import HANG

from roamify_async import AsyncRoamify, ConfigurationError, Roamify, RoamifyError
from roamify_async.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("frozen_heap")

PACKAGE = "esim-greece-30days-1gb-all"


@pytest.fixture
def served():
    """Run a sandbox in a thread of its own, for tests whose own thread blocks."""
    with Sandbox(packages=300) as sandbox:
        yield sandbox


def threads() -> set[str]:
    """Return the names of the library's threads."""
    return {thread.name for thread in threading.enumerate() if thread.name.startswith("roamify_async")}


# ---------------------------------------------------------------- asynchronous


async def test_opens_at_first_use(sandbox):
    """An asynchronous client opens at its first call and ends with ``aclose``."""
    roamify = AsyncRoamify(sandbox.token, base_url=sandbox.url)
    assert repr(roamify) == f"<AsyncRoamify {sandbox.url.removeprefix('http://')} new>"
    await roamify.account.balance()
    assert repr(roamify).endswith("open>")
    await roamify.aclose()
    await roamify.aclose()
    assert repr(roamify).endswith("closed>")


async def test_dropped_unclosed(sandbox):
    """A client that is dropped open warns once, and says what to do."""
    roamify = AsyncRoamify(sandbox.token, base_url=sandbox.url)
    await roamify.account.balance()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del roamify
        gc.collect()
        await asyncio.sleep(0)
        gc.collect()
    assert [str(warning.message) for warning in caught] == [
        "this AsyncRoamify was dropped unclosed: use it in a with block, or close it"
    ]


def test_invalid_settings():
    """Other objects than settings are refused when the client is created."""
    with pytest.raises(TypeError, match="settings must be Settings, not dict"):
        AsyncRoamify("token", settings={"concurrency": 3})  # type: ignore[arg-type]


# ---------------------------------------------------------------- synchronous


def test_sync_opens_at_first_use(served):
    """A synchronous client opens at its first call, and leaves no thread after ``close``."""
    roamify = Roamify(served.token, base_url=served.url)
    assert threads() == set()
    assert roamify.account.balance().balance == 1000
    assert threads() == {"roamify_async"}
    assert all(thread.daemon for thread in threading.enumerate() if thread.name == "roamify_async")
    roamify.close()
    roamify.close()
    assert threads() == set()
    with pytest.raises(ConfigurationError, match="this Roamify is closed: make a new one"):
        roamify.account.balance()


def test_sync_never_opened(served):
    """A client that was never used closes at once; a block opens it at entry."""
    roamify = Roamify(served.token, base_url=served.url)
    roamify.close()
    with pytest.raises(ConfigurationError, match="closed"), roamify:
        pass
    with Roamify(served.token, base_url=served.url):
        assert threads() == {"roamify_async"}
    assert threads() == set()


async def test_sync_while_a_loop_runs(served):
    """A blocking call works in a thread with a running event loop, as in a notebook, and warns that it blocks."""
    blocks = pytest.warns(RuntimeWarning, match="was called in a running event loop")
    with Roamify(served.token, base_url=served.url) as roamify, blocks:
        assert roamify.account.balance().balance == 1000


def test_sync_in_many_threads(served):
    """Threads share one client, and each gets its own results."""
    with Roamify(served.token, base_url=served.url) as roamify, ThreadPoolExecutor(16) as pool:
        ids = [package.package_id for package in roamify.packages.iter()][:64]
        found = list(pool.map(lambda package_id: roamify.packages.get(package_id).package_id, ids))
        assert found == ids
        assert threads() == {"roamify_async"}


def test_sync_keeps_context_variables(served, monkeypatch):
    """The coroutine of a blocking call sees the caller's context variables."""
    seen = []
    who = contextvars.ContextVar("who", default="nobody")
    with Roamify(served.token, base_url=served.url) as roamify:
        send = roamify._engine.send

        async def spy(*args: object):
            seen.append(who.get())
            return await send(*args)

        monkeypatch.setattr(roamify._engine, "send", spy)
        who.set("me")
        roamify.account.balance()
    assert seen == ["me"]


def test_sync_dropped_unclosed(served):
    """A synchronous client that is dropped open warns, and its thread ends."""
    roamify = Roamify(served.token, base_url=served.url)
    roamify.account.balance()
    (thread,) = (thread for thread in threading.enumerate() if thread.name == "roamify_async")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        del roamify
        gc.collect()
    thread.join(5)
    assert not thread.is_alive()
    assert [str(warning.message) for warning in caught if warning.category is ResourceWarning] == [
        "this Roamify was dropped unclosed: use it in a with block, or close it"
    ]


def test_sync_closed_during_a_call(served):
    """Closing the client ends a call in another thread with an error."""
    served.fail("GET", "/api/balance", "slow", seconds=600)
    roamify = Roamify(served.token, base_url=served.url)
    roamify._mode.open()
    with ThreadPoolExecutor(1) as pool:
        call = pool.submit(roamify.account.balance)
        served.wait_for("GET /api/balance", timeout=HANG)
        roamify.close()
        with pytest.raises(RoamifyError, match="closed"):
            call.result()


def test_iterator_left_early(served):
    """An iterator that is left early, dropped or closed with its client leaves no thread behind."""
    with Roamify(served.token, base_url=served.url) as roamify:
        for _ in roamify.packages.iter(page_size=10):
            break
        left = roamify.packages.iter(page_size=10)
        next(left)
        del left
        gc.collect()
        open_one = roamify.packages.iter(page_size=10)
        next(open_one)
    open_one.close()
    assert threads() == set()


# ---------------------------------------------------------------- signals


def script(body: str, served: Sandbox) -> subprocess.Popen[str]:
    """Start a program that uses the sandbox."""
    head = """
        import os, signal, sys, threading
        from roamify_async import *
        roamify = Roamify(sys.argv[1], base_url=sys.argv[2])
    """
    program = textwrap.dedent(head) + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", program, served.token, served.url],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"},
    )


def interrupted(body: str, served: Sandbox, path: str) -> tuple[int, str, str]:
    """Run a program, send it Ctrl-C once its request has arrived, and return how it ended."""
    process = script(body, served)
    served.wait_for(path, timeout=HANG)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=HANG)
    return process.returncode, out, err


def test_ctrl_c(served):
    """Ctrl-C ends a blocking call, waits for its clean-up, and leaves the client usable."""
    served.fail("GET", "/api/balance", "slow", seconds=60)
    body = """
        try:
            roamify.account.balance()
        except KeyboardInterrupt:
            print("interrupted", roamify.devices.list()[0].brand)
        roamify.close()
        print([thread.name for thread in threading.enumerate() if "roamify" in thread.name])
    """
    code, out, err = interrupted(body, served, "GET /api/balance")
    assert (code, out.split()[0], out.split()[-1]) == (0, "interrupted", "[]"), err


def test_ctrl_c_in_a_purchase(served):
    """Ctrl-C in a purchase leaves its reference as a note on the ``KeyboardInterrupt``."""
    served.fail("POST", "/api/esim/order", "slow", when="after", seconds=60)
    body = f"""
        try:
            roamify.orders.create([OrderItem("{PACKAGE}")], reference_id="my-purchase")
        except KeyboardInterrupt as interrupt:
            print(*interrupt.__notes__)
        print(roamify.orders.get(reference_id="my-purchase").total)
        roamify.close()
    """
    code, out, err = interrupted(body, served, "POST /api/esim/order")
    assert code == 0, err
    assert "orders.reconcile('my-purchase')" in out
    assert len(served.state()["orders"]) == 1


# ---------------------------------------------------------------- in users' tests


@pytest.mark.parametrize("client", [AsyncRoamify, Roamify])
def test_calls_can_be_replaced(client, monkeypatch):
    """A test can replace a call of one client, which has its own one again afterwards; other clients keep theirs."""
    roamify, other = client("secret-token"), client("secret-token")
    call = roamify.account.balance
    with monkeypatch.context() as patch:
        patch.setattr(roamify.account, "balance", lambda: "replaced")
        assert roamify.account.balance() == "replaced"
        assert other.account.balance.__name__ == "balance"
        with pytest.raises(AttributeError, match="balanc"):
            patch.setattr(roamify.account, "balanc", None)
    assert roamify.account.balance == call
