"""How things are measured: in turns, in fresh processes where memory has a say, and told as lines of a table.

Rounds alternate, so that what else the machine does hits all ways; what is claimed is the median of the rounds' ratios.
"""

import asyncio
import gc
import importlib
import inspect
import json
import re
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import attrs

from .server import PACKAGES, ROOT

T = TypeVar("T")


@attrs.frozen(kw_only=True)
class Scale:
    """How much is measured."""

    rounds: int = 5
    rounds_here: int = 75
    """Of what runs in this process, in a blink: so that what disturbs one way disturbs the next one too."""
    rounds_of_short_ones: int = 15
    """Of what takes less than a second."""
    rounds_of_long_ones: int = 2
    """Of what takes a minute otherwise."""
    packages: int = PACKAGES
    few: int = 1_000
    many: int = 280_000
    decodes: int = 20
    """Pages read in one round."""
    calls: int = 100
    """Small calls, one after another, in one round."""
    orders: int = 2_000
    lines: tuple[int, int] = (10_000, 100_000)
    """Of bulk orders whose memory is measured."""
    latency: int = 20
    """Milliseconds before each answer, where there are any."""


QUICK: Final = Scale(
    rounds=3,
    rounds_here=25,
    rounds_of_short_ones=5,
    rounds_of_long_ones=1,
    packages=5_000,
    many=28_000,
    orders=500,
    lines=(1_000, 10_000),
)
"""A look."""


@attrs.frozen
class Line:
    """One line of the table."""

    what: str
    values: Sequence[float]
    """One a round."""
    goal: float | None = None
    """The most that the median may be; ``None``: only reported."""
    unit: str = ""
    """Empty for a ratio."""

    @property
    def median(self) -> float:
        """What is claimed."""
        return statistics.median(self.values)

    @property
    def spread(self) -> tuple[float, float]:
        """Between which values the middle half of the rounds lies."""
        if len(self.values) == 1:
            return self.median, self.median
        low, _, high = statistics.quantiles(self.values, n=4, method="inclusive")
        return low, high

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is reached, if there is one."""
        return None if self.goal is None else self.median <= self.goal


def ratios(costs: Mapping[str, Sequence[float]], ours: str, theirs: str) -> list[float]:
    """Divide what one way took by what another took, round by round."""
    return [one / other for one, other in zip(costs[ours], costs[theirs], strict=True)]


def in_turns(ways: Mapping[str, Callable[[], T]], rounds: int) -> dict[str, list[T]]:
    """Go each way once a round, beginning with another one each time; return what each round came to."""
    names = [*ways]
    results: dict[str, list[T]] = {name: [] for name in names}
    for number in range(rounds):
        first = number % len(names)
        for name in (*names[first:], *names[:first]):
            gc.collect()
            results[name].append(ways[name]())
    return results


@attrs.frozen
class Cost:
    """What a run took."""

    cpu: float
    """Seconds of all threads of its process."""
    wall: float
    peak: float
    """The most memory that its process ever had, in MB."""
    answer: Any
    """What it gave."""


def each(costs: Mapping[str, Sequence[Cost]], what: str) -> dict[str, list[float]]:
    """Pick ``"cpu"``, ``"wall"`` or ``"peak"`` of all costs."""
    return {name: [getattr(cost, what) for cost in found] for name, found in costs.items()}


def apart(
    way: Callable[..., Any], given: Mapping[str, Any], warm: Mapping[str, Any] | None = None, *, gives: object = None
) -> Cost:
    """Run *way* in a process of its own, after a run with *warm* that makes what is made at first use.

    What it gives is checked, where it is known.
    """
    command = [sys.executable, "-m", "benchmarks.measuring", f"{way.__module__}:{way.__name__}"]
    told = json.dumps([given, warm])
    done = subprocess.run([*command, told], check=True, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    cost = Cost(**json.loads(done.stdout))
    assert gives in (None, cost.answer), cost
    return cost


def here(way: Callable[..., Any], given: Mapping[str, Any], warm: Mapping[str, Any] | None = None) -> Cost:
    """Run *way* in this process."""

    def run(given: Mapping[str, Any]) -> Any:
        return asyncio.run(way(**given)) if inspect.iscoroutinefunction(way) else way(**given)

    if warm is not None:
        run(warm)
    gc.collect()
    wall, cpu = time.perf_counter(), time.process_time()
    answer = run(given)
    return Cost(time.process_time() - cpu, time.perf_counter() - wall, peak(), answer)


def peak() -> float:
    """Return the most memory that this process ever had, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # ru_maxrss counts the process that started this one as well, until it became this one
        found = re.search(r"VmHWM:\s+(\d+) kB", status.read_text("utf-8"))
        if found:
            return int(found[1]) / 1024
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (1024 * 1024 if sys.platform == "darwin" else 1024)


def main(arguments: Sequence[str]) -> int:
    """Run one way, and print its cost; return the exit code."""
    module, _, name = arguments[0].partition(":")
    given, warm = json.loads(arguments[1])
    print(json.dumps(attrs.asdict(here(getattr(importlib.import_module(module), name), given, warm))))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
