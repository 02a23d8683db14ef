"""The insurance catalogue and its orders."""

import aiohttp
import pytest
from support.partner import partner_of

ORDER = "/api/insurance/order"
WEEK = "insurance-saudi-arabia-individual-7days"
ESIM = "esim-greece-30days-1gb-all"
PRODUCT = {
    "id", "name", "slug", "countryName", "countryCode", "countrySlug", "geography", "region", "description", "image",
    "coverages", "eligibleNationality", "eligibleNationCodes", "benefits", "insuredType", "minPrice", "maxPrice",
    "packages",
}  # fmt: skip
PACKAGE = {
    "packageId", "package", "provider", "type", "charge", "price", "day", "currency", "requirements", "notes",
}  # fmt: skip


async def insure(partner, *, package_id=WEEK, quantity=1, status=200, **more: object):
    """Order policies."""
    return await partner.buy(package_id, quantity=quantity, path=ORDER, status=status, **more)


async def products(partner, **query: str):
    """Read the catalogue."""
    return (await partner.get("/api/insurance/packages", **query))["data"]["packages"]


async def price_of(partner, package_id=WEEK):
    """Read the price of a package."""
    answer = await partner.get("/api/insurance/package", packageId=package_id)
    return answer["data"]["packages"][0]["price"]


async def test_countries_are_sorted_by_name_and_unique(partner):
    """Each has four texts; geography narrows in letters of any size."""
    countries = (await partner.get("/api/insurance/countries"))["data"]["countries"]
    names = [country["name"] for country in countries]
    assert names == sorted(names)
    assert len({country["code"] for country in countries}) == len(countries)
    assert all(country.keys() == {"code", "name", "slug", "geography"} for country in countries)
    for geography in ("local", "Local", "REGIONAL", "global"):
        narrowed = (await partner.get("/api/insurance/countries", geography=geography))["data"]["countries"]
        assert narrowed == [country for country in countries if country["geography"] == geography.lower()] != []
    assert "geography" in (await partner.get("/api/insurance/countries", status=400, geography="planet"))["error"]


async def test_products_and_packages_have_their_fields(partner):
    """Prices span those of the packages, and what a traveller must tell differs."""
    for product in await products(partner):
        assert product.keys() == PRODUCT
        prices = [package["price"] for package in product["packages"]]
        assert (product["minPrice"], product["maxPrice"]) == (min(prices), max(prices))
        assert all(package.keys() == PACKAGE for package in product["packages"])
        assert all(package["packageId"].startswith("insurance-") for package in product["packages"])
    asked = [package["requirements"] for product in await products(partner) for package in product["packages"]]
    assert {frozenset(requirements) for requirements in asked} == {
        frozenset({"phoneNumber", "dateOfBirth", "idNumber", "passportNumber"})
    }
    for name in ("dateOfBirth", "idNumber", "passportNumber"):
        assert {requirements[name] for requirements in asked} == {True, False}


async def test_filters_leave_products_without_a_package_out(partner):
    """Day and packageId narrow the packages, a country that does not match is an empty list."""
    for product in await products(partner, day="15"):
        assert {package["day"] for package in product["packages"]} == {15}
    assert 0 < len(await products(partner, day="15")) < len(await products(partner))
    [saudi] = await products(partner, country="Saudi Arabia")
    assert await products(partner, countryCode="SA", geography="LOCAL") == [saudi]
    [narrowed] = await products(partner, packageId=WEEK)
    assert [package["packageId"] for package in narrowed["packages"]] == [WEEK]
    for query in ({"country": "Atlantis"}, {"countryCode": "sa"}, {"day": "8"}, {"packageId": ESIM}):
        assert await products(partner, **query) == []
    for query in ({"day": "0"}, {"day": "1.5"}, {"page": "1"}, {"pageSize": "50"}, {"country": ""}):
        assert "error" in await partner.get("/api/insurance/packages", status=400, **query)


async def test_one_package_is_its_product_narrowed(partner):
    """An unknown packageId is 404, none 400."""
    path = "/api/insurance/package"
    assert [(await partner.get(path, packageId=WEEK))["data"]] == await products(partner, packageId=WEEK)
    assert (await partner.get(path, status=404, packageId=ESIM))["status"] == "failed"
    assert await partner.get(path, status=400) == {"error": '"packageId" is required'}


async def test_an_order_reserves_policies_and_debits(partner):
    """There is one item for each policy, which is NEW; the balance pays exactly."""
    price = await price_of(partner)
    order = (await insure(partner, quantity=3, referenceId="trip"))["data"]
    assert order.keys() == {
        "id", "referenceId", "orderType", "status", "total", "currency", "createdAt", "updatedAt", "items",
    }  # fmt: skip
    assert (order["referenceId"], order["total"]) == ("trip", 3 * price)
    assert order["items"][0].keys() == {
        "policyId", "packageId", "package", "type", "price", "currency", "createdAt", "updatedAt",
    }  # fmt: skip
    assert {item["type"] for item in order["items"]} == {"insurance"}
    assert len({item["policyId"] for item in order["items"]}) == 3
    assert (await partner.get("/api/balance"))["data"]["balance"] == 1000 - 3 * price
    for named in ({"orderId": order["id"]}, {"referenceId": "trip"}):
        assert (await partner.get(ORDER, **named))["data"] == order
    assert (await insure(partner))["data"]["referenceId"] == ""


