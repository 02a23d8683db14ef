"""Exchange rates: which parameters go together, and responses that are returned as parsed."""

import json
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any

import pytest
from support.servers import Raw, answer, answering

from roamify_async import AsyncRoamify, BadRequestError, DecodeError
from roamify_async._serde.envelope import encode
from roamify_async.models.rates import GetRates
from roamify_async.sandbox import Sandbox

NOON = datetime(2026, 1, 2, 12, tzinfo=UTC)
LATER = NOON + timedelta(days=3)


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ({}, ""),
        ({"source": "USD"}, "source=USD"),
        ({"source": "USD", "target": "EUR"}, "source=USD&target=EUR"),
        ({"datetime": NOON}, "datetime=2026-01-02T12%3A00%3A00Z"),
        ({"datetime": NOON.astimezone(timezone(timedelta(hours=5, minutes=30)))}, "datetime=2026-01-02T12%3A00%3A00Z"),
        ({"start": NOON, "end": LATER}, "from=2026-01-02T12%3A00%3A00Z&to=2026-01-05T12%3A00%3A00Z"),
        (
            {"start": NOON, "end": LATER, "interval": "minute"},
            "from=2026-01-02T12%3A00%3A00Z&to=2026-01-05T12%3A00%3A00Z&interval=minute",
        ),
    ],
)
def test_queries(arguments, query):
    """Times are sent in UTC, without parameters that are not set."""
    assert encode(GetRates(**arguments), "GET", "/api/rates").query == query


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ({"datetime": NOON, "start": NOON, "end": LATER}, "datetime and start and end given"),
        ({"datetime": NOON, "interval": "day"}, "datetime and interval given"),
        ({"start": NOON}, "only start given"),
        ({"end": NOON, "interval": "day"}, "only end and interval given"),
        ({"interval": "day"}, "only interval given"),
        ({"start": NOON, "end": LATER, "interval": "week"}, "interval must be one of day, hour, minute"),
        ({"datetime": datetime(2026, 1, 2)}, "datetime must have a time zone"),  # noqa: DTZ001
        ({"start": NOON, "end": datetime(2026, 1, 2)}, "end must have a time zone"),  # noqa: DTZ001
        ({"source": ""}, "source must not be empty"),
    ],
)
async def test_contradictions(arguments, problem):
    """Parameters that the API would refuse are refused before anything is sent."""
    async with Raw(answering(answer("[]"))) as server, AsyncRoamify("secret-token", base_url=server.url) as client:
        with pytest.raises(ValueError, match=problem):
            await client.rates.get(**arguments)
        assert server.connections == 0


@pytest.mark.parametrize("value", ["2026-01-02T00:00:00Z", date(2026, 1, 2), 1767312000])
def test_invalid_times(value):
    """A time must be a ``datetime``."""
    with pytest.raises(TypeError, match="datetime must be a datetime with a time zone"):
        GetRates(datetime=value)


@pytest.mark.parametrize(
    "body",
    [
        '[{"rate": 0.85149}]',
        '{"status": "success", "data": {"rates": [0.1]}}',
        '{"EUR": 0.10000000000000001}',
        "[]",
        "1.10",
    ],
)
async def test_responses(opened, body):
    """An undocumented response is returned as parsed, with exact numbers."""
    async with Raw(answering(answer(body))) as server:
        client = await opened(server.url)
        exact = json.loads(body, parse_float=Decimal)
        assert await client.rates.get(source="USD", target="EUR") == exact
        assert await client.rates.currencies() == exact
        assert [request.line.split(" ")[1] for request in server.requests] == [
            "/api/rates?source=USD&target=EUR",
            "/api/currencies",
        ]


async def test_not_json(opened):
    """A response that is not JSON is requested again, and is then an error."""
    async with Raw(answering(answer("<html>"), answer("[1]"), answer("<html>"))) as server:
        client = await opened(server.url)
        assert await client.rates.currencies() == [1]
        with pytest.raises(DecodeError):
            await client.rates.get()
        assert len(server.requests) == 7


@pytest.mark.parametrize("envelope", [True, False])
async def test_history(opened, envelope):
    """Current and past rates are returned as the server sends them, with or without an envelope."""
    async with Sandbox(packages=300, rates_envelope=envelope) as sandbox:
        client = await opened(sandbox.url, sandbox.token)

        async def get(**arguments: Any) -> Any:
            rates = await client.rates.get(source="USD", target="EUR", **arguments)
            return rates["data"] if envelope else rates

        (now,), (then,) = await get(), await get(datetime=NOON)
        assert isinstance(now["rate"], Decimal)
        assert then["time"] == "2026-01-02T12:00:00Z"
        days = await get(start=NOON, end=LATER, interval="day")
        assert [day["time"][:10] for day in days] == ["2026-01-02", "2026-01-03", "2026-01-04", "2026-01-05"]
        assert days[0]["rate"] == then["rate"]
        with pytest.raises(BadRequestError):
            await client.rates.get(source="XXX", target="EUR")
        currencies = await client.rates.currencies()
        assert "EUR" in {currency["code"] for currency in (currencies["data"] if envelope else currencies)}


def test_end_before_start():
    """An end before the start is refused."""
    with pytest.raises(ValueError, match="end must not be before start"):
        GetRates(start=datetime(2027, 7, 2, tzinfo=UTC), end=datetime(2027, 7, 1, tzinfo=UTC), interval="day")
