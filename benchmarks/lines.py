"""How much more memory a bulk order with a journal takes when it has ten times as many lines.

    python -m benchmarks.lines

It takes minutes, and is measured only where it is named.
"""

import sys
from collections.abc import Iterator
from functools import partial

from . import bulk, measuring
from .measuring import Line, Scale, each, in_turns, ratios
from .server import Serving


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure the peak of fresh processes, without references and with the caller's own."""
    for own in (False, True):
        ways = {
            str(count): partial(
                measuring.apart, bulk.journaled, {"url": server.url(), "count": count, "own": own}, gives=count
            )
            for count in scale.lines
        }
        peaks = each(in_turns(ways, 1), "peak")
        few, many = scale.lines
        told = f"bulk of {many:,} orders{' with references' * own}, peak memory / of {few:,}"
        yield Line(told, ratios(peaks, str(many), str(few)), goal=1.2)


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["lines"]))
