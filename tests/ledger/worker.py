"""A replica in a process of its own, which a test kills and stops.

    python -m tests.ledger.worker '{"url": ..., "token": ..., "references": ["r"], ...}'

It prints JSON, one line each: ``{"at": point}`` where it waits for a line of input, and an outcome for each reference.
"""

import asyncio
import json
import sys
import threading
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

from roamify_async import AsyncRoamify, OrderItem, Roamify, RoamifyError, Settings
from roamify_async.ledger import Lease, SharedLimits, SqliteLedger
from tests.support.ledgers import Wrapped

PACKAGE = "esim-greece-30days-1gb-all"


_printing = threading.Lock()


def say(**facts: object) -> None:
    """Print a line for the test. Several threads do so at once."""
    with _printing:
        print(json.dumps(facts), flush=True)


def wait(point: str) -> None:
    """Wait for a line of input; meanwhile the test kills or stops the process."""
    say(at=point)
    sys.stdin.readline()


def open_ledger(plan: Mapping[str, Any]) -> Any:
    """Open the ledger of the plan, which waits where the plan says."""
    if plan["ledger"] is None:
        return None
    limits = SharedLimits(rate=plan["rate"]) if plan.get("rate") else None
    if "path" in plan["ledger"]:
        ledger: Any = SqliteLedger(**plan["ledger"], limits=limits)
    else:
        from roamify_async.ledger import PostgresLedger

        ledger = PostgresLedger(**plan["ledger"], limits=limits)

    async def claim(inner: Any, *args: Any) -> Any:
        await asyncio.to_thread(wait, "before the claim")
        return await inner.claim(*args)

    async def start(inner: Any, *args: Any) -> None:
        await inner.start(*args)
        wait("before the first byte")

    async def settle(inner: Any, *args: Any, **options: Any) -> Any:
        await asyncio.to_thread(wait, "answered")
        return await inner.settle(*args, **options)

    methods = {"claim": claim, "start": start, "settle": settle}
    if plan.get("veto") is False:  # The control.
        Lease.check = lambda _: None  # type: ignore[method-assign]
    return Wrapped(ledger, **{name: methods[name] for name in plan.get("waits", ())})


def tell(outcome: Any) -> None:
    """Print what became of a reference."""
    if isinstance(outcome, RoamifyError):
        say(error=type(outcome).__name__, text=str(outcome), sent=outcome.sent)
    else:
        say(order=outcome.id, was_found=outcome.was_found)


async def run_awaiting(plan: Mapping[str, Any], ledger: Any) -> None:
    """Order under all references with the awaiting client."""
    async with AsyncRoamify(plan["token"], base_url=plan["url"], ledger=ledger, settings=settings(plan)) as roamify:

        async def buy(reference: str) -> None:
            try:
                tell(await roamify.orders.create([OrderItem(PACKAGE)], reference_id=reference))
            except RoamifyError as error:
                tell(error)

        await asyncio.gather(*map(buy, plan["references"]))


def run_blocking(plan: Mapping[str, Any], ledger: Any) -> None:
    """Order under all references with the blocking client, in threads."""
    with Roamify(plan["token"], base_url=plan["url"], ledger=ledger, settings=settings(plan)) as roamify:

        def buy(reference: str) -> None:
            try:
                tell(roamify.orders.create([OrderItem(PACKAGE)], reference_id=reference))
            except RoamifyError as error:
                tell(error)

        with ThreadPoolExecutor(20) as threads:
            [*threads.map(buy, plan["references"])]


def settings(plan: Mapping[str, Any]) -> Settings:
    """Return the settings of the plan."""
    return Settings(reconcile_window=plan["window"], on_doubt=plan.get("policy", "look_up"), concurrency=64)


def main(plan: Mapping[str, Any]) -> None:
    """Do what the plan says."""
    ledger = open_ledger(plan)
    if plan.get("waits_at_start"):
        wait("ready")
    with closing(ledger or open(0, closefd=False)):
        if plan["client"] == "awaiting":
            asyncio.run(run_awaiting(plan, ledger))
        else:
            run_blocking(plan, ledger)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
