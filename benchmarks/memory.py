"""How much more memory it takes to go over a catalogue that is ten times as large.

Alone: ``python -m benchmarks.memory``.
"""

import sys
from collections.abc import Iterator
from functools import partial

from . import measuring, ours
from .measuring import Line, Scale, each, in_turns
from .server import Serving


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure the peak of fresh processes."""
    ways = {
        name: partial(measuring.apart, ours.iterated, {"url": server.url(packages)}, gives=packages)
        for name, packages in {"few": scale.packages, "many": scale.many}.items()
    }
    peaks = each(in_turns(ways, scale.rounds_of_long_ones), "peak")
    grown = [many - few for many, few in zip(peaks["many"], peaks["few"], strict=True)]
    yield Line(f"iter over {scale.many:,} packages, peak memory - that of {scale.packages:,}", grown, 2, "MB")


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["memory"]))
