"""One small call after another, in CPU time, against aiohttp and orjson alone.

Alone: ``python -m benchmarks.calls``.
"""

import sys
from collections.abc import Iterator
from functools import partial

from . import measuring, ours, peers
from .measuring import Line, Scale, each, in_turns, ratios
from .server import Serving


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure."""
    url, calls = server.url(), scale.calls
    ways = {
        name: partial(measuring.apart, ask, {"url": url, "calls": calls}, {"url": url, "calls": 20}, gives=calls)
        for name, ask in {"ours": ours.balances, "bare": peers.balances}.items()
    }
    cpu = each(in_turns(ways, scale.rounds), "cpu")
    yield Line("balance, one call, CPU / aiohttp + orjson", ratios(cpu, "ours", "bare"), goal=1.35)


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["calls"]))
