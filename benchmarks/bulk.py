"""What a bulk order with a journal costs, against a loop over the client's ``orders.create``, and over aiohttp alone.

    python -m benchmarks.bulk

All of them send the same orders to a server that keeps nothing. With references of the caller's own, all of them look
up each reference before they send.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from typing import Any, Final

from roamify_async import AsyncRoamify, CreateOrder, OrderItem, Settings

from . import measuring, peers
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


def client(url: str, ledger: Any = None) -> AsyncRoamify:
    """Make the client that both ways use."""
    return AsyncRoamify("token", base_url=url, settings=Settings(concurrency=PLACES), ledger=ledger)


async def looped(url: str, count: int, *, own: bool = False) -> int:
    """Order with the client in a plain loop with a semaphore; return the number of orders."""
    semaphore = asyncio.Semaphore(PLACES)
    async with client(url) as roamify:

        async def one(request: CreateOrder) -> Any:
            async with semaphore:
                return await roamify.orders.create(request.items, reference_id=request.reference_id)

        return len(await asyncio.gather(*map(one, requests(count, own=own))))


async def journaled(url: str, count: int, *, own: bool = False) -> int:
    """Order in bulk with a journal, prices and balance looked up; return the number of orders."""
    with tempfile.TemporaryDirectory(prefix="roamify-bench-") as folder:
        async with client(url) as roamify:
            lines = requests(count, own=own)
            report = await roamify.orders.bulk(lines, journal=f"{folder}/orders.db", concurrency=PLACES)
        with report:
            return report.counts["ordered"]


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure wall and CPU time with latency, without references and with the caller's own."""
    url, count = server.url(latency=LATENCY), scale.orders
    for own in (False, True):
        given = {
            looped: {"url": url, "own": own},
            journaled: {"url": url, "own": own},
            peers.ordered_at_once: {"url": url, "own": own, "places": PLACES, "kinds": KINDS},
        }
        ways = {
            way.__name__: partial(
                measuring.apart, way, {**named, "count": count}, {**named, "count": KINDS}, gives=count
            )
            for way, named in given.items()
        }
        found = in_turns(ways, scale.rounds)
        what = f"{count:,} orders{' with references' * own}, {LATENCY} ms, {PLACES} in flight"
        bare = "aiohttp, look up, then post" if own else "aiohttp, post"
        for unit, goal in (("wall", 1.1 if own else 1.05), ("CPU", None if own else 1.5)):
            costs = each(found, unit.lower())
            yield Line(f"{what}, {unit}, journal / semaphore + gather", ratios(costs, "journaled", "looped"), goal)
            yield Line(f"{what}, {unit}, journal / {bare}", ratios(costs, "journaled", "ordered_at_once"))


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["bulk"]))
