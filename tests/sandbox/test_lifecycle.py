"""The clock of the sandbox, and the lifecycle of eSIMs as it advances.

The system clock is frozen in these tests, so that each time is exact.
"""

import json
import time
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from support.partner import partner_of
from support.servers import Raw, answer, answering

from roamify_async.sandbox import Sandbox

PLAIN, WEEK = "esim-greece-30days-1gb-all", "esim-greece-7days-1gb-all"
CLOCK, ORDER, INSTANT = "/_sandbox/clock", "/api/esim/order", "/api/esim/order/instant"
NOW = 1_800_000_000  # 2027-01-15 08:00:00 UTC
HOUR, DAY = 3_600, 86_400


@pytest.fixture(autouse=True)
def frozen(monkeypatch):
    """Freeze the system clock; return a function that sets it ahead."""
    monkeypatch.setattr(time, "time", lambda: float(NOW))
    return lambda seconds: monkeypatch.setattr(time, "time", lambda: float(NOW + seconds))


async def bought(partner, package_id=PLAIN, quantity=1):
    """Buy eSIMs with their profiles; return the first."""
    return (await partner.buy(package_id, path=INSTANT, quantity=quantity))["data"]["esims"][0]


async def look(partner, esim):
    """Read status and usage of an eSIM: status, megabytes left, seconds from now of start and end."""
    usage = (await partner.get("/api/esim/usage", iccid=esim["iccid"]))["data"]
    return usage["status"], usage["remainingData"], usage["startedAt"] - NOW, usage["expiredAt"] - NOW


async def life(partner, esim):
    """Read the events of an eSIM, each with its seconds from now."""
    events = (await partner.get("/api/esim/event", esimId=esim["id"]))["events"]
    return [(event["status"], event["timeStamp"] - NOW) for event in events]


async def test_the_clock_is_read_and_advanced(partner):
    """It starts at the system time; an advance is added to it, and orders are dated by it."""
    assert await partner.get(CLOCK) == {"now": NOW, "time": "2027-01-15T08:00:00Z", "ahead": 0}
    moved = await partner.post(CLOCK, {"advance": "4h"})
    assert moved == {"now": NOW + 4 * HOUR, "time": "2027-01-15T12:00:00Z", "ahead": 4 * HOUR}
    assert (await partner.buy(PLAIN))["data"]["createdAt"] == NOW + 4 * HOUR
    partner.sandbox.reset()
    assert (await partner.get(CLOCK))["ahead"] == 0


@pytest.mark.parametrize(
    ("by", "seconds"),
    [(90, 90), (0, 0), (0.5, 0.5), ("90s", 90), ("15m", 900), ("4h", 4 * HOUR), ("30d", 30 * DAY)],
)
async def test_a_span_is_seconds_or_a_text(by, seconds):
    """The same over HTTP and in Python, where it may be a timedelta as well."""
    async with partner_of(packages=20) as partner:
        assert (await partner.post(CLOCK, {"advance": by}))["now"] == int(NOW + seconds)
        partner.sandbox.advance(by)
        partner.sandbox.advance(timedelta(seconds=seconds))
        assert (await partner.get(CLOCK))["ahead"] == int(3 * seconds)


INVALID_DURATIONS = [-1, "4 h", "h", "", "-4h", "4w", True, None, [], "99999d", float("inf")]


async def test_time_goes_forward_only_and_not_too_far():
    """Any other duration is refused, and the clock is unchanged."""
    for by in INVALID_DURATIONS:
        async with partner_of(packages=20) as partner:
            body = json.dumps({"advance": by}).encode()
            assert "advance must be" in (await partner.call("POST", CLOCK, data=body, status=400))["message"]
            with pytest.raises(ValueError, match="advance must be"):
                partner.sandbox.advance(by)
            assert (await partner.get(CLOCK))["ahead"] == 0


