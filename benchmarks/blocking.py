"""Going over the catalogue with the blocking client, against doing so with the awaited one; and what uvloop changes.

Alone: ``python -m benchmarks.blocking``.
"""

import sys
from collections.abc import Callable, Iterator
from functools import partial
from importlib.util import find_spec
from typing import Any

from . import measuring, ours
from .measuring import Cost, Line, Scale, each, in_turns, ratios
from .server import Serving


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure wall time with and without latency."""
    told = f"iter over {scale.packages:,} packages"

    def way(iterate: Callable[..., Any], latency: int, **choice: bool) -> Callable[[], Cost]:
        whole = {"url": server.url(scale.packages, latency), **choice}
        small = {"url": server.url(scale.few), **choice}
        return partial(measuring.apart, iterate, whole, small, gives=scale.packages)

    for latency, goal in ((scale.latency, 1.1), (0, 1.6)):
        ways = {"blocking": way(ours.iterated_blocking, latency), "awaited": way(ours.iterated, latency)}
        found = in_turns(ways, scale.rounds)
        for what, limit in (("wall", goal), ("CPU", None)):
            costs = each(found, what.lower())
            yield Line(
                f"{told}, {latency} ms, {what}, Roamify / AsyncRoamify", ratios(costs, "blocking", "awaited"), limit
            )
    if find_spec("uvloop") is not None:
        loops = {name: way(ours.iterated_blocking, 0, uvloop=name == "uvloop") for name in ("uvloop", "asyncio")}
        cpu = each(in_turns(loops, scale.rounds), "cpu")
        yield Line(f"{told}, CPU, Roamify in uvloop / in asyncio's own loop", ratios(cpu, "uvloop", "asyncio"))


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["blocking"]))
