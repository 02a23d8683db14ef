"""The receiver as a handler of aiohttp's web server."""

import asyncio
import gzip
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Any

import pytest
from aiohttp import ClientError, ClientSession, web
from support.deliveries import BODY, EVENT, SECRET, headers_of, patient
from support.receivers import serve_aiohttp

from roamify_async.webhooks import Receiver, WebhookEvent, aiohttp_handler


async def test_announced_size_is_checked():
    """A body whose announced size is over the limit is refused before it is read."""
    app = web.Application()
    app.router.add_post("/roamify", aiohttp_handler(Receiver(repr, SECRET, limit=100)))
    async with serve_aiohttp(app) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"POST /roamify HTTP/1.1\r\nHost: app\r\nContent-Length: 101\r\n\r\n")
        assert b"413" in await reader.readline()
        writer.close()
        await writer.wait_closed()


async def test_body_without_an_announced_size():
    """A body whose size is not announced is read up to the limit only."""
    app = web.Application(client_max_size=0)
    app.router.add_post("/roamify", aiohttp_handler(Receiver(repr, SECRET, limit=2**20)))
    taken = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal taken
        while taken < 1000:
            taken += 1
            yield bytes(2**16)

    async with serve_aiohttp(app) as port, ClientSession(f"http://127.0.0.1:{port}") as session:
        with suppress(ClientError):  # The server may close while it is sent to.
            async with session.post("/roamify", data=chunks(), headers=headers_of(b"")) as response:
                assert response.status == 413
    assert taken < 1000


@pytest.mark.long
async def test_compressed_bomb():
    """Of a small body that decompresses to a large one, little is decompressed."""
    app = web.Application(client_max_size=0)
    app.router.add_post("/roamify", aiohttp_handler(Receiver(repr, SECRET, limit=2**20)))
    body = gzip.compress(bytes(2**28))
    tracemalloc.start()
    try:
        async with (
            serve_aiohttp(app) as port,
            ClientSession(f"http://127.0.0.1:{port}") as session,
            session.post("/roamify", data=body, headers=headers_of(b"") | {"Content-Encoding": "gzip"}) as response,
        ):
            assert response.status in {413, 500}  # aiohttp 3.13 fails by itself at 32 MiB.
        assert tracemalloc.get_traced_memory()[1] < 2**27
    finally:
        tracemalloc.stop()


async def test_body_may_be_read_before():
    """A chunked body that a middleware has read is verified as a whole."""
    seen: list[WebhookEvent] = []

    @web.middleware
    async def read_body(request: web.Request, handler: Any) -> Any:
        await request.read()
        return await handler(request)

    async def chunks() -> AsyncIterator[bytes]:
        yield BODY[:9]
        yield BODY[9:]

    app = web.Application(middlewares=[read_body])
    app.router.add_post("/roamify", aiohttp_handler(patient(seen.append)))
    async with (
        serve_aiohttp(app) as port,
        ClientSession(f"http://127.0.0.1:{port}") as session,
        session.post("/roamify", data=chunks(), headers=headers_of(BODY)) as response,
    ):
        assert (response.status, response.content_type) == (200, "application/json")
    assert seen == [EVENT]
