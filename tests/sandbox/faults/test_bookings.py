"""Bookings that are delayed or hidden, and requests that are never answered.

The system clock is set ahead, so that no test waits.
"""

import asyncio
import logging
import time
from contextlib import asynccontextmanager

import aiohttp
import pytest

from roamify_async.sandbox import Sandbox

ORDER, INSTANT, TOP_UP = "/api/esim/order", "/api/esim/order/instant", "/api/esim/order/topup"
PLAIN = "esim-greece-30days-1gb-all"
BODY = {"items": [{"packageId": PLAIN, "quantity": 2}], "referenceId": "mine"}


@pytest.fixture
def ahead(monkeypatch):
    """Stop the system clock, and return a function that sets it ahead of where it stopped."""
    stopped = time.time()

    def move(seconds):
        monkeypatch.setattr(time, "time", lambda: stopped + seconds)

    move(0)
    return move


class Partner:
    """A plain HTTP client that never reuses a connection, so that it never repeats a request."""

    def __init__(self, sandbox, session) -> None:
        """Take the sandbox and a session that knows its token."""
        self.sandbox, self.session = sandbox, session

    async def get(self, path, **query: str):
        """Read an answer: its data, or the status of a refusal."""
        async with self.session.get(path, params=query) as response:
            body = await response.json()
            return body.get("data", body) if response.status == 200 else response.status

    async def post(self, path, body, **more: object):
        """Send a body that is answered."""
        async with self.session.post(path, json=body, **more) as response:
            assert response.status == 200, await response.text()
            return (await response.json())["data"]

    async def lose(self, path, body, fault, *, seconds=60.0, **more: object):
        """Send a body whose response is lost."""
        self.sandbox.fail("POST", path, fault, seconds=seconds)
        with pytest.raises(aiohttp.ServerDisconnectedError):
            await self.post(path, body, **more)

    async def applied(self):
        """Buy one eSIM with its profile."""
        return (await self.post(INSTANT, {"items": [{"packageId": PLAIN, "quantity": 1}]}))["esims"][0]

    def orders(self):
        """Return the referenceIds of the orders, oldest first, and assert that they are paid."""
        state = self.sandbox.state()
        total = sum(float(order["total"]) for order in state["orders"])
        assert float(state["balance"]) == pytest.approx(1000 - total)
        return [order["referenceId"] for order in state["orders"]]


@asynccontextmanager
async def partner_of(**options: object):
    """Run a small sandbox and yield its client."""
    async with Sandbox(**{"packages": 100, **options}) as sandbox:
        headers = {"Authorization": f"Bearer {sandbox.token}"}
        connector = aiohttp.TCPConnector(force_close=True)
        async with aiohttp.ClientSession(sandbox.url, headers=headers, connector=connector) as session:
            yield Partner(sandbox, session)


@pytest.fixture
async def partner():
    """Run a small sandbox for one test."""
    async with partner_of() as made:
        yield made


@pytest.mark.parametrize("look", ["state", "api", "control", "change"])
async def test_a_late_order_is_booked_at_its_time(partner, ahead, look):
    """The answer is lost at once, nothing is booked before the time, and all of it after, dated then, once."""
    sent = time.time()
    await partner.lose(ORDER, BODY, "book_late")
    ahead(59)
    assert partner.orders() == []
    assert await partner.get(ORDER, referenceId="mine") == 404
    ahead(3600)
    if look == "api":
        assert len((await partner.get(ORDER, referenceId="mine"))["items"]) == 2
    elif look == "control":
        async with partner.session.get("/_sandbox/state") as response:
            assert len((await response.json())["orders"]) == 1
    elif look == "change":  # what is booked late is booked before the package is gone
        partner.sandbox.change_catalogue(remove=[PLAIN])
    assert partner.orders() == ["mine"]
    assert partner.orders() == ["mine"]
    order = await partner.get(ORDER, referenceId="mine")
    assert 59 <= order["createdAt"] - sent <= 61


async def test_a_delayed_order_is_booked_in_real_time(partner):
    """It is booked after its seconds."""
    began = time.time()
    await partner.lose(ORDER, BODY, "book_late", seconds=0.2)
    while partner.orders() == []:  # noqa: ASYNC110 - the end of a delay has no event
        await asyncio.sleep(0)
    assert time.time() - began >= 0.2


async def test_late_orders_are_booked_in_turn_of_their_times(partner, ahead):
    """Of two that have come due the earlier one is booked first, each at its time."""
    await partner.lose(ORDER, {**BODY, "referenceId": "second"}, "book_late", seconds=50)
    await partner.lose(ORDER, {**BODY, "referenceId": "first"}, "book_late", seconds=10)
    await partner.lose(ORDER, {**BODY, "referenceId": "third"}, "book_late", seconds=50)
    ahead(20)
    assert partner.orders() == ["first"]
    ahead(100)
    assert partner.orders() == ["first", "second", "third"]


