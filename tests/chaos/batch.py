"""Kill workers that share a batch repeatedly, then count its orders on the server.

    python -m tests.chaos.batch --orders 400 --workers 4 --kills 8 --seed 1

Each worker is a process that runs the same bulk order on one ledger; a killed one is started again. The server takes
half a second for each purchase. The seed chooses who is killed when. The exit code is 0 only if no line was bought
twice, none was lost, and all reports agree with the server. With ``--submitted`` workers take the lines of a submitted
batch. ``--without-ledger`` is the control: workers look up each reference and buy, with a journal each.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from random import Random
from typing import Any, Final

from roamify_async import AsyncRoamify, CreateOrder, OrderItem, Settings
from roamify_async.durable import DurableOrders
from roamify_async.ledger import SqliteLedger
from roamify_async.sandbox import Sandbox
from tests.support.postgres import missing, new_cluster

ROOT: Final = Path(__file__).parents[2]
PACKAGE: Final = "esim-greece-30days-1gb-all"
ORDER: Final = "/api/esim/order"
LATENCY: Final = 0.5
"""Seconds that the server takes for a purchase."""
LEASE: Final = 3.0
"""Seconds after which the lines of a killed worker are taken over."""
WINDOW: Final = 1.0
"""Seconds for which a purchase that may have been booked is looked up."""
PLACES: Final = 8
"""Purchases in flight in each worker."""


# ---------------------------------------------------------------- a worker


async def work(plan: dict[str, Any]) -> None:
    """Run the batch, and print the order of each line."""
    settings = Settings(concurrency=PLACES, reconcile_window=WINDOW, on_doubt="look_up_then_resend")
    requests = [
        CreateOrder([OrderItem(PACKAGE)], reference_id=None if plan["ledger"] and place % 2 else f"line-{place}")
        for place in range(plan["orders"])
    ]
    options = {"journal": plan["journal"]} if plan["ledger"] is None else {"journal": _ledger(plan), "batch": "night"}
    ledger = options.get("journal") if plan["submitted"] else None
    async with AsyncRoamify(plan["token"], base_url=plan["url"], settings=settings, ledger=ledger) as roamify:
        if ledger is None:
            report = await roamify.orders.bulk(requests, **options)
        else:  # Only the first one that comes this far submits the batch.
            desk = DurableOrders(roamify)
            batch = await desk.submit("night", requests)
            await desk.work(until_done=True)
            report = await batch.report(wait=True)
        with report:
            lines = [(line.status, line.order and line.order.id) for line in report.lines]
    print(json.dumps(lines), flush=True)


def _ledger(plan: dict[str, Any]) -> Any:
    if "path" in plan["ledger"]:
        return SqliteLedger(**plan["ledger"], lease=LEASE)
    from roamify_async.ledger import PostgresLedger

    return PostgresLedger(**plan["ledger"], lease=LEASE)


# ---------------------------------------------------------------- the campaign


class Worker:
    """A place for a worker, which is started again if it was killed."""

    def __init__(self, plan: dict[str, Any]) -> None:
        """Take what it does."""
        self._plan = plan
        self._process: asyncio.subprocess.Process | None = None
        self.lines: list[list[str | None]] = []

    async def run(self) -> None:
        """Run it until it ends by itself."""
        while True:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.chaos.batch", "--work", json.dumps(self._plan),
                cwd=ROOT, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            out, _ = await self._process.communicate()
            if self._process.returncode == 0:
                self.lines = json.loads(out)
                return
            if self._process.returncode != -9:
                raise RuntimeError(f"a worker ended with code {self._process.returncode}")

    def kill(self) -> bool:
        """Kill it, if it runs."""
        if self._process is None or self._process.returncode is not None:
            return False
        self._process.kill()
        return True

    async def stop(self) -> None:
        """Kill it for good."""
        if self.kill() and self._process is not None:
            await self._process.wait()


async def campaign(options: argparse.Namespace, folder: Path, place: dict[str, Any] | None) -> list[str]:
    """Run workers and kill them; return what is wrong."""
    dice = Random(options.seed)
    moments = sorted(dice.uniform(0.05, 0.9) for _ in range(options.kills))
    killed = 0
    async with Sandbox(packages=300, balance="1000000") as sandbox, AsyncExitStack() as stack:
        sandbox.fail("POST", ORDER, "slow", when="before", seconds=LATENCY / 2, times=None, probability=0.5)
        sandbox.fail("POST", ORDER, "slow", when="after", seconds=LATENCY, times=None)
        plan = {
            "url": sandbox.url, "token": sandbox.token, "orders": options.orders, "ledger": place,
            "submitted": options.submitted,
        }  # fmt: skip
        workers = [Worker({**plan, "journal": str(folder / f"{number}.db")}) for number in range(options.workers)]
        for worker in workers:
            stack.push_async_callback(worker.stop)
        running = [asyncio.create_task(worker.run()) for worker in workers]
        begun = time.monotonic()
        for moment in moments:
            with suppress(asyncio.TimeoutError):
                reached = sandbox.arrived(f"POST {ORDER}", max(1, int(moment * options.orders)))
                await asyncio.wait_for(reached, 120)
            await asyncio.sleep(dice.uniform(0, LATENCY))
            killed += dice.choice(workers).kill()
        await asyncio.gather(*running)
        seconds = time.monotonic() - begun
        orders = sandbox.state()["orders"]
        posts = sandbox.state()["requests"][f"POST {ORDER}"]
    print(f"{len(orders)} orders, {posts} purchases received, {killed} kills, {seconds:.1f} s", flush=True)
    return judge(options.orders, orders, [worker.lines for worker in workers])


def judge(count: int, orders: Sequence[dict[str, Any]], reports: Sequence[Sequence[Sequence[str | None]]]) -> list[str]:
    """Compare the reports of the workers with the orders on the server; return what is wrong."""
    wrong: list[str] = []
    twice = [reference for reference, times in Counter(order["referenceId"] for order in orders).items() if times > 1]
    if twice or len(orders) > count:
        wrong.append(f"{len(orders) - count} orders more than lines; bought twice: {' '.join(twice[:5])}")
    booked = {order["id"] for order in orders}
    for number, lines in enumerate(reports):
        found = [order for status, order in lines if status == "ordered"]
        if len(found) != count or set(found) != booked:
            states = dict(Counter(status for status, _ in lines))
            wrong.append(f"worker {number} reports {states}, and lacks {len(booked - {*found})} orders")
    return wrong


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    made = argparse.ArgumentParser(prog="python -m tests.chaos.batch", description=(__doc__ or "").partition("\n")[0])
    add = made.add_argument
    add("--orders", type=int, default=400)
    add("--workers", type=int, default=4)
    add("--kills", type=int, default=8)
    add("--seed", type=int, default=1)
    add("--database", choices=["sqlite", "postgres"], default="sqlite")
    add("--submitted", action="store_true", help="submit the batch, and let workers buy it")
    add("--without-ledger", action="store_true", help="the control, which buys lines several times")
    add("--work", help=argparse.SUPPRESS)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program; return the exit code."""
    options = parser().parse_args(arguments)
    if options.work:
        asyncio.run(work(json.loads(options.work)))
        return 0
    with tempfile.TemporaryDirectory(prefix="roamify-batch-") as name:
        folder = Path(name)
        if options.without_ledger:
            wrong = asyncio.run(campaign(options, folder, None))
        elif options.database == "sqlite":
            wrong = asyncio.run(campaign(options, folder, {"path": str(folder / "purchases.db")}))
        else:
            wrong = _on_postgres(options, folder)
    print("\n".join(f"WRONG: {text}" for text in wrong) or "RIGHT")
    return 1 if wrong else 0


def _on_postgres(options: argparse.Namespace, folder: Path) -> list[str]:
    reason = missing()
    if reason is not None:
        return [reason]
    with new_cluster() as running:
        return asyncio.run(campaign(options, folder, {"url": running.url}))


if __name__ == "__main__":
    sys.exit(main())
