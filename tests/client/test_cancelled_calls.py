"""A call that is cancelled from outside leaves no token in the frames of its traceback, whoever shows them."""

import asyncio
import os
import signal
import threading
import traceback
from contextlib import suppress
from pathlib import Path

import aiohttp
import anyio
import pytest
from support.clients import QUICK
from support.leaks import frames
from support.servers import Raw
from support.shop import PACKAGE, Shop

from roamify_async import AsyncRoamify, OrderItem, Roamify
from roamify_async._http import transport

TOKEN = "secret-token"
INSIDE = f'File "{Path(aiohttp.__file__).parent}'
"""How a frame of aiohttp begins in a traceback."""


async def silence(connection):
    """Read a request and never respond."""
    await connection.request()
    await asyncio.Event().wait()


async def in_body(connection):
    """Send half a response."""
    await connection.request()
    await connection.write(b'HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"data": ')
    await asyncio.Event().wait()


def shown(error):
    """Return all that a traceback with local variables shows of an error, its causes and contexts."""
    return "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())


async def timeout(call, came):
    """End a call with ``asyncio.timeout``."""
    async with asyncio.timeout(None) as limit:
        asyncio.ensure_future(came.wait()).add_done_callback(lambda _: limit.reschedule(0))
        await call()


async def wait_for(call, came):
    """End a call with ``asyncio.wait_for``."""
    task = asyncio.ensure_future(call())
    await came.wait()
    await asyncio.wait_for(task, 0.001)


async def fail_after(call, came):
    """End a call with ``anyio.fail_after``."""
    with anyio.fail_after(None) as scope:
        asyncio.ensure_future(came.wait()).add_done_callback(lambda _: setattr(scope, "deadline", 0))
        await call()


async def cancel(call, came):
    """End a call with ``Task.cancel``."""
    task = asyncio.ensure_future(call())
    await came.wait()
    task.cancel()
    await task


async def while_handling(call, came):
    """End a call that is made while another exception is handled."""
    try:
        {}["key"]
    except KeyError:
        await cancel(call, came)


ENDS = [timeout, wait_for, fail_after, cancel, while_handling]


@pytest.mark.parametrize("play", [silence, in_body])
@pytest.mark.parametrize("end", ENDS)
async def test_cancelled(end, play):
    """However a call is cancelled, nothing that its traceback shows contains the token, or a frame of aiohttp."""
    async with Raw(play) as server, AsyncRoamify(TOKEN, base_url=server.url, settings=QUICK) as client:
        with pytest.raises(BaseException) as caught:  # noqa: PT011 -- of various classes
            await end(client.account.balance, server.came)
        assert isinstance(caught.value, TimeoutError | asyncio.CancelledError)
        text = shown(caught.value)
    assert TOKEN not in text
    assert INSIDE not in text
    assert "engine.py" in text


async def test_caller_keeps_the_traceback_of_another_exception():
    """An exception that the caller handles while a call is cancelled keeps its traceback."""
    async with Raw(silence) as server, AsyncRoamify(TOKEN, base_url=server.url, settings=QUICK) as client:
        try:
            {}["key"]
        except KeyError as error:
            handled = error
            with suppress(asyncio.CancelledError):
                await cancel(client.account.balance, server.came)
        assert handled.__traceback__ is not None


async def test_purchase():
    """A purchase that is cancelled has its note, and no token in its frames."""
    async with (
        Shop(faults=[lambda *_: asyncio.Event().wait()]) as shop,
        AsyncRoamify(TOKEN, base_url=shop.url, settings=QUICK) as client,
    ):
        with pytest.raises(asyncio.CancelledError) as caught:
            await cancel(lambda: client.orders.create([OrderItem(PACKAGE)], reference_id="mine"), shop.came)
    assert "mine" in "".join(caught.value.__notes__)
    assert not any(TOKEN in frame for frame in frames(caught.value))


def test_blocking_client():
    """Ctrl-C in the blocking client leaves no token in the frames either."""
    ready = threading.Event()
    at: list[str] = []

    async def serve():
        async with Raw(silence) as server:
            at.append(server.url)
            ready.set()
            await server.came.wait()
            os.kill(os.getpid(), signal.SIGINT)
            await asyncio.Event().wait()

    threading.Thread(target=asyncio.run, args=(serve(),), daemon=True).start()
    ready.wait()
    with Roamify(TOKEN, base_url=at[0], settings=QUICK) as client, pytest.raises(KeyboardInterrupt) as caught:
        client.account.balance()
    assert not any(TOKEN in frame for frame in frames(caught.value))
    assert INSIDE not in shown(caught.value)


# ---------------------------------------------------------------- what the safety is for


async def test_control(monkeypatch, no_token_shows):
    """With neither safety, a traceback shows the token, and the watch of the tests finds it."""
    monkeypatch.setattr(transport, "_cut", lambda *_: None)
    monkeypatch.setattr(transport, "HiddenText", str)
    async with Raw(silence) as server, AsyncRoamify(TOKEN, base_url=server.url, settings=QUICK) as client:
        with pytest.raises(asyncio.CancelledError) as caught:
            await cancel(client.account.balance, server.came)
        assert f"Bearer {TOKEN}" in shown(caught.value)
        assert any(f"Bearer {TOKEN}" in frame for frame in frames(caught.value))
    no_token_shows.texts.clear()


async def test_headers_are_hidden(monkeypatch):
    """Even with the frames of aiohttp, no local variable shows the token."""
    monkeypatch.setattr(transport, "_cut", lambda *_: None)
    async with Raw(silence) as server, AsyncRoamify(TOKEN, base_url=server.url, settings=QUICK) as client:
        with pytest.raises(asyncio.CancelledError) as caught:
            await cancel(client.account.balance, server.came)
        assert INSIDE in shown(caught.value)
        assert not any(TOKEN in frame for frame in frames(caught.value))
