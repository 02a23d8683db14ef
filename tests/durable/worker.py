"""A worker in a process of its own, which a test kills and stops.

    python -m tests.durable.worker '{"url": ..., "token": ..., "ledger": {...}, "waits": ["claim"]}'

It prints JSON, one line each: ``{"at": point}`` where it waits for a line of input, and ``{"ended": null}`` at its end.
"""

import asyncio
import json
import sys
from collections.abc import Mapping
from typing import Any

from roamify_async import AsyncRoamify, Roamify, Settings
from roamify_async.durable import DurableOrders
from roamify_async.ledger import Lease, SqliteLedger
from roamify_async.purchasing.batch import Batch
from roamify_async.purchasing.journal_rows import Entry
from tests.ledger.worker import say, wait


def open_ledger(plan: Mapping[str, Any]) -> Any:
    """Open the ledger of the plan, which waits where the plan says."""
    if "path" in plan["ledger"]:
        ledger: Any = SqliteLedger(**plan["ledger"])
    else:
        from roamify_async.ledger import PostgresLedger

        ledger = PostgresLedger(**plan["ledger"])
    inner = {name: getattr(ledger, name) for name in ("claim", "start", "settle")}

    async def claim(*args: Any) -> Any:
        await asyncio.to_thread(wait, "before the claim")
        return await inner["claim"](*args)

    async def start(*args: Any) -> None:
        await inner["start"](*args)
        wait("before the first byte")

    async def settle(*args: Any, **options: Any) -> Any:
        await asyncio.to_thread(wait, "answered")
        return await inner["settle"](*args, **options)

    methods = {"claim": claim, "start": start, "settle": settle}
    for name in plan["waits"]:
        if name in methods:
            setattr(ledger, name, methods[name])
    return ledger


def change(plan: Mapping[str, Any]) -> None:
    """Wait before a line is written, or send without a veto, if the plan says so."""
    put = Batch.put

    async def waiting(self: Batch, entry: Entry, **options: Any) -> None:
        if entry.status == "ordered":
            await asyncio.to_thread(wait, "settled")
        await put(self, entry, **options)

    if "put" in plan["waits"]:
        Batch.put = waiting  # type: ignore[method-assign]
    if not plan["veto"]:  # The control.
        Lease.check = lambda _: None  # type: ignore[method-assign]


async def run_awaiting(plan: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Work with the awaiting client."""
    async with AsyncRoamify(plan["token"], **options) as roamify, DurableOrders(roamify) as desk:
        await desk.work(until_done=True, concurrency=plan["concurrency"])


def run_blocking(plan: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Work with the blocking client."""
    with Roamify(plan["token"], **options) as roamify, DurableOrders.blocking(roamify) as desk:
        desk.work(until_done=True, concurrency=plan["concurrency"])


def main(plan: Mapping[str, Any]) -> None:
    """Do what the plan says."""
    change(plan)
    with open_ledger(plan) as ledger:
        options = {"base_url": plan["url"], "ledger": ledger, "settings": Settings()}
        if plan["client"] == "awaiting":
            asyncio.run(run_awaiting(plan, options))
        else:
            run_blocking(plan, options)
    say(ended=None)


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
