"""Batches of orders that workers on one or many machines make, whoever of them is killed.

    async with AsyncRoamify(ledger="postgresql://...") as roamify, DurableOrders(roamify) as desk:
        batch = await desk.submit("night-11-25", requests, max_spend=500)
        print(await batch.progress())

The lines are in the client's ledger, and any number of processes that run ``python -m roamify_async.durable work`` buy
them. A worker takes lines with a lease that it renews while it lives. A reference is bought once because the ledger
says so, whatever workers do.
"""

from .orders import (
    Batch as Batch,
    BlockingBatch as BlockingBatch,
    BlockingOrders as BlockingOrders,
    DurableOrders as DurableOrders,
)

__all__ = ["Batch", "BlockingBatch", "BlockingOrders", "DurableOrders"]
