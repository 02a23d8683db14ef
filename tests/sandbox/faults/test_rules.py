"""Fault rules: which requests are hit, when and how often."""

import aiohttp
import pytest

from roamify_async.sandbox import Sandbox

BALANCE = "/api/balance"


async def test_times_path_and_method_choose_the_requests(sandbox, session):
    """A fault hits its method and path as often as it says, and then no more; the earliest that fits goes first."""

    async def status(path):
        async with session.get(path) as response:
            return response.status

    sandbox.fail("GET", BALANCE, "503", times=2)
    sandbox.fail("POST", "/api/esim/apply", "500")
    sandbox.fail("*", "*", "502")
    assert [await status(BALANCE) for _ in range(4)] == [503, 503, 502, 200]
    async with session.post("/api/esim/apply") as response:
        assert response.status == 500
    assert sandbox.state()["requests"] == {f"GET {BALANCE}": 4, "POST /api/esim/apply": 1}


async def test_a_query_chooses_the_requests(sandbox, session):
    """A fault with a query hits only requests that have each of its pairs, whatever else they ask for."""
    packages = "/api/esim/packages"

    async def status(query):
        async with session.get(f"{packages}?{query}") as response:
            return response.status

    sandbox.fail("GET", packages, "503", query={"page": "9", "days": "7"}, times=2)
    others = ["", "page=9", "days=7", "page=7&days=9", "page=19&days=7", "page=9&days="]
    assert 503 not in [await status(query) for query in others]
    assert [await status("page=9&days=7"), await status("days=7&gbs=1&page=9"), await status("page=9&days=7")] == [
        503, 503, 200,
    ]  # fmt: skip
    scripted = {"fault": "500", "path": packages, "query": {"days": "1"}}
    async with session.post("/_sandbox/faults", json=scripted) as response:
        assert (await response.json())["faults"][0]["query"] == {"days": "1"}
    assert [await status("days=2"), await status("days=1")] == [200, 500]


async def test_times_can_be_for_ever(sandbox, session):
    """Null times never run out."""
    async with session.post("/_sandbox/faults", json={"fault": "500", "path": BALANCE, "times": None}) as response:
        assert (await response.json())["faults"][0]["times"] is None
    for _ in range(3):
        async with session.get(BALANCE) as response:
            assert response.status == 500


async def test_probability_is_a_share(sandbox, session):
    """A probability of one half hits some of the requests, zero none."""
    sandbox.fail("GET", BALANCE, "500", times=1000, probability=0.5)
    assert set(await statuses(session)) == {200, 500}
    sandbox.reset()
    sandbox.fail("GET", BALANCE, "500", probability=0)
    assert set(await statuses(session)) == {200}


async def statuses(session, *, between=()):
    """Ask for the balance again and again, and for other things between."""
    seen = []
    for _ in range(40):
        async with session.get(BALANCE) as response:
            seen.append(response.status)
        for path in between:
            async with session.get(path):
                pass
    return seen


async def test_a_probability_depends_on_the_seed_and_the_matching_requests_only():
    """The same seed hits the same requests, whatever others come between and after a reset; another seed others."""
    half = {"method": "GET", "path": BALANCE, "fault": "500", "times": None, "probability": 0.5}
    rare = {**half, "path": "/api/esim/countries", "probability": 0.1}

    async def hits(seed, *faults: dict[str, object], between=(), reset=False):
        async with Sandbox(packages=100, seed=seed, faults=faults) as sandbox:
            headers = {"Authorization": f"Bearer {sandbox.token}"}
            async with aiohttp.ClientSession(sandbox.url, headers=headers) as session:
                seen = await statuses(session, between=between)
                if reset:
                    sandbox.reset()
                    seen = await statuses(session)
                return seen

    first = await hits(1, half)
    assert first == await hits(1, half)
    assert first == await hits(1, half, rare, between=["/api/esim/countries", "/api/health"])
    assert first == await hits(1, half, reset=True)
    assert first != await hits(2, half)
    assert first != await hits(1, rare, half)


async def test_a_sandbox_can_start_with_faults():
    """The first request meets them; a reset scripts them again, and clearing leaves none."""
    given = [{"fault": "500", "path": BALANCE}, {"fault": "502", "path": BALANCE}]
    async with Sandbox(packages=100, faults=given) as sandbox, aiohttp.ClientSession(sandbox.url) as session:
        assert (await statuses(session))[:3] == [500, 502, 401]
        sandbox.reset()
        assert (await statuses(session))[:3] == [500, 502, 401]
        sandbox.reset()
        async with session.delete("/_sandbox/faults") as response:
            assert await response.json() == {"faults": []}
        assert (await statuses(session))[:1] == [401]


def test_a_fault_of_a_wrong_name_is_a_value_error():
    """The method refuses what the control API refuses."""
    with Sandbox(packages=20) as sandbox, pytest.raises(ValueError, match="fault must be one of drop"):
        sandbox.fail("GET", BALANCE, "explode")