async def test_every_change_can_come_late(partner, ahead):
    """An instant order, a top-up and an application are carried out late as well, and are dated then."""
    now = time.time()
    esim = await partner.applied()
    other = (await partner.post(ORDER, BODY))["items"][0]["esimId"]
    await partner.lose(TOP_UP, {"iccid": esim["iccid"], "packageId": PLAIN}, "book_late")
    await partner.lose(INSTANT, {**BODY, "referenceId": "late"}, "book_late")
    await partner.lose("/api/esim/apply", {"esimId": other}, "book_late")
    assert len(await partner.get("/api/esim/history", iccid=esim["iccid"])) == 1
    assert (await partner.get("/api/esim", esimId=other))["status"] == "NEW"
    ahead(61)
    assert partner.orders() == ["", "mine", "", "late"]
    assert len(await partner.get("/api/esim/history", iccid=esim["iccid"])) == 2
    assert [found["status"] for found in await partner.get("/api/esims", referenceId="late")] == ["READY"] * 2
    late = await partner.get("/api/esim", esimId=other)
    assert (late["status"], late["updatedAt"] - now) == ("READY", pytest.approx(60, abs=1.1))
    ahead(0)
    assert (await partner.post(ORDER, BODY))["createdAt"] - time.time() < 1


@pytest.mark.parametrize("why", ["token", "balance"])
async def test_what_would_be_refused_is_not_booked_late(partner, ahead, why):
    """A wrong token counts when it is sent, the balance when the time has come."""
    headers = {"Authorization": "Bearer wrong"} if why == "token" else {}
    await partner.lose(ORDER, BODY, "book_late", headers=headers)
    if why == "balance":
        price = partner.sandbox.price(PLAIN)
        await partner.post(ORDER, {"items": [{"packageId": PLAIN, "quantity": int(1000 / price)}]})
    ahead(61)
    assert len(partner.orders()) == (why == "balance")


async def test_no_delay_is_at_once(partner):
    """Without seconds, the order is booked when the connection is closed."""
    await partner.lose(ORDER, BODY, "book_late", seconds=0)
    assert partner.orders() == ["mine"]


async def test_reset_forgets_what_comes_late(partner, ahead):
    """After a reset a pending order is never booked."""
    await partner.lose(ORDER, BODY, "book_late")
    partner.sandbox.reset()
    ahead(61)
    assert partner.orders() == []


@pytest.mark.parametrize("kept", [True, False])
async def test_a_late_order_outlives_the_sandbox_in_its_file(tmp_path, ahead, kept):
    """What was not due when the sandbox closed is booked by the next one of the same file; memory forgets it."""
    options = {"db": tmp_path / "sandbox.db"} if kept else {}
    async with partner_of(**options) as partner:
        await partner.lose(ORDER, BODY, "book_late")
    async with partner_of(**options) as partner:
        assert partner.orders() == []
    ahead(61)
    async with partner_of(**options) as partner:
        assert partner.orders() == ["mine"] * kept


async def looks(partner, esim_id, iccid, order_id):
    """Look an order and its eSIM up in each way there is."""
    return [
        await partner.get(ORDER, referenceId="mine"),
        await partner.get(ORDER, orderId=order_id),
        await partner.get("/api/esim", esimId=esim_id),
        await partner.get("/api/esim", iccid=iccid),
        await partner.get("/api/esim/usage", iccid=iccid),
        await partner.get("/api/esim/usage/details", iccid=iccid),
        await partner.get("/api/esim/history", iccid=iccid),
        await partner.get("/api/esim/event", esimId=esim_id),
        await partner.get("/api/esim/event", iccid=iccid),
        await partner.get("/api/esim/event", referenceId="mine"),
        await partner.get("/api/esim/topup/packages", iccid=iccid),
    ]


@pytest.mark.parametrize("reopened", [False, True])
async def test_a_hidden_order_is_paid_but_shown_to_nobody(tmp_path, ahead, reopened):
    """Every look-up misses it and its eSIMs until its time, over a restart too, and state shows them all the while."""
    options = {"db": tmp_path / "sandbox.db"}
    async with partner_of(**options) as partner:
        await partner.lose(INSTANT, BODY, "book_but_hide")
        state = partner.sandbox.state()
        balance = (await partner.get("/api/balance"))["balance"]
        assert balance == float(state["balance"]) < 1000
        esim, order = state["esims"][0], state["orders"][0]
        names = esim["id"], esim["iccid"], order["id"]
        if not reopened:
            await see(partner, names, ahead, state)
    if reopened:
        async with partner_of(**options) as partner:
            await see(partner, names, ahead, {**state, "requests": {}})


