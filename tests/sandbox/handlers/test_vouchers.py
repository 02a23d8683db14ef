"""The endpoints of vouchers."""

import time
from contextlib import suppress
from decimal import Decimal

import aiohttp
import pytest
from support.partner import partner_of
from yarl import URL

PATH = "/api/esim/vouchers"
PLAIN = "esim-greece-30days-1gb-all"
OTHER = "esim-germany-30days-1gb-all"
FIELDS = {
    "id", "code", "redeemUrl", "status", "referenceId", "packageId", "package", "destination", "price", "currency",
    "esimId", "orderId", "notes", "redeemedAt", "createdAt", "updatedAt",
}  # fmt: skip


@pytest.fixture
def tomorrow(monkeypatch):
    """Return a function that sets the system clock a day ahead."""
    true = time.time
    return lambda: monkeypatch.setattr(time, "time", lambda: true() + 86_400)


async def mint(partner, *, status=201, **body: object):
    """Make vouchers; return what is answered."""
    answer = await partner.post(PATH, {"packageId": PLAIN, **body}, status=status)
    return answer["data"] if status == 201 else answer


async def revoke(partner, voucher_id, *, status=200):
    """Revoke a voucher."""
    return await partner.call("PUT", f"/api/esim/voucher/{voucher_id}/revoke", status=status, json={})


async def test_a_batch_is_paid_and_backed_by_orders_and_esims(partner):
    """Each voucher has a code, an eSIM and an order of its own, and is paid from the balance."""
    batch = await mint(partner, quantity=3, referenceId="b-1", notes="gift")
    assert (batch["referenceId"], batch["requestedQuantity"], batch["quantity"]) == ("b-1", 3, 3)
    price = partner.sandbox.price(PLAIN)
    for voucher in batch["vouchers"]:
        assert voucher.keys() == FIELDS
        assert (voucher["status"], voucher["price"], voucher["notes"]) == ("ACTIVE", price, "gift")
        assert (voucher["redeemedAt"], voucher["destination"]) == (None, "Greece")
        assert len(voucher["code"]) == 12
        assert voucher["code"].isalnum()
        assert voucher["redeemUrl"].endswith(voucher["code"])
        order = (await partner.get("/api/esim/order", orderId=voucher["orderId"]))["data"]
        assert [item["esimId"] for item in order["items"]] == [voucher["esimId"]]
        assert (await partner.get("/api/esim", esimId=voucher["esimId"]))["data"]["status"] == "NEW"
    for name in ("id", "code", "esimId", "orderId"):
        assert len({voucher[name] for voucher in batch["vouchers"]}) == 3
    assert (await partner.get("/api/balance"))["data"]["balance"] == 1000 - 3 * price


async def test_one_voucher_is_the_default(partner):
    """Without quantity there is one, without referenceId and notes these are empty."""
    batch = await mint(partner)
    assert (batch["requestedQuantity"], batch["quantity"], batch["referenceId"]) == (1, 1, "")
    assert (batch["vouchers"][0]["referenceId"], batch["vouchers"][0]["notes"]) == ("", "")
    assert (await mint(partner, notes=""))["vouchers"][0]["notes"] == ""


INVALID_BATCHES = [
    ({}, '"packageId" is required'),
    ({"packageId": 5}, '"packageId" must be a string'),
    ({"packageId": PLAIN, "quantity": 1.5}, '"quantity" must be an integer'),
    ({"packageId": PLAIN, "quantity": "two"}, '"quantity" must be a number'),
    ({"packageId": PLAIN, "quantity": True}, '"quantity" must be a number'),
    ({"packageId": PLAIN, "notes": 5}, '"notes" must be a string'),
    ({"packageId": PLAIN, "items": []}, '"items" is not allowed'),
    ([], '"value" must be of type object'),
]


async def test_a_malformed_batch_is_400(partner):
    """What is wrong is named, and nothing is minted or paid."""
    for body, error in INVALID_BATCHES:
        assert await partner.post(PATH, body, status=400) == {"error": error}
        state = partner.sandbox.state()
        assert (state["balance"], state["vouchers"], state["orders"]) == ("1000.00", [], [])


@pytest.mark.parametrize("key", ["message", "error"])
async def test_a_quantity_out_of_range_is_refused(key):
    """The text of a refusal is under `message` or `error`: the key is not documented."""
    text = "quantity must be between 1 and 10"
    async with partner_of(packages=20, refusal_key=key) as partner:
        for quantity in (0, -1, 11, 10**40):
            refusal = await partner.post(PATH, {"packageId": PLAIN, "quantity": quantity}, status=400)
            assert refusal == ({"message": text, "status": "failed"} if key == "message" else {"error": text})
        assert partner.sandbox.state()["vouchers"] == []


async def test_a_used_reference_is_409(partner):
    """A second batch under one referenceId is refused, one under none never."""
    await mint(partner, referenceId="once")
    assert (await mint(partner, referenceId="once", status=409))["status"] == "failed"
    await mint(partner)
    await mint(partner)
    await partner.buy(PLAIN, referenceId="order")
    await mint(partner, referenceId="order")
    assert len(partner.sandbox.state()["vouchers"]) == 4