async def test_an_esim_is_installed_used_and_expires(partner):
    """An hour after it was applied it is installed, an hour later first used, and it ends with its days."""
    esim = await bought(partner)
    partner.sandbox.advance(HOUR - 1)
    assert await life(partner, esim) == [("NEW", 0)]
    partner.sandbox.advance(1)
    assert await look(partner, esim) == ("INSTALLED", 1024, HOUR, HOUR + 30 * DAY)
    partner.sandbox.advance("1h")
    assert await look(partner, esim) == ("INSTALLED", 1023, HOUR, HOUR + 30 * DAY)
    partner.sandbox.advance("12d")
    assert (await look(partner, esim))[1] == 1023 - 1024 // 2
    partner.sandbox.advance("12d")
    assert (await look(partner, esim))[:2] == ("INSTALLED", 0)
    partner.sandbox.advance(6 * DAY - HOUR - 1)
    assert (await look(partner, esim))[0] == "INSTALLED"
    partner.sandbox.advance(1)
    assert (await look(partner, esim))[:2] == ("EXPIRED", 0)
    partner.sandbox.advance("400d")
    assert await life(partner, esim) == [
        ("NEW", 0), ("DOWNLOADED", HOUR), ("INSTALLED", HOUR), ("ACTIVATED", 2 * HOUR),
        ("INACTIVE", HOUR + 30 * DAY),
    ]  # fmt: skip


@pytest.mark.parametrize("steps", [1, 7, 40 * 24])
async def test_the_steps_make_no_difference(steps):
    """Moved at once, in a few steps or hour by hour: the same days with the same usage, the same events."""
    async with Raw(answering(answer())) as receiver, partner_of(webhook_url=receiver.url, packages=100) as partner:
        esim = await bought(partner, WEEK)
        for _ in range(steps):
            partner.sandbox.advance(40 * DAY / steps)
        await partner.sandbox.delivered()
        days = (await partner.get("/api/esim/usage/details", iccid=esim["iccid"]))["data"]["dataUsages"]
        assert [(day["date"], day["usage"]) for day in days] == [
            ("20270115", 100), ("20270116", 182), ("20270117", 183), ("20270118", 183), ("20270119", 183),
            ("20270120", 183), ("20270121", 10),
        ]  # fmt: skip
        assert len(await life(partner, esim)) == 5
        assert len(receiver.requests) == 3 + 45


async def test_usage_events_are_sent_every_four_hours_and_at_each_mark():
    """From the first use to the end, counted from the first use; the marks are 25, 50, 75, 90 and 100 percent."""
    async with Raw(answering(answer())) as receiver, partner_of(webhook_url=receiver.url) as partner:
        await bought(partner, WEEK)
        partner.sandbox.advance("9d")
        await partner.sandbox.delivered()
        events = [json.loads(request.body) for request in receiver.requests]
        statuses = [event["data"] for event in events if event["event_type"] == "status"]
        assert [(data["status"], data["timestamp"] - NOW) for data in statuses] == [
            ("INSTALLED", HOUR), ("ACTIVATED", 2 * HOUR), ("EXPIRED", HOUR + 7 * DAY),
        ]  # fmt: skip
        used = [event["data"] for event in events if event["event_type"] == "usage"]
        hours = [(data["timestamp"] - NOW) / HOUR - 2 for data in used]
        # 1 MB at once, and 1024 MB in four fifths of 168 hours: 256, 512, 768, 921.6 and 1024 MB are passed at
        marks = {34, 68, 101, 121, 135}
        assert hours == sorted({*range(4, 168, 4)} | marks)
        assert used[hours.index(34)]["usage_data"]["remaining_data"] == 1024 - 1 - 34 * 1024 * 5 // (168 * 4)
        assert used[hours.index(135)]["usage_data"]["remaining_data"] == 0
        assert [sum(day["data_used"] for day in data["usage_list"]) for data in used] == [
            1024 - data["usage_data"]["remaining_data"] for data in used
        ]


