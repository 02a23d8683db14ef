"""What workers of a submitted batch cost, how they scale, and what a plain queue of tasks buys twice.

    python -m benchmarks.durable

Lines are bought with half a second of latency, in a ledger in SQLite, by 1, 2 and 4 processes, beside one bulk order
with a journal. Then a worker is killed, and beside it one of a Celery queue that delivers its tasks again.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

from roamify_async import CreateOrder, OrderItem, Roamify, Settings
from roamify_async.durable import DurableOrders
from roamify_async.ledger import SqliteLedger
from roamify_async.sandbox import Sandbox

from . import measuring
from .bulk import KINDS, client, journaled, requests
from .measuring import ROOT, Cost, Line, Scale
from .server import Serving

LATENCY: Final = 500
"""Milliseconds before each answer."""
PLACES: Final = 64
"""Purchases in flight in each worker."""
LEASE: Final = 3.0
"""Seconds of the lease where a worker is killed."""
KILLED: Final = 60
"""Lines of the batch, and tasks of the queue, whose worker is killed."""
PACKAGE: Final = "esim-greece-30days-1gb-all"
WORKERS: Final = (1, 2, 4)
PATIENCE: Final = 120
"""Seconds in which a queue should be empty."""


async def submitted(url: str, count: int, *, path: str) -> int:
    """Submit a batch; return the number of its lines."""
    with SqliteLedger(path) as ledger:
        async with client(url, ledger=ledger) as roamify, DurableOrders(roamify) as desk:
            return (await (await desk.submit("night", requests(count))).progress()).total or 0


async def worked(url: str, *, path: str, lease: float = 30.0, places: int = PLACES) -> int:
    """Buy what is left of a batch; return the number of its orders."""
    with SqliteLedger(path, lease=lease) as ledger:
        async with client(url, ledger=ledger) as roamify, DurableOrders(roamify) as desk:
            await desk.work(until_done=True, concurrency=places)
            return (await (await desk.get("night")).progress()).counts["ordered"]


def _start(way: Any, given: dict[str, Any]) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "benchmarks.measuring", f"{way.__module__}:{way.__name__}"]
    return subprocess.Popen([*command, json.dumps([given, None])], stdout=subprocess.PIPE, text=True, cwd=ROOT)


def _race(url: str, count: int, workers: int) -> tuple[float, Sequence[Cost], float]:
    """Let workers buy a batch. Return the seconds, what each took, and the size of the ledger in bytes a line."""
    with tempfile.TemporaryDirectory(prefix="roamify-bench-") as folder:
        path = f"{folder}/purchases.db"
        measuring.apart(submitted, {"url": url, "count": count, "path": path}, gives=count)
        began = time.perf_counter()
        processes = [_start(worked, {"url": url, "path": path}) for _ in range(workers)]
        costs = [Cost(**json.loads(process.communicate()[0])) for process in processes]
        seconds = time.perf_counter() - began
        assert {cost.answer for cost in costs} == {count}
        return seconds, costs, Path(path).stat().st_size / count


def measure(server: Serving, scale: Scale) -> Iterator[Line]:
    """Measure rates and costs, and count what a killed worker leaves."""
    url, count = server.url(latency=LATENCY), scale.orders
    bulk = measuring.apart(journaled, {"url": url, "count": count}, {"url": url, "count": KINDS}, gives=count)
    what = f"{count:,} orders, {LATENCY} ms, {PLACES} in flight a worker"
    rates: dict[int, float] = {}
    for workers in WORKERS:
        seconds, costs, size = _race(url, count, workers)
        rates[workers] = count / seconds
        many = f"{workers} worker{'s' * (workers > 1)}"
        yield Line(f"{what}, {many}", [rates[workers]], unit="/s")
        if workers == 1:
            yield Line(f"{what}, {many}, CPU / journal", [costs[0].cpu / bulk.cpu])
            yield Line(f"{what}, {many}, wall in the worker / journal", [costs[0].wall / bulk.wall])
            yield Line("peak memory of a worker", [costs[0].peak], unit="MB")
            yield Line("ledger, a line that was bought", [size], unit="bytes")
        else:
            yield Line(f"{what}, {many}, rate / of one", [rates[workers] / rates[1]])
    yield from _killed()


# ---------------------------------------------------------------- a worker is killed


def _killed() -> Iterator[Line]:
    with Sandbox(packages=300, balance="100000") as sandbox:
        sandbox.fail("POST", "/api/esim/order", "slow", when="after", seconds=LATENCY / 1000, times=None)
        yield Line(f"{KILLED} lines, worker killed, seconds until all are bought", [_kill_worker(sandbox)], unit="s")
        yield Line(f"{KILLED} lines, worker killed, bought twice", [_twice(sandbox)], 0)
    with Sandbox(packages=300, balance="100000") as sandbox:
        sandbox.fail("POST", "/api/esim/order", "slow", when="after", seconds=LATENCY / 1000, times=None)
        _kill_celery(sandbox)
        yield Line(f"{KILLED} tasks of Celery (acks_late), worker killed, bought twice", [_twice(sandbox)])


def _kill_worker(sandbox: Sandbox) -> float:
    """Kill one of two workers in the middle; return the seconds from then to the end."""
    settings = Settings(reconcile_window=1)
    lines = [CreateOrder([OrderItem(PACKAGE)], reference_id=f"r-{number}") for number in range(KILLED)]
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="roamify-bench-"))
        path = f"{folder}/purchases.db"
        ledger = stack.enter_context(SqliteLedger(path))
        roamify = Roamify(sandbox.token, base_url=sandbox.url, settings=settings, ledger=ledger)
        desk = stack.enter_context(DurableOrders.blocking(stack.enter_context(roamify)))
        batch = desk.submit("night", lines)
        given = {"url": sandbox.url, "path": path, "lease": LEASE, "places": 4}
        processes = [_start(worked_in_sandbox, {**given, "token": sandbox.token}) for _ in range(2)]
        sandbox.wait_for("POST /api/esim/order", KILLED // 3, timeout=PATIENCE)
        processes[0].kill()
        began = time.perf_counter()
        batch.report(wait=True).close()
        seconds = time.perf_counter() - began
        for process in processes:
            process.communicate()
    return seconds


def worked_in_sandbox(url: str, token: str, path: str, lease: float, places: int) -> int:
    """Buy what is left of a batch at a sandbox."""
    with SqliteLedger(path, lease=lease) as ledger, Roamify(token, base_url=url, ledger=ledger) as roamify:
        DurableOrders.blocking(roamify).work(until_done=True, concurrency=places)
    return 0


def _twice(sandbox: Sandbox) -> int:
    """Return how many orders there are more than lines or tasks."""
    return len(sandbox.state()["orders"]) - KILLED


def _kill_celery(sandbox: Sandbox) -> None:
    """Kill one of two workers of a queue in the middle, and deliver again what it had not acknowledged."""
    with tempfile.TemporaryDirectory(prefix="roamify-bench-") as folder, ExitStack() as stack:
        environment = {**os.environ, "ROAMIFY_TOKEN": sandbox.token, "ROAMIFY_BASE_URL": sandbox.url, "FOLDER": folder}
        command = [sys.executable, "-W", "ignore", "-m", "benchmarks.celery_tasks"]
        subprocess.run([*command, "submit", str(KILLED)], env=environment, cwd=ROOT, check=True)
        workers = [
            stack.enter_context(
                subprocess.Popen([*command, "work"], env=environment, cwd=ROOT, stdout=subprocess.DEVNULL)
            )
            for _ in range(2)
        ]
        stack.callback(lambda: [worker.kill() for worker in workers])
        sandbox.wait_for("POST /api/esim/order", KILLED // 3, timeout=PATIENCE)
        workers[0].kill()
        workers[0].wait()
        subprocess.run([*command, "again", str(workers[0].pid)], env=environment, cwd=ROOT, check=True)
        end = time.monotonic() + PATIENCE
        while len([*Path(folder).glob("*.done")]) < KILLED and time.monotonic() < end:
            time.sleep(0.2)


if __name__ == "__main__":
    from .table import main

    sys.exit(main(only=["durable"]))
