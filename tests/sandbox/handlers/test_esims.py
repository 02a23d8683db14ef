"""The endpoints of eSIMs."""

import time

import pytest
from support.partner import partner_of

SENTINEL = 2**53 - 1


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
    """A travel-date package is not applied without startDate; an invalid date is refused for every package."""
    dated = (await partner.buy(partner.kind("travel_date")))["data"]["items"][0]["esimId"]
    assert (await partner.post("/api/esim/apply", {"esimId": dated}, status=400))["status"] == "failed"
    assert (await partner.get("/api/esim", esimId=dated))["data"]["status"] == "NEW"
    answer = await partner.post("/api/esim/apply", {"esimId": dated, "startDate": "01/07/2026"}, status=400)
    assert answer == {"error": '"startDate" must be in ISO 8601 date format'}
    esim = (await partner.post("/api/esim/apply", {"esimId": dated, "startDate": "2026-07-01"}))["data"]
    assert esim["status"] == "READY"
    assert partner.sandbox.state()["esims"][0]["startDate"] == "2026-07-01"
    await partner.buy(partner.kind("travel_date"), path="/api/esim/order/instant", status=400)


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
    """A package without usage check is a 400, an unknown ICCID a 404, a missing one a 400."""
    esim = await partner.applied(partner.kind("no_usage_check"))
    assert esim["withUsageCheck"] is False
    assert esim["notes"]
    for path in ("/api/esim/usage", "/api/esim/usage/details"):
        assert (await partner.get(path, status=400, iccid=esim["iccid"]))["status"] == "failed"
        assert (await partner.get(path, status=404, iccid="8900"))["status"] == "failed"
        assert await partner.get(path, status=400) == {"error": '"iccid" is required'}


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
    """Then a page says that the usual one is not there; by default the other one is not there."""
    async with partner_of(event_path="events") as partner:
        esim_id = (await partner.buy(partner.kind("plain")))["data"]["items"][0]["esimId"]
        assert (await partner.get("/api/esim/events", esimId=esim_id))["esimId"] == esim_id
        assert "Cannot GET" in await partner.get("/api/esim/event", status=404, esimId=esim_id)
    async with partner_of() as partner:
        assert "Cannot GET" in await partner.get("/api/esim/events", status=404, esimId="e")


@pytest.mark.parametrize("kind", ["first", "list"])
async def test_events_of_an_order_of_several_esims(kind):
    """They are those of its first eSIM, or a list: the shape is not documented."""
    async with partner_of(packages=20, order_events=kind) as partner:
        order = (await partner.buy(partner.kind("plain"), quantity=2, referenceId="two"))["data"]
        ids = [item["esimId"] for item in order["items"]]
        found = await partner.get("/api/esim/event", referenceId="two")
        assert ([one["esimId"] for one in found] if kind == "list" else [found["esimId"]]) == (
            ids if kind == "list" else ids[:1]
        )
        assert (await partner.get("/api/esim/event", esimId=ids[1]))["esimId"] == ids[1]


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


async def test_usage_can_be_in_smaller_units():
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
