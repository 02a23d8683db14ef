"""What ``import roamify_async`` costs, against importing what it depends on.

Alone: ``python -m benchmarks.imports``.
"""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from typing import Final

from .measuring import Line, Scale, in_turns, ratios
from .server import ROOT, Serving

DEPENDENCIES: Final = "aiohttp, attrs, cattrs, msgspec, anyio, aiolimiter, yarl"
CLIENTS: Final = "roamify_async; roamify_async.AsyncRoamify"
CODE: Final = "import time; begun = time.process_time(); import {}; print(time.process_time() - begun)"


def seconds(modules: str) -> float:
    """Import modules in a fresh process; return the seconds of CPU time."""
    command = [sys.executable, "-c", CODE.format(modules)]
    return float(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT).stdout)


def measure(_: Serving, scale: Scale) -> Iterator[Line]:
    """Measure, once the compiled files are there."""
    ways = {
        "ours": partial(seconds, "roamify_async"),
        "clients": partial(seconds, CLIENTS),
        "dependencies": partial(seconds, DEPENDENCIES),
    }
    seconds(CLIENTS)
    cpu = in_turns(ways, scale.rounds_of_short_ones)
    yield Line("import roamify_async, CPU / its dependencies", ratios(cpu, "ours", "dependencies"), goal=1.4)
    yield Line("the same with both clients and all rooms", ratios(cpu, "clients", "dependencies"))


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["imports"]))
