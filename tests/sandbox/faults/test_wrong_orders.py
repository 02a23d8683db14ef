"""Successful responses that do not show the order that was booked."""

import pytest

PLAIN = "esim-greece-30days-1gb-all"
ORDER, INSTANT, TOP_UP = "/api/esim/order", "/api/esim/order/instant", "/api/esim/order/topup"
VOUCHERS, INSURANCE = "/api/esim/vouchers", "/api/insurance/order"
WEEK = "insurance-saudi-arabia-individual-7days"
HEAD = {"id", "referenceId", "orderType", "status", "total", "currency", "createdAt", "updatedAt"}


async def wrong(partner, fault, path=ORDER, package_id=PLAIN, when="after"):
    """Order three of a package; return the faulty order and the one that is booked."""
    partner.sandbox.fail("POST", path, fault, when=when)
    answer = (await partner.buy(package_id, path=path, quantity=3, referenceId="mine"))["data"]
    state = partner.sandbox.state()
    return answer, [*state["orders"], *state["insuranceOrders"]]


async def test_a_wrong_order_is_booked_whole_only_after(partner):
    """What the response lacks is booked and paid with when=after; with when=before nothing is."""
    for fault in ("fewer_items", "no_items", "items_without_id", "other_package", "other_order", "no_reference"):
        partner.sandbox.reset()
        _, orders = await wrong(partner, fault)
        assert [(order["referenceId"], len(order["items"])) for order in orders] == [("mine", 3)]
        partner.sandbox.reset()
        _, orders = await wrong(partner, fault, when="before")
        assert orders == []
        assert partner.sandbox.state()["balance"] == "1000.00"


async def test_items_are_missing(partner):
    """One of three, or all of them; the rest of the order is correct."""
    for fault, count in (("fewer_items", 2), ("no_items", 0)):
        partner.sandbox.reset()
        order, [booked] = await wrong(partner, fault)
        assert order.keys() == HEAD | {"items"}
        assert (order["id"], order["referenceId"], len(order["items"])) == (booked["id"], "mine", count)
        assert {item["packageId"] for item in order["items"]} <= {PLAIN}


async def test_items_have_no_id(partner):
    """Package and price are there; the only way to the eSIMs is a look-up."""
    order, [booked] = await wrong(partner, "items_without_id")
    assert [("esimId" in item, item["packageId"]) for item in order["items"]] == [(False, PLAIN)] * 3
    found = (await partner.get(ORDER, referenceId="mine"))["data"]
    assert [item["esimId"] for item in found["items"]] == [item["esimId"] for item in booked["items"]]


async def test_items_are_of_another_package(partner):
    """Under the right id and reference."""
    order, [booked] = await wrong(partner, "other_package")
    assert (order["id"], order["referenceId"]) == (booked["id"], "mine")
    [other] = {item["packageId"] for item in order["items"]}
    assert other != PLAIN
    assert partner.sandbox.price(other)


async def test_the_order_is_a_strangers(partner):
    """Nothing of it is the caller's: no reference, other ids, another package."""
    order, [booked] = await wrong(partner, "other_order")
    assert "referenceId" not in order
    assert order["id"] != booked["id"]
    assert not {item["esimId"] for item in order["items"]} & {item["esimId"] for item in booked["items"]}
    assert PLAIN not in {item["packageId"] for item in order["items"]}
    await partner.get(ORDER, orderId=order["id"], status=404)


async def test_the_reference_is_another_or_none(partner):
    """All the rest is the order that was booked."""
    order, [booked] = await wrong(partner, "other_reference")
    assert (order["id"], order["referenceId"] not in {"mine", ""}) == (booked["id"], True)
    partner.sandbox.reset()
    order, [booked] = await wrong(partner, "no_reference")
    assert (order["id"], order.keys()) == (booked["id"], (HEAD - {"referenceId"}) | {"items"})


@pytest.mark.parametrize("path", [INSTANT, INSURANCE])
async def test_other_kinds_of_orders_can_be_wrong(partner, path):
    """Instant orders lack eSIMs or their ids, insurance orders policies or theirs."""
    package_id, key, id_key = (WEEK, "items", "policyId") if path == INSURANCE else (PLAIN, "esims", "id")
    for fault in ("fewer_items", "no_items", "items_without_id", "other_package", "other_order"):
        partner.sandbox.reset()
        order, [booked] = await wrong(partner, fault, path, package_id)
        assert len(booked["items"]) == 3
        assert len(order[key]) == {"fewer_items": 2, "no_items": 0}.get(fault, 3)
        assert all((id_key in item) == (fault != "items_without_id") for item in order[key])
        assert (order["id"] == booked["id"]) == (fault != "other_order")
        if path == INSURANCE and fault in {"other_package", "other_order"}:
            [other] = {item["packageId"] for item in order[key]}
            assert other.startswith("insurance-")
            assert other != WEEK


async def test_voucher_batches_can_be_wrong(partner):
    """The vouchers are minted and paid; the response lacks some of them."""
    for fault, count in (("fewer_items", 1), ("no_items", 0), ("items_without_id", 2), ("no_reference", 2)):
        partner.sandbox.reset()
        partner.sandbox.fail("POST", VOUCHERS, fault, when="after")
        body = {"packageId": PLAIN, "quantity": 2, "referenceId": "batch"}
        batch = (await partner.post(VOUCHERS, body, status=201))["data"]
        assert len(batch["vouchers"]) == count
        assert all(("id" in voucher) == (fault != "items_without_id") for voucher in batch["vouchers"])
        assert ("referenceId" in batch) == (fault != "no_reference")
        assert len(partner.sandbox.state()["vouchers"]) == 2


async def test_look_ups_can_be_wrong(partner):
    """Each order of a list has the fault; what has no orders is unchanged."""
    await partner.buy(PLAIN, quantity=2, referenceId="first")
    await partner.buy(PLAIN, quantity=2, referenceId="second")
    partner.sandbox.fail("GET", "*", "fewer_items", times=3)
    orders = (await partner.get("/api/esim/orders"))["data"]["orders"]
    assert [len(order["items"]) for order in orders] == [1, 1]
    assert len((await partner.get(ORDER, referenceId="first"))["data"]["items"]) == 1
    assert (await partner.get("/api/balance"))["data"]["currency"] == "USD"
    partner.sandbox.fail("GET", "*", "no_items", times=2)
    assert len((await partner.get("/api/esims"))["data"]) == 4
    assert "message" in await partner.get(ORDER, orderId="nothing", status=404)


async def test_a_top_up_can_be_wrong(partner):
    """It is an order of one item."""
    esim = await partner.applied(PLAIN)
    partner.sandbox.fail("POST", TOP_UP, "no_items", when="after")
    answer = await partner.post(TOP_UP, {"iccid": esim["iccid"], "packageId": PLAIN, "referenceId": "more"})
    assert answer["data"]["items"] == []
    assert partner.sandbox.state()["orders"][-1]["kind"] == "topup"
