"""Whether a package costs the same in a catalogue of any size.

Alone: ``python -m benchmarks.growth``.
"""

import sys
from collections.abc import Iterator
from functools import partial

from . import measuring, ours
from .measuring import Line, Scale, in_turns, ratios
from .server import SIZE, Serving


def _cost(server: Serving, packages: int, times: int) -> float:
    """Read a catalogue so many times, for a short run would tell of its noise; give the seconds a package."""
    given = {"url": server.url(packages), "times": times}
    warm = {"url": server.url(10 * SIZE)}
    cost = measuring.apart(ours.listed, given, warm, gives=packages * times)
    return cost.cpu / (packages * times)


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure the CPU time of a package."""
    sizes = (scale.few, scale.packages, scale.many)
    ways = {str(size): partial(_cost, server, size, max(1, scale.packages // size)) for size in sizes}
    costs = in_turns(ways, scale.rounds_of_long_ones)
    for size, goal in ((scale.few, None), (scale.many, 1.15)):
        # A small one pays for a window of pages that are asked for beyond its end.
        told = f"list of {size:,} packages, CPU a package / of {scale.packages:,}"
        yield Line(told, ratios(costs, str(size), str(scale.packages)), goal)


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["growth"]))
