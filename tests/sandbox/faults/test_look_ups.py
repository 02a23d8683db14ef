"""Look-ups that lag behind, on one endpoint, and lists that are filtered by the beginning of a reference."""

import time

import pytest
from support.partner import partner_of

PLAIN = "esim-greece-30days-1gb-all"
ORDER, ORDERS, ESIMS = "/api/esim/order", "/api/esim/orders", "/api/esims"


async def references(partner, path=ORDERS, **query: str):
    """Read the references that a list shows."""
    data = (await partner.get(path, **query))["data"]
    return [order["referenceId"] for order in data["orders"]]


async def test_a_stale_list_does_not_show_new_orders(partner, monkeypatch):
    """Orders of the last seconds are missing there, and nowhere else; from then on they are shown."""
    true = time.time
    monkeypatch.setattr(time, "time", lambda: true() - 10)
    await partner.buy(PLAIN, referenceId="old")
    monkeypatch.setattr(time, "time", true)
    await partner.buy(PLAIN, referenceId="new")
    partner.sandbox.fail("GET", ORDERS, "stale", times=None, seconds=5)
    assert await references(partner) == ["old"]
    assert await references(partner, referenceId="new") == []
    assert (await partner.get(ORDER, referenceId="new"))["data"]["referenceId"] == "new"
    assert len((await partner.get(ESIMS))["data"]) == 2
    monkeypatch.setattr(time, "time", lambda: true() + 6)
    assert await references(partner) == ["new", "old"]


async def test_every_look_up_can_be_stale(partner):
    """A single order is a 404, eSIMs, vouchers and policies are missing; the balance is the current one."""
    order = (await partner.buy(PLAIN, path=f"{ORDER}/instant", referenceId="mine"))["data"]
    await partner.post("/api/esim/vouchers", {"packageId": PLAIN, "referenceId": "batch"}, status=201)
    insured = {"path": "/api/insurance/order", "referenceId": "insured"}
    await partner.buy("insurance-saudi-arabia-individual-7days", **insured)
    before = (await partner.get("/api/balance"))["data"]
    partner.sandbox.fail("GET", "*", "stale", times=None, seconds=60)
    await partner.get(ORDER, referenceId="mine", status=404)
    await partner.get("/api/esim", esimId=order["esims"][0]["id"], status=404)
    await partner.get("/api/insurance/order", referenceId="insured", status=404)
    assert (await partner.get(ESIMS))["data"] == []
    assert (await partner.get("/api/esim/vouchers"))["data"]["vouchers"] == []
    assert (await partner.get("/api/insurance/policies"))["data"]["policies"] == []
    assert (await partner.get("/api/balance"))["data"] == before
    assert len(partner.sandbox.state()["orders"]) == 2


async def test_a_duplicate_is_refused_even_if_it_is_not_shown():
    """Only look-ups are stale, purchases see every order."""
    async with partner_of(duplicate_reference="conflict") as partner:
        await partner.buy(PLAIN, referenceId="mine")
        partner.sandbox.fail("GET", "*", "stale", times=None, seconds=60)
        assert await references(partner, referenceId="mine") == []
        await partner.buy(PLAIN, referenceId="mine", status=409)


async def test_lists_can_be_filtered_by_the_beginning_of_a_reference():
    """Longer references match as well, and what is cut at the limit may be the one that was meant."""
    async with partner_of(reference_filter="prefix") as partner:
        for reference in ("trip-1", "trip-10", "trip-11", "Trip-12", "x"):
            await partner.buy(PLAIN, referenceId=reference)
        assert await references(partner, referenceId="trip-1") == ["trip-11", "trip-10", "trip-1"]
        assert await references(partner, referenceId="trip-1", limit="2") == ["trip-11", "trip-10"]
        assert len((await partner.get(ESIMS, referenceId="trip-1"))["data"]) == 3
        assert (await partner.get(ORDER, referenceId="trip-1"))["data"]["referenceId"] == "trip-1"
        await partner.get(ORDER, referenceId="trip", status=404)
        for reference in ("b-1", "b-12"):
            await partner.post("/api/esim/vouchers", {"packageId": PLAIN, "referenceId": reference}, status=201)
        assert len((await partner.get("/api/esim/vouchers", referenceId="b-1"))["data"]["vouchers"]) == 2
    async with partner_of() as partner:
        await partner.buy(PLAIN, referenceId="trip-10")
        assert await references(partner, referenceId="trip-1") == []


@pytest.mark.parametrize("fault", ["403", "404", "503"])
async def test_one_look_up_can_fail(partner, fault):
    """The other one answers."""
    await partner.buy(PLAIN, referenceId="mine")
    partner.sandbox.fail("GET", ORDERS, fault)
    await partner.get(ORDERS, referenceId="mine", status=int(fault))
    await partner.get(ORDER, referenceId="mine")
