"""One small call after another, in CPU time, against aiohttp and orjson alone.

Alone: ``python -m benchmarks.calls``.
"""

import sys
from collections.abc import Iterator
from functools import partial

from . import ours, peers
from .measuring import Line, Scale, each, here, in_turns, ratios
from .server import Serving


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure, a connection for each round."""
    given = {"url": server.url(), "calls": scale.calls}
    ways = {"ours": partial(here, ours.balances, given), "bare": partial(here, peers.balances, given)}
    in_turns(ways, 1)  # what is made at first use is made now
    cpu = each(in_turns(ways, scale.rounds_here), "cpu")
    yield Line("balance, one call, CPU / aiohttp + orjson", ratios(cpu, "ours", "bare"), goal=1.35)


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["calls"]))
