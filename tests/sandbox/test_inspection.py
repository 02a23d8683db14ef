"""How a test looks into a sandbox and starts it anew: orders, requests, balance, unused faults, and other options."""

from decimal import Decimal

import aiohttp
import pytest

from roamify_async.sandbox import BookedItem, BookedOrder, ReceivedRequest, Sandbox

ORDER, BALANCE = "/api/esim/order", "/api/balance"


async def place_order(session, package_id, reference_id="r-1"):
    """Send an order and return its status."""
    body = {"items": [{"packageId": package_id, "quantity": 2}], "referenceId": reference_id}
    async with session.post(ORDER, json=body) as response:
        return response.status


async def test_orders(sandbox, session):
    """Orders are values with exact amounts, oldest first."""
    package_id = sandbox.kinds["plain"][0]
    price = sandbox.price(package_id)
    assert sandbox.orders == ()
    assert [await place_order(session, package_id, name) for name in ("r-1", "r-2")] == [200, 200]
    first, second = sandbox.orders
    items = tuple(BookedItem(package_id, esim["id"], price) for esim in sandbox.state()["esims"][:2])
    assert first == BookedOrder(first.id, "r-1", "order", "COMPLETED", 2 * price, items)
    assert (second.reference_id, [order["id"] for order in sandbox.state()["orders"]]) == ("r-2", [first.id, second.id])


async def test_hidden_orders_are_shown(sandbox, session):
    """An order that no look-up shows yet is booked."""
    sandbox.fail("POST", ORDER, "book_but_hide", when="after", seconds=3600)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await place_order(session, sandbox.kinds["plain"][0])
    assert [order.reference_id for order in sandbox.orders] == ["r-1"]


async def test_requests(sandbox, session):
    """Requests have query, body, status and fault, and can be selected by endpoint."""
    sandbox.fail("POST", ORDER, "503")
    assert await place_order(session, "no-such-package") == 503
    async with session.get("/api/esim/orders?limit=5"):
        pass
    (sent,) = sandbox.requests("post", ORDER)
    assert (sent.status, sent.fault, sent.json["items"][0]["packageId"]) == (503, "503", "no-such-package")
    (listed,) = sandbox.requests("GET", "/api/esim/orders")
    assert listed == ReceivedRequest("GET", "/api/esim/orders", {"limit": "5"}, b"", 200, "")
    assert (listed.json, str(listed)) == (None, "GET /api/esim/orders?limit=5 -> 200")
    assert str(sent).startswith(f'POST {ORDER} {{"items": [')
    assert str(sent).endswith("-> 503 (503)")
    assert sandbox.requests() == (sent, listed)
    assert sandbox.requests("PUT") == sandbox.requests("GET", "/api/esim/voucher/v-1") == ()


async def test_forgotten_requests_are_not_hidden(sandbox, session, monkeypatch):
    """If the log has forgotten requests, their number would be wrong."""
    monkeypatch.setattr("roamify_async.sandbox.sandbox.KEPT", 2)
    for _ in range(2):
        async with session.get(BALANCE):
            pass
    assert len(sandbox.requests()) == 2
    async with session.get(BALANCE):
        pass
    with pytest.raises(RuntimeError, match="only the last 2 requests"):
        sandbox.requests("POST", ORDER)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda sandbox: sandbox.requests("POST", "/api/esim/ordr"), "did you mean 'POST /api/esim/order'"),
        (lambda sandbox: sandbox.requests("*", "/api/balanc"), "did you mean '/api/balance'"),
        (lambda sandbox: sandbox.requests("POST", BALANCE), "did you mean 'GET /api/balance'"),
        (lambda sandbox: sandbox.requests("GET", "/api/esim/voucher/{voucherId}"), "in place of each name in braces"),
        (lambda sandbox: sandbox.fail("GET", "/api/esim/pakages", "500"), "did you mean 'GET /api/esim/packages'"),
        (lambda sandbox: sandbox.fail("GET", BALANCE, "dorp"), "did you mean 'drop'"),
        (lambda sandbox: sandbox.reset(faults=[{"path": "/api/balanc", "fault": "500"}]), "mean '/api/balance'"),
        (lambda _: Sandbox(faults=[{"path": "/api/balanc", "fault": "500"}]), "did you mean '/api/balance'"),
    ],
    ids=["path", "any method", "method", "braces", "fault's path", "fault", "reset", "options"],
)
async def test_what_cannot_be_meant_names_the_nearest(sandbox, wrong, message):
    """A fault that could not strike, and a path that is never requested, are errors with a proposal."""
    with pytest.raises(ValueError, match=message):
        wrong(sandbox)
    assert sandbox.unused_faults() == ()


