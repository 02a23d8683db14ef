"""The endpoints of eSIM orders."""

from decimal import Decimal

import pytest
from support.partner import partner_of

from roamify_async.sandbox import Sandbox


async def test_an_order_has_one_item_for_each_esim_and_debits_exactly(partner):
    """Three eSIMs are three items; total and balance agree to the cent."""
    package_id = next(id for id in partner.sandbox.kinds["plain"] if partner.sandbox.price(id) % 1)
    price = partner.sandbox.price(package_id)
    order = (await partner.buy(package_id, quantity=3, referenceId="ref-1"))["data"]
    assert order.keys() == {
        "id", "referenceId", "orderType", "status", "total", "currency", "createdAt", "updatedAt", "items",
    }  # fmt: skip
    assert (order["referenceId"], order["orderType"], order["status"]) == ("ref-1", "api", "COMPLETED")
    assert order["total"] == 3 * price
    assert len({item["esimId"] for item in order["items"]}) == 3
    item = order["items"][0]
    assert item.keys() == {
        "esimId", "packageId", "package", "type", "price", "currency", "createdAt", "updatedAt",
    }  # fmt: skip
    assert (item["price"], item["type"], item["currency"]) == (price, "esim", "USD")
    assert (await partner.get("/api/balance"))["data"] == {"balance": 1000 - 3 * price, "currency": "USD"}
    assert Decimal(partner.sandbox.state()["balance"]) == 1000 - 3 * price


async def test_money_is_written_without_noise():
    """A hundred odd debits leave a balance of at most two decimals in the very text of the answer."""
    async with partner_of(balance="100000.01") as partner:
        left = Decimal("100000.01")
        for package_id in list(partner.sandbox.kinds["local"])[:100]:
            left -= partner.sandbox.price(package_id)
            await partner.buy(package_id)
        async with partner.session.get("/api/balance") as response:
            text = await response.text()
        written = text.split('"balance":')[1].split(",")[0]
        assert Decimal(written) == left
        assert len(written.partition(".")[2]) <= 2
        assert Decimal(partner.sandbox.state()["balance"]) == left


async def test_an_order_without_reference_shows_an_empty_one(partner):
    """No referenceId comes back as an empty text."""
    assert (await partner.buy(partner.kind("plain")))["data"]["referenceId"] == ""


INVALID_ORDERS = [
    ({}, '"items" is required'),
    ({"items": []}, '"items" must contain at least 1 items'),
    ({"items": "x"}, '"items" must be an array'),
    ({"items": [1]}, '"items[0]" must be of type object'),
    ({"items": [{"quantity": 1}]}, '"items[0].packageId" is required'),
    ({"items": [{"packageId": "p"}]}, '"items[0].quantity" is required'),
    ({"items": [{"packageId": "p", "quantity": "two"}]}, '"items[0].quantity" must be a number'),
    ({"items": [{"packageId": "p", "quantity": True}]}, '"items[0].quantity" must be a number'),
    ({"items": [{"packageId": "p", "quantity": 1.5}]}, '"items[0].quantity" must be an integer'),
    ({"items": [{"packageId": "p", "quantity": 0}]}, '"items[0].quantity" must be greater than or equal to 1'),
    ({"items": [{"packageId": "p", "quantity": 1, "days": 3}]}, '"items[0].days" is not allowed'),
    ({"items": [{"packageId": "p", "quantity": 1}], "x": 1}, '"x" is not allowed'),
    ({"items": [{"packageId": "p", "quantity": 1}], "referenceId": 7}, '"referenceId" must be a string'),
    ({"items": [{"packageId": "", "quantity": 1}]}, '"items[0].packageId" is not allowed to be empty'),
    ([], '"value" must be of type object'),
]


async def test_a_malformed_order_is_400_with_the_one_key_error(partner):
    """What is not well formed is answered 400 with the validator's words under `error` alone."""
    for body, message in INVALID_ORDERS:
        for path in ["/api/esim/order", "/api/esim/order/instant"]:
            assert await partner.post(path, body, status=400) == {"error": message}


async def test_a_letter_that_no_database_takes_is_400(partner):
    """Half a surrogate pair and NUL, which JSON can spell, are refused in values and in names."""
    for letter in ["\ud800", "\0"]:
        answer = await partner.buy(partner.kind("plain"), referenceId=f"a{letter}", status=400)
        assert answer == {"error": '"referenceId" contains an invalid character'}
        body = {"items": [{"packageId": partner.kind("plain"), "quantity": 1}], letter: 1}
        assert "is not allowed" in (await partner.post("/api/esim/order", body, status=400))["error"]


async def test_an_unknown_package_is_a_500_that_books_nothing(partner):
    """One unknown packageId refuses the whole order with 500 `Unknown error`."""
    good = {"packageId": partner.kind("plain"), "quantity": 1}
    body = {"items": [good, {"packageId": "esim-gr-30days-1gb-all", "quantity": 1}]}
    answer = await partner.post("/api/esim/order", body, status=500)
    assert answer == {"message": "Unknown error", "status": "failed"}
    state = partner.sandbox.state()
    assert (state["balance"], state["orders"], state["esims"]) == ("1000.00", [], [])


async def test_an_insufficient_balance_is_a_409_that_books_nothing():
    """An order that the balance does not cover to the cent leaves everything as it was."""
    async with partner_of(balance="0.01") as partner:
        answer = await partner.buy(partner.kind("plain"), status=409)
        assert answer["status"] == "failed"
        assert answer["message"].startswith("Insufficient partner balance")
        assert partner.sandbox.state()["orders"] == []


