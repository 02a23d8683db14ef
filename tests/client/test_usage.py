"""Usage of an eSIM, in all date formats."""

import datetime as dt
import json
from decimal import Decimal

import pytest
from support.servers import Raw, answer, answering

from roamify_async import (
    AsyncRoamify,
    BadRequestError,
    DataUsage,
    DecodeError,
    HistoryItem,
    NotFoundError,
    Usage,
    UsageNotSupportedError,
)
from roamify_async._serde.converter import structure
from roamify_async.sandbox import Sandbox

DAY = dt.date(2025, 1, 2)


@pytest.mark.parametrize(
    ("text", "day"),
    [
        ("20250102", DAY),
        ("2025-01-02", DAY),
        (20250102, DAY),
        ("2025-01-02T23:59:59Z", DAY),
        ("2025-01-02 10:00:00", DAY),
        ("2024-02-29", dt.date(2024, 2, 29)),
        ("", None),
        (None, None),
    ],
)
def test_dates(text, day):
    """Both documented date formats are read, and dates with a time."""
    assert structure({"date": text}, DataUsage) == DataUsage(date=day)


@pytest.mark.parametrize(
    "text",
    [
        "2/1/2025",
        "2025-1-2",
        "202501",
        "2025-0102",
        "20251302",
        "2025010203",
        "2025-01-023",
        "1735776000",
        "x",
        True,
        [],
        1.5,
    ],
)
def test_invalid_dates(text):
    """Other text is refused, and not read as another day."""
    with pytest.raises(ValueError, match=r"^\$\.date: (a date|text) expected, not"):
        structure({"date": text}, DataUsage)


async def test_details(opened):
    """The details extend the usage by the usage of each day."""
    data = {
        "iccid": "89",
        "allowedData": 2**53 - 1,
        "dataUsages": [{"date": "20250102", "usage": 0.10, "location": None}],
    }
    async with Raw(answering(answer(json.dumps({"status": "success", "data": data})))) as server:
        client = await opened(server.url)
        details = await client.esims.usage_details("89")
        assert isinstance(details, Usage)
        assert (details.iccid, details.allowed_data) == ("89", None)
        assert details.data_usages == (DataUsage(date=DAY, usage=Decimal("0.10")),)
        assert [request.line for request in server.requests] == ["GET /api/esim/usage/details?iccid=89 HTTP/1.1"]


async def test_invalid_details():
    """A date that cannot be read is named with its path."""
    body = '{"data": {"dataUsages": [{"date": "20250102"}, {"date": "soon"}]}}'
    async with (
        Raw(answering(answer(body))) as server,
        AsyncRoamify("secret-token", base_url=server.url) as client,
    ):
        with pytest.raises(DecodeError) as caught:
            await client.esims.usage_details("89")
        assert caught.value.problems == ('$.data.dataUsages[1].date: a date expected, not "soon"',)


@pytest.mark.parametrize("dates", ["YYYYMMDD", "YYYY-MM-DD"])
async def test_usage_by_day(opened, dates):
    """The usage by day adds up with what is left, in either date format."""
    async with Sandbox(packages=300, usage_dates=dates) as sandbox:
        client = await opened(sandbox.url, sandbox.token)
        (esim,) = await client.esims.buy("esim-greece-30days-1gb-all")
        assert (await client.esims.usage_details(esim.iccid)).data_usages == ()
        await client.request("POST", "/_sandbox/esims", json={"iccid": esim.iccid, "usedData": 100})
        usage, details = await client.esims.usage(esim.iccid), await client.esims.usage_details(esim.iccid)
        (day,) = details.data_usages
        assert abs(day.date - dt.datetime.now(dt.UTC).date()) <= dt.timedelta(days=1)
        assert day.location == "Greece"
        assert (details.allowed_data - details.remaining_data, details.remaining_data) == (100, usage.remaining_data)
        history = await client.esims.history(esim.iccid)
        assert [(item.esim_id, item.package_id) for item in history] == [(esim.id, "esim-greece-30days-1gb-all")]
        assert all(isinstance(item, HistoryItem) for item in history)


async def test_package_without_a_usage_check(either, sandbox):
    """A refusal of an eSIM whose package has no usage check says so, with the notes of the eSIM."""
    package = sandbox.kinds["no_usage_check"][0]
    (esim,) = await either.esims.buy(package, start_date="2027-07-01")
    for call in (either.esims.usage, either.esims.usage_details):
        with pytest.raises(UsageNotSupportedError, match="has no usage check") as caught:
            await call(esim.iccid)
        assert (caught.value.status, caught.value.sent, caught.value.notes) == (400, "answered", esim.notes)
        assert isinstance(caught.value, BadRequestError)


async def test_other_refusals_of_usage(either, sandbox):
    """Another refusal stays what it is, also if the eSIM cannot be read."""
    (esim,) = await either.esims.buy("esim-greece-30days-1gb-all")
    for status in ("400", "404"):
        sandbox.fail("GET", "/api/esim/usage", status)
        with pytest.raises((BadRequestError, NotFoundError)) as caught:
            await either.esims.usage(esim.iccid)
        assert not isinstance(caught.value, UsageNotSupportedError)
    with pytest.raises(NotFoundError):
        await either.esims.usage("8944500102198304826")
