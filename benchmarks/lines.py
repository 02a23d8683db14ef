"""How much more memory, and CPU time a line, a bulk order with a journal takes when it has ten times as many lines.

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
    """Measure fresh processes, without references and with the caller's own."""
    for own in (False, True):
        ways = {
            str(count): partial(
                measuring.apart, bulk.journaled, {"url": server.url(), "count": count, "own": own}, gives=count
            )
            for count in scale.lines
        }
        found = in_turns(ways, 1)
        peaks, times = each(found, "peak"), each(found, "cpu")
        few, many = scale.lines
        told = f"bulk of {many:,} orders{' with references' * own}, peak memory / of {few:,}"
        yield Line(told, ratios(peaks, str(many), str(few)), goal=1.2)
        told = f"bulk of {many:,} orders{' with references' * own}, CPU a line / of {few:,}"
        yield Line(told, [ratio * few / many for ratio in ratios(times, str(many), str(few))], goal=1.1)


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["lines"]))
