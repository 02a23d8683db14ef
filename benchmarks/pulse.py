"""How late other tasks of the same loop come while the catalogue is read: a task that wants to run every millisecond.

python -m benchmarks.pulse
"""

import asyncio
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final

from . import measuring, ours
from .measuring import Line, Scale, in_turns
from .server import Serving

PERIOD: Final = 0.001


@asynccontextmanager
async def _watched() -> AsyncGenerator[list[float], None]:
    """Give a list to which each beat adds how many milliseconds late it came."""
    late: list[float] = []

    async def beat() -> None:
        while True:
            due = time.perf_counter() + PERIOD
            await asyncio.sleep(PERIOD)
            late.append(1000 * (time.perf_counter() - due))

    task = asyncio.create_task(beat())
    try:
        yield late
    finally:
        task.cancel()
        await asyncio.wait([task])


def _told(late: list[float]) -> dict[str, float]:
    ordered = sorted(late)
    return {"p99": ordered[len(ordered) * 99 // 100], "longest": ordered[-1]}


async def iterated(url: str) -> dict[str, float]:
    """Go over the catalogue; give how late the beats came."""
    async with _watched() as late:
        await ours.iterated(url)
    return _told(late)


async def listed(url: str) -> dict[str, float]:
    """Read the whole catalogue; give how late the beats came."""
    async with _watched() as late:
        await ours.listed(url)
    return _told(late)


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure while nothing holds the server up, and with the collector as it is."""

    def run(way: Callable[..., Any]) -> dict[str, float]:
        late: dict[str, float] = measuring.apart(
            way, {"url": server.url(scale.packages)}, warm={"url": server.url(scale.few)}
        ).answer
        return late

    found = in_turns({"iter": partial(run, iterated), "list": partial(run, listed)}, scale.rounds)
    for name, goals in (("iter", {"p99": 10, "longest": 50}), ("list", {"p99": None, "longest": None})):
        for what, goal in goals.items():
            told = f"beat of 1 ms during {name} of {scale.packages:,} packages, lateness, {what}"
            yield Line(told, [late[what] for late in found[name]], goal, "ms")


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["pulse"]))