async def test_the_balance_can_be_set(sandbox, session):
    """To any amount in whole cents, and purchases are paid from it."""
    sandbox.balance = "0.50"
    assert sandbox.balance == Decimal("0.50")
    assert await place_order(session, sandbox.kinds["plain"][0]) == 409
    sandbox.balance = 2000
    assert (sandbox.balance, sandbox.state()["balance"]) == (2000, "2000.00")
    with pytest.raises(ValueError, match="balance must be"):
        sandbox.balance = "0.505"


async def test_unused_faults(sandbox, session):
    """A fault is unused until it has hit a request, or with a probability until a request has matched."""
    sandbox.fail("GET", BALANCE, "503", times=3)
    sandbox.fail("*", "*", "500", times=None, probability=0.0)
    sandbox.fail("POST", ORDER, "drop", when="after")
    assert sandbox.unused_faults() == (f"503 of GET {BALANCE}", "500 of * *", f"drop of POST {ORDER}")
    async with session.get(BALANCE):
        pass
    assert sandbox.unused_faults() == ("500 of * *", f"drop of POST {ORDER}")
    async with session.get("/api/health"):
        pass
    assert sandbox.unused_faults() == (f"drop of POST {ORDER}",)


async def test_a_reset_can_change_options(session, sandbox):
    """They hold until the next reset, which restores those of the start."""
    unchanged = (sandbox.balance, sandbox.token, len(sandbox.kinds["plain"]))
    fault = {"method": "GET", "path": BALANCE, "fault": "503"}
    sandbox.reset(packages=200, balance="0.50", token="another", totals=7, faults=[fault])
    assert (sandbox.balance, sandbox.token, sandbox.unused_faults()) == (
        Decimal("0.50"),
        "another",
        (f"503 of GET {BALANCE}",),
    )
    async with session.get("/api/esim/packages") as response:
        assert response.status == 401
    headers = {"Authorization": "Bearer another"}
    async with session.get("/api/esim/packages?pageSize=500", headers=headers) as response:
        body = (await response.json())["data"]
    assert body["total"] == 7
    assert sum(len(destination["packages"]) for destination in body["packages"]) == 200
    sandbox.reset()
    assert (sandbox.balance, sandbox.token, len(sandbox.kinds["plain"])) == unchanged
    assert sandbox.unused_faults() == ()


async def test_the_control_api_restores_the_options_of_the_start(session, sandbox):
    """So a program of another language starts afresh."""
    sandbox.reset(balance="0.50")
    async with session.post("/_sandbox/reset") as response:
        assert (await response.json())["balance"] == "1000.00"


async def test_some_options_cannot_change(sandbox, tmp_path):
    """Those of the address and the file, and the catalogue of a file."""
    with pytest.raises(ValueError, match="db, port cannot be changed"):
        sandbox.reset(port=80, db="x.db")
    async with Sandbox(packages=100, db=tmp_path / "sandbox.db") as kept:
        with pytest.raises(ValueError, match="packages cannot be changed"):
            kept.reset(packages=200)


async def test_the_receiver_of_webhooks_can_be_set(sandbox):
    """To a URL on this machine, or to none."""
    assert sandbox.webhook_url is None
    sandbox.webhook_url = "http://127.0.0.1:9/roamify"
    assert sandbox.webhook_url == "http://127.0.0.1:9/roamify"
    sandbox.webhook_url = None
    assert sandbox.webhook_url is None
    with pytest.raises(ValueError, match="url must be on this machine"):
        sandbox.webhook_url = "https://example.com/"


async def test_now(sandbox):
    """The clock of the sandbox can be read, and is ahead after it was advanced."""
    before = sandbox.now
    sandbox.advance("30d")
    assert (sandbox.now - before).days == 30
