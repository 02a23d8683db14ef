"""Whether a package costs the same in a catalogue of any size.

Alone: ``python -m benchmarks.growth``.
"""

import sys
from collections.abc import Iterator
from functools import partial

from . import measuring, ours, peers
from .measuring import Line, Scale, in_turns, ratios
from .server import SIZE, Serving


def _ours(server: Serving, packages: int, times: int) -> float:
    """Read a catalogue so many times, for a short run would tell of its noise; return the seconds a package."""
    given = {"url": server.url(packages), "times": times}
    warm = {"url": server.url(10 * SIZE)}
    cost = measuring.apart(ours.listed, given, warm, gives=packages * times)
    return cost.cpu / (packages * times)


def _bare(server: Serving, packages: int) -> float:
    """Read a catalogue with aiohttp and orjson alone; return the seconds a package."""
    given = {"url": server.url(packages), "pages": packages // SIZE}
    warm = {"url": server.url(10 * SIZE), "pages": 10}
    return measuring.apart(peers.bare, given, warm, gives=packages).cpu / packages


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure the CPU time of a package."""
    few, packages, many = sizes = (scale.few, scale.packages, scale.many)
    ways = {str(size): partial(_ours, server, size, max(1, packages // size)) for size in sizes}
    ways |= {f"bare {size}": partial(_bare, server, size) for size in (packages, many)}
    costs = in_turns(ways, scale.rounds_of_long_ones)
    # A small one pays for a window of pages that are asked for beyond its end.
    yield Line(f"list of {few:,} packages, CPU a package / of {packages:,}", ratios(costs, str(few), str(packages)))
    grown = ratios(costs, str(many), str(packages))
    yield Line(f"list of {many:,} packages, CPU a package / of {packages:,}", grown)
    told = f"list of {many:,} packages, CPU a package / of {packages:,}, aiohttp + orjson dicts"
    bare = ratios(costs, f"bare {many}", f"bare {packages}")
    yield Line(told, bare)
    both = [one / other for one, other in zip(grown, bare, strict=True)]
    yield Line("what ours grows by / what aiohttp + orjson dicts grow by", both, goal=1.15)


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["growth"]))
