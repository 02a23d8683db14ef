"""A response is read in pieces, up to a limit that counts what was decompressed."""

import asyncio
import gzip
import tracemalloc
import zlib
from contextlib import asynccontextmanager
from functools import cache
from importlib.util import find_spec

import aiohttp
import pytest
from aiohttp import http_parser
from support.clients import QUICK
from support.servers import Clock, Raw, answer, answering
from support.shop import PACKAGE, Shop

from roamify_async import (
    AsyncRoamify,
    DecodeError,
    OrderItem,
    PurchaseInDoubtError,
    RequestTimeoutError,
    ResponseTooLargeError,
    Retries,
    Timeouts,
)

TOKEN = "secret-token"
ONCE = Retries(tries=1)
MIB = 2**20
ZEROS = bytes(MIB)


def _repeated(packer, flush, size):
    """Compress zeros, up to a point from which each further MiB is the same bytes."""
    first, further = ([packer.compress(ZEROS), flush()] for _ in range(2))
    return b"".join(first) + b"".join(further) * (size // MIB - 1)


@cache
def gzipped(size):
    """Compress *size* bytes of zeros, without the end."""
    packer = zlib.compressobj(wbits=31)
    return _repeated(packer, lambda: packer.flush(zlib.Z_FULL_FLUSH), size)


@cache
def deflated(size):
    """Compress *size* bytes of zeros, without the end."""
    packer = zlib.compressobj()
    return _repeated(packer, lambda: packer.flush(zlib.Z_FULL_FLUSH), size)


@cache
def brotlied(size):
    """Compress *size* bytes of zeros."""
    import brotli

    packer = brotli.Compressor(quality=1)
    return b"".join([packer.process(ZEROS) for _ in range(size // MIB)]) + packer.finish()


@cache
def zstandard(size):
    """Compress *size* bytes of zeros."""
    from backports import zstd

    packer = zstd.ZstdCompressor()
    return b"".join([packer.compress(ZEROS) for _ in range(size // MIB)]) + packer.flush()


CODINGS = {"gzip": gzipped, "deflate": deflated, "br": brotlied, "zstd": zstandard}
"""Codings that aiohttp asks for, the last two only with further packages."""
MODULES = {"br": "brotli", "zstd": "backports.zstd"}
DECODED = [coding for coding in CODINGS if find_spec(MODULES.get(coding, "zlib").partition(".")[0])]


@asynccontextmanager
async def client_of(url, **changes: object):
    """Open a client with short waits and some other settings."""
    async with AsyncRoamify(TOKEN, base_url=url, settings=QUICK.changed(**changes)) as client:
        yield client


@pytest.mark.parametrize("coding", DECODED)
async def test_compressed_bomb(coding):
    """Of a small response that decompresses to a large one, little is decompressed.

    Until aiohttp 3.13 that is at most 32 MiB of each piece that arrives, and from 3.14 hardly more than the limit.
    """
    async with Raw(answering(answer(CODINGS[coding](512 * MIB), Content_Encoding=coding))) as server:
        async with client_of(server.url, max_response_size=2 * MIB) as client:
            tracemalloc.start()
            try:
                with pytest.raises(ResponseTooLargeError, match="max_response_size") as caught:
                    await client.account.balance()
                assert tracemalloc.get_traced_memory()[1] < 128 * MIB
            finally:
                tracemalloc.stop()
        assert coding in server.requests[0].get("Accept-Encoding")
        assert len(server.requests) == 1
    assert (caught.value.sent, caught.value.path) == ("maybe", "/api/balance")


@pytest.mark.parametrize("coding", DECODED)
async def test_bomb_does_not_block(coding):
    """While a large response is decompressed, other tasks run, and the timeout of the call ends it.

    Until aiohttp 3.13 a piece that decompresses to more than 32 MiB is refused at once.
    """
    async with (
        Raw(answering(answer(CODINGS[coding](512 * MIB), Content_Encoding=coding))) as server,
        client_of(server.url, max_response_size=2**40) as client,
    ):
        short = client.with_settings(timeouts=Timeouts(total=0.1), retries=ONCE)
        with pytest.raises((RequestTimeoutError, ResponseTooLargeError)):
            await short.account.balance()


async def test_at_the_limit():
    """A response of exactly the limit is read, and one byte more is too much, in one piece or in many."""
    for size in (100, 3 * MIB):
        body = b'{"balance": 1, "currency": "USD"}'.ljust(size)
        for given in (answer(body), answer(gzip.compress(body), Content_Encoding="gzip")):
            async with Raw(answering(given)) as server, client_of(server.url, max_response_size=size) as client:
                assert (await client.request("GET", "/api/balance"))["balance"] == 1
                with pytest.raises(ResponseTooLargeError):
                    await client.with_settings(max_response_size=size - 1).request("GET", "/api/balance")


CHUNKED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
UNTIL_CLOSED = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n"
TERABYTE = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000000000000\r\n\r\n"


def endless(head, piece):
    """Send a head, and then a piece again and again."""

    async def play(connection):
        await connection.request()
        await connection.write(head)
        while True:
            await connection.write(piece)

    return play


@pytest.mark.parametrize(
    "play",
    [
        endless(CHUNKED, b"10000\r\n" + b" " * 65536 + b"\r\n"),
        endless(UNTIL_CLOSED, b" " * 65536),
        endless(TERABYTE, b" " * 65536),
    ],
    ids=["chunked", "until closed", "terabyte"],
)
async def test_endless(play, opened):
    """A response without an end is read up to the limit, once."""
    async with Raw(play) as server:
        client = (await opened(server.url)).with_settings(max_response_size=MIB, timeouts=Timeouts(total=30))
        with pytest.raises(ResponseTooLargeError):
            await client.account.balance()
        assert server.connections == 1


async def test_announced_terabyte():
    """If the announced length is over the limit, nothing but the first piece is read."""

    async def play(connection):
        await connection.request()
        await connection.write(TERABYTE + b"{")
        await asyncio.Event().wait()

    async with Raw(play) as server, client_of(server.url) as client:
        with pytest.raises(ResponseTooLargeError):
            await client.account.balance()
        assert server.connections == 1


async def test_one_byte_a_second(monkeypatch):
    """A response that trickles is ended by the timeout of the attempt."""
    clock = Clock(monkeypatch)

    async def trickle(connection):
        await connection.request()
        await connection.write(TERABYTE)
        while True:
            await clock.sleep(1)
            await connection.write(b"")

    async with Raw(trickle) as server, client_of(server.url, retries=ONCE) as client:
        with pytest.raises(RequestTimeoutError):
            await client.account.balance()
        assert sum(clock.slept) <= 40


async def test_head_has_no_body():
    """The announced length of a response without a body does not count."""
    async with Raw(answering(TERABYTE)) as server, client_of(server.url) as client:
        assert await client.request("HEAD", "/api/balance", response_type=object) == ""


async def test_large_error():
    """An error status with too large a body is told as that, with its status."""
    async with Raw(answering(answer(b" " * MIB, 502))) as server:
        async with client_of(server.url, max_response_size=MIB - 1) as client:
            with pytest.raises(ResponseTooLargeError, match="status 502"):
                await client.account.balance()
        assert len(server.requests) == 1


def bomb_of(order):
    """Book an order, and send too large a response."""

    def fault(shop, body):
        if order:
            shop.book(body)
        return answer(gzipped(4 * MIB), Content_Encoding="gzip")

    return fault


async def test_purchase(opened):
    """A purchase with too large a response is looked up, and sent once."""
    async with Shop(faults=[bomb_of(order=True)]) as shop:
        client = (await opened(shop.url)).with_settings(max_response_size=MIB)
        order = await client.orders.create([OrderItem(PACKAGE)])
        assert order.id == shop.orders[0]["id"]
        assert (shop.posts, len(shop.orders)) == (1, 1)


async def test_purchase_in_doubt(opened):
    """A purchase with too large a response that no look-up finds is in doubt."""
    async with Shop(faults=[bomb_of(order=False)]) as shop:
        client = (await opened(shop.url)).with_settings(max_response_size=MIB)
        with pytest.raises(PurchaseInDoubtError) as caught:
            await client.orders.create([OrderItem(PACKAGE)], reference_id="mine")
        assert isinstance(caught.value.reason, ResponseTooLargeError)
        assert (caught.value.sent, caught.value.reference_id) == ("maybe", "mine")
        assert shop.posts == 1


# ---------------------------------------------------------------- codings that were not asked for


async def test_unknown_coding():
    """A response in a coding that nobody asked for is told as that, and not requested again."""
    async with Raw(answering(answer(b"\x1f\x9d\x90\x00", Content_Encoding="compress"))) as server:
        async with client_of(server.url) as client:
            with pytest.raises(DecodeError, match="in a coding that was not asked for: 'compress'"):
                await client.account.balance()
        assert len(server.requests) == 1


async def test_wrong_name_of_a_coding():
    """What is plain JSON under the name of an unknown coding is read."""
    async with (
        Raw(answering(answer(b'{"balance": 1}', Content_Encoding="utf-8"))) as server,
        client_of(server.url) as client,
    ):
        assert await client.request("GET", "/api/balance") == {"balance": 1}


@pytest.mark.parametrize(("coding", "module"), [("br", "HAS_BROTLI"), ("zstd", "HAS_ZSTD")])
async def test_coding_without_its_package(monkeypatch, coding, module):
    """A response in a coding for which no package is installed is told as that, and not requested again."""
    monkeypatch.setattr(http_parser, module, False)
    async with Raw(answering(answer(b"\x00" * 100, Content_Encoding=coding))) as server:
        async with client_of(server.url) as client:
            with pytest.raises(DecodeError, match="in a coding that was not asked for") as caught:
                await client.account.balance()
        assert len(server.requests) == 1
    assert coding in str(caught.value)
    assert caught.value.sent == "answered"


async def test_broken_compression():
    """A body that does not decompress is requested again, as one that was cut."""
    plays = [answer(b"plain", Content_Encoding="gzip"), answer(b'{"balance": 1}')]
    async with Raw(answering(*plays)) as server, client_of(server.url) as client:
        assert await client.request("GET", "/api/balance") == {"balance": 1}
        assert len(server.requests) == 2


# ---------------------------------------------------------------- what stays as it was


async def test_traces_see_the_body():
    """The traces of the caller are given the body, as aiohttp does."""
    seen = []

    async def received(session, context, params: aiohttp.TraceResponseChunkReceivedParams):
        seen.append(params.chunk)

    trace = aiohttp.TraceConfig()
    trace.on_response_chunk_received.append(received)
    async with (
        Raw(answering(answer(b'{"balance": 1}'))) as server,
        client_of(server.url, trace_configs=[trace]) as client,
    ):
        await client.request("GET", "/api/balance")
    assert seen == [b'{"balance": 1}']
