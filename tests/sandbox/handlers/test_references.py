"""References that the server changes when it books, and the references that the state shows."""

import pytest
from support.partner import partner_of

from roamify_async.sandbox import Sandbox

PLAIN = "esim-greece-30days-1gb-all"
ORDER, TOP_UP = "/api/esim/order", "/api/esim/order/topup"
WEEK = "insurance-saudi-arabia-individual-7days"


@pytest.mark.parametrize(
    ("changes", "requested", "stored"),
    [
        (["trim"], "  A b\t", "A b"),
        (["casefold"], "Straße-A", "strasse-a"),
        (["nfkc"], "\ufb01x-\uff11", "fix-1"),
        (["cut:4"], "abcdefgh", "abcd"),
        (["trim", "cut:3", "casefold"], "  ABCD", "abc"),
        ([], "  Ab\ufb01  ", "  Ab\ufb01  "),
    ],
)
async def test_a_reference_is_changed_on_booking(changes, requested, stored):
    """The response and look-ups show the changed one; the requested one finds nothing, unless both are equal."""
    async with partner_of(reference_changes=changes) as partner:
        order = (await partner.buy(PLAIN, referenceId=requested))["data"]
        assert order["referenceId"] == stored
        assert (await partner.get(ORDER, referenceId=stored))["data"] == order
        if requested != stored:
            await partner.get(ORDER, referenceId=requested, status=404)
        [kept] = partner.sandbox.state()["orders"]
        assert (kept["referenceId"], kept["requestedReferenceId"]) == (stored, requested)


async def test_every_purchase_is_counted_by_its_requested_reference():
    """Orders, top-ups, vouchers and insurance orders have it in the state, whatever the server made of it."""
    async with partner_of(reference_changes=["cut:2"]) as partner:
        await partner.buy(PLAIN, referenceId="order-1")
        await partner.buy(PLAIN, path=f"{ORDER}/instant", referenceId="order-2")
        esim = await partner.applied(PLAIN)
        await partner.post(TOP_UP, {"iccid": esim["iccid"], "packageId": PLAIN, "referenceId": "topup-1"})
        body = {"packageId": PLAIN, "quantity": 2, "referenceId": "voucher-1"}
        batch = (await partner.post("/api/esim/vouchers", body, status=201))["data"]
        assert batch["referenceId"] == batch["vouchers"][0]["referenceId"] == "vo"
        await partner.buy(WEEK, path="/api/insurance/order", referenceId="insured-1")
        state = partner.sandbox.state()
        orders = [(order["kind"], order["requestedReferenceId"]) for order in state["orders"]]
        assert orders == [
            ("order", "order-1"), ("instant", "order-2"), ("order", ""), ("topup", "topup-1"),
            ("voucher", ""), ("voucher", ""),
        ]  # fmt: skip
        assert [voucher["requestedReferenceId"] for voucher in state["vouchers"]] == ["voucher-1"] * 2
        assert [order["requestedReferenceId"] for order in state["insuranceOrders"]] == ["insured-1"]


async def test_uniqueness_is_that_of_the_changed_reference():
    """Two references that become one conflict, for eSIMs with the option, for vouchers and insurance always."""
    options = {"reference_changes": ["casefold"], "duplicate_reference": "conflict"}
    async with partner_of(**options) as partner:
        await partner.buy(PLAIN, referenceId="mine")
        await partner.buy(PLAIN, referenceId="MINE", status=409)
        await partner.buy(WEEK, path="/api/insurance/order", referenceId="mine")
        await partner.buy(WEEK, path="/api/insurance/order", referenceId="Mine", status=409)
        for reference, status in (("mine", 201), ("Mine", 409)):
            await partner.post("/api/esim/vouchers", {"packageId": PLAIN, "referenceId": reference}, status=status)


@pytest.mark.parametrize("wrong", ["trim", ["upper"], ["cut"], ["cut:0"], ["cut:x"], [5]])
def test_an_unknown_change_is_refused(wrong):
    """The message names the option and what is allowed."""
    with pytest.raises(ValueError, match="reference_changes must be"):
        Sandbox(reference_changes=wrong)


def test_a_file_of_another_version_is_refused(tmp_path):
    """A database without the columns of today is named, and left as it is."""
    file = tmp_path / "sandbox.db"
    with Sandbox(packages=20, db=file) as sandbox:
        sandbox._running().store.db.execute("PRAGMA user_version = 1")
    with pytest.raises(ValueError, match="another version of the sandbox"):
        Sandbox(packages=20, db=file).__enter__()
