"""How a request is authorized, dispatched and answered, independent of its endpoint."""

import asyncio
import json

import aiohttp
import pytest
from support.partner import partner_of

from roamify_async.sandbox import Sandbox

BALANCE, HEALTH = "/api/balance", "/api/health"


async def test_health_needs_no_token(partner):
    """Health answers 2xx without Authorization."""
    async with aiohttp.ClientSession(partner.sandbox.url) as stranger, stranger.get("/api/health") as response:
        assert response.status == 200
        assert (await response.json())["status"] == "success"


WRONG_HEADERS = [{}, {"Authorization": "Bearer wrong"}, {"Authorization": "roamify"}]


async def test_a_wrong_token_is_401_with_a_message(partner):
    """A missing, malformed or wrong token is answered 401 with message and status."""
    for header in WRONG_HEADERS:
        session = aiohttp.ClientSession(partner.sandbox.url, headers=header)
        async with session as stranger, stranger.get("/api/balance") as response:
            assert response.status == 401
            body = await response.json()
        assert body == {"message": body["message"], "status": "failed"}
        assert "Unauthorized" in body["message"]


async def test_headers_are_those_of_the_real_server(partner):
    """Each answer is UTF-8 JSON from Express with a request id of its own."""
    seen = set()
    for _ in range(2):
        async with partner.session.get("/api/balance") as response:
            assert response.headers["Content-Type"] == "application/json; charset=utf-8"
            assert response.headers["X-Powered-By"] == "Express"
            seen.add(response.headers["CF-RAY"])
    assert len(seen) == 2


async def test_an_unknown_path_is_404_json(partner):
    """A path or method that does not exist is answered 404 in the failed shape."""
    assert (await partner.get("/api/esim/nothing", status=404))["status"] == "failed"
    assert (await partner.post("/api/balance", {}, status=404))["status"] == "failed"


async def test_a_body_of_another_content_type_is_not_read(partner):
    """Without a JSON content type the body counts as empty; broken JSON is 400."""
    body = json.dumps({"items": [{"packageId": partner.kind("plain"), "quantity": 1}]})
    text = {"Content-Type": "text/plain"}
    answer = await partner.call("POST", "/api/esim/order", status=400, data=body, headers=text)
    assert answer == {"error": '"items" is required'}
    as_json = {"Content-Type": "application/json"}
    answer = await partner.call("POST", "/api/esim/order", status=400, data=body[:-1], headers=as_json)
    assert answer["status"] == "failed"


@pytest.mark.parametrize("compress", [True, False])
async def test_long_answers_are_gzipped_if_the_client_takes_it(compress):
    """More than a kilobyte is gzipped for a client that accepts it, short answers and others are not."""
    async with partner_of(compress=compress) as partner:
        async with partner.session.get("/api/esim/packages", headers={"Accept-Encoding": "gzip"}) as response:
            assert response.headers.get("Content-Encoding") == ("gzip" if compress else None)
            packed = await response.json()
        async with partner.session.get("/api/esim/packages", headers={"Accept-Encoding": "identity"}) as response:
            assert "Content-Encoding" not in response.headers
            assert await response.json() == packed
        async with partner.session.get("/api/balance", headers={"Accept-Encoding": "gzip"}) as response:
            assert "Content-Encoding" not in response.headers


async def test_latency_comes_before_each_answer():
    """With a latency no answer of the API is faster."""
    async with Sandbox(packages=100, latency=0.05) as sandbox, aiohttp.ClientSession(sandbox.url) as session:
        with pytest.raises(TimeoutError):
            await session.get("/api/health", timeout=aiohttp.ClientTimeout(total=0.01))
        async with session.get("/api/health") as response:
            assert response.status == 200


async def test_latency_can_differ_by_request():
    """The slow request waits while the quick one is answered; `*` is every request that is not named."""
    for latency in [{f"GET {BALANCE}": 60}, {"*": 60, f"GET {HEALTH}": 0}, {"*": 0, f"GET {BALANCE}": 60}]:
        async with Sandbox(packages=20, latency=latency) as sandbox, aiohttp.ClientSession(sandbox.url) as session:
            slow = asyncio.create_task(session.get(BALANCE))
            await sandbox.arrived(f"GET {BALANCE}")
            async with session.get(HEALTH, timeout=aiohttp.ClientTimeout(total=20)) as response:
                assert response.status == 200
            assert not slow.done()
            slow.cancel()
