"""The ways to compare with: each as its own users would write it well, with the same token, pages and concurrency.

The peers are told how many pages there are, and ask for no more; the client has to find out. What only some of them
need is imported by those: a way runs in a process that holds nothing else, for the collector looks at all there is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from functools import cache
from typing import Any, Final
from uuid import uuid4

import aiohttp
import orjson

from .server import SIZE

HEADERS: Final = {"Authorization": "Bearer token", "Accept": "application/json"}
JSON: Final = {"Content-Type": "application/json"}
PLACES: Final = 16
"""Requests in flight: as many as the client's own default."""


# ---------------------------------------------------------------- one page


def read_dicts(body: bytes) -> list[Any]:
    """Return the destinations of a page as they come."""
    return orjson.loads(body)["data"]["packages"]  # type: ignore[no-any-return]


@cache
def model_reader() -> Callable[[bytes], tuple[Any, ...]]:
    """Return what reads the destinations of a page as models; orjson and ``model_validate`` together take longer."""
    from .models import Envelope

    return lambda body: Envelope.model_validate_json(body).data.packages


@cache
def struct_reader() -> Callable[[bytes], tuple[Any, ...]]:
    """Return what reads the destinations of a page as structs."""
    import msgspec

    from .models import Envelope, struct

    decode = msgspec.json.Decoder(struct(Envelope)).decode
    return lambda body: decode(body).data.packages


# ---------------------------------------------------------------- the whole catalogue; each way gives its length


def address(url: str, page: int) -> str:
    """Return the address of a page of the catalogue."""
    return f"{url}/api/esim/packages?page={page}&pageSize={SIZE}"


async def gathered(fetch: Callable[[int], Awaitable[Iterable[Any]]], pages: int) -> list[Iterable[Any]]:
    """Fetch all pages, so many at once."""
    semaphore = asyncio.Semaphore(PLACES)

    async def one(page: int) -> Iterable[Any]:
        async with semaphore:
            return await fetch(page)

    return await asyncio.gather(*map(one, range(1, pages + 1)))


async def _with_aiohttp(read: Callable[[bytes], Iterable[Any]], url: str, pages: int) -> list[Iterable[Any]]:
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as session:

        async def fetch(page: int) -> Iterable[Any]:
            async with session.get(address(url, page)) as response:
                return read(await response.read())

        return await gathered(fetch, pages)


async def bare(url: str, pages: int) -> int:
    """Read it with aiohttp and orjson into dicts: the limit."""
    found = [
        package
        for page in await _with_aiohttp(read_dicts, url, pages)
        for group in page
        for package in group["packages"]
    ]
    return len(found)


async def structs(url: str, pages: int) -> int:
    """Read it with aiohttp and msgspec."""
    return len(_flat(await _with_aiohttp(struct_reader(), url, pages)))


async def models(url: str, pages: int) -> int:
    """Read it with aiohttp and pydantic: the best stack that is in use."""
    return len(_flat(await _with_aiohttp(model_reader(), url, pages)))


async def sdk(url: str, pages: int) -> int:
    """Read it with httpx and pydantic: what generated SDKs are made of."""
    import httpx

    read = model_reader()
    async with httpx.AsyncClient(headers=HEADERS) as client:

        async def fetch(page: int) -> Iterable[Any]:
            response = await client.get(address(url, page))
            return read(response.raise_for_status().content)

        return len(_flat(await gathered(fetch, pages)))


def script(url: str, pages: int) -> int:
    """Read it with requests, one page after another."""
    import requests

    found: list[Any] = []
    with requests.Session() as session:
        session.headers.update(HEADERS)
        for page in range(1, pages + 1):
            response = session.get(address(url, page), timeout=30)
            response.raise_for_status()
            found += [package for group in response.json()["data"]["packages"] for package in group["packages"]]
    return len(found)


def _flat(pages: Iterable[Iterable[Any]]) -> list[Any]:
    return [package for page in pages for group in page for package in group.packages]


# ---------------------------------------------------------------- one small call


async def balances(url: str, calls: int) -> int:
    """Ask for the balance with aiohttp and orjson, again and again."""
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as session:
        for _ in range(calls):
            async with session.get(f"{url}/api/balance") as response:
                orjson.loads(await response.read())["data"]
    return calls


# ---------------------------------------------------------------- purchases


async def _order(session: aiohttp.ClientSession, url: str, package_id: str, reference: str | None) -> None:
    """Order one eSIM. A reference of the caller's is looked up first."""
    if reference is not None:
        async with session.get(f"{url}/api/esim/orders?referenceId={reference}") as response:
            if orjson.loads(await response.read())["data"]["orders"]:
                raise ValueError(f"{reference} exists")
    body = {"items": [{"packageId": package_id, "quantity": 1}], "referenceId": reference or str(uuid4())}
    async with session.post(f"{url}/api/esim/order", data=orjson.dumps(body), headers=JSON) as response:
        orjson.loads(await response.read())["data"]


async def ordered(url: str, calls: int, *, own: bool = False) -> int:
    """Order with aiohttp and orjson, again and again; with *own*, look up each reference before."""
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True) as session:
        for number in range(calls):
            await _order(session, url, "package-0", f"customer-{number:08}" if own else None)
    return calls


async def ordered_at_once(url: str, count: int, places: int, kinds: int, *, own: bool = False) -> int:
    """Order with aiohttp and orjson, with *places* orders in flight; with *own*, look up each reference before."""
    semaphore = asyncio.Semaphore(places)
    connector = aiohttp.TCPConnector(limit=places)
    async with aiohttp.ClientSession(headers=HEADERS, raise_for_status=True, connector=connector) as session:

        async def one(number: int) -> None:
            async with semaphore:
                await _order(session, url, f"package-{number % kinds}", f"customer-{number:08}" if own else None)

        await asyncio.gather(*map(one, range(count)))
    return count
