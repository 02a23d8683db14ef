"""The endpoints of exchange rates."""

import pytest
from support.partner import partner_of

PATH = "/api/rates"
EURO = {"source": "USD", "target": "EUR"}


async def rates(partner, **query: str):
    """Read rates."""
    return (await partner.call("GET", PATH, params=query))["data"]


async def test_there_are_more_than_a_hundred_currencies(partner):
    """Each has a code of three letters of its own and a name, and can be a target."""
    currencies = (await partner.get("/api/currencies"))["data"]
    codes = [currency["code"] for currency in currencies]
    assert len(set(codes)) == len(codes) > 100
    assert all(len(code) == 3 and code.isupper() for code in codes)
    assert all(currency["name"] for currency in currencies)
    assert [rate["target"] for rate in await rates(partner, source="USD")] == codes


async def test_a_rate_at_a_moment_is_always_the_same(partner):
    """It has the four fields; the way back is its inverse; every source agrees."""
    at = {"datetime": "2026-07-01T00:00:00Z"}
    [rate] = await rates(partner, **EURO, **at)
    assert rate.keys() == {"rate", "source", "target", "time"}
    assert (rate["source"], rate["target"], rate["time"]) == ("USD", "EUR", at["datetime"])
    assert await rates(partner, **EURO, **at) == [rate]
    async with partner_of(seed=5) as other:
        assert await rates(other, **EURO, **at) == [rate]
    [back] = await rates(partner, source="EUR", target="USD", **at)
    assert float(rate["rate"] * back["rate"]) == pytest.approx(1, rel=1e-5)
    [same] = await rates(partner, source="EUR", target="EUR", **at)
    assert same["rate"] == 1


async def test_no_target_is_every_one_and_no_source_the_dollar(partner):
    """Without parameters, the current rates of all currencies in US dollars are returned."""
    everything = await rates(partner)
    assert len(everything) > 100
    assert {rate["source"] for rate in everything} == {"USD"}
    assert len({rate["time"] for rate in everything}) == 1
    assert [rate["source"] for rate in await rates(partner, target="EUR")] == ["USD"]


HISTORIES = [
    ("day", "2026-07-08T12:00:00Z", 8),
    ("hour", "2026-07-02T00:00:00Z", 25),
    ("minute", "2026-07-01T00:00:00Z", 1),
]


async def test_a_history_has_a_rate_for_each_step(partner):
    """From the first moment on to the last, both included, the oldest first."""
    for interval, to, count in HISTORIES:
        span = {"from": "2026-07-01T00:00:00Z", "to": to, "interval": interval}
        history = await rates(partner, **EURO, **span)
        times = [rate["time"] for rate in history]
        assert (len(times), times[0], times) == (count, span["from"], sorted(times))
        assert history[0] == (await rates(partner, **EURO, datetime=span["from"]))[0]
        if count > 1:
            assert len({rate["rate"] for rate in history}) > 1


DAY = {"from": "2026-07-01T00:00:00Z", "to": "2026-07-02T00:00:00Z", "interval": "day"}


INVALID_QUERIES = [
    ({"datetime": DAY["from"], "from": DAY["from"]}, "conflict"),
    ({"datetime": DAY["from"], "to": DAY["from"]}, "conflict"),
    ({"datetime": DAY["from"], "interval": "day"}, "conflict"),
    ({"datetime": DAY["from"], **DAY}, "conflict"),
    ({"from": DAY["from"]}, "required peers"),
    ({"from": DAY["from"], "to": DAY["to"]}, "required peers"),
    ({"interval": "day"}, "required peers"),
    ({**DAY, "interval": "week"}, "one of"),
    ({**DAY, "to": "2026-06-30T00:00:00Z"}, "greater than"),
    ({"datetime": "yesterday"}, "ISO 8601"),
    ({"datetime": "0001-01-01T00:00:00+14:00"}, "ISO 8601"),
    ({"datetime": "\u0662\u0660\u0662\u0666-\u0660\u0667-\u0660\u0661T00:00:00Z"}, "ISO 8601"),
    ({"amount": "5"}, "not allowed"),
    ({"source": ""}, "empty"),
]


async def test_what_does_not_go_together_is_400(partner):
    """A moment excludes a history, which has all its three parts; each text must be what it says."""
    for query, said in INVALID_QUERIES:
        assert said in (await partner.call("GET", PATH, params=query, status=400))["error"]


async def test_unknown_currencies_and_endless_histories_are_400(partner):
    """They are well formed and cannot be served."""
    assert "source" in (await partner.get(PATH, status=400, source="XXX"))["message"]
    assert "target" in (await partner.get(PATH, status=400, target="usd"))["message"]
    span = {"from": "0001-01-01T00:00:00Z", "to": "9999-12-31T23:59:59Z", "interval": "minute"}
    assert "fewer" in (await partner.call("GET", PATH, params=EURO | span, status=400))["message"]


async def test_both_shapes_and_both_readings_of_the_pair():
    """Without envelope the lists are bare; a sandbox can insist on source and target."""
    async with partner_of(rates_envelope=False, rates_need_pair=True) as partner:
        assert (await partner.get("/api/currencies"))[0].keys() == {"code", "name"}
        assert (await partner.get(PATH, **EURO))[0]["target"] == "EUR"
        assert await partner.get(PATH, status=400) == {"error": '"source" is required'}
        assert await partner.get(PATH, status=400, source="USD") == {"error": '"target" is required'}


CORRUPTIONS = ["missing_field", "null_field", "wrong_type", "extra_field"]


async def test_a_response_without_envelope_can_be_corrupted():
    """A fault that spoils a field finds it in an answer without envelope."""
    for fault in CORRUPTIONS:
        async with partner_of(rates_envelope=False) as partner:
            query = EURO | {"datetime": DAY["from"]}
            right = await partner.call("GET", PATH, params=query)
            partner.sandbox.fail("GET", PATH, fault)
            assert await partner.call("GET", PATH, params=query) != right
