"""Reading the whole catalogue, 16 pages at once, against what one would write without this library.

python -m benchmarks.catalogue
"""

import sys
from collections.abc import Callable, Iterator
from typing import Any

from . import measuring, ours, peers
from .measuring import Cost, Line, Scale, in_turns, ratios
from .server import SIZE, Serving


def _ways(
    ways: dict[str, Callable[..., Any]], server: Serving, scale: Scale, latency: int
) -> dict[str, Callable[[], Cost]]:
    def way(read: Callable[..., Any]) -> Callable[[], Cost]:
        def given(packages: int, latency: int) -> dict[str, Any]:
            return {"url": server.url(packages, latency), "pages": packages // SIZE}

        def run() -> Cost:
            cost = measuring.apart(read, given(scale.packages, latency), warm=given(scale.few, 0))
            assert cost.answer == scale.packages, cost
            return cost

        return run

    return {name: way(read) for name, read in ways.items()}


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure CPU time without latency, and wall time with it."""
    ways: dict[str, Callable[..., Any]] = {
        "ours": ours.listed,
        "bare": peers.bare,
        "pydantic": peers.models,
        "msgspec": peers.structs,
    }
    found = in_turns(_ways({**ways, "httpx": peers.sdk}, server, scale, 0), scale.rounds)
    cpu = {name: [cost.cpu for cost in costs] for name, costs in found.items()}
    told = f"list of {scale.packages:,} packages"
    yield Line(f"{told}, CPU / aiohttp + orjson dicts", ratios(cpu, "ours", "bare"), goal=1.6)
    yield Line(f"{told}, CPU / aiohttp + pydantic", ratios(cpu, "ours", "pydantic"), goal=1)
    yield Line(f"{told}, CPU / aiohttp + msgspec", ratios(cpu, "ours", "msgspec"))
    yield Line(f"{told}, CPU / httpx + pydantic", ratios(cpu, "ours", "httpx"))
    slow: dict[str, Callable[..., Any]] = {"ours": ours.listed, "bare": peers.bare, "requests": peers.script}
    found = in_turns(_ways(slow, server, scale, scale.latency), scale.rounds_of_long_ones)
    wall = {name: [cost.wall for cost in costs] for name, costs in found.items()}
    told += f", {scale.latency} ms, wall"
    yield Line(f"{told} / aiohttp + orjson, all gathered", ratios(wall, "ours", "bare"), goal=1.15)
    yield Line(f"{told} / requests, page after page", ratios(wall, "ours", "requests"), goal=0.1)


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["catalogue"]))
