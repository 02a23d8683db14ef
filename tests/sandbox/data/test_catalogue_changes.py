"""A catalogue that changes while it is read: packages, prices, destinations and pages."""

import copy
import json
from decimal import ROUND_HALF_EVEN, Decimal

import pytest

from roamify_async.sandbox import Sandbox

ORDER, PACKAGES = "/api/esim/order", "/api/esim/packages"


async def ask(session, path, body=None, **query: str):
    """Send one request; return status and JSON with exact numbers."""
    method = "GET" if body is None else "POST"
    async with session.request(method, path, json=body, params=query) as response:
        return response.status, json.loads(await response.text(), parse_float=Decimal)


async def page(session, number=1, size=10, **query: str):
    """Read the package ids of one page."""
    _, body = await ask(session, PACKAGES, page=str(number), pageSize=str(size), **query)
    return ids(body["data"]["packages"])


async def buy(session, package_id, **more: object):
    """Order one eSIM."""
    return await ask(session, ORDER, {"items": [{"packageId": package_id, "quantity": 1}], **more})


def ids(groups):
    """List the package ids of destinations."""
    return [package["packageId"] for group in groups for package in group["packages"]]


async def test_a_removed_package_is_sold_no_more(sandbox, session):
    """It is on no page, in no kind, no top-up, and cannot be ordered; its destination shows the other prices."""
    every = ids(sandbox.catalogue)
    gone = sandbox.kinds["plain"][0]
    group = next(group for group in sandbox.catalogue if gone in ids([group]))
    cheapest = min(group["packages"], key=lambda package: package["price"])["packageId"]
    _, bought = await ask(session, f"{ORDER}/instant", {"items": [{"packageId": gone, "quantity": 1}]})
    iccid = bought["data"]["esims"][0]["iccid"]
    _, before = await ask(session, "/api/esim/topup/packages", iccid=iccid)
    assert gone in {package["packageId"] for package in before["data"]}

    sandbox.change_catalogue(remove=[gone, cheapest])
    left = [package_id for package_id in every if package_id not in {gone, cheapest}]
    assert ids(sandbox.catalogue) == left == await page(session, size=100)
    assert gone not in {package_id for kind in sandbox.kinds.values() for package_id in kind}
    assert await page(session, packageId=gone) == []
    assert await page(session, country=group["countryName"], size=100) == [x for x in left if x in ids([group])]
    _, after = await ask(session, "/api/esim/topup/packages", iccid=iccid)
    kept = [package for package in before["data"] if package["packageId"] not in {gone, cheapest}]
    assert after["data"] == kept != before["data"]
    assert await buy(session, gone) == (500, {"message": "Unknown error", "status": "failed"})
    now = next(found for found in sandbox.catalogue if found["id"] == group["id"])
    assert now["minPrice"] == min(package["price"] for package in now["packages"]) > group["minPrice"]
    assert len(sandbox.state()["orders"]) == 1


async def test_what_was_bought_outlives_its_package(sandbox, session):
    """Order, eSIM, usage and history of a removed package are as before, and its eSIM can be topped up with others."""
    gone = sandbox.kinds["plain"][0]
    _, order = await ask(session, f"{ORDER}/instant", {"items": [{"packageId": gone, "quantity": 1}]})
    iccid = order["data"]["esims"][0]["iccid"]

    async def looks():
        asked = [(ORDER, {"orderId": order["data"]["id"]}), ("/api/esim", {"iccid": iccid})]
        asked += [(f"/api/esim/{name}", {"iccid": iccid}) for name in ("usage", "history")]
        return [await ask(session, path, **query) for path, query in asked]

    before, price = await looks(), sandbox.price(gone)
    sandbox.change_catalogue(remove=[gone])
    assert await looks() == before
    assert (sandbox.price(gone), json.loads(sandbox.package_json(gone))["packageId"]) == (price, gone)
    _, offered = await ask(session, "/api/esim/topup/packages", iccid=iccid)
    top_up = {"iccid": iccid, "packageId": offered["data"][0]["packageId"]}
    assert (await ask(session, f"{ORDER}/topup", top_up))[0] == 200
    assert (await ask(session, f"{ORDER}/topup", {"iccid": iccid, "packageId": gone}))[0] == 500