async def test_a_batch_the_balance_does_not_cover_is_409():
    """If the balance covers only a part of the batch, none is minted."""
    async with partner_of(balance="2.00") as partner:
        count = int(2 / partner.sandbox.price(PLAIN)) + 1
        assert "balance" in (await mint(partner, quantity=count, status=409))["message"]
        state = partner.sandbox.state()
        assert (state["balance"], state["vouchers"], state["orders"], state["esims"]) == ("2.00", [], [], [])


async def test_a_partial_batch_says_so():
    """With a mint limit fewer are made and paid than were asked for."""
    async with partner_of(voucher_mint_limit=2) as partner:
        batch = await mint(partner, quantity=5)
        assert (batch["requestedQuantity"], batch["quantity"], len(batch["vouchers"])) == (5, 2, 2)
        assert len(partner.sandbox.state()["orders"]) == 2


async def test_a_key_without_the_feature_is_403_everywhere():
    """With vouchers switched off each of the five calls is refused, whatever it says."""
    async with partner_of(vouchers=False) as partner:
        await mint(partner, packageId=5, status=403)
        await partner.get(PATH, status=403)
        await partner.get("/api/esim/voucher/v", status=403)
        await partner.get("/api/esim/voucher/code/c", status=403)
        await revoke(partner, "v", status=403)


async def test_only_allowed_packages_are_minted():
    """A package that is not on the list is 403, one that is sold no more 503; reading is not restricted."""
    async with partner_of(voucher_packages=[PLAIN]) as partner:
        await mint(partner)
        assert "not allowed" in (await mint(partner, packageId=OTHER, status=403))["message"]
        await mint(partner, packageId="no-such-package", status=403)
        partner.sandbox.change_catalogue(remove=[PLAIN])
        assert "later" in (await mint(partner, status=503))["message"]
        assert len((await partner.get(PATH))["data"]["vouchers"]) == 1


async def test_the_list_is_newest_first_and_limited_after_sorting(partner):
    """Without limit all are listed; each filter narrows; the reference is echoed."""
    for reference, package_id in (("a", PLAIN), ("b", OTHER), ("c", PLAIN)):
        await mint(partner, referenceId=reference, packageId=package_id, quantity=10)
    everything = (await partner.get(PATH))["data"]
    assert everything["referenceId"] == ""
    assert [voucher["referenceId"] for voucher in everything["vouchers"]] == ["c"] * 10 + ["b"] * 10 + ["a"] * 10
    assert (await partner.get(PATH, limit="3"))["data"]["vouchers"] == everything["vouchers"][:3]
    of_b = (await partner.get(PATH, referenceId="b"))["data"]
    assert (of_b["referenceId"], of_b["vouchers"]) == ("b", everything["vouchers"][10:20])
    assert len((await partner.get(PATH, packageId=PLAIN))["data"]["vouchers"]) == 20
    await revoke(partner, everything["vouchers"][5]["id"])
    cancelled = (await partner.call("GET", PATH, params={"status": "CANCELLED"}))["data"]["vouchers"]
    assert [voucher["id"] for voucher in cancelled] == [everything["vouchers"][5]["id"]]
    active = await partner.call("GET", PATH, params={"status": "ACTIVE", "limit": "100"})
    assert len(active["data"]["vouchers"]) == 29


async def test_a_malformed_list_is_400(partner):
    """A status in small letters and a limit below 1 are refused."""
    assert "status" in (await partner.call("GET", PATH, params={"status": "active"}, status=400))["error"]
    assert "limit" in (await partner.get(PATH, status=400, limit="0"))["error"]
    assert "limit" in (await partner.get(PATH, status=400, limit="x"))["error"]


async def test_a_voucher_is_found_by_id_and_by_code_however_it_is_spelled(partner):
    """The code may be in small letters with spaces and hyphens; what is not 12 letters then is 404."""
    voucher = (await mint(partner))["vouchers"][0]
    assert (await partner.get(f"/api/esim/voucher/{voucher['id']}"))["data"] == voucher
    code = voucher["code"]
    spelled = f"%20{code[:4].lower()}-{code[4:8]}%20{code[8:]}%20"
    for way in (code, code.lower(), spelled):
        async with partner.session.get(
            URL(f"{partner.sandbox.url}/api/esim/voucher/code/{way}", encoded=True)
        ) as response:
            assert (await response.json())["data"]["id"] == voucher["id"]
    for path in (f"code/{code[:11]}", f"code/{code}A", "code/------------", "code/%00", "nothing", "%ff", "%00"):
        url = URL(f"{partner.sandbox.url}/api/esim/voucher/{path}", encoded=True)
        async with partner.session.get(url) as response:
            assert response.status in {400, 404}, path
            assert response.content_type == "application/json"


