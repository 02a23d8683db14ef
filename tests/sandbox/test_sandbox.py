"""What the sandbox's API answers, seen over real sockets with a plain HTTP client."""

import json
import time
from decimal import Decimal

import aiohttp
import pytest
from support.partner import partner_of

from roamify_async.sandbox import Sandbox

SENTINEL = 2**53 - 1


async def test_health_needs_no_token(partner):
    """Health answers 2xx without Authorization."""
    async with aiohttp.ClientSession(partner.sandbox.url) as stranger, stranger.get("/api/health") as response:
        assert response.status == 200
        assert (await response.json())["status"] == "success"


@pytest.mark.parametrize("header", [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "roamify"}])
async def test_a_wrong_token_is_401_with_a_message(partner, header):
    """A missing, malformed or wrong token is answered 401 with message and status."""
    session = aiohttp.ClientSession(partner.sandbox.url, headers=header)
    async with session as stranger, stranger.get("/api/balance") as response:
        assert response.status == 401
        body = await response.json()
    assert body == {"message": body["message"], "status": "failed"}
    assert "Unauthorized" in body["message"]


async def test_headers_are_those_of_the_real_server(partner):
    """Each answer is UTF-8 JSON from Express with a request id of its own."""
    seen = set()
    for _ in range(2):
        async with partner.session.get("/api/balance") as response:
            assert response.headers["Content-Type"] == "application/json; charset=utf-8"
            assert response.headers["X-Powered-By"] == "Express"
            seen.add(response.headers["CF-RAY"])
    assert len(seen) == 2


async def test_an_unknown_path_is_404_json(partner):
    """A path or method that does not exist is answered 404 in the failed shape."""
    assert (await partner.get("/api/esim/nothing", status=404))["status"] == "failed"
    assert (await partner.post("/api/balance", {}, status=404))["status"] == "failed"


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


