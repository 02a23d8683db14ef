"""The sandbox's faults and control plane: what is scripted happens, and the server's own count proves it."""

import asyncio
import json
import logging
import time
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from roamify_async.sandbox import Sandbox
from roamify_async.sandbox.faults.rules import FAULTS

ORDER = "/api/esim/order"
BALANCE = "/api/balance"
PLAIN = "esim-greece-30days-1gb-all"
BODY = {"items": [{"packageId": PLAIN, "quantity": 1}]}


@pytest.fixture
async def sandbox():
    """Run a small sandbox for one test."""
    async with Sandbox(packages=100) as running:
        yield running


@pytest.fixture
async def session(sandbox):
    """Open a client that knows the token and never reuses a connection, so that it never repeats a request."""
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(sandbox.url, headers=headers, connector=connector) as opened:
        yield opened


async def order(session):
    """Order one eSIM; give status, headers and text."""
    async with session.post(ORDER, json=BODY, allow_redirects=False) as response:
        return response.status, response.headers, await response.text()


def booked(sandbox):
    """Count the orders, and insist that each was asked for and paid."""
    state = sandbox.state()
    assert (state["balance"] == "1000.00") == (not state["orders"])
    assert state["requests"] == {f"POST {ORDER}": 1}
    return len(state["orders"])


CUTS = {"drop": aiohttp.ServerDisconnectedError, "reset": aiohttp.ClientPayloadError}
ERRORS = ["pending", *sorted(name for name in FAULTS if name[:3].isdecimal())]


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", sorted(CUTS))
async def test_a_cut_connection_books_only_after(sandbox, session, fault, when):
    """Whether the answer is lost whole or by half, the order stands if the fault came after it."""
    sandbox.fail("POST", ORDER, fault, when=when)
    with pytest.raises(CUTS[fault]):
        await order(session)
    assert booked(sandbox) == (when == "after")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", ERRORS)
async def test_an_error_books_only_after(sandbox, session, fault, when):
    """Each error has its status and shape, and hides a booked order if it came after it."""
    sandbox.fail("POST", ORDER, fault, when=when)
    status, headers, text = await order(session)
    assert status == (500 if fault == "pending" else int(fault[:3]))
    assert headers["Server"] == "cloudflare"
    if fault.endswith("_html") or fault[:2] in {"30", "52"}:
        assert headers["Content-Type"].startswith("text/html")
        assert f"<h1>Error {status}</h1>" in text
    elif fault.endswith("_empty"):
        assert text == ""
    else:
        body = json.loads(text)
        assert body == {"message": body["message"], "status": "failed"}
    assert ("Retry-After" in headers) == (fault in {"429", "429_date", "503_date"})
    assert ("Location" in headers) == (fault in {"301", "302"})
    assert booked(sandbox) == (when == "after")


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("fault", ["truncated", "garbled"])
async def test_a_broken_body_is_no_json(sandbox, session, fault, when):
    """The answer is whole HTTP of status 200, and its body no JSON."""
    sandbox.fail("POST", ORDER, fault, when=when)
    status, headers, text = await order(session)
    assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
    with pytest.raises(ValueError, match=r"line 1"):
        json.loads(text)
    assert booked(sandbox) == (when == "after")


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_slow_answer_comes_in_the_end(sandbox, session, when):
    """A slow answer takes its seconds and is the true one."""
    sandbox.fail("POST", ORDER, "slow", when=when, seconds=0.05)
    began = time.perf_counter()
    status, _, text = await order(session)
    assert time.perf_counter() - began >= 0.05
    assert (status, json.loads(text)["status"]) == (200, "success")
    assert booked(sandbox) == 1


async def test_a_slow_answer_after_has_booked_already(sandbox, session):
    """While the answer of a slow fault `after` is waited for, the order stands."""
    sandbox.fail("POST", ORDER, "slow", when="after", seconds=60)
    with pytest.raises(TimeoutError):
        await session.post(ORDER, json=BODY, timeout=aiohttp.ClientTimeout(total=0.2))
    assert booked(sandbox) == 1


async def test_closing_does_not_wait_for_slow_answers(caplog):
    """The sandbox ends promptly and silently, with one client waiting and another gone."""
    caplog.set_level(logging.INFO)
    async with Sandbox(packages=100) as sandbox:
        sandbox.fail("*", "*", "slow", seconds=60, times=2)
        url = f"{sandbox.url}/api/health"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            gone = asyncio.create_task(session.get(url))
            waiting = asyncio.create_task(session.get(url))
            while sum(sandbox.state()["requests"].values()) < 2:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0)
            gone.cancel()
            began = time.perf_counter()
            await sandbox.__aexit__(None, None, None)
            assert time.perf_counter() - began < 2
            with pytest.raises(aiohttp.ClientError):
                await waiting
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


