"""One table of all that is measured, and of the machine on which it was.

Each benchmark is a module with ``measure(server, scale)``, which gives the lines of the table as they are known.
"""

import argparse
import json
import os
import platform
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final

import attrs

from .measuring import QUICK, Line, Scale
from .server import Serving, serving

NAMES: Final = ("decoding", "catalogue", "calls", "bulk", "blocking", "memory", "pulse", "imports", "growth")
"""The benchmarks, in the order of the table."""
LONG: Final = ("lines", "ledger", "durable")
"""Those that run only where they are named."""
LIBRARIES: Final = (
    *("roamify-async", "aiohttp", "anyio", "attrs", "cattrs", "httpx", "msgspec", "orjson", "pydantic", "requests"),
    "uvloop",
)
ROW: Final = "{:<10}  {:<78}  {:>9}  {:>17}  {:>8}  {:>3}"
MET: Final = {True: "yes", False: "no", None: ""}


def machine() -> dict[str, Any]:
    """Return where it is measured, and how busy it is there; neither host nor paths."""
    versions: dict[str, str] = {}
    for library in LIBRARIES:
        with suppress(PackageNotFoundError):
            versions[library] = version(library)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "python": python,
        "libraries": versions,
    }


def described(where: dict[str, Any]) -> str:
    """Return the machine in words."""
    libraries = ", ".join(f"{name} {number}" for name, number in where["libraries"].items())
    load = "" if where["load"] is None else f" (load {where['load']:.1f})"
    return f"{where['system']} {where['machine']}, {where['cores']} cores{load}, {where['python']}\n{libraries}"


def shown(name: str, line: Line) -> str:
    """Return a line as a row of the table."""
    unit = f" {line.unit}" * bool(line.unit)
    spread = "{:.2f} to {:.2f}".format(*line.spread)
    goal = "" if line.goal is None else f"<= {line.goal:g}"
    return ROW.format(name, line.what, f"{line.median:.2f}{unit}", spread, goal, MET[line.is_met]).rstrip()


def lines(names: Sequence[str], server: Serving, scale: Scale) -> Iterator[tuple[str, Line]]:
    """Run benchmarks one after another."""
    for name in names:
        for line in import_module(f"benchmarks.{name}").measure(server, scale):
            yield name, line


def main(arguments: Sequence[str] | None = None, only: Sequence[str] = ()) -> int:
    """Measure and print; give 0 if all goals are met, else 1."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Measure what the client costs.")
    add = parser.add_argument
    if not only:
        add("--only", action="append", choices=NAMES + LONG, help="run this one; can be given several times")
    add("--quick", action="store_true", help="a look: less of everything, and fewer rounds")
    add("--json", type=Path, metavar="FILE", help="write what was measured to a file as well")
    choice = parser.parse_args(arguments)
    where, found = machine(), list[tuple[str, Line]]()
    print(
        described(where),
        "",
        ROW.format("benchmark", "what", "median", "middle half", "goal", "met"),
        sep="\n",
        flush=True,
    )
    with serving() as server:
        for name, line in lines(only or choice.only or NAMES, server, QUICK if choice.quick else Scale()):
            found.append((name, line))
            print(shown(name, line), flush=True)
    if choice.json is not None:
        told = [{"benchmark": name, **attrs.asdict(line), "median": line.median} for name, line in found]
        choice.json.write_text(json.dumps({**where, "lines": told}, indent=1), "utf-8")
    return 1 if any(line.is_met is False for _, line in found) else 0


if __name__ == "__main__":
    sys.exit(main())