async def test_both_kinds_of_orders_are_apart(partner):
    """Neither kind's packages are sold, and neither kind's orders found, at the other's endpoints."""
    esims = (await partner.buy(ESIM, referenceId="same"))["data"]
    order = (await insure(partner, referenceId="same"))["data"]
    assert (await partner.get(ORDER, status=404, orderId=esims["id"]))["status"] == "failed"
    assert (await partner.get("/api/esim/order", status=404, orderId=order["id"]))["status"] == "failed"
    assert (await partner.get("/api/esim/order", referenceId="same"))["data"] == esims
    assert (await partner.get(ORDER, referenceId="same"))["data"] == order
    assert (await partner.get("/api/esim/orders"))["data"]["orders"] == [esims]
    assert (await partner.get("/api/insurance/orders"))["data"]["orders"] == [order]
    assert "insurance" in (await insure(partner, package_id=ESIM, status=400))["message"]
    for path in ("/api/esim/order", "/api/esim/order/instant"):
        assert "Insurance" in (await partner.buy(WEEK, path=path, status=400))["message"]
    esim = await partner.applied(ESIM)
    body = {"iccid": esim["iccid"], "packageId": WEEK}
    assert "Insurance" in (await partner.post("/api/esim/order/topup", body, status=400))["message"]
    await partner.post("/api/esim/vouchers", {"packageId": WEEK}, status=403)


INVALID_ORDERS = [
    (None, '"items" must be an array'),
    ([], '"items" must contain at least 1 items'),
    ([{"packageId": WEEK}], '"items[0].quantity" is required'),
    ([{"quantity": 1}], '"items[0].packageId" is required'),
    ([{"packageId": WEEK, "quantity": 0}], '"items[0].quantity" must be greater than or equal to 1'),
    ([{"packageId": WEEK, "quantity": 6}], "at most 5"),
    ([{"packageId": WEEK, "quantity": 10**40}], "at most 5"),
    ([{"packageId": WEEK, "quantity": 3}, {"packageId": WEEK, "quantity": 3}], "at most 5"),
    ([{"packageId": "insurance-nowhere", "quantity": 1}], "Only insurance packages"),
]


async def test_a_wrong_order_is_400_and_reserves_nothing(partner):
    """At most five policies in all, of packages that are insurance."""
    for items, said in INVALID_ORDERS:
        answer = await partner.post(ORDER, {"items": items}, status=400)
        assert said in answer.get("error", answer.get("message"))
        assert await partner.post(ORDER, {}, status=400) == {"error": '"items" is required'}
        state = partner.sandbox.state()
        assert (state["balance"], state["policies"], state["insuranceOrders"]) == ("1000.00", [], [])


async def test_a_used_reference_and_a_small_balance_are_409():
    """A referenceId serves one order, and what cannot be paid is not reserved."""
    async with partner_of(balance="15.00") as partner:
        await insure(partner, referenceId="once")
        assert "referenceId" in (await insure(partner, referenceId="once", status=409))["message"]
        assert "balance" in (await insure(partner, quantity=2, status=409))["message"]
        assert len(partner.sandbox.state()["policies"]) == 1


async def test_one_order_is_asked_for_by_exactly_one_name(partner):
    """Both names and none are validation errors."""
    assert "conflict" in (await partner.get(ORDER, status=400, orderId="a", referenceId="b"))["error"]
    assert "at least one" in (await partner.get(ORDER, status=400))["error"]
    assert (await partner.get(ORDER, status=404, referenceId="nothing"))["status"] == "failed"


async def test_orders_are_listed_newest_first(partner):
    """The list can be filtered by status, which is case-sensitive, and limited."""
    orders = [(await insure(partner))["data"] for _ in range(3)][::-1]
    path = "/api/insurance/orders"
    assert (await partner.get(path))["data"]["orders"] == orders
    assert (await partner.get(path, limit="2"))["data"]["orders"] == orders[:2]
    assert (await partner.call("GET", path, params={"status": "COMPLETED"}))["data"]["orders"] == orders
    assert (await partner.call("GET", path, params={"status": "PENDING"}))["data"]["orders"] == []
    assert (await partner.call("GET", path, params={"status": "completed"}))["data"]["orders"] == []


async def test_a_hidden_order_is_paid_and_shown_to_nobody(partner):
    """Its order and its policies are not found, yet its referenceId is taken."""
    partner.sandbox.fail("POST", ORDER, "book_but_hide", seconds=60.0)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await insure(partner, referenceId="hidden")
    await partner.get(ORDER, status=404, referenceId="hidden")
    assert (await partner.get("/api/insurance/orders"))["data"]["orders"] == []
    assert (await partner.get("/api/insurance/policies"))["data"]["policies"] == []
    [kept] = partner.sandbox.state()["policies"]
    await partner.get("/api/insurance/policy", status=404, policyId=kept["policyId"])
    await insure(partner, referenceId="hidden", status=409)
    assert (await partner.get("/api/balance"))["data"]["balance"] == 1000 - await price_of(partner)
