"""``orders.repeat``: sent once, and told apart by the orders under the reference."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.purchases import ORDER, PLAIN, came, under

from roamify_async import BadRequestError, ConflictError, NotFoundError, OrderItem, PurchaseInDoubtError
from roamify_async.purchasing import repeat
from roamify_async.sandbox import Sandbox

SENT = f"POST {ORDER}"


@pytest.fixture
async def returning() -> AsyncIterator[Sandbox]:
    """Run a server that returns the order under the reference."""
    async with Sandbox(packages=300, repeat_order="returns") as sandbox:
        yield sandbox


@pytest.fixture
async def ordering() -> AsyncIterator[Sandbox]:
    """Run a server that orders the same once more."""
    async with Sandbox(packages=300, repeat_order="orders") as sandbox:
        yield sandbox


async def test_order_is_returned(opened, returning):
    """In one reading of the documentation the order that exists is returned."""
    client = await opened(returning.url, returning.token)
    order = await client.orders.create([OrderItem(PLAIN, 2)], reference_id="r")
    repeated = await client.orders.repeat("r")
    assert (repeated.order, repeated.is_new) == (order, False)
    assert (len(under(returning)), came(returning, SENT)) == (1, 2)


async def test_order_is_made_again(opened, ordering):
    """In the other reading the same is ordered again, and the caller is told."""
    client = await opened(ordering.url, ordering.token)
    order = await client.orders.create([OrderItem(PLAIN, 2)], reference_id="r")
    repeated = await client.orders.repeat("r")
    assert (repeated.order.id == order.id, repeated.is_new) == (False, True)
    assert (len(under(ordering)), came(ordering, SENT)) == (2, 2)


async def test_refused(either, sandbox):
    """A server that knows no such request refuses it, and nothing is in doubt."""
    await either.orders.create([OrderItem(PLAIN)], reference_id="r")
    with pytest.raises(BadRequestError) as caught:
        await either.orders.repeat("r")
    assert caught.value.reference_id == "r"
    assert len(under(sandbox)) == 1


async def test_no_order(either, sandbox):
    """Without an order under the reference nothing is sent."""
    with pytest.raises(NotFoundError, match="nothing was sent"):
        await either.orders.repeat("r")
    assert came(sandbox, SENT) == 0


async def test_two_orders(opened, ordering):
    """With several orders under the reference nothing is sent: it could not be told what happened."""
    client = await opened(ordering.url, ordering.token)
    await client.orders.create([OrderItem(PLAIN)], reference_id="r")
    await client.orders.repeat("r")
    with pytest.raises(ConflictError, match="2 orders have the reference 'r'") as caught:
        await client.orders.repeat("r")
    assert caught.value.sent == "no"
    assert came(ordering, SENT) == 2


@pytest.mark.parametrize("fault", ["drop", "503", "429", "garbled", "reset"])
@pytest.mark.parametrize("when", ["before", "after"])
async def test_lost_answer(opened, ordering, fault, when):
    """A lost answer is a doubt, with the orders that are new; it is never sent again, whatever the policy."""
    client = (await opened(ordering.url, ordering.token)).with_settings(on_doubt="look_up_then_resend")
    first = await client.orders.create([OrderItem(PLAIN)], reference_id="r")
    ordering.fail("POST", ORDER, fault, when=when)
    with pytest.raises(PurchaseInDoubtError) as caught:
        await client.orders.repeat("r")
    booked = {order["id"] for order in under(ordering)} - {first.id}
    assert {order.id for order in caught.value.found} == booked
    assert len(booked) == (when == "after")
    assert came(ordering, SENT) == 2


async def test_cut_off_while_it_is_looked_up(client, sandbox, monkeypatch):
    """Whoever cuts the look-up after a lost answer off learns that it may have been ordered again."""
    await client.orders.create([OrderItem(PLAIN)], reference_id="r")
    is_looking, count, find = asyncio.Event(), itertools.count(), repeat._orders

    async def orders(*arguments: Any) -> Any:
        if next(count):
            is_looking.set()
            await asyncio.Event().wait()
        return await find(*arguments)

    monkeypatch.setattr(repeat, "_orders", orders)
    sandbox.fail("POST", ORDER, "drop")
    repeating = asyncio.create_task(client.orders.repeat("r"))
    await is_looking.wait()
    repeating.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await repeating
    assert getattr(caught.value, "reference_id", None) == "r"
    assert "may have ordered again" in caught.value.__notes__[0]


async def test_two_at_once(opened, ordering):
    """Of two repetitions at once the second sees the order of the first, and sends nothing."""
    client = await opened(ordering.url, ordering.token)
    await client.orders.create([OrderItem(PLAIN)], reference_id="r")
    outcomes: list[Any] = await asyncio.gather(
        client.orders.repeat("r"), client.orders.repeat("r"), return_exceptions=True
    )
    assert sorted(isinstance(outcome, ConflictError) for outcome in outcomes) == [False, True]
    assert len(under(ordering)) == 2