async def test_unlimited_data_is_used_at_one_pace_and_has_no_marks():
    """A gigabyte a day, with an event every four hours."""
    async with Raw(answering(answer())) as receiver, partner_of(webhook_url=receiver.url) as partner:
        await bought(partner, partner.kind("unlimited"))
        partner.sandbox.advance("50h")
        await partner.sandbox.delivered()
        *_, last = used = [json.loads(request.body)["data"] for request in receiver.requests][2:]
        assert [data["timestamp"] - NOW for data in used] == [(2 + hour) * HOUR for hour in range(4, 49, 4)]
        assert last["usage_data"]["isUnlimited"] is True
        assert sum(day["data_used"] for day in last["usage_list"]) == 1 + 2 * 1024


async def test_an_esim_without_usage_check_has_no_usage_events():
    """It has the same lifecycle, but only status events."""
    async with Raw(answering(answer())) as receiver, partner_of(webhook_url=receiver.url) as partner:
        await bought(partner, partner.kind("no_usage_check"))
        partner.sandbox.advance("400d")
        await partner.sandbox.delivered()
        words = [json.loads(request.body)["data"]["status"] for request in receiver.requests]
        assert words == ["INSTALLED", "ACTIVATED", "EXPIRED"]
        assert partner.sandbox.state()["esims"][0]["usedData"] > 0


async def test_a_travel_date_is_waited_for(partner):
    """An eSIM with a start date is installed when that day begins."""
    esim = await partner.applied(partner.kind("travel_date"), startDate="2027-02-01")
    begins = int(datetime(2027, 2, 1, tzinfo=UTC).timestamp())
    partner.sandbox.advance(begins - NOW - 1)
    assert (await partner.get("/api/esim", esimId=esim["id"]))["data"]["status"] == "READY"
    partner.sandbox.advance(1)
    assert (await life(partner, esim))[-1] == ("INSTALLED", begins - NOW)


async def test_only_an_esim_with_a_profile_is_simulated(partner):
    """One that was never applied stays new, and one that is revoked stays so."""
    await partner.buy(PLAIN)
    revoked = await partner.applied(PLAIN)
    await partner.post("/_sandbox/esims", {"esimId": revoked["id"], "status": "REVOKED"})
    partner.sandbox.advance("100d")
    assert [esim["status"] for esim in partner.sandbox.state()["esims"]] == ["NEW", "REVOKED"]


async def test_a_top_up_extends_the_validity(partner):
    """Data and days of both packages count."""
    esim = await bought(partner)
    partner.sandbox.advance("25d")
    assert (await look(partner, esim))[1] == 0
    await partner.post("/api/esim/order/topup", {"iccid": esim["iccid"], "packageId": PLAIN})
    assert (await look(partner, esim))[1] == 1024
    partner.sandbox.advance("10d")
    status, left, *_ = await look(partner, esim)
    assert status == "INSTALLED"
    assert 0 < left < 1024
    partner.sandbox.advance("26d")
    assert (await look(partner, esim))[0] == "EXPIRED"


