"""Going over the catalogue with the blocking client, against doing so with the awaited one; and what uvloop changes.

python -m benchmarks.blocking
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

from . import measuring, ours
from .measuring import Cost, Line, Scale, in_turns, ratios
from .server import Serving


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure wall time with and without latency."""

    def run(iterate: Callable[..., Any], latency: int, **choice: bool) -> Cost:
        cost = measuring.apart(
            iterate,
            {"url": server.url(scale.packages, latency), **choice},
            warm={"url": server.url(scale.few), **choice},
        )
        assert cost.answer == scale.packages, cost
        return cost

    told = f"iter over {scale.packages:,} packages"
    for latency, goal in ((scale.latency, 1.1), (0, 1.6)):
        ways = {
            "blocking": partial(run, ours.iterated_blocking, latency),
            "awaited": partial(run, ours.iterated, latency),
        }
        found = in_turns(ways, scale.rounds)
        wall = {name: [cost.wall for cost in costs] for name, costs in found.items()}
        yield Line(
            f"{told}, {latency} ms, wall, Roamify / AsyncRoamify", ratios(wall, "blocking", "awaited"), goal=goal
        )
    if find_spec("uvloop") is not None:
        loops = {
            name: partial(run, ours.iterated_blocking, 0, uvloop=name == "uvloop") for name in ("uvloop", "asyncio")
        }
        found = in_turns(loops, scale.rounds)
        cpu = {name: [cost.cpu for cost in costs] for name, costs in found.items()}
        yield Line(f"{told}, CPU, Roamify in uvloop / in asyncio's own loop", ratios(cpu, "uvloop", "asyncio"))


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["blocking"]))
