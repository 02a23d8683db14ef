"""One small call after another, in CPU time, against aiohttp and orjson alone.

    python -m benchmarks.calls

A purchase checks its package, once in ten minutes. With a reference of the caller's own it is looked up before it is
sent; the peer does the same.
"""

import sys
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from . import ours, peers
from .measuring import Line, Scale, each, here, in_turns, ratios
from .server import Serving


def _ratios(ours: Callable[..., Any], bare: Callable[..., Any], given: Mapping[str, Any], rounds: int) -> list[float]:
    ways = {"ours": partial(here, ours, given), "bare": partial(here, bare, given)}
    in_turns(ways, 1)  # What is created at first use is created now.
    return ratios(each(in_turns(ways, rounds), "cpu"), "ours", "bare")


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure, with a new connection in each round."""
    given, rounds = {"url": server.url(), "calls": scale.calls}, scale.rounds_here
    found = _ratios(ours.balances, peers.balances, given, rounds)
    yield Line("balance, one call, CPU / aiohttp + orjson", found, goal=1.35)
    found = _ratios(ours.ordered, peers.ordered, given, rounds)
    yield Line("orders.create, CPU / aiohttp + orjson, post", found)
    found = _ratios(ours.ordered, peers.ordered, {**given, "own": True}, rounds)
    yield Line("the same with a reference, CPU / aiohttp + orjson, look up, then post", found)


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["calls"]))
