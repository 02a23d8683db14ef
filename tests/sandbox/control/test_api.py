"""The control API."""

import json

import aiohttp

ORDER = "/api/esim/order"


BALANCE = "/api/balance"


PLAIN = "esim-greece-30days-1gb-all"


BODY = {"items": [{"packageId": PLAIN, "quantity": 1}]}


async def order(session):
    """Order one eSIM; return status, headers and text."""
    async with session.post(ORDER, json=BODY, allow_redirects=False) as response:
        return response.status, response.headers, await response.text()


async def test_faults_are_scripted_listed_and_cleared_over_http(sandbox, session):
    """The control API needs no token, shows what is pending, and is neither counted nor hit by faults."""
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


INVALID_CALLS = [
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
]


async def test_bad_control_input_is_400_and_names_what_is_allowed(sandbox, session):
    """The message says what is allowed."""
    for path, given, named in INVALID_CALLS:
        async with session.post(f"/_sandbox/{path}", json=given) as response:
            assert response.status == 400
            assert named in (await response.json())["message"]


async def test_esims_are_moved_through_their_statuses(sandbox, session):
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
