"""What the journal of a bulk order costs, against a bare loop.

    python -m benchmarks.bulk

Both ways send the same orders through the same client to a server that keeps nothing.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from roamify_async import AsyncRoamify, CreateOrder, OrderItem, Settings

from . import measuring
from .measuring import Line, Scale, each, in_turns, ratios
from .server import Serving

PLACES: Final = 64
"""Purchases in flight."""
KINDS: Final = 8
"""Packages that are bought."""
LATENCY: Final = 50
"""Milliseconds before each answer."""


def requests(count: int, *, own: bool = False) -> Iterator[CreateOrder]:
    """Make so many requests, with references of the caller's own or without."""
    for number in range(count):
        reference = f"customer-{number:08}" if own else None
        yield CreateOrder([OrderItem(f"package-{number % KINDS}")], reference_id=reference)


def client(url: str) -> AsyncRoamify:
    """Make the client that both ways use."""
    return AsyncRoamify("token", base_url=url, settings=Settings(concurrency=PLACES))


async def bare(url: str, count: int) -> int:
    """Order in a plain loop with a semaphore; give the number of orders."""
    semaphore = asyncio.Semaphore(PLACES)
    async with client(url) as roamify:

        async def one(request: CreateOrder) -> Any:
            async with semaphore:
                return await roamify.orders.create(request.items, reference_id=request.reference_id)

        return len(await asyncio.gather(*map(one, requests(count))))


async def journaled(url: str, count: int, *, own: bool = False) -> int:
    """Order in bulk with a journal, prices and balance looked up; give the number of orders."""
    with tempfile.TemporaryDirectory(prefix="roamify-bench-") as folder:
        async with client(url) as roamify:
            lines = requests(count, own=own)
            report = await roamify.orders.bulk(lines, journal=f"{folder}/orders.db", concurrency=PLACES)
        with report:
            return report.counts["ordered"]


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure wall time with latency."""
    url, count = server.url(latency=LATENCY), scale.orders
    ways = {
        way.__name__: partial(
            measuring.apart, way, {"url": url, "count": count}, {"url": url, "count": KINDS}, gives=count
        )
        for way in (bare, journaled)
    }
    found = in_turns(ways, scale.rounds)
    for what, goal in (("wall", 1.1), ("CPU", None)):
        told = f"{count:,} orders, {LATENCY} ms, {PLACES} in flight, {what}, journal / semaphore + gather"
        yield Line(told, ratios(each(found, what.lower()), "journaled", "bare"), goal)


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["bulk"]))
