"""Faults: what is sent, and whether the order is booked."""

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


async def order(session):
    """Order one eSIM; return status, headers and text."""
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


async def test_a_cut_connection_books_only_after(sandbox, session):
    """Whether all of the response is lost or half of it, the order is booked only with when=after."""
    for when in ["before", "after"]:
        for fault in sorted(CUTS):
            sandbox.reset()
            sandbox.fail("POST", ORDER, fault, when=when)
            with pytest.raises(CUTS[fault]):
                await order(session)
            assert booked(sandbox) == (when == "after")


async def test_an_error_books_only_after(sandbox, session):
    """Each error has its status and shape; the order is booked only with when=after."""
    for when in ["before", "after"]:
        for fault in ERRORS:
            sandbox.reset()
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
            assert ("Retry-After" in headers) == (fault in {"429", "429_date", "429_past", "503_date"})
            assert ("Location" in headers) == (fault in {"301", "302", "303", "307", "308"})
            assert booked(sandbox) == (when == "after")


async def test_a_broken_body_is_no_json(sandbox, session):
    """The answer is whole HTTP of status 200, and its body no JSON."""
    for when in ["before", "after"]:
        for fault in ["truncated", "garbled"]:
            sandbox.reset()
            sandbox.fail("POST", ORDER, fault, when=when)
            status, headers, text = await order(session)
            assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
            with pytest.raises(ValueError, match=r"line 1"):
                json.loads(text)
            assert booked(sandbox) == (when == "after")


async def test_a_slow_answer_comes_in_the_end(sandbox, session):
    """A slow answer takes its seconds and is the true one."""
    for when in ["before", "after"]:
        sandbox.reset()
        sandbox.fail("POST", ORDER, "slow", when=when, seconds=0.05)
        began = time.perf_counter()
        status, _, text = await order(session)
        assert time.perf_counter() - began >= 0.05
        assert (status, json.loads(text)["status"]) == (200, "success")
        assert booked(sandbox) == 1


async def test_a_slow_answer_after_has_booked_already(sandbox, session):
    """With when=after, the order is booked before the response is sent."""
    sandbox.fail("POST", ORDER, "slow", when="after", seconds=60)
    with pytest.raises(TimeoutError):
        await session.post(ORDER, json=BODY, timeout=aiohttp.ClientTimeout(total=0.2))
    assert booked(sandbox) == 1


async def test_closing_does_not_wait_for_slow_answers(caplog):
    """The sandbox ends promptly and silently, with one client waiting and another gone."""
    caplog.set_level(logging.INFO)
    async with Sandbox(packages=100) as sandbox:
        sandbox.fail("*", "*", "slow", seconds=600, times=2)
        url = f"{sandbox.url}/api/health"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session:
            gone = asyncio.create_task(session.get(url))
            waiting = asyncio.create_task(session.get(url))
            while sum(sandbox.state()["requests"].values()) < 2:  # noqa: ASYNC110 - the server has no event for it
                await asyncio.sleep(0)
            gone.cancel()
            await sandbox.__aexit__(None, None, None)
            with pytest.raises(aiohttp.ClientError):
                await waiting
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


RETRY_AFTERS = [
    ("429", 0, "0"),
    ("429", 1.2, "2"),
    ("429_bare", 5, None),
    ("503", 3, "3"),
    ("503", 0, None),
    ("500", 3, None),
]


async def test_retry_after_is_whole_seconds(sandbox, session):
    """Retry-After rounds up; 429 always has one, even 0, 503 if seconds are given, others never."""
    for fault, seconds, sent in RETRY_AFTERS:
        sandbox.fail("POST", ORDER, fault, seconds=seconds)
        assert (await order(session))[1].get("Retry-After") == sent


async def test_retry_after_can_be_a_date(sandbox, session):
    """An HTTP date lies the seconds ahead, never less; a hyphen in the name is as good."""
    for fault in ["429-date", "503-date"]:
        sandbox.fail("POST", ORDER, fault, seconds=30)
        sent = (await order(session))[1]["Retry-After"]
        assert sent.endswith(" GMT")
        wait = parsedate_to_datetime(sent).timestamp() - time.time()
        assert 29 < wait <= 31
    sandbox.fail("POST", ORDER, "429_past", seconds=3600)
    sent = (await order(session))[1]["Retry-After"]
    assert -3603 < parsedate_to_datetime(sent).timestamp() - time.time() < -3600


async def test_a_failure_can_be_sent_with_200(sandbox, session):
    """Status and content type are those of a success; only the envelope says that it failed."""
    for when in ("before", "after"):
        sandbox.reset()
        sandbox.fail("POST", ORDER, "200_failed", when=when)
        status, headers, text = await order(session)
        assert (status, headers["Content-Type"]) == (200, "application/json; charset=utf-8")
        assert json.loads(text) == {"message": "Unknown error", "status": "failed"}
        assert booked(sandbox) == (when == "after")


async def test_look_ups_fail_on_one_endpoint(sandbox, session):
    """A look-up that fails leaves the others as they are."""
    await order(session)
    for fault, content_type in (("404", "application/json"), ("404_html", "text/html"), ("404_empty", "text/plain")):
        sandbox.fail("GET", ORDER, fault)
        async with session.get(ORDER, params={"referenceId": "mine"}) as response:
            assert (response.status, response.content_type) == (404, content_type)
        async with session.get("/api/esim/orders") as response:
            assert len((await response.json())["data"]["orders"]) == 1


async def test_a_pending_profile_becomes_ready_by_itself(sandbox, session):
    """With when=after, the eSIM is NEW and apply responds pending until its seconds are over; then it is READY."""
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
