"""PagePrefetcher the whole catalogue, 16 pages at once, against what one would write without this library.

Alone: ``python -m benchmarks.catalogue``.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from . import measuring, ours, peers
from .measuring import Cost, Line, Scale, each, in_turns, ratios
from .server import SIZE, Serving


def _ways(server: Serving, scale: Scale, latency: int, **ways: Callable[..., Any]) -> dict[str, Callable[[], Cost]]:
    def given(packages: int, latency: int) -> dict[str, Any]:
        return {"url": server.url(packages, latency), "pages": packages // SIZE}

    whole, small = given(scale.packages, latency), given(scale.few, 0)
    return {name: partial(measuring.apart, way, whole, small, gives=scale.packages) for name, way in ways.items()}


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure CPU time without latency, and wall time with it."""
    read, told = ours.listed, f"list of {scale.packages:,} packages"
    ways = _ways(
        server, scale, 0, ours=read, bare=peers.bare, pydantic=peers.models, msgspec=peers.structs, httpx=peers.sdk
    )
    cpu = each(in_turns(ways, scale.rounds), "cpu")
    yield Line(f"{told}, CPU / aiohttp + orjson dicts", ratios(cpu, "ours", "bare"), goal=1.6)
    yield Line(f"{told}, CPU / aiohttp + pydantic", ratios(cpu, "ours", "pydantic"), goal=1)
    yield Line(f"{told}, CPU / aiohttp + msgspec", ratios(cpu, "ours", "msgspec"))
    yield Line(f"{told}, CPU / httpx + pydantic", ratios(cpu, "ours", "httpx"))
    costs = each(in_turns(_ways(server, scale, 0, once=read, more=ours.refreshed), scale.rounds), "cpu")
    refresh = [(more - once) / 4 / once for more, once in zip(costs["more"], costs["once"], strict=True)]
    yield Line(f"refresh of {scale.packages:,} packages that have not changed, CPU / list", refresh, goal=0.45)
    ways = _ways(server, scale, scale.latency, ours=read, bare=peers.bare, requests=peers.script)
    wall = each(in_turns(ways, scale.rounds_of_long_ones), "wall")
    told += f", {scale.latency} ms, wall"
    yield Line(f"{told} / aiohttp + orjson, all gathered", ratios(wall, "ours", "bare"), goal=1.15)
    yield Line(f"{told} / requests, page after page", ratios(wall, "ours", "requests"), goal=0.1)


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["catalogue"]))