async def test_a_new_price_holds_at_once(sandbox, session):
    """The page, the price and the next order have it to the cent; other packages keep theirs."""
    dear, other = sandbox.kinds["plain"][:2]
    prices = {package_id: sandbox.price(package_id) for package_id in ids(sandbox.catalogue)}
    sandbox.change_catalogue(reprice={dear: "123.40"})
    assert {id: sandbox.price(id) for id in prices} == prices | {dear: Decimal("123.40")}
    _, body = await ask(session, PACKAGES, packageId=dear)
    [group] = body["data"]["packages"]
    assert (group["packages"][0]["price"], group["maxPrice"]) == (Decimal("123.4"), Decimal("123.4"))
    assert group["minPrice"] < 123
    _, order = await buy(session, dear)
    assert order["data"]["total"] == Decimal("123.4")
    await buy(session, other)
    assert Decimal(sandbox.state()["balance"]) == 1000 - Decimal("123.40") - prices[other]


async def test_a_package_comes_back_to_its_place(sandbox, session):
    """Back on sale, it is at its old place, so that a reader between two pages sees the last one twice."""
    first = copy.deepcopy(sandbox.catalogue)
    every = ids(first)
    sandbox.change_catalogue(remove=every[:1])
    seen = await page(session)
    sandbox.change_catalogue(add=every[:1])
    assert (seen + await page(session, 2))[9:11] == [every[10], every[10]]
    assert sandbox.catalogue == first


async def test_a_destination_without_packages_is_not_shown(sandbox, session):
    """With its last package a destination leaves the catalogue and the pages."""
    gone = sandbox.catalogue[0]
    sandbox.change_catalogue(remove=ids([gone]), add=ids([gone]))
    assert gone["id"] not in {group["id"] for group in sandbox.catalogue}
    _, body = await ask(session, PACKAGES, pageSize="100")
    assert [group["id"] for group in body["data"]["packages"]] == [group["id"] for group in sandbox.catalogue]


@pytest.mark.parametrize("how", ["method", "control"])
async def test_reset_restores_the_catalogue(sandbox, session, how):
    """After a reset everything is sold again at its price, byte for byte."""
    _, first = await ask(session, PACKAGES, pageSize="100")
    gone, dear = sandbox.kinds["plain"][:2]
    sandbox.change_catalogue(remove=[gone], reprice={dear: 7})
    if how == "method":
        sandbox.reset()
    else:
        assert (await ask(session, "/_sandbox/reset", {}))[0] == 200
    assert (await ask(session, PACKAGES, pageSize="100"))[1] == first


def test_each_start_has_the_first_catalogue():
    """A change lasts as long as the block of the sandbox."""
    sandbox = Sandbox(packages=100)
    first = copy.deepcopy(sandbox.catalogue)
    with sandbox:
        sandbox.change_catalogue(remove=sandbox.kinds["plain"])
        assert sandbox.catalogue != first
    assert sandbox.catalogue == first
    with sandbox:
        assert sandbox.catalogue == first
    with pytest.raises(RuntimeError, match="not running"):
        sandbox.change_catalogue(remove=sandbox.kinds["plain"])


async def test_the_catalogue_is_changed_over_http(sandbox, session):
    """The control API removes, reprices and adds, and returns the number of packages on sale."""
    gone, dear = sandbox.kinds["plain"][:2]
    change = {"remove": [gone], "reprice": {dear: "1.23"}}
    assert await ask(session, "/_sandbox/catalogue", change) == (200, {"packages": 99})
    assert (sandbox.price(dear), gone in ids(sandbox.catalogue)) == (Decimal("1.23"), False)
    assert await ask(session, "/_sandbox/catalogue", {"add": [gone]}) == (200, {"packages": 100})
    assert sandbox.price(dear) == Decimal("1.23")


