"""How late other tasks of the same loop come while the catalogue is read: a task that wants to run every millisecond.

Alone: ``python -m benchmarks.pulse``.
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
    """Return a list to which each beat adds how many milliseconds late it came."""
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
    """Go over the catalogue; return how late the beats came."""
    async with _watched() as late:
        await ours.iterated(url)
    return _told(late)


async def listed(url: str) -> dict[str, float]:
    """Read the whole catalogue; return how late the beats came."""
    async with _watched() as late:
        await ours.listed(url)
    return _told(late)


async def idle(url: str) -> dict[str, float]:  # noqa: ARG001 -- for it is called like the others
    """Do nothing for a second; return how late the beats came: what is the machine's own doing."""
    async with _watched() as late:
        await asyncio.sleep(1)
    return _told(late)


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure while nothing holds the server up, and with the collector as it is."""

    def run(way: Callable[..., Any]) -> dict[str, float]:
        late: dict[str, float] = measuring.apart(
            way, {"url": server.url(scale.packages)}, warm={"url": server.url(scale.few)}
        ).answer
        return late

    ways = {"iter": iterated, "list": listed, "idle": idle}
    found = in_turns({name: partial(run, way) for name, way in ways.items()}, scale.rounds)
    goals = {("iter", "p99"): 10, ("iter", "longest"): 50}
    for name, lates in found.items():
        during = "an idle second" if name == "idle" else f"{name} of {scale.packages:,} packages"
        for what in ("p99", "longest"):
            told = f"beat of 1 ms during {during}, lateness, {what}"
            yield Line(told, [late[what] for late in lates], goals.get((name, what)), "ms")


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["pulse"]))
