"""What a client knows of its own purchases counts, whatever a look-up shows and whatever the settings are.

Orders are counted at the server. A control beside each test shows a client that knows nothing.
"""

import asyncio
from typing import Any

import pytest
from support.clients import QUICK
from support.purchases import INSURANCE, OTHER, PLAIN, came, refill, under
from support.shop import Shop, booked, told

from roamify_async import AsyncRoamify, ConflictError, CreateOrder, OrderItem, PurchaseInDoubtError

pytestmark = pytest.mark.usefixtures("impatient")

PAIR = [OrderItem(PLAIN, 2)]
RESENDING = QUICK.changed(on_doubt="look_up_then_resend")


# ---------------------------------------------------------------- a list that lags


async def test_what_was_bought_is_never_sent_again(shopper, shop):
    """What this client bought is not sent again while the list lags behind, whatever the policy."""
    shop.faults = [told(is_hidden=True)]
    resending = shopper.with_settings(on_doubt="look_up_then_resend")
    first = await resending.orders.create(PAIR, reference_id="r")
    with pytest.raises(PurchaseInDoubtError):
        await resending.orders.create(PAIR, reference_id="r")
    assert shop.posts == 1
    shop.hidden.clear()
    assert await resending.orders.create(PAIR, reference_id="r") == first
    assert len(shop.orders) == 1


async def test_what_is_in_doubt_may_be_sent_again(shopper, shop):
    """Control: what this client only may have bought is sent again by that policy, and booked twice."""
    shop.faults = [booked(is_hidden=True)]
    await shopper.with_settings(on_doubt="look_up_then_resend").orders.create(PAIR, reference_id="r")
    assert (shop.posts, len(shop.orders)) == (2, 2)


async def test_what_was_reconciled_is_never_sent_again(shopper, shop):
    """An order that ``reconcile`` found is not bought again while the list lags behind."""
    shop.faults = [booked()]
    with pytest.raises(PurchaseInDoubtError):
        await shopper.with_settings(on_doubt="raise").orders.create(PAIR, reference_id="r")
    order = await shopper.orders.reconcile("r")
    shop.hidden.add(order.id)
    with pytest.raises(PurchaseInDoubtError):
        await shopper.orders.create(PAIR, reference_id="r")
    assert (shop.posts, len(shop.orders)) == (1, 1)


async def test_what_was_bought_is_searched_although_its_package_is_gone(shopper, shop):
    """A purchase that the list does not show yet is searched, and not called unknown, when its package is sold out."""

    def last_one(shop: Shop, body: dict[str, Any]) -> bytes:
        shop.is_sold = False
        return bytes(told(is_hidden=True)(shop, body))  # type: ignore[arg-type]

    shop.faults = [last_one]
    unchecked = shopper.with_settings(check_packages=False)  # The package is not remembered as known.
    first = await unchecked.orders.create(PAIR, reference_id="r")
    asyncio.get_running_loop().call_later(0.05, shop.hidden.clear)
    found = await shopper.with_settings(reconcile_window=1).orders.create(PAIR, reference_id="r")
    assert (found, shop.posts) == (first, 1)


# ---------------------------------------------------------------- without looking first


async def test_what_was_bought_is_looked_up_whatever_the_settings(either, sandbox):
    """With ``look_first=False`` a reference that this client bought under is looked up all the same."""
    hasty = either.with_settings(look_first=False)
    first = await hasty.orders.create([OrderItem(PLAIN)], reference_id="r")
    assert await hasty.orders.create([OrderItem(PLAIN)], reference_id="r") == first
    with pytest.raises(ConflictError):
        await hasty.orders.create([OrderItem(OTHER)], reference_id="r")
    assert (await hasty.orders.bulk([CreateOrder([OrderItem(PLAIN)], reference_id="r")])).lines[0].order.id == first.id
    assert len(under(sandbox)) == 1