INVALID_CHANGES = [
    ({"remove": ["esim-atlantis"]}, "unknown package 'esim-atlantis'"),
    ({"add": ["esim-atlantis"]}, "unknown package 'esim-atlantis'"),
    ({"reprice": {"esim-atlantis": "1"}}, "unknown package 'esim-atlantis'"),
    ({"remove": "esim-greece-30days-1gb-all"}, "remove must be a list"),
    ({"add": [7]}, "add must be a list"),
    ({"reprice": ["1.23"]}, "reprice must be prices by packageId"),
    ({"reprice": {"esim-greece-30days-1gb-all": "1.234"}}, "price must be an amount"),
    ({"sell": []}, "allowed: remove, add, reprice"),
]


async def test_a_wrong_change_is_400_and_changes_nothing(sandbox, session):
    """The message names what is wrong."""
    for change, named in INVALID_CHANGES:
        first = copy.deepcopy(sandbox.catalogue)
        status, body = await ask(session, "/_sandbox/catalogue", change)
        assert status == 400
        assert named in body["message"]
        assert sandbox.catalogue == first


async def test_a_shift_takes_the_first_package_from_under_the_reader(sandbox, session):
    """A page that is hit starts one package later, so that a reader of all pages misses one."""
    every = ids(sandbox.catalogue)
    sandbox.fail("GET", PACKAGES, "shift", query={"page": "3"})
    seen = [await page(session, number) for number in (1, 2, 3, 4)]
    assert seen == [every[:10], every[10:20], every[21:31], every[31:41]]
    assert ids(sandbox.catalogue) == every[1:]


async def test_a_shift_after_comes_behind_the_page(sandbox, session):
    """With when=after the page that is hit is the right one, and the next one starts later."""
    every = ids(sandbox.catalogue)
    sandbox.fail("GET", PACKAGES, "shift", when="after", times=2)
    assert [await page(session), await page(session, 2), await page(session, 3)] == [
        every[:10], every[11:21], every[22:32],
    ]  # fmt: skip


async def test_a_shift_is_in_what_the_reader_asks_for(sandbox, session):
    """With a filter, the first matching package is removed; without a match, none is."""
    last = sandbox.catalogue[-1]
    sandbox.fail("GET", PACKAGES, "shift", times=2)
    assert await page(session, country=last["countryName"]) == ids([last])[1:11]
    assert await page(session, country="Atlantis") == []
    assert len(ids(sandbox.catalogue)) == 99


async def test_a_shift_of_anything_else_does_nothing(sandbox, session):
    """Other requests are answered as ever, once, and a page request with a wrong token removes nothing."""
    every = ids(sandbox.catalogue)
    sandbox.fail("*", "*", "shift", when="after")
    assert (await buy(session, every[0]))[0] == 200
    assert len(sandbox.state()["orders"]) == 1
    sandbox.fail("*", "*", "shift")
    async with session.get(PACKAGES, headers={"Authorization": "Bearer wrong"}) as response:
        assert response.status == 401
    assert ids(sandbox.catalogue) == every


async def test_a_price_moves_between_quote_and_order(sandbox, session):
    """The order is charged the current price, whatever the page said before."""
    package_id = sandbox.kinds["plain"][0]
    quoted = sandbox.price(package_id)
    sandbox.set_price(package_id, quoted + 1)
    _, order = await buy(session, package_id)
    assert order["data"]["total"] == quoted + 1
    assert Decimal(sandbox.state()["balance"]) == 1000 - quoted - 1


async def test_all_prices_can_be_scaled(sandbox, session):
    """Rounded to cents, at least one cent; packages keep their places."""
    first = {id: sandbox.price(id) for id in ids(sandbox.catalogue)}
    sandbox.scale_prices("1.1")
    assert {id: sandbox.price(id) for id in first} == {
        id: (price * Decimal("1.1")).quantize(Decimal("0.01"), ROUND_HALF_EVEN) for id, price in first.items()
    }
    _, body = await ask(session, "/_sandbox/prices", {"scale": 0.000001})
    assert body == {"packages": 100}
    assert {sandbox.price(id) for id in first} == {Decimal("0.01")}
    some = next(iter(first))
    assert await ask(session, "/_sandbox/prices", {"prices": {some: "5"}}) == (200, {"packages": 1})
    assert sandbox.price(some) == 5


