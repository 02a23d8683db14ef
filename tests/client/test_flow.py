"""The documented flow with both clients, against the sandbox."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from roamify_async import OrderItem


async def test_flow(either, sandbox):
    """Countries, packages, order, apply, usage, top-up and balance agree to the cent."""
    before = (await either.account.balance()).balance
    greece = next(c for c in await either.countries.list() if c.name == "Greece")
    cheapest = min(await either.packages.list(country=greece.name), key=lambda package: package.price)
    order = await either.orders.create([OrderItem(cheapest.package_id, 2)])
    assert order.total == 2 * cheapest.price == 2 * sandbox.price(cheapest.package_id)
    assert [line.package_id for line in order.items] == [cheapest.package_id] * 2
    esims = [await either.esims.apply(line.esim_id) for line in order.items]
    assert all(esim.is_installable and esim.esim.lpa_code.startswith("LPA:1$") for esim in esims)
    usage = await either.esims.usage(esims[0].iccid)
    assert usage.remaining_data == usage.allowed_data == cheapest.data_amount
    offered = await either.topups.packages(esims[0].iccid)
    top_up = await either.topups.create(esims[0].iccid, offered[0].package_id)
    assert top_up.items[0].esim_id == esims[0].id
    more = await either.esims.usage(esims[0].iccid)
    assert more.allowed_data == usage.allowed_data + offered[0].data.data_amount
    after = (await either.account.balance()).balance
    assert before - after == order.total + top_up.total
    assert Decimal(sandbox.state()["balance"]) == after


async def test_missing_start_date(either, sandbox):
    """A package that needs a start date is refused without one before it is bought."""
    package = sandbox.kinds["travel_date"][0]
    with pytest.raises(ValueError, match=f"{package} needs a start_date"):
        await either.esims.buy(package)
    assert sandbox.state()["orders"] == []
    (esim,) = await either.esims.buy(package, start_date=datetime.now(UTC).date() + timedelta(days=3))
    assert esim.status == "READY"


async def test_catalogue_fails(either, sandbox):
    """``esims.buy`` works while the catalogue cannot be read."""
    sandbox.fail("GET", "/api/esim/packages", "500", times=None)
    assert len(await either.esims.buy(sandbox.kinds["plain"][0])) == 1
