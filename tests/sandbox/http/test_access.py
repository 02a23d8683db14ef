"""Who may use the sandbox: programs on this machine, others that know its token, and no foreign web page."""

import asyncio
import json
import socket
from contextlib import closing

import aiohttp
import pytest
from support.partner import partner_of

from roamify_async.sandbox import Sandbox
from roamify_async.sandbox.options import TOKEN

REBOUND = "rebound.example"
PATHS = ("/", "/_sandbox/state", "/api/balance", "/openapi.json")
RECEIVER = {"url": "http://127.0.0.1:1/"}


async def ask(url: str, path: str, *, method: str = "GET", **headers: str) -> int:
    """Send a request with some headers, where ``_`` stands for ``-``, and return its status."""
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.ClientSession() as session, session.request(method, url + path, headers=sent) as response:
        await response.read()
        return response.status


def own_address() -> str:
    """Return an address of this machine that is not a loopback one."""
    with closing(socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as made:
        try:
            made.connect(("192.0.2.1", 9))  # Sends nothing.
        except OSError:
            pytest.skip("this machine has no network")
        return made.getsockname()[0]


@pytest.mark.parametrize("path", PATHS)
async def test_rebound_names(path, partner):
    """A page whose host name was rebound to this machine reaches nothing, not even with the public token."""
    url, bearer = partner.sandbox.url, f"Bearer {TOKEN}"
    port = url.rpartition(":")[2]
    for host in (f"{REBOUND}:{port}", REBOUND, f"127.0.0.1.{REBOUND}", f"localhost.{REBOUND}:{port}", "[", ""):
        assert await ask(url, path, Host=host, Origin=f"http://{host}", Authorization=bearer) == 403, host
    for host in (f"127.0.0.1:{port}", f"LocalHost:{port}", f"[::1]:{port}", "127.0.0.2"):
        assert await ask(url, path, Host=host, Authorization=bearer) == 200, host


async def test_rebound_names_steer_nothing(partner):
    """The control API does not change its state, or send webhooks, for such a page."""
    await partner.buy("esim-greece-30days-1gb-all")
    await partner.call("POST", "/_sandbox/webhooks", status=403, json=RECEIVER, headers={"Host": REBOUND})
    await partner.call("POST", "/_sandbox/reset", status=403, headers={"Host": REBOUND})
    assert len(partner.sandbox.state()["orders"]) == 1


async def test_allowed_names():
    """Names that were given with ``allow_hosts`` are served, in any case."""
    async with Sandbox(packages=20, allow_hosts=["Sandbox.test"]) as sandbox:
        for host, status in (("sandbox.TEST:8787", 200), ("sandbox.test", 200), (REBOUND, 403)):
            assert await ask(sandbox.url, "/_sandbox/state", Host=host) == status


async def test_control(partner, monkeypatch):
    """Control: without the check, a rebound name steers the sandbox."""
    monkeypatch.setattr("roamify_async.sandbox.app.refuse", lambda *_, **__: None)
    await partner.call("POST", "/_sandbox/webhooks", json=RECEIVER, headers={"Host": REBOUND})


async def test_pages_of_other_sites(partner):
    """A browser's own word that another site sent a request is enough to refuse it, but for a link to the dashboard."""
    url, bearer = partner.sandbox.url, f"Bearer {TOKEN}"
    for path in PATHS:
        assert await ask(url, path, Sec_Fetch_Site="cross-site", Authorization=bearer) == 403
        for site in ("none", "same-origin"):
            assert await ask(url, path, Sec_Fetch_Site=site, Authorization=bearer) == 200
    link = {"Sec_Fetch_Site": "cross-site", "Sec_Fetch_Mode": "navigate", "Sec_Fetch_Dest": "document"}
    assert await ask(url, "/", **link) == 200
    assert await ask(url, "/", **link | {"Sec_Fetch_Dest": "iframe"}) == 403
    assert await ask(url, "/_sandbox/state", **link) == 403


async def test_pages_of_other_origins(partner):
    """A page of another origin on this machine is refused by the control API and the dashboard; its own is not."""
    for origin in ("http://evil.example", "null", "http://127.0.0.1:1"):
        await partner.call("POST", "/_sandbox/reset", status=403, headers={"Origin": origin})
        await partner.call("GET", "/_sandbox/state", status=403, headers={"Origin": origin})
        assert await ask(partner.sandbox.url, "/", Origin=origin) == 403
    for headers in ({"Origin": partner.sandbox.url}, {}):
        await partner.call("POST", "/_sandbox/reset", headers=headers)


async def test_other_machines():
    """With ``allow_remote`` others use the sandbox under any name, with a token of its own, also to control it."""
    address = own_address()
    async with partner_of(host="0.0.0.0", allow_remote=True) as partner:
        sandbox = partner.sandbox
        assert sandbox.url.startswith("http://127.0.0.1:")
        assert len(sandbox.token) >= 32
        remote = sandbox.url.replace("127.0.0.1", address)
        for path in PATHS:
            assert await ask(remote, path, Authorization=f"Bearer {sandbox.token}", Host="roamify") == 200
        for token in ({}, {"Authorization": f"Bearer {TOKEN}"}):
            refused = [await ask(remote, path, **token) for path in PATHS]
            assert refused == [403, 403, 401, 200]
        await partner.call("POST", "/_sandbox/reset")
        assert await ask(sandbox.url, "/_sandbox/state") == 200
        assert await ask(sandbox.url, "/_sandbox/state", Host=REBOUND) == 403
    async with Sandbox(packages=20, host="0.0.0.0", allow_remote=True) as other:
        assert other.token != sandbox.token


async def test_tokens_of_other_machines():
    """A token may be given, but not the default one, which everybody knows."""
    assert Sandbox(allow_remote=True, token="mine").token == "mine"
    with pytest.raises(ValueError, match="token must be one of your own with allow_remote"):
        Sandbox(allow_remote=True, token=TOKEN)


async def test_requests_without_a_host(partner):
    """A program that sends no ``Host``, as in HTTP/1.0, is served; browsers always send one."""
    port = int(partner.sandbox.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"GET /_sandbox/state HTTP/1.0\r\n\r\n")
    status, _, body = (await reader.read()).partition(b"\r\n\r\n")
    writer.close()
    assert status.startswith(b"HTTP/1.0 200")
    assert json.loads(body)["balance"] == "1000.00"