async def test_a_wrong_price_is_400(sandbox, session):
    """Whatever is not a price or a factor is named, and nothing changes."""
    first = copy.deepcopy(sandbox.catalogue)
    for body, named in (
        ({"scale": 0}, "scale must be"), ({"scale": "x"}, "scale must be"), ({"scale": "nan"}, "scale must be"),
        ({"scale": None}, "scale must be"), ({"prices": []}, "prices must be"), ({"prices": {"x": "1"}}, "unknown"),
        ({"price": 1}, "allowed: prices, scale"),
    ):  # fmt: skip
        status, answer = await ask(session, "/_sandbox/prices", body)
        assert (status, named in answer["message"]) == (400, True), body
    assert sandbox.catalogue == first


async def test_a_country_is_launched_while_the_catalogue_is_read(sandbox, session):
    """Its packages come first, so that every later page shifts, and can be ordered; a reader sees some twice."""
    every = ids(sandbox.catalogue)
    seen = await page(session)
    sandbox.add_destination("Atlantis", packages=7)
    new = [package["packageId"] for package in sandbox.catalogue[0]["packages"]]
    assert sandbox.catalogue[0]["countryName"] == "Atlantis"
    assert len(new) == 7
    assert all(package_id.startswith("esim-atlantis-") for package_id in new)
    assert await page(session, 2) == every[3:13]
    assert seen == every[:10]
    assert (await buy(session, new[0]))[0] == 200
    _, body = await ask(session, "/api/esim/countries")
    assert {"code": "XA", "name": "Atlantis", "geography": "local"} in body["data"]["countries"]


async def test_a_destination_can_be_added_over_http(sandbox, session):
    """At any position, a real one with its code and region; its name must be new."""
    count = len(sandbox.catalogue)
    body = {"name": "Vanuatu", "packages": 3, "position": count}
    assert await ask(session, "/_sandbox/destinations", body) == (200, {"destinations": count + 1})
    last = sandbox.catalogue[-1]
    assert (last["countryCode"], last["region"], len(last["packages"])) == ("VU", "Oceania", 3)
    for wrong in (
        {"name": "Greece"}, {"name": "Vanuatu"}, {"name": "?"}, {"name": 5}, {}, {"name": "X", "packages": 0},
        {"name": "X", "packages": 10_000}, {"name": "X", "position": -1}, {"name": "X", "position": 999},
        {"name": "X", "packages": "8"}, {"name": "X", "code": "XX"},
    ):  # fmt: skip
        assert (await ask(session, "/_sandbox/destinations", wrong))[0] == 400, wrong
    sandbox.reset()
    assert len(sandbox.catalogue) == count


def test_an_added_destination_is_kept_in_the_file(tmp_path):
    """Orders of its packages can be looked up after a restart."""
    options = {"packages": 100, "db": tmp_path / "sandbox.db"}
    with Sandbox(**options) as sandbox:
        sandbox.add_destination("Atlantis", position=1)
        catalogue = sandbox.catalogue
    with Sandbox(**options) as sandbox:
        assert sandbox.catalogue == catalogue
        sandbox.reset()
    with Sandbox(**options) as sandbox:
        assert len(sandbox.catalogue) == len(catalogue) - 1


async def test_the_last_one_is_sold(sandbox, session):
    """After the order its package is off sale; sold before it, the order is refused."""
    first, second = sandbox.kinds["plain"][:2]
    sandbox.fail("POST", ORDER, "sell_out", when="after")
    status, order = await buy(session, first)
    assert (status, order["data"]["status"]) == (200, "COMPLETED")
    assert first not in ids(sandbox.catalogue)
    assert (await buy(session, first))[0] == 500
    sandbox.fail("POST", ORDER, "sell_out")
    assert (await buy(session, second))[0] == 500
    assert second not in ids(sandbox.catalogue)
    assert len(sandbox.state()["orders"]) == 1
    assert (await ask(session, ORDER, orderId=order["data"]["id"]))[1] == order