async def test_what_was_used_by_hand_counts(partner):
    """Data that a test lets an eSIM use is gone when time goes by, and was its first use."""
    esim = await bought(partner)
    await partner.post("/_sandbox/esims", {"esimId": esim["id"], "usedData": 1000})
    partner.sandbox.advance("4h")
    assert (await look(partner, esim))[:3] == ("INSTALLED", 1024 - 1000 - 4 * 1024 * 5 // (720 * 4), 0)
    assert [status for status, _ in await life(partner, esim)].count("ACTIVATED") == 1


async def test_without_an_advance_no_esim_changes(partner, frozen):
    """As this machine's time goes by, eSIMs stay as they are; the next advance makes up for it."""
    esim = await bought(partner)
    frozen(DAY)
    assert (await partner.get("/api/esim", esimId=esim["id"]))["data"]["status"] == "READY"
    partner.sandbox.advance(0)
    assert (await life(partner, esim))[-1] == ("ACTIVATED", 2 * HOUR)


async def lose(partner, fault, seconds=3 * HOUR):
    """Order eSIMs whose response is lost."""
    partner.sandbox.fail("POST", INSTANT, fault, seconds=seconds)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await bought(partner)


async def test_a_late_booking_comes_with_its_time():
    """It is booked at its time within the advance, with balance events, and its eSIM is simulated from then on."""
    async with (
        Raw(answering(answer())) as receiver,
        partner_of(webhook_url=receiver.url, balance="2.00", low_balance="1.00") as partner,
    ):
        await lose(partner, "book_late")
        partner.sandbox.advance("2h")
        assert partner.sandbox.state()["orders"] == []
        partner.sandbox.advance("3h")
        [esim] = (await partner.get("/api/esims"))["data"]
        assert (esim["createdAt"] - NOW, esim["status"]) == (3 * HOUR, "INSTALLED")
        await partner.sandbox.delivered()
        events = [json.loads(request.body)["data"] for request in receiver.requests]
        assert [(event["timestamp"] - NOW) // HOUR for event in events] == [3, 3, 3, 4, 5]


async def test_what_is_hidden_or_pending_shows_with_its_time(partner):
    """Moved forward, the clock uncovers a hidden order and readies a profile that is made slowly."""
    await lose(partner, "book_but_hide")
    assert (await partner.get("/api/esims"))["data"] == []
    partner.sandbox.advance("3h")
    assert len((await partner.get("/api/esims"))["data"]) == 1
    order = await partner.buy(PLAIN)
    name = {"esimId": order["data"]["items"][0]["esimId"]}
    partner.sandbox.fail("POST", "/api/esim/apply", "pending", when="after", seconds=60)
    await partner.post("/api/esim/apply", name, status=500)
    assert (await partner.get("/api/esim", **name))["data"]["iccid"] == ""
    partner.sandbox.advance("60s")
    assert (await partner.get("/api/esim", **name))["data"]["status"] == "READY"


async def test_a_file_keeps_the_time_and_the_lives(tmp_path):
    """A second sandbox on the file is as far ahead, and eSIMs go on where they were."""
    options = {"db": tmp_path / "sandbox.db"}
    async with partner_of(**options) as partner:
        esim = await bought(partner)
        partner.sandbox.advance("3d")
        kept = await look(partner, esim)
    async with partner_of(**options) as partner:
        assert (await partner.get(CLOCK))["ahead"] == 3 * DAY
        assert await look(partner, esim) == kept
        partner.sandbox.advance("9d")
        assert (await look(partner, esim))[1] == 1023 - 1024 * (12 * 24 - 2) * 5 // (720 * 4)
        partner.sandbox.reset()
    async with partner_of(**options) as partner:
        assert (await partner.get(CLOCK))["ahead"] == 0


async def test_an_advance_that_fails_changes_nothing(partner, monkeypatch):
    """Clock and eSIMs are unchanged; the next advance does everything."""
    esim = await bought(partner)
    store = partner.sandbox._running().store

    def broken(*_: object):
        raise OSError("disk full")

    with monkeypatch.context() as patch:
        patch.setattr(store, "use", broken)
        with pytest.raises(OSError, match="disk full"):
            partner.sandbox.advance("3d")
    assert (await partner.get(CLOCK))["ahead"] == 0
    assert await life(partner, esim) == [("NEW", 0)]
    partner.sandbox.advance("3d")
    assert (await life(partner, esim))[-1] == ("ACTIVATED", 2 * HOUR)


def test_the_blocking_form_advances_from_its_own_thread():
    """Time is moved for the server in the other thread."""
    with Sandbox(packages=20) as sandbox:
        sandbox.advance("1d")
        assert sandbox._running().now() == NOW + DAY
    with pytest.raises(RuntimeError, match="not running"):
        sandbox.advance("1d")