@pytest.mark.parametrize(
    ("fault", "seconds", "sent"),
    [("429", 0, "0"), ("429", 1.2, "2"), ("503", 3, "3"), ("503", 0, None), ("500", 3, None)],
)
async def test_retry_after_is_whole_seconds(sandbox, session, fault, seconds, sent):
    """Retry-After rounds up; 429 always has one, 503 if seconds are given, others never."""
    sandbox.fail("POST", ORDER, fault, seconds=seconds)
    assert (await order(session))[1].get("Retry-After") == sent


@pytest.mark.parametrize("fault", ["429-date", "503-date"])
async def test_retry_after_can_be_a_date(sandbox, session, fault):
    """An HTTP date lies the seconds ahead, never less; a hyphen in the name is as good."""
    sandbox.fail("POST", ORDER, fault, seconds=30)
    sent = (await order(session))[1]["Retry-After"]
    assert sent.endswith(" GMT")
    wait = parsedate_to_datetime(sent).timestamp() - time.time()
    assert 29 < wait <= 31


async def test_a_pending_profile_becomes_ready_by_itself(sandbox, session):
    """Pending `after`: the eSIM looks NEW and apply answers pending until its seconds are over, then it is READY."""
    esim_id = json.loads((await order(session))[2])["data"]["items"][0]["esimId"]

    async def look():
        async with session.get("/api/esim", params={"esimId": esim_id}) as response:
            return (await response.json())["data"]

    async def apply():
        async with session.post("/api/esim/apply", json={"esimId": esim_id}) as response:
            return response.status, await response.text()

    sandbox.fail("POST", "/api/esim/apply", "pending", when="after", seconds=0.3)
    for _ in range(2):
        status, text = await apply()
        assert status == 500
        assert "eSIM is still pending processing" in text
    assert ((await look())["status"], (await look())["iccid"]) == ("NEW", "")
    while (await look())["status"] == "NEW":
        pass
    assert ((await look())["status"], (await look())["esim"]["lpaCode"][:4]) == ("READY", "LPA:")
    assert (await apply())[0] == 200


async def test_times_path_and_method_choose_the_requests(sandbox, session):
    """A fault hits its method and path as often as it says, and then no more; the earliest that fits goes first."""

    async def status(path):
        async with session.get(path) as response:
            return response.status

    sandbox.fail("GET", BALANCE, "503", times=2)
    sandbox.fail("POST", BALANCE, "500")
    sandbox.fail("*", "*", "502")
    assert [await status(BALANCE) for _ in range(4)] == [503, 503, 502, 200]
    async with session.post(BALANCE) as response:
        assert response.status == 500
    assert sandbox.state()["requests"] == {f"GET {BALANCE}": 4, f"POST {BALANCE}": 1}


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
    """A fault of probability one half hits some requests and spares others; one of zero none."""
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


async def test_the_dice_of_a_fault_hang_on_the_seed_and_its_requests_alone():
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


async def test_faults_are_scripted_listed_and_cleared_over_http(sandbox, session):
    """The control plane needs no token, shows what is pending, and is neither counted nor hit by faults."""
    async with aiohttp.ClientSession(sandbox.url) as stranger:
        given = {"method": "get", "path": BALANCE, "fault": "500-html", "times": 3}
        async with stranger.post("/_sandbox/faults", json=given) as response:
            assert response.status == 200
        full = {"method": "GET", "query": {}, "fault": "500_html", "when": "before", "probability": 1.0, "seconds": 0.0}
        async with stranger.get("/_sandbox/faults") as response:
            assert await response.json() == {"faults": [{**given, **full}]}
        async with session.get(BALANCE) as response:
            assert response.status == 500
        async with stranger.get("/_sandbox/faults") as response:
            assert (await response.json())["faults"][0]["times"] == 2
        async with stranger.delete("/_sandbox/faults") as response:
            assert await response.json() == {"faults": []}
        async with stranger.get("/_sandbox/state") as response:
            assert await response.json() == sandbox.state()
    assert sandbox.state()["requests"] == {f"GET {BALANCE}": 1}