async def test_a_revoked_voucher_is_cancelled_with_its_esim(partner):
    """The answer is id and status alone; a second time is 409, an unknown one 404."""
    first, second = (await mint(partner, quantity=2))["vouchers"]
    assert (await revoke(partner, first["id"]))["data"] == {"id": first["id"], "status": "CANCELLED"}
    assert (await partner.get(f"/api/esim/voucher/{first['id']}"))["data"]["status"] == "CANCELLED"
    assert (await partner.get("/api/esim", esimId=first["esimId"]))["data"]["status"] == "REVOKED"
    assert (await partner.get("/api/esim", esimId=second["esimId"]))["data"]["status"] == "NEW"
    assert "not active" in (await revoke(partner, first["id"], status=409))["message"]
    assert (await revoke(partner, "nothing", status=404))["status"] == "failed"


async def test_a_redeemed_voucher_stays(partner):
    """The control API redeems it: its eSIM gets a profile, and it can neither be revoked nor redeemed again."""
    voucher = (await mint(partner))["vouchers"][0]
    redeemed = await partner.post("/_sandbox/vouchers/redeem", {"code": voucher["code"].lower()})
    assert (redeemed["status"], redeemed["redeemedAt"]) == ("REDEEMED", redeemed["updatedAt"])
    assert (await partner.get("/api/esim", esimId=voucher["esimId"]))["data"]["status"] == "READY"
    assert "redeemed" in (await revoke(partner, voucher["id"], status=409))["message"]
    await partner.post("/_sandbox/vouchers/redeem", {"code": voucher["code"]}, status=400)
    await partner.post("/_sandbox/vouchers/redeem", {"code": "nothing"}, status=404)


async def test_a_late_batch_is_minted_when_it_is_due(partner, tomorrow):
    """A delayed batch is minted and paid when it is due, not before."""
    partner.sandbox.fail("POST", PATH, "book_late", seconds=60.0)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await mint(partner, referenceId="late", quantity=2)
    assert (await partner.get(PATH))["data"]["vouchers"] == []
    assert (await partner.get("/api/balance"))["data"]["balance"] == 1000
    tomorrow()
    assert len((await partner.get(PATH, referenceId="late"))["data"]["vouchers"]) == 2
    assert (await partner.get("/api/balance"))["data"]["balance"] == 1000 - 2 * partner.sandbox.price(PLAIN)
    await mint(partner, referenceId="late", status=409)


async def test_a_hidden_batch_is_paid_and_shown_to_nobody(partner):
    """Lists, codes, orders and eSIMs of it are not found, yet its referenceId is taken."""
    partner.sandbox.fail("POST", PATH, "book_but_hide", seconds=60.0)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await mint(partner, referenceId="hidden")
    assert (await partner.get(PATH))["data"]["vouchers"] == []
    kept = partner.sandbox.state()["vouchers"][0]
    await partner.get(f"/api/esim/voucher/{kept['id']}", status=404)
    await partner.get(f"/api/esim/voucher/code/{kept['code']}", status=404)
    await partner.get("/api/esim/order", status=404, orderId=kept["orderId"])
    await mint(partner, referenceId="hidden", status=409)
    assert (await partner.get("/api/balance"))["data"]["balance"] == 1000 - partner.sandbox.price(PLAIN)


async def test_a_late_batch_that_is_too_dear_leaves_nothing(tomorrow):
    """All of it is undone at its time, also what was booked of it before the balance was used up."""
    async with partner_of(balance="2.00") as partner:
        partner.sandbox.fail("POST", PATH, "book_late", seconds=60.0)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await mint(partner, quantity=2, referenceId="dear")
        tomorrow()
        state = partner.sandbox.state()
        assert (state["balance"], state["vouchers"], state["orders"], state["esims"]) == ("2.00", [], [], [])
        await mint(partner, referenceId="dear")


async def test_a_late_revocation_finds_its_voucher(partner, tomorrow):
    """The name in the path is kept with the request."""
    voucher = (await mint(partner))["vouchers"][0]
    # The client sends a PUT whose connection breaks once more by itself.
    partner.sandbox.fail("PUT", f"/api/esim/voucher/{voucher['id']}/revoke", "book_late", seconds=60.0, times=None)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await revoke(partner, voucher["id"])
    assert partner.sandbox.state()["vouchers"][0]["status"] == "ACTIVE"
    tomorrow()
    assert partner.sandbox.state()["vouchers"][0]["status"] == "CANCELLED"


@pytest.mark.parametrize(("when", "minted"), [("before", 0), ("after", 2)])
@pytest.mark.parametrize("fault", ["drop", "reset", "truncated", "garbled", "409", "429", "500_empty", "503", "524"])
async def test_a_broken_answer_mints_and_takes_money_only_after(partner, fault, when, minted):
    """The batch is minted only with when=after."""
    partner.sandbox.fail("POST", PATH, fault, when=when)
    with suppress(aiohttp.ClientError):
        async with partner.session.post(PATH, json={"packageId": PLAIN, "quantity": 2}) as response:
            assert await response.read() is not None
    state = partner.sandbox.state()
    assert (len(state["vouchers"]), len(state["orders"]), len(state["esims"])) == (minted, minted, minted)
    assert Decimal(state["balance"]) == 1000 - minted * partner.sandbox.price(PLAIN)
