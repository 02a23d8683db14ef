"""Refund requests."""

import pytest
from support.partner import partner_of

PLAIN = "esim-greece-30days-1gb-all"
ASK, DECIDE, READ = "/_sandbox/refunds", "/_sandbox/refunds/decide", "/api/refund"


async def bought(partner):
    """Buy one eSIM; return its id."""
    return (await partner.buy(PLAIN))["data"]["items"][0]["esimId"]


async def balance(partner):
    """Read the balance."""
    return (await partner.get("/api/balance"))["data"]["balance"]


async def test_a_request_is_pending_and_moves_no_money(partner):
    """It is read by its id, with the eSIM, its order and its price; the balance and the eSIM stay."""
    esim_id = await bought(partner)
    before = await balance(partner)
    asked = await partner.post(ASK, {"esimId": esim_id, "reason": "not used"})
    assert (asked["status"], asked["esimId"], asked["reason"]) == ("PENDING", esim_id, "not used")
    assert asked["amount"] == partner.sandbox.price(PLAIN)
    assert asked["orderId"] == partner.sandbox.state()["orders"][0]["id"]
    assert (await partner.get(READ, refundId=asked["refundId"]))["data"] == asked
    assert await balance(partner) == before
    assert (await partner.get("/api/esim", esimId=esim_id))["data"]["status"] == "NEW"


async def test_a_refund_pays_the_price_back(partner):
    """Only REFUNDED credits the balance, and only once."""
    esim_id = await bought(partner)
    refund_id = (await partner.post(ASK, {"esimId": esim_id}))["refundId"]
    await partner.post(DECIDE, {"refundId": refund_id, "status": "PROCESSING"})
    assert await balance(partner) == 1000 - partner.sandbox.price(PLAIN)
    decided = await partner.post(DECIDE, {"refundId": refund_id, "status": "REFUNDED"})
    assert (decided["status"], await balance(partner)) == ("REFUNDED", 1000)
    answer = await partner.post(DECIDE, {"refundId": refund_id, "status": "REFUNDED"}, status=409)
    assert (answer["status"], answer["code"]) == ("failed", "REFUND_ALREADY_DECIDED")
    assert (await balance(partner), partner.sandbox.state()["balance"]) == (1000, "1000.00")


@pytest.mark.parametrize("first", ["PENDING", "PROCESSING"])
async def test_a_second_open_request_is_409_with_the_first_ones_id(partner, first):
    """While one is open the answer names it, whatever its status."""
    esim_id = await bought(partner)
    refund_id = (await partner.post(ASK, {"esimId": esim_id}))["refundId"]
    if first == "PROCESSING":
        await partner.post(DECIDE, {"refundId": refund_id, "status": first})
    answer = await partner.post(ASK, {"esimId": esim_id}, status=409)
    assert answer.keys() == {"message", "status", "code", "refundId"}
    assert (answer["status"], answer["refundId"]) == ("failed", refund_id)
    await partner.post(ASK, {"esimId": await bought(partner)})


async def test_a_refunded_esim_is_422(partner):
    """A refunded eSIM is refused; after a rejected or cancelled request, another one is possible."""
    esim_id = await bought(partner)
    for status, reason in (("REJECTED", "used up"), ("CANCELLED", ""), ("REFUNDED", "")):
        refund_id = (await partner.post(ASK, {"esimId": esim_id}))["refundId"]
        decision = {"refundId": refund_id, "status": status, "reason": "used up"}
        assert (await partner.post(DECIDE, decision))["rejectionReason"] == reason
    answer = await partner.post(ASK, {"esimId": esim_id}, status=422)
    assert answer.keys() == {"message", "status", "code"}
    kept = partner.sandbox.state()["refunds"]
    assert [refund["status"] for refund in kept] == ["REJECTED", "CANCELLED", "REFUNDED"]


async def test_unknown_and_malformed_requests_are_refused(partner):
    """Unknown ids are 404 with a code, missing ones and wrong statuses 400."""
    assert (await partner.get(READ, status=404, refundId="nothing"))["code"] == "REFUND_NOT_FOUND"
    assert await partner.get(READ, status=400) == {"error": '"refundId" is required'}
    assert (await partner.post(ASK, {"esimId": "nothing"}, status=404))["code"] == "ESIM_NOT_FOUND"
    assert (await partner.post(DECIDE, {"refundId": "x", "status": "REFUNDED"}, status=404))["status"] == "failed"
    assert "status" in (await partner.post(DECIDE, {"refundId": "x", "status": "PENDING"}, status=400))["error"]
    assert "esimId" in (await partner.post(ASK, {}, status=400))["error"]


async def test_the_id_can_have_another_name():
    """The other guess of what a request calls its own id."""
    async with partner_of(refund_key="id") as partner:
        asked = await partner.post(ASK, {"esimId": await bought(partner)})
        assert "refundId" not in asked
        assert (await partner.get(READ, refundId=asked["id"]))["data"]["id"] == asked["id"]