@pytest.mark.parametrize(
    ("path", "given", "named"),
    [
        ("faults", {"method": "GET", "path": BALANCE, "fault": "explode"}, "429_date"),
        ("faults", {"method": "FETCH", "path": BALANCE, "fault": "500"}, "POST"),
        ("faults", {"method": "GET", "path": "balance", "fault": "500"}, "/api/esim/order"),
        ("faults", {"method": "GET", "path": BALANCE, "fault": "500", "when": "never"}, "before, after"),
        ("faults", {"method": "GET", "path": BALANCE, "fault": "500", "times": 0}, "1 or more"),
        ("faults", {"fault": "500", "method": 5}, "method must be"),
        ("faults", {"fault": "500", "path": 5}, "path must be"),
        ("faults", {"fault": "500", "path": f"{BALANCE}?page=9"}, "path must be"),
        ("faults", {"fault": "500", "times": True}, "1 or more"),
        ("faults", {"fault": "500", "times": "2"}, "1 or more"),
        ("faults", {"fault": "500", "probability": True}, "from 0 to 1"),
        ("faults", {"fault": "500", "seconds": "2"}, "from 0 to 86400"),
        ("faults", {"method": "GET", "path": BALANCE, "fault": "500", "query": {"page": 9}}, "{'page': '9'}"),
        ("faults", {"method": "GET", "path": BALANCE, "fault": "500", "query": "page=9"}, "{'page': '9'}"),
        ("faults", {"method": "GET", "path": BALANCE, "fault": "500", "probability": 2}, "from 0 to 1"),
        ("faults", {"method": "GET", "path": BALANCE, "fault": "500", "seconds": -1}, "seconds"),
        ("faults", {"method": "GET", "path": BALANCE, "fault": "500", "often": 2}, "times"),
        ("faults", [], "object"),
        ("esims", {"status": "READY"}, "esimId, iccid"),
        ("esims", {"esimId": "unknown"}, "no such"),
        ("esims", {"esimId": "unknown", "usage": 3}, "usedData"),
    ],
)
async def test_bad_control_input_is_400_and_names_what_is_allowed(sandbox, session, path, given, named):
    """What the control plane does not understand is answered with what it would."""
    async with session.post(f"/_sandbox/{path}", json=given) as response:
        assert response.status == 400
        assert named in (await response.json())["message"]


def test_a_fault_of_a_wrong_name_is_a_value_error():
    """The method refuses what the control plane refuses."""
    with Sandbox(packages=20) as sandbox, pytest.raises(ValueError, match="fault must be one of drop"):
        sandbox.fail("GET", BALANCE, "explode")


async def test_esims_move_through_their_life(sandbox, session):
    """A status is set only on an applied eSIM and to one of the API's; each move is an event."""
    esim_id = json.loads((await order(session))[2])["data"]["items"][0]["esimId"]

    async def move(**given: object):
        async with session.post("/_sandbox/esims", json={"esimId": esim_id, **given}) as response:
            return response.status, await response.json()

    assert (await move(status="INSTALLED"))[0] == 400
    async with session.post("/api/esim/apply", json={"esimId": esim_id}) as response:
        assert response.status == 200
    assert (await move(status="FLYING"))[0] == 400
    assert (await move(usedData="much"))[0] == 400
    assert (await move(usedData=5))[1]["usedData"] == 5
    async with session.post("/api/esim/apply", json={"esimId": esim_id}) as response:
        assert (await response.json())["data"]["status"] == "INSTALLED"
    assert (await move(status="EXPIRED", usedData=2))[1] == sandbox.state()["esims"][0]
    assert (await move(status="REVOKED"))[1]["usedData"] == 7
    async with session.get("/api/esim/event", params={"esimId": esim_id}) as response:
        life = [event["status"] for event in (await response.json())["events"]]
    assert life == ["NEW", "DOWNLOADED", "INSTALLED", "ACTIVATED", "INACTIVE", "DELETED"]


async def test_reset_returns_to_the_start(sandbox, session):
    """Balance, orders, eSIMs, faults and counts are as at the start."""
    fresh = sandbox.state()
    await order(session)
    sandbox.fail("*", "*", "500")
    assert sandbox.state() != fresh
    async with session.post("/_sandbox/reset") as response:
        assert await response.json() == fresh
    assert sandbox.state() == fresh
    assert (fresh.pop("balance"), fresh.pop("requests"), any(fresh.values())) == ("1000.00", {}, False)
    assert (await order(session))[0] == 200