BAD_ORDERS = [
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


@pytest.mark.parametrize(("body", "message"), BAD_ORDERS)
@pytest.mark.parametrize("path", ["/api/esim/order", "/api/esim/order/instant"])
async def test_a_malformed_order_is_400_with_the_one_key_error(partner, path, body, message):
    """What is not well formed is answered 400 with the validator's words under `error` alone."""
    assert await partner.post(path, body, status=400) == {"error": message}


async def test_a_body_of_another_content_type_is_not_read(partner):
    """Without a JSON content type the body counts as empty; broken JSON is 400."""
    body = json.dumps({"items": [{"packageId": partner.kind("plain"), "quantity": 1}]})
    text = {"Content-Type": "text/plain"}
    answer = await partner.call("POST", "/api/esim/order", status=400, data=body, headers=text)
    assert answer == {"error": '"items" is required'}
    as_json = {"Content-Type": "application/json"}
    answer = await partner.call("POST", "/api/esim/order", status=400, data=body[:-1], headers=as_json)
    assert answer["status"] == "failed"


@pytest.mark.parametrize("letter", ["\ud800", "\0"])
async def test_a_letter_that_no_database_takes_is_400(partner, letter):
    """Half a surrogate pair and NUL, which JSON can spell, are refused in values and in names."""
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
    async with partner.session.get("/api/esim/orders", params={"status": "pending"}) as response:
        assert response.status == 400


async def test_apply_makes_the_profile(partner):
    """An eSIM is NEW without ICCID until apply; then READY with a Luhn-valid ICCID and install links."""
    order = (await partner.buy(partner.kind("plain")))["data"]
    esim_id = order["items"][0]["esimId"]
    new = (await partner.get("/api/esim", esimId=esim_id))["data"]
    assert (new["status"], new["iccid"], new["esim"]) == ("NEW", "", {})
    esim = (await partner.post("/api/esim/apply", {"esimId": esim_id}))["data"]
    assert (esim["id"], esim["status"]) == (esim_id, "READY")
    assert esim["iccid"].startswith("89")
    assert luhn(esim["iccid"])
    profile = esim["esim"]
    assert profile["lpaCode"] == f"LPA:1${profile['smdpAddress']}${profile['activationCode']}"
    assert profile["iosQuickInstall"].endswith("carddata=" + profile["lpaCode"])
    assert profile["androidQuickInstall"].endswith("carddata=" + profile["lpaCode"])
    assert profile.keys() >= {"qrCodeUrl", "pin", "puk", "number"}
    assert (await partner.get("/api/esim", iccid=esim["iccid"]))["data"] == esim


def luhn(digits):
    """Whether the digits end with their check digit."""
    doubled = [sum(divmod(int(digit) * 2, 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(map(int, digits[::-2]))) % 10 == 0


async def test_apply_by_reference_is_a_list_and_twice_is_as_once(partner):
    """By referenceId every eSIM of the order is made, in the order of its items; a second time changes nothing."""
    order = (await partner.buy(partner.kind("plain"), quantity=2, referenceId="bulk"))["data"]
    made = (await partner.post("/api/esim/apply", {"referenceId": "bulk"}))["data"]
    assert [esim["id"] for esim in made] == [item["esimId"] for item in order["items"]]
    assert (await partner.post("/api/esim/apply", {"referenceId": "bulk"}))["data"] == made
    assert (await partner.post("/api/esim/apply", {"esimId": made[0]["id"]}))["data"] == made[0]
    await partner.post("/api/esim/apply", {"referenceId": "unknown"}, status=404)
    await partner.post("/api/esim/apply", {"esimId": "unknown"}, status=404)
    answer = await partner.post("/api/esim/apply", {}, status=400)
    assert answer == {"error": '"value" must contain at least one of [esimId, referenceId]'}


async def test_apply_by_reference_alone_can_be_forbidden():
    """With `apply_needs_esim_id` the esimId is required, and the referenceId beside it means the whole order."""
    async with partner_of(apply_needs_esim_id=True) as partner:
        order = (await partner.buy(partner.kind("plain"), quantity=2, referenceId="bulk"))["data"]
        answer = await partner.post("/api/esim/apply", {"referenceId": "bulk"}, status=400)
        assert answer == {"error": '"esimId" is required'}
        body = {"esimId": order["items"][0]["esimId"], "referenceId": "bulk"}
        assert len((await partner.post("/api/esim/apply", body))["data"]) == 2


async def test_a_travel_date_is_asked_for_where_the_package_needs_it(partner):
    """A travel-date package is not applied without startDate; a date that is none is refused for every package."""
    dated = (await partner.buy(partner.kind("travel_date")))["data"]["items"][0]["esimId"]
    assert (await partner.post("/api/esim/apply", {"esimId": dated}, status=400))["status"] == "failed"
    assert (await partner.get("/api/esim", esimId=dated))["data"]["status"] == "NEW"
    answer = await partner.post("/api/esim/apply", {"esimId": dated, "startDate": "01/07/2026"}, status=400)
    assert answer == {"error": '"startDate" must be in ISO 8601 date format'}
    esim = (await partner.post("/api/esim/apply", {"esimId": dated, "startDate": "2026-07-01"}))["data"]
    assert esim["status"] == "READY"
    assert partner.sandbox.state()["esims"][0]["startDate"] == "2026-07-01"
    await partner.buy(partner.kind("travel_date"), path="/api/esim/order/instant", status=400)


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


async def test_one_esim_is_asked_for_by_exactly_one_name(partner):
    """Both names, no name and an unknown name are refused, each in its way."""
    esim = await partner.applied(partner.kind("plain"))
    answer = await partner.get("/api/esim", status=400, iccid=esim["iccid"], esimId=esim["id"])
    assert answer == {"error": '"value" contains a conflict between exclusive peers [iccid, esimId]'}
    answer = await partner.get("/api/esim", status=400)
    assert answer == {"error": '"value" must contain at least one of [iccid, esimId]'}
    assert (await partner.get("/api/esim", status=404, iccid="8900"))["status"] == "failed"
    answer = await partner.get("/api/esim", status=400, iccid=esim["iccid"], verbose="1")
    assert answer == {"error": '"verbose" is not allowed'}


async def test_esims_are_listed_bare_and_newest_first(partner):
    """The list has no wrapper and can be narrowed by status, referenceId and limit."""
    esim = await partner.applied(partner.kind("plain"))
    order = (await partner.buy(partner.kind("plain"), quantity=2, referenceId="two"))["data"]
    newer = [item["esimId"] for item in order["items"]]
    assert [e["id"] for e in (await partner.get("/api/esims"))["data"]] == [*newer[::-1], esim["id"]]
    assert [e["id"] for e in (await partner.get("/api/esims", referenceId="two"))["data"]] == newer[::-1]
    assert len((await partner.get("/api/esims", limit="1"))["data"]) == 1
    async with partner.session.get("/api/esims", params={"status": "READY"}) as response:
        assert (await response.json())["data"] == [esim]


async def test_usage_follows_what_is_consumed(partner):
    """Consumed data installs the eSIM, shows in usage, its details and events, and never goes below zero."""
    esim = await partner.applied("esim-greece-30days-1gb-all")
    fresh = (await partner.get("/api/esim/usage", iccid=esim["iccid"]))["data"]
    assert (fresh["allowedData"], fresh["remainingData"], fresh["startedAt"]) == (1024, 1024, 0)
    await partner.post("/_sandbox/esims", {"iccid": esim["iccid"], "usedData": 100})
    used = (await partner.get("/api/esim/usage", iccid=esim["iccid"]))["data"]
    assert (used["status"], used["remainingData"]) == ("INSTALLED", 924)
    assert used["expiredAt"] - used["startedAt"] == 30 * 86_400
    details = (await partner.get("/api/esim/usage/details", iccid=esim["iccid"]))["data"]
    assert {name: details[name] for name in used} == used
    assert [(day["usage"], day["location"]) for day in details["dataUsages"]] == [(100, "Greece")]
    await partner.post("/_sandbox/esims", {"esimId": esim["id"], "usedData": 5000})
    assert (await partner.get("/api/esim/usage", iccid=esim["iccid"]))["data"]["remainingData"] == 0
    life = await partner.get("/api/esim/event", iccid=esim["iccid"])
    assert life.keys() == {"iccid", "esimId", "referenceId", "events", "locations"}
    assert [event["status"] for event in life["events"]] == ["NEW", "DOWNLOADED", "INSTALLED", "ACTIVATED"]
    assert life["events"][0].keys() == {"iccid", "eid", "status", "timeStamp", "dateTime"}


async def test_unlimited_usage_stays_unlimited(partner):
    """An unlimited allowance is the number that means no limit, before and after use."""
    esim = await partner.applied("esim-greece-7days-un2gb-all")
    await partner.post("/_sandbox/esims", {"iccid": esim["iccid"], "usedData": 100_000})
    used = (await partner.get("/api/esim/usage", iccid=esim["iccid"]))["data"]
    assert (used["allowedData"], used["remainingData"]) == (SENTINEL, SENTINEL)


async def test_usage_is_refused_where_it_cannot_be_checked(partner):
    """A package without usage check is 400 and says so in its notes; an unknown ICCID is 404; none is 400."""
    esim = await partner.applied(partner.kind("no_usage_check"))
    assert esim["withUsageCheck"] is False
    assert esim["notes"]
    for path in ("/api/esim/usage", "/api/esim/usage/details"):
        assert (await partner.get(path, status=400, iccid=esim["iccid"]))["status"] == "failed"
        assert (await partner.get(path, status=404, iccid="8900"))["status"] == "failed"
        assert await partner.get(path, status=400) == {"error": '"iccid" is required'}


async def test_a_top_up_adds_data_and_history(partner):
    """A top-up is an order of one item on the same eSIM; allowance and history grow."""
    esim = await partner.applied("esim-greece-30days-1gb-all")
    body = {"iccid": esim["iccid"], "packageId": "esim-greece-7days-1gb-all", "referenceId": "more"}
    order = (await partner.post("/api/esim/order/topup", body))["data"]
    assert [item["esimId"] for item in order["items"]] == [esim["id"]]
    assert order["total"] == partner.sandbox.price("esim-greece-7days-1gb-all")
    assert (await partner.get("/api/esim/usage", iccid=esim["iccid"]))["data"]["allowedData"] == 2048
    history = (await partner.get("/api/esim/history", iccid=esim["iccid"]))["data"]
    assert [item["packageId"] for item in history] == ["esim-greece-30days-1gb-all", "esim-greece-7days-1gb-all"]
    assert history[1] == order["items"][0]
    assert (await partner.get("/api/esim/order", referenceId="more"))["data"] == order
    assert len(partner.sandbox.state()["esims"]) == 1


async def test_a_top_up_must_fit(partner):
    """Another destination, an eSIM that takes none, and unknown names are refused; nothing is debited."""
    esim = await partner.applied("esim-greece-30days-1gb-all")
    fixed = await partner.applied(partner.kind("no_top_up"))
    before = partner.sandbox.state()["balance"]
    body = {"iccid": esim["iccid"], "packageId": "esim-germany-30days-1gb-all"}
    assert (await partner.post("/api/esim/order/topup", body, status=400))["status"] == "failed"
    body = {"iccid": fixed["iccid"], "packageId": partner.kind("no_top_up")}
    assert (await partner.post("/api/esim/order/topup", body, status=400))["status"] == "failed"
    body = {"iccid": "8900", "packageId": "esim-greece-30days-1gb-all"}
    assert (await partner.post("/api/esim/order/topup", body, status=404))["status"] == "failed"
    body = {"iccid": esim["iccid"], "packageId": "nothing"}
    assert (await partner.post("/api/esim/order/topup", body, status=500))["message"] == "Unknown error"
    assert await partner.post("/api/esim/order/topup", {}, status=400) == {"error": '"iccid" is required'}
    assert partner.sandbox.state()["balance"] == before


async def test_top_up_packages_are_nested_and_of_the_same_destination(partner):
    """The list is bare, of data plans of the destination, each in the nested shape, and can be narrowed."""
    esim = await partner.applied("esim-greece-30days-1gb-all")
    offered = (await partner.get("/api/esim/topup/packages", iccid=esim["iccid"]))["data"]
    assert offered
    assert all(package["packageId"].startswith("esim-greece-") for package in offered)
    assert not any(package["call"]["withCall"] for package in offered)
    assert offered[0].keys() == {
        "packageId", "package", "plan", "activation", "day", "price", "withHotspot", "withDataRoaming",
        "withDestinationInstall", "withUsageCheck", "apn", "data", "call", "sms", "notes",
    }  # fmt: skip
    assert offered[0]["data"] == {"isUnlimited": False, "dataAmount": 1024, "dataUnit": "MB"}
    path = "/api/esim/topup/packages"
    week = (await partner.get(path, iccid=esim["iccid"], days="7", gbs="1"))["data"]
    assert [package["packageId"] for package in week] == ["esim-greece-7days-1gb-all"]
    unlimited = (await partner.get(path, iccid=esim["iccid"], isUnlimited="true", gbs="1"))["data"]
    assert {package["data"]["isUnlimited"] for package in unlimited} == {True}
    fixed = await partner.applied(partner.kind("no_top_up"))
    assert fixed["withTopUp"] is False
    assert (await partner.get(path, iccid=fixed["iccid"]))["data"] == []


async def test_events_are_found_by_each_name(partner):
    """An eSIM's events are found by esimId, iccid or referenceId, without envelope; no name is 400."""
    order = (await partner.buy(partner.kind("plain"), referenceId="r"))["data"]
    esim_id = order["items"][0]["esimId"]
    by_id = await partner.get("/api/esim/event", esimId=esim_id)
    assert (by_id["esimId"], by_id["iccid"], by_id["events"][0]["eid"]) == (esim_id, "", "")
    assert await partner.get("/api/esim/event", referenceId="r") == by_id
    assert "error" in await partner.get("/api/esim/event", status=400)
    assert (await partner.get("/api/esim/event", status=404, iccid="1"))["status"] == "failed"


async def test_events_can_be_served_at_the_other_path_only():
    """Then a gateway's page says that the usual one is not there; by default the other one is 404 as JSON."""
    async with partner_of(event_path="events") as partner:
        esim_id = (await partner.buy(partner.kind("plain")))["data"]["items"][0]["esimId"]
        assert (await partner.get("/api/esim/events", esimId=esim_id))["esimId"] == esim_id
        async with partner.session.get("/api/esim/event", params={"esimId": esim_id}) as response:
            assert (response.status, response.content_type) == (404, "text/html")
    async with partner_of() as partner:
        assert "Cannot GET" in (await partner.get("/api/esim/events", status=404, esimId="e"))["message"]


async def test_events_can_have_an_envelope():
    """Then what is at the top otherwise is under data."""
    async with partner_of(event_envelope=True) as partner:
        esim_id = (await partner.buy(partner.kind("plain")))["data"]["items"][0]["esimId"]
        life = await partner.get("/api/esim/event", esimId=esim_id)
        assert life.keys() == {"status", "data"}
        assert life["data"]["events"][0]["status"] == "NEW"


@pytest.mark.parametrize(("written", "form"), [("YYYYMMDD", "%Y%m%d"), ("YYYY-MM-DD", "%Y-%m-%d")])
async def test_days_of_usage_are_written_in_one_of_two_ways(written, form):
    """The day is that of the sandbox's clock in UTC."""
    async with partner_of(usage_dates=written) as partner:
        esim = await partner.applied("esim-greece-30days-1gb-all")
        await partner.post("/_sandbox/esims", {"iccid": esim["iccid"], "usedData": 100})
        used = (await partner.get("/api/esim/usage/details", iccid=esim["iccid"]))["data"]
        assert [day["date"] for day in used["dataUsages"]] == [time.strftime(form, time.gmtime(used["startedAt"]))]


async def test_usage_can_be_told_in_finer_units():
    """Then data is in kilobytes and calls in seconds; unlimited stays the same number."""
    async with partner_of(usage_units="KB") as partner:
        esim = await partner.applied("esim-greece-30days-1gb-all")
        await partner.post("/_sandbox/esims", {"iccid": esim["iccid"], "usedData": 100})
        used = (await partner.get("/api/esim/usage/details", iccid=esim["iccid"]))["data"]
        assert (used["allowedData"], used["remainingData"]) == (1024 * 1024, 924 * 1024)
        assert used["dataUsages"][0]["usage"] == 100 * 1024
        esim = await partner.applied("esim-greece-30days-100gb-50sms-10min-all")
        used = (await partner.get("/api/esim/usage", iccid=esim["iccid"]))["data"]
        assert (used["allowedVoice"], used["allowedSms"]) == (600, 50)
        esim = await partner.applied("esim-greece-7days-un2gb-all")
        assert (await partner.get("/api/esim/usage", iccid=esim["iccid"]))["data"]["allowedData"] == SENTINEL


async def test_devices_are_a_bare_list_of_texts(partner):
    """Each compatible device has the five texts."""
    devices = (await partner.get("/api/compatible-devices"))["data"]
    assert 50 <= len(devices) <= 90
    assert all(device.keys() == {"model", "deviceType", "os", "brand", "name"} for device in devices)
    assert all(isinstance(value, str) and value for device in devices for value in device.values())


@pytest.mark.parametrize("compress", [True, False])
async def test_long_answers_are_gzipped_if_the_client_takes_it(compress):
    """More than a kilobyte is gzipped for a client that accepts it, short answers and others are not."""
    async with partner_of(compress=compress) as partner:
        async with partner.session.get("/api/esim/packages", headers={"Accept-Encoding": "gzip"}) as response:
            assert response.headers.get("Content-Encoding") == ("gzip" if compress else None)
            packed = await response.json()
        async with partner.session.get("/api/esim/packages", headers={"Accept-Encoding": "identity"}) as response:
            assert "Content-Encoding" not in response.headers
            assert await response.json() == packed
        async with partner.session.get("/api/balance", headers={"Accept-Encoding": "gzip"}) as response:
            assert "Content-Encoding" not in response.headers
