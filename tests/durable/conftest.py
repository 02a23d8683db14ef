"""Ledgers of both kinds, and desks that submit batches with either client."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from support.clients import QUICK
from support.ledger_fixtures import ledger, open_ledger, running_cluster

from roamify_async import AsyncRoamify, Roamify
from roamify_async.durable import BlockingBatch, DurableOrders, orders, worker

__all__ = ["ledger", "open_ledger", "running_cluster"]

Open = Callable[..., Awaitable[Any]]


class InThread:
    """A blocking desk or batch whose calls are awaited in a thread, so that one test serves both clients."""

    def __init__(self, target: Any) -> None:
        """Wrap a desk or a batch."""
        self._target = target

    def __getattr__(self, name: str) -> Any:
        """Return an attribute, and a call as a coroutine function."""
        value = getattr(self._target, name)
        if not callable(value):
            return value

        async def call(*args: Any, **kwargs: Any) -> Any:
            result = await asyncio.to_thread(value, *args, **kwargs)
            return InThread(result) if isinstance(result, BlockingBatch) else result

        return call


@pytest.fixture(autouse=True)
def impatient_workers(impatient, monkeypatch: pytest.MonkeyPatch) -> None:
    """Look for work, and for the end of a batch, sooner than a database should be asked."""
    monkeypatch.setattr(orders, "PAUSE", 0.02)
    monkeypatch.setattr(worker, "POLL", 0.02)


@pytest.fixture(params=["awaiting", pytest.param("blocking", marks=pytest.mark.long)])
async def open_desk(request, sandbox, open_ledger) -> AsyncIterator[Open]:
    """Open desks of the same ledger, each with its own client, as different processes do."""
    async with AsyncExitStack() as stack:

        async def opened(settings: Any = QUICK, url: str = "", **options: Any) -> Any:
            given = {"base_url": url or sandbox.url, "settings": settings, "ledger": open_ledger(**options)}
            if request.param == "awaiting":
                client = await stack.enter_async_context(AsyncRoamify(sandbox.token, **given))
                return await stack.enter_async_context(DurableOrders(client))
            blocking = Roamify(sandbox.token, **given)
            stack.push_async_callback(asyncio.to_thread, blocking.close)
            desk = DurableOrders.blocking(blocking)
            await asyncio.to_thread(desk.__enter__)
            return InThread(desk)

        yield opened


@pytest.fixture
async def desk(open_desk) -> Any:
    """Open one desk."""
    return await open_desk()