async def test_line_waits_for_a_call_under_its_reference(either, sandbox):
    """A line that waited for a call under its reference looks it up, whatever the settings, and buys nothing."""
    hasty = either.with_settings(look_first=False)
    sandbox.fail("POST", "/api/esim/order", "slow", when="before", seconds=0.1)
    call = asyncio.create_task(hasty.orders.create([OrderItem(PLAIN)], reference_id="r"))
    await sandbox.arrived("POST /api/esim/order")
    report = await hasty.orders.bulk([CreateOrder([OrderItem(PLAIN)], reference_id="r")])
    assert report.lines[0].order.id == (await call).id
    assert len(under(sandbox)) == 1


async def test_line_finds_what_a_cancelled_call_bought(client, sandbox):
    """A line that waited for a call that was cut off finds what that bought."""
    hasty = client.with_settings(look_first=False)
    sandbox.fail("POST", "/api/esim/order", "hang", when="after")
    call = asyncio.create_task(hasty.orders.create([OrderItem(PLAIN)], reference_id="r"))
    await sandbox.arrived("POST /api/esim/order")
    line = asyncio.create_task(hasty.orders.bulk([CreateOrder([OrderItem(PLAIN)], reference_id="r")]))
    await asyncio.sleep(0)
    call.cancel()
    assert (await line).lines[0].order.id == under(sandbox)[0]["id"]
    assert len(under(sandbox)) == 1


# ---------------------------------------------------------------- another purchase under the reference


@pytest.mark.parametrize("is_in_doubt", [True, False])
async def test_another_esim_under_the_reference(either, sandbox, is_in_doubt):
    """A top-up of another eSIM is another purchase: the reference of the first one is refused."""
    one, two = await either.esims.buy(PLAIN, 2)
    package = await refill(either, one.iccid)
    if is_in_doubt:
        sandbox.fail("POST", "/api/esim/order/topup", "drop")
        with pytest.raises(PurchaseInDoubtError):
            await either.topups.create(one.iccid, package, reference_id="r")
    else:
        await either.topups.create(one.iccid, package, reference_id="r")
    resending = either.with_settings(on_doubt="look_up_then_resend")
    with pytest.raises(ConflictError, match="another purchase under the reference 'r'") as caught:
        await resending.topups.create(two.iccid, package, reference_id="r")
    assert (caught.value.sent, came(sandbox, "POST /api/esim/order/topup")) == ("no", 1)
    await resending.topups.create(one.iccid, package, reference_id="r")
    assert len(under(sandbox)) == 1


async def test_other_call_under_the_reference(either, sandbox):
    """An order, vouchers, insurance and a top-up cannot share a reference, even of the same package."""
    (esim,) = await either.esims.buy(PLAIN)
    package = await refill(either, esim.iccid)
    await either.orders.create([OrderItem(package)], reference_id="r")
    for call in (
        lambda: either.vouchers.create(package, reference_id="r"),
        lambda: either.insurance.order([OrderItem(INSURANCE)], reference_id="r"),
        lambda: either.topups.create(esim.iccid, package, reference_id="r"),
    ):
        with pytest.raises(ConflictError, match="another purchase under the reference 'r'"):
            await call()
    assert len(under(sandbox)) == 1


async def test_other_call_in_another_client(opened, sandbox):
    """Control: another client cannot tell an order from vouchers by a look-up of vouchers, and buys both."""
    await (await opened(sandbox.url, sandbox.token)).orders.create([OrderItem(PLAIN)], reference_id="r")
    await (await opened(sandbox.url, sandbox.token)).vouchers.create(PLAIN, reference_id="r")
    assert len(under(sandbox)) == 2


async def test_memory_of_another_client_is_empty(shop):
    """Control: a client that knows nothing of the purchase sends it again while the list lags behind."""
    shop.faults = [told(is_hidden=True)]
    for _ in range(2):
        async with AsyncRoamify("secret-token", base_url=shop.url, settings=RESENDING) as client:
            await client.orders.create(PAIR, reference_id="r")
    assert len(shop.orders) == 2
