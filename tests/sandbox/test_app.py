"""How a request is authorized, dispatched and answered, independent of its endpoint."""

import asyncio
import json

import aiohttp
import pytest
from support.partner import partner_of
from support.purchases import PLAIN
from yarl import URL

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


async def test_an_unknown_path_is_a_page(partner):
    """A path or method that does not exist is answered 404 with an HTML page, as Express does."""
    assert "<pre>Cannot GET /api/esim/nothing</pre>" in await partner.get("/api/esim/nothing", status=404)
    assert "<pre>Cannot POST /api/balance</pre>" in await partner.post("/api/balance", {}, status=404)
    assert "<pre>Cannot GET /api/&lt;b&gt;</pre>" in await partner.get("/api/<b>", status=404)


LOOSE = ["/API/Balance", "/api/balance/", "/api/balance?="]


@pytest.mark.parametrize("path", LOOSE)
async def test_paths_and_keys_that_express_accepts(path):
    """A path in another case or with a slash at the end is served, and an empty key is dropped, unless it is strict."""
    url = URL(path, encoded=True)
    async with partner_of(packages=20) as partner:
        assert (await partner.call("GET", url))["data"]["balance"] == 1000
        assert partner.sandbox.state()["requests"] == {"GET /api/balance": 1}
        partner.sandbox.fail("GET", "/api/balance", "503")
        await partner.call("GET", url, status=503)
    async with partner_of(packages=20, strict=True) as partner:
        await partner.call("GET", url, status=400 if "?" in path else 404)


async def test_names_in_paths_keep_their_case():
    """Only the fixed parts of a path are in any case."""
    async with partner_of(packages=20) as partner:
        (voucher,) = (await partner.post("/api/esim/vouchers", {"packageId": PLAIN}, status=201))["data"]["vouchers"]
        path = f"/API/eSIM/voucher/Code/{voucher['code'].lower()}/"
        assert (await partner.get(path))["data"]["id"] == voucher["id"]
    async with partner_of(packages=20, affiliate="Shop") as partner:
        assert (await partner.get("/api/ESIM/Shop/packages"))["data"]["packages"]


async def test_values_that_joi_converts():
    """A number in text and a boolean in another case are converted, unless the sandbox is strict."""
    order = {"items": [{"packageId": PLAIN, "quantity": "2"}]}
    async with partner_of(packages=20) as partner:
        assert len((await partner.post("/api/esim/order", order))["data"]["items"]) == 2
        assert await partner.get("/api/esim/packages", isUnlimited="TRUE") == await partner.get(
            "/api/esim/packages", isUnlimited="true"
        )
    async with partner_of(packages=20, strict=True) as partner:
        refusal = await partner.post("/api/esim/order", order, status=400)
        assert refusal == {"error": '"items[0].quantity" must be a number'}
        refusal = await partner.get("/api/esim/packages", isUnlimited="TRUE", status=400)
        assert refusal == {"error": '"isUnlimited" must be a boolean'}


@pytest.mark.parametrize("path", ["/api/esim/orders", "/api/esims", "/api/insurance/orders", "/api/insurance/policies"])
async def test_an_unknown_status_is_empty_or_refused(path):
    """The case of a status counts; whether an unknown one is refused is not documented."""
    asked = {"params": {"status": "completed"}}
    async with partner_of(packages=20) as partner:
        assert (await partner.call("GET", path, **asked))["data"] in ([], {"orders": []}, {"policies": []})
    async with partner_of(packages=20, unknown_status="refused") as partner:
        refusal = await partner.call("GET", path, status=400, **asked)
        assert refusal["error"].startswith('"status" must be one of [')


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