async def test_the_whole_balance_can_be_spent():
    """A balance of exactly the price buys one, and not two."""
    price = Sandbox(packages=300).price("esim-greece-30days-1gb-all")
    async with partner_of(balance=price) as partner:
        await partner.buy("esim-greece-30days-1gb-all")
        assert partner.sandbox.state()["balance"] == "0.00"
        await partner.buy("esim-greece-30days-1gb-all", status=409)


async def test_a_duplicate_reference_is_accepted_or_refused_as_chosen():
    """By default a referenceId may repeat; with `conflict` the second is a 409 and nothing is booked."""
    async with partner_of() as partner:
        first = await partner.buy(partner.kind("plain"), referenceId="same")
        second = await partner.buy(partner.kind("plain"), referenceId="same")
        assert first["data"]["id"] != second["data"]["id"]
        newest = await partner.get("/api/esim/order", referenceId="same")
        assert newest["data"]["id"] == second["data"]["id"]
    async with partner_of(duplicate_reference="conflict") as partner:
        await partner.buy(partner.kind("plain"), referenceId="same")
        answer = await partner.buy(partner.kind("plain"), referenceId="same", status=409)
        assert "same referenceId already exists" in answer["message"]
        await partner.buy(partner.kind("plain"))
        await partner.buy(partner.kind("plain"))
        assert len(partner.sandbox.state()["orders"]) == 3


async def test_an_order_is_found_by_id_or_reference(partner):
    """Both names give the order as it was created; neither is 400, unknown is 404."""
    order = (await partner.buy(partner.kind("plain"), referenceId="mine"))["data"]
    assert (await partner.get("/api/esim/order", orderId=order["id"]))["data"] == order
    assert (await partner.get("/api/esim/order", referenceId="mine"))["data"] == order
    answer = await partner.get("/api/esim/order", status=400)
    assert answer == {"error": '"value" must contain at least one of [orderId, referenceId]'}
    assert (await partner.get("/api/esim/order", status=404, orderId="other"))["status"] == "failed"


async def test_orders_are_listed_newest_first_up_to_the_limit(partner):
    """The list has 50 orders unless another limit is given, and can be narrowed."""
    made = [(await partner.buy(partner.kind("plain"), referenceId=f"r{n}"))["data"]["id"] for n in range(52)]
    listed = (await partner.get("/api/esim/orders"))["data"]["orders"]
    assert [order["id"] for order in listed] == made[:1:-1]
    assert len((await partner.get("/api/esim/orders", limit="2"))["data"]["orders"]) == 2
    assert [o["id"] for o in (await partner.get("/api/esim/orders", referenceId="r3"))["data"]["orders"]] == [made[3]]
    answer = await partner.get("/api/esim/orders", limit="0", status=400)
    assert answer == {"error": '"limit" must be greater than or equal to 1'}
    async with partner.session.get("/api/esim/orders", params={"status": "PENDING"}) as response:
        assert (await response.json())["data"] == {"orders": []}


@pytest.mark.parametrize("shows", ["items", "esims"])
async def test_an_instant_order_gives_ready_esims(shows):
    """An instant order answers eSIMs that are READY; reading it back shows what was chosen."""
    async with partner_of(instant_order_shows=shows) as partner:
        path = "/api/esim/order/instant"
        order = (await partner.buy(partner.kind("plain"), quantity=2, path=path, referenceId="now"))["data"]
        assert "items" not in order
        assert [esim["status"] for esim in order["esims"]] == ["READY", "READY"]
        read = (await partner.get("/api/esim/order", referenceId="now"))["data"]
        assert (shows in read, read["total"]) == (True, order["total"])
        if shows == "esims":
            assert read == order
        assert partner.sandbox.state()["orders"][0]["kind"] == "instant"


async def test_an_order_can_be_repeated_by_its_reference_alone():
    """The existing order is returned, the same is ordered again, or the request is refused like any without items."""
    path, body = "/api/esim/order", {"referenceId": "mine"}
    async with partner_of(repeat_order="returns") as partner:
        order = (await partner.buy(partner.kind("plain"), quantity=2, referenceId="mine"))["data"]
        assert (await partner.post(path, body))["data"] == order
        assert len(partner.sandbox.state()["orders"]) == 1
        await partner.post(path, {"referenceId": "unknown"}, status=404)
        assert await partner.post(path, {}, status=400) == {"error": '"items" is required'}
        assert await partner.post(path, {"referenceId": 5}, status=400) == {"error": '"referenceId" must be a string'}
        assert await partner.post(f"{path}/instant", body, status=400) == {"error": '"items" is required'}
    async with partner_of(repeat_order="orders") as partner:
        order = (await partner.buy(partner.kind("plain"), quantity=2, referenceId="mine"))["data"]
        again = (await partner.post(path, body))["data"]
        assert again["id"] != order["id"]
        assert (again["referenceId"], again["total"], len(again["items"])) == ("mine", order["total"], 2)
        assert len(partner.sandbox.state()["orders"]) == 2
        await partner.post(path, {"referenceId": "unknown"}, status=404)
    async with partner_of(repeat_order="orders", duplicate_reference="conflict") as partner:
        await partner.buy(partner.kind("plain"), referenceId="mine")
        await partner.post(path, body, status=409)
    async with partner_of() as partner:
        await partner.buy(partner.kind("plain"), referenceId="mine")
        assert await partner.post(path, body, status=400) == {"error": '"items" is required'}
