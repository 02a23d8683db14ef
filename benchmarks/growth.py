"""Whether a package costs the same in a catalogue of any size.

python -m benchmarks.growth
"""

import sys
from collections.abc import Iterator
from functools import partial

from . import measuring, ours
from .measuring import Line, Scale, in_turns, ratios
from .server import Serving


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure the CPU time of a package."""

    def cost(packages: int) -> float:
        times = max(1, scale.packages // packages)  # a short run would tell of its noise
        given = {"url": server.url(packages), "times": times}
        found = measuring.apart(ours.listed, given, warm={"url": server.url(scale.few)})
        assert found.answer == packages * times, found
        return found.cpu / found.answer

    sizes = (scale.few, scale.packages, scale.many)
    costs = in_turns({str(size): partial(cost, size) for size in sizes}, scale.rounds_of_long_ones)
    for size, goal in ((scale.few, None), (scale.many, 1.15)):
        # A small one pays for a window of pages that are asked for beyond its end.
        told = f"list of {size:,} packages, CPU a package / of {scale.packages:,}"
        yield Line(told, ratios(costs, str(size), str(scale.packages)), goal)


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["growth"]))
