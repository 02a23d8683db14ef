"""Orders that are booked and not kept, and orders that are completed later."""

import time

import pytest
from support.partner import partner_of

PLAIN, WEEK = "esim-greece-30days-1gb-all", "insurance-saudi-arabia-individual-7days"
ORDER, INSTANT, TOP_UP = "/api/esim/order", "/api/esim/order/instant", "/api/esim/order/topup"
VOUCHERS, INSURANCE = "/api/esim/vouchers", "/api/insurance/order"
FAILURES = {"book_cancelled": "CANCELLED", "book_refunded": "REFUNDED", "book_failed": "FAILED"}


@pytest.fixture
def ahead(monkeypatch):
    """Return a function that sets the system clock ahead."""
    true = time.time
    return lambda seconds: monkeypatch.setattr(time, "time", lambda: true() + seconds)


async def balance(partner):
    """Read the balance."""
    return (await partner.get("/api/balance"))["data"]["balance"]


async def test_an_order_that_is_not_kept_says_so_everywhere(partner):
    """The response, look-ups, lists and the state show its status; its price is credited; its eSIMs are revoked."""
    for fault, status in FAILURES.items():
        partner.sandbox.reset()
        partner.sandbox.fail("POST", ORDER, fault)
        order = (await partner.buy(PLAIN, quantity=2, referenceId="mine"))["data"]
        assert (order["status"], order["referenceId"], len(order["items"])) == (status, "mine", 2)
        assert (await partner.get(ORDER, referenceId="mine"))["data"] == order
        assert (await partner.get("/api/esim/orders"))["data"]["orders"] == [order]
        assert [kept["status"] for kept in partner.sandbox.state()["orders"]] == [status]
        assert await balance(partner) == 1000
        esims = (await partner.get("/api/esims", referenceId="mine"))["data"]
        assert {(esim["status"], esim["iccid"]) for esim in esims} == {("REVOKED", "")}
        await partner.post("/api/esim/apply", {"esimId": esims[0]["id"]}, status=400)


async def test_the_price_can_be_kept():
    """With the option the money is gone, whatever the status says."""
    async with partner_of(credit_failures=False) as partner:
        for fault in FAILURES:
            partner.sandbox.reset()
            partner.sandbox.fail("POST", ORDER, fault)
            await partner.buy(PLAIN)
            assert await balance(partner) == 1000 - partner.sandbox.price(PLAIN)


async def test_other_purchases_can_fail_too(partner):
    """An instant order has revoked eSIMs, a top-up adds no data, vouchers and policies are cancelled."""
    partner.sandbox.fail("POST", INSTANT, "book_failed")
    order = (await partner.buy(PLAIN, path=INSTANT))["data"]
    assert (order["status"], [esim["status"] for esim in order["esims"]]) == ("FAILED", ["REVOKED"])
    esim = await partner.applied(PLAIN)
    partner.sandbox.fail("POST", TOP_UP, "book_cancelled")
    top_up = (await partner.post(TOP_UP, {"iccid": esim["iccid"], "packageId": PLAIN}))["data"]
    assert (top_up["status"], len(top_up["items"])) == ("CANCELLED", 1)
    assert (await partner.get("/api/esim/usage", iccid=esim["iccid"]))["data"]["allowedData"] == 1024
    assert len((await partner.get("/api/esim/history", iccid=esim["iccid"]))["data"]) == 1
    partner.sandbox.fail("POST", VOUCHERS, "book_cancelled")
    batch = (await partner.post(VOUCHERS, {"packageId": PLAIN, "quantity": 2}, status=201))["data"]
    assert {voucher["status"] for voucher in batch["vouchers"]} == {"CANCELLED"}
    partner.sandbox.fail("POST", INSURANCE, "book_refunded")
    insured = (await partner.buy(WEEK, path=INSURANCE))["data"]
    assert insured["status"] == "REFUNDED"
    policy = (await partner.get("/api/insurance/policy", policyId=insured["items"][0]["policyId"]))["data"]
    assert policy["status"] == "CANCELLED"
    assert await balance(partner) == 1000 - partner.sandbox.price(PLAIN)


@pytest.mark.parametrize("path", [ORDER, INSTANT])
async def test_a_pending_order_is_completed_after_a_while(partner, ahead, path):
    """It is paid and shown without items or eSIMs until its time, and whole from then on."""
    key = "items" if path == ORDER else "esims"
    partner.sandbox.fail("POST", path, "book_pending", seconds=60)
    order = (await partner.buy(PLAIN, quantity=2, path=path, referenceId="mine"))["data"]
    assert (order["status"], order[key]) == ("PENDING", [])
    assert await balance(partner) == 1000 - 2 * partner.sandbox.price(PLAIN)
    assert len(partner.sandbox.state()["orders"][0]["items"]) == 2

    ahead(59)
    found = (await partner.get(ORDER, orderId=order["id"]))["data"]
    assert (found["status"], found["items"], found["updatedAt"]) == ("PENDING", [], order["createdAt"])
    assert (await partner.get("/api/esims", referenceId="mine"))["data"] == []
    pending = await partner.call("GET", "/api/esim/orders", params={"status": "PENDING"})
    assert [found["id"] for found in pending["data"]["orders"]] == [order["id"]]
    refused = await partner.post("/api/esim/apply", {"referenceId": "mine"}, status=500)
    assert "still pending" in refused["message"]

    ahead(61)
    found = (await partner.get(ORDER, orderId=order["id"]))["data"]
    assert (found["status"], len(found["items"])) == ("COMPLETED", 2)
    assert 59 <= found["updatedAt"] - found["createdAt"] <= 61
    esims = (await partner.get("/api/esims", referenceId="mine"))["data"]
    assert {esim["status"] for esim in esims} == {"NEW" if path == ORDER else "READY"}
    assert len((await partner.post("/api/esim/apply", {"referenceId": "mine"}))["data"]) == 2
    pending = await partner.call("GET", "/api/esim/orders", params={"status": "PENDING"})
    assert pending["data"]["orders"] == []


async def test_pending_top_ups_and_policies_come_later(partner, ahead):
    """Data and policies are there when the order is completed."""
    esim = await partner.applied(PLAIN)
    partner.sandbox.fail("POST", TOP_UP, "book_pending", seconds=60)
    top_up = (await partner.post(TOP_UP, {"iccid": esim["iccid"], "packageId": PLAIN}))["data"]
    partner.sandbox.fail("POST", INSURANCE, "book_pending", seconds=60)
    insured = (await partner.buy(WEEK, path=INSURANCE))["data"]
    for order in (top_up, insured):
        assert (order["status"], order["items"]) == ("PENDING", [])
    assert (await partner.get("/api/esim/usage", iccid=esim["iccid"]))["data"]["allowedData"] == 1024
    assert (await partner.get("/api/insurance/policies"))["data"]["policies"] == []
    ahead(61)
    assert (await partner.get("/api/esim/usage", iccid=esim["iccid"]))["data"]["allowedData"] == 2048
    assert len((await partner.get("/api/insurance/policies"))["data"]["policies"]) == 1


async def test_a_pending_order_is_completed_after_a_restart(tmp_path, ahead):
    """The time is kept in the file."""
    options = {"db": tmp_path / "sandbox.db"}
    async with partner_of(**options) as partner:
        partner.sandbox.fail("POST", ORDER, "book_pending", seconds=60)
        await partner.buy(PLAIN, referenceId="mine")
    ahead(61)
    async with partner_of(**options) as partner:
        assert (await partner.get(ORDER, referenceId="mine"))["data"]["status"] == "COMPLETED"
