"""One small call after another, in CPU time, against aiohttp and orjson alone.

python -m benchmarks.calls
"""

import sys
from collections.abc import Iterator

from . import measuring, ours, peers
from .measuring import Line, Scale, in_turns, ratios
from .server import Serving


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure."""
    url = server.url()
    ways = {
        name: lambda ask=ask: measuring.apart(ask, {"url": url, "calls": scale.calls}, {"url": url, "calls": 20}).cpu
        for name, ask in {"ours": ours.balances, "bare": peers.balances}.items()
    }
    cpu = in_turns(ways, scale.rounds)
    yield Line("balance, one call, CPU / aiohttp + orjson", ratios(cpu, "ours", "bare"), goal=1.35)


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["calls"]))
