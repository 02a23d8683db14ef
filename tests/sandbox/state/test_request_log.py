"""Waiting for requests."""

import asyncio
import threading
import urllib.request
from contextlib import suppress

import aiohttp
import pytest

from roamify_async.sandbox import Sandbox

BALANCE, HEALTH = "/api/balance", "/api/health"


def ask_in_thread(sandbox):
    """Send a request that may end in any way, from a thread; return the thread."""

    def ask():
        with suppress(OSError):
            urllib.request.urlopen(sandbox.url + HEALTH, timeout=30).close()

    thread = threading.Thread(target=ask)
    thread.start()
    return thread


def test_wait_for_blocks_until_the_request_is_there():
    """A request counts when it arrives, before anything answers it; those that came before count too."""
    with Sandbox(packages=20) as sandbox:
        sandbox.fail("*", "*", "hang", times=None)
        threads = [ask_in_thread(sandbox), ask_in_thread(sandbox)]
        sandbox.wait_for(f"GET {HEALTH}", count=2)
        sandbox.wait_for(f"GET {HEALTH}")
        assert sandbox.state()["requests"] == {f"GET {HEALTH}": 2}
        with pytest.raises(TimeoutError, match=f"received 2 of 3 requests GET {HEALTH}"):
            sandbox.wait_for(f"GET {HEALTH}", count=3, timeout=0.01)
        threads.append(ask_in_thread(sandbox))
        sandbox.wait_for(f"GET {HEALTH}", count=3)
    for thread in threads:
        thread.join()


def test_wait_for_counts_from_the_reset():
    """What came before a reset counts no more, and a request of another name never."""
    with Sandbox(packages=20) as sandbox:
        ask_in_thread(sandbox).join()
        sandbox.wait_for(f"GET {HEALTH}")
        with pytest.raises(TimeoutError, match="received 0"):
            sandbox.wait_for(f"POST {HEALTH}", timeout=0.01)
        sandbox.reset()
        with pytest.raises(TimeoutError, match=r"received 0 of 1 requests GET .* after 0\.01 s"):
            sandbox.wait_for(f"GET {HEALTH}", timeout=0.01)


def test_a_request_is_named_by_method_and_path():
    """A name that no request has is refused at once."""
    for what in [HEALTH, "GET", "GET api/health", "get /api/health", ""]:
        with Sandbox(packages=20) as sandbox, pytest.raises(ValueError, match="'POST /api/esim/order'"):
            sandbox.wait_for(what)


async def test_wait_for_refuses_to_block_a_loop():
    """In an event loop it says what to await instead."""
    async with Sandbox(packages=20) as sandbox:
        with pytest.raises(RuntimeError, match="arrived"):
            sandbox.wait_for(f"GET {HEALTH}")


@pytest.mark.parametrize("form", ["loop", "thread"])
async def test_arrived_waits_in_a_loop(form):
    """It is done when the last of the requests has come, whichever loop the sandbox runs in."""
    sandbox = Sandbox(packages=20, latency=60)
    if form == "thread":
        await asyncio.to_thread(sandbox.__enter__)
    else:
        await sandbox.__aenter__()
    async with aiohttp.ClientSession(sandbox.url) as session:
        waiting = asyncio.create_task(sandbox.arrived(f"GET {HEALTH}", count=2))
        requests = [asyncio.create_task(session.get(HEALTH))]
        await sandbox.arrived(f"GET {HEALTH}")
        assert not waiting.done()
        requests.append(asyncio.create_task(session.get(HEALTH)))
        await waiting
        assert [request.done() for request in requests] == [False, False]
        for request in requests:
            request.cancel()
    if form == "thread":
        await asyncio.to_thread(sandbox.__exit__, None, None, None)
    else:
        await sandbox.__aexit__(None, None, None)


async def test_who_stops_waiting_is_forgotten():
    """A wait that was given up disturbs neither the request that comes later nor another wait, nor the end."""
    async with Sandbox(packages=20) as sandbox, aiohttp.ClientSession(sandbox.url) as session:
        for count in (1, 9):
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(sandbox.arrived(f"GET {HEALTH}", count), 0.01)
        waiting = asyncio.create_task(sandbox.arrived(f"GET {HEALTH}"))
        async with session.get(HEALTH) as response:
            assert response.status == 200
        await waiting


async def test_waiting_ends_with_the_sandbox():
    """The end of the sandbox ends the wait with an error."""
    async with Sandbox(packages=20) as sandbox:
        waiting = asyncio.create_task(sandbox.arrived(f"GET {HEALTH}"))
        await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="the sandbox was stopped"):
        await waiting