async def see(partner, names, ahead, state):
    """Assert that an order is hidden now, and visible 61 seconds later."""
    assert partner.sandbox.state()["esims"] == state["esims"]
    assert partner.orders() == ["mine"]
    ahead(59)
    assert set(await looks(partner, *names)) == {404}
    assert await partner.get("/api/esim/orders") == {"orders": []}
    assert await partner.get("/api/esims") == await partner.get("/api/esims", referenceId="mine") == []
    ahead(61)
    assert 404 not in await looks(partner, *names)
    assert [order["referenceId"] for order in (await partner.get("/api/esim/orders"))["orders"]] == ["mine"]
    assert len(await partner.get("/api/esims")) == 2


async def test_only_the_hidden_order_is_hidden(partner):
    """Another order of the same referenceId and its eSIMs are shown; a hidden plain order hides its eSIMs as well."""
    shown = await partner.post(ORDER, BODY)
    await partner.lose(ORDER, BODY, "book_but_hide")
    assert (await partner.get(ORDER, referenceId="mine"))["id"] == shown["id"]
    assert len((await partner.get("/api/esim/orders", referenceId="mine"))["orders"]) == 1
    assert len(await partner.get("/api/esims", referenceId="mine")) == 2
    assert len(partner.sandbox.state()["esims"]) == 4


async def test_a_hidden_top_up_is_paid_but_its_data_is_not_there(partner, ahead):
    """History and usage know nothing of it until its time; state does."""
    iccid = (await partner.applied())["iccid"]

    async def seen():
        usage = await partner.get("/api/esim/usage", iccid=iccid)
        return len(await partner.get("/api/esim/history", iccid=iccid)), usage["allowedData"]

    body = {"iccid": iccid, "packageId": PLAIN, "referenceId": "mine"}
    await partner.lose(TOP_UP, body, "book_but_hide")
    assert await partner.get(ORDER, referenceId="mine") == 404
    assert await seen() == (1, 1024)
    assert partner.sandbox.state()["esims"][0]["allowedData"] == 2048
    assert partner.orders() == ["", "mine"]
    ahead(61)
    assert await seen() == (2, 2048)


async def test_a_hidden_order_keeps_its_reference():
    """With unique references, a hidden order conflicts, too, although no look-up shows it."""
    async with partner_of(duplicate_reference="conflict") as partner:
        await partner.lose(ORDER, BODY, "book_but_hide")
        async with partner.session.post(ORDER, json=BODY) as response:
            assert response.status == 409
        assert await partner.get(ORDER, referenceId="mine") == 404


async def test_reset_forgets_what_is_hidden_and_the_control_plane_sees_it(partner):
    """A hidden eSIM can be moved by the test; after a reset nothing is left of it."""
    await partner.lose(INSTANT, BODY, "book_but_hide")
    esim_id = partner.sandbox.state()["esims"][0]["id"]
    async with partner.session.post("/_sandbox/esims", json={"esimId": esim_id, "usedData": 3}) as response:
        assert (response.status, (await response.json())["usedData"]) == (200, 3)
    partner.sandbox.reset()
    assert partner.orders() == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_hanging_request_is_never_answered(partner, when, caplog):
    """The order is booked only with when=after; the handler ends when the client disconnects."""
    partner.sandbox.fail("POST", ORDER, "hang", when=when)
    before = asyncio.all_tasks()
    request = asyncio.create_task(partner.post(ORDER, BODY))
    await partner.sandbox.arrived(f"POST {ORDER}")
    assert not request.done()
    assert partner.orders() == ["mine"] * (when == "after")
    request.cancel()
    while asyncio.all_tasks() - before:  # noqa: ASYNC110 - the end of a task of the server has no event
        await asyncio.sleep(0)
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_closing_ends_a_hanging_request():
    """The sandbox closes promptly, and the client that still waits learns it by its connection."""
    async with partner_of() as partner:
        partner.sandbox.fail("POST", ORDER, "hang")
        request = asyncio.create_task(partner.post(ORDER, BODY))
        await partner.sandbox.arrived(f"POST {ORDER}")
        await partner.sandbox.__aexit__(None, None, None)
        with pytest.raises(aiohttp.ClientError):
            await request


async def test_a_reset_connection_carries_half_of_the_right_body(partner):
    """The headers are those of the right answer with its length, half of the body follows, and no more."""
    path = "/api/esim/packages"
    async with partner.session.get(path, headers={"Accept-Encoding": "identity"}) as response:
        whole = await response.read()
    partner.sandbox.fail("GET", path, "reset")
    host, _, port = partner.sandbox.url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    asked = f"GET {path} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {partner.sandbox.token}\r\n\r\n"
    writer.write(asked.encode())
    received = bytearray()
    try:
        while piece := await reader.read(65_536):
            received += piece
    except ConnectionResetError:
        pass
    writer.close()
    head, _, body = bytes(received).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200 ")
    assert f"Content-Length: {len(whole)}\r\n".encode() in head
    assert body == whole[: len(whole) // 2]
