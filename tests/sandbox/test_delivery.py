"""Delivery of signed webhook events to a receiver."""

import asyncio
import hashlib
import hmac
import json
import threading
import urllib.request
from contextlib import asynccontextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import aiohttp
import pytest
from support.partner import partner_of
from support.servers import Raw, answer, answering, nobody

from roamify_async.sandbox import Sandbox

PLAIN = "esim-greece-30days-1gb-all"
ESIMS, HOOKS, SEND = "/_sandbox/esims", "/_sandbox/webhooks", "/_sandbox/webhooks/send"
SENTINEL = 2**53 - 1


async def silent(connection):
    """Take requests and never answer them."""
    while await connection.request():
        pass


@asynccontextmanager
async def listened(play=None, path="/roamify", **options: object):
    """Run a receiver and a small sandbox that sends to it, and tries again at once."""
    async with Raw(play or answering(answer())) as receiver:
        url = receiver.url + path
        async with partner_of(webhook_url=url, **{"webhook_retry_after": (0, 0), **options}) as partner:
            yield partner, receiver


async def told(partner, receiver):
    """Wait for all deliveries; return the events received since the last call."""
    await partner.sandbox.delivered()
    requests, receiver.requests = receiver.requests, []
    return [json.loads(request.body) for request in requests]


async def move(partner, esim, **given: object):
    """Move an eSIM by the control API."""
    return await partner.post(ESIMS, {"esimId": esim["id"], **given})


async def test_an_event_is_signed_over_its_very_bytes():
    """The signature is the lower-case hex HMAC-SHA256 of the raw body, without a prefix."""
    async with listened(webhook_secret="hush", path="/hooks/roamify?from=sandbox") as (partner, receiver):
        order = await partner.buy(PLAIN, path="/api/esim/order/instant", referenceId="Zürich")
        await move(partner, order["data"]["esims"][0], status="INSTALLED")
        await partner.sandbox.delivered()
        [request] = receiver.requests
        assert request.line == "POST /hooks/roamify?from=sandbox HTTP/1.1"
        assert request.get("Content-Type") == "application/json"
        expected = hmac.new(b"hush", request.body, hashlib.sha256).hexdigest()
        assert request.get("X-Roamify-Signature") == expected == expected.lower()
        [delivery] = partner.sandbox.deliveries()
        assert delivery == {
            "id": 1, "event": "esim.status", "tries": 1, "status": 200, "state": "acknowledged",
            "body": request.body.decode(),
        }  # fmt: skip


async def test_a_status_event_names_the_esim_and_its_time():
    """Installed it has a start and an end; the reference is the order's."""
    async with listened() as (partner, receiver):
        order = await partner.buy(PLAIN, path="/api/esim/order/instant", referenceId="mine")
        [esim] = order["data"]["esims"]
        assert await told(partner, receiver) == []
        await move(partner, esim, status="INSTALLED")
        [event] = await told(partner, receiver)
        usage = (await partner.get("/api/esim/usage", iccid=esim["iccid"]))["data"]
        assert event["data"].pop("timestamp") - usage["startedAt"] in {0, 1}
        assert event == {
            "event_category": "esim",
            "event_type": "status",
            "data": {
                "iccid": esim["iccid"],
                "esim_id": esim["id"],
                "reference_id": "mine",
                "start": usage["startedAt"],
                "end": usage["startedAt"] + 30 * 86_400,
                "status": "INSTALLED",
            },
        }


async def test_every_change_of_an_esim_is_an_event():
    """Each change of status is an event, the first usage too; an unchanged status is none."""
    async with listened() as (partner, receiver):
        esim = await partner.applied(PLAIN)
        for given in ({"status": "INSTALLED"}, {"status": "INSTALLED"}, {"usedData": 1}, {"usedData": 1}):
            await move(partner, esim, **given)
        await move(partner, esim, status="EXPIRED")
        await move(partner, esim, status="REVOKED")
        words = [event["data"]["status"] for event in await told(partner, receiver)]
        assert words == ["INSTALLED", "ACTIVATED", "EXPIRED", "REVOKED", "DELETED"]


async def test_a_cancelled_voucher_sends_events_of_its_esim():
    """Its eSIM is revoked; a refused cancellation and a dry run send no event."""
    async with listened() as (partner, receiver):
        made = await partner.post("/api/esim/vouchers", {"packageId": PLAIN}, status=201)
        path = f"/api/esim/voucher/{made['data']['vouchers'][0]['id']}/revoke"
        partner.sandbox.fail("PUT", path, "502", when="before")
        await partner.call("PUT", path, json={}, status=502)
        assert await told(partner, receiver) == []
        await partner.call("PUT", path, json={})
        await partner.call("PUT", path, json={}, status=409)
        assert [event["data"]["status"] for event in await told(partner, receiver)] == ["REVOKED", "DELETED"]


async def test_usage_events_are_sent_at_each_mark():
    """One event for each usage that reaches 25, 50, 75, 90 or 100 percent of the data."""
    async with listened() as (partner, receiver):
        esim = await partner.applied(PLAIN)
        left = []
        for megabytes in (255, 1, 1, 255, 254, 2, 100, 60, 95, 1, 50):
            await move(partner, esim, usedData=megabytes)
            left += [event["data"] for event in await told(partner, receiver) if event["event_type"] == "usage"]
        assert [data["usage_data"]["remaining_data"] for data in left] == [768, 512, 256, 96, 0]


async def test_a_usage_event_has_allowances_and_days():
    """It contains the fields of a status event, package, units, allowances and daily usage."""
    async with listened() as (partner, receiver):
        esim = await partner.applied(PLAIN)
        await move(partner, esim, usedData=300)
        *_, event = await told(partner, receiver)
        assert (event["event_category"], event["event_type"]) == ("esim", "usage")
        data = event["data"]
        assert (data["esim_id"], data["iccid"], data["status"]) == (esim["id"], esim["iccid"], "ACTIVATED")
        assert data["end"] - data["start"] == 30 * 86_400
        assert (data["package_id"], data["package_name"]) == (PLAIN, "1 GB - 30 Days")
        assert (data["data_units"], data["voice_units"], data["sms_units"]) == ("MB", "minutes", "sms")
        assert data["usage_data"] == {
            "isUnlimited": False, "allowed_data": 1024, "remaining_data": 724,
            "allowed_sms": 0, "remaining_sms": 0, "allowed_voice": 0, "remaining_voice": 0,
        }  # fmt: skip
        [day] = data["usage_list"]
        details = (await partner.get("/api/esim/usage/details", iccid=esim["iccid"]))["data"]["dataUsages"]
        assert (day["date"].replace("-", ""), day["data_used"]) == (details[0]["date"], 300)
        assert (day["date"][4], day["location"]) == ("-", "Greece")


async def test_the_contradictions_of_the_documents_are_options():
    """Event types can be prefixed, and usage_list can stand among the allowances."""
    options = {"webhook_types": "prefixed", "webhook_usage_list": "usage_data"}
    async with listened(**options) as (partner, receiver):
        await move(partner, await partner.applied(PLAIN), usedData=300)
        events = await told(partner, receiver)
        assert [event["event_type"] for event in events] == ["esim_status", "esim_status", "esim_usage"]
        data = events[-1]["data"]
        assert "usage_list" not in data
        assert [day["data_used"] for day in data["usage_data"]["usage_list"]] == [300]


async def test_there_are_no_usage_events_without_marks():
    """Unlimited data and packages without usage check send no usage events."""
    for kind in ["no_usage_check", "unlimited"]:
        async with listened() as (partner, receiver):
            esim = await partner.applied(partner.kind(kind))
            await move(partner, esim, usedData=10_000_000)
            assert [event["data"]["status"] for event in await told(partner, receiver)] == ["INSTALLED", "ACTIVATED"]


async def test_the_same_bytes_come_again_until_they_are_acknowledged():
    """Up to three tries; only 200 acknowledges, and a redirect is not followed."""
    plays = answering(answer(status=500), answer(status=204), answer())
    async with listened(plays) as (partner, receiver):
        await move(partner, await partner.applied(PLAIN), status="INSTALLED")
        await partner.sandbox.delivered()
        first, *again = receiver.requests
        assert [(r.body, r.get("X-Roamify-Signature")) for r in again] == [
            (first.body, first.get("X-Roamify-Signature"))
        ] * 2
        [delivery] = partner.sandbox.deliveries()
        assert (delivery["tries"], delivery["status"], delivery["state"]) == (3, 200, "acknowledged")


async def test_what_is_never_acknowledged_is_given_up():
    """After three tries nothing more is sent; the next event is tried all the same."""
    for refusal in [401, 500, 302]:
        refused = answer(status=refusal, Location="/elsewhere")
        async with listened(answering(refused, refused, refused, answer())) as (partner, receiver):
            esim = await partner.applied(PLAIN)
            await move(partner, esim, status="INSTALLED")
            await partner.sandbox.delivered()
            assert {request.line for request in receiver.requests} == {"POST /roamify HTTP/1.1"}
            await move(partner, esim, status="EXPIRED")
            await partner.sandbox.delivered()
            seen = [(d["tries"], d["status"], d["state"]) for d in partner.sandbox.deliveries()]
            assert seen == [(3, refusal, "given up"), (1, 200, "acknowledged")]
            assert len(receiver.requests) == 4


async def test_a_receiver_that_is_too_slow_has_not_acknowledged():
    """Without a response in time, or without a listener, there is no status."""
    async with listened(silent, webhook_timeout=0.2) as (partner, receiver):
        await move(partner, await partner.applied(PLAIN), status="INSTALLED")
        await partner.sandbox.delivered()
        with nobody() as url:
            await partner.post(HOOKS, {"url": url})
            await partner.post(SEND, {"id": 1})
            await partner.sandbox.delivered()
        seen = [(d["tries"], d["status"], d["state"]) for d in partner.sandbox.deliveries()]
        assert seen == [(3, None, "given up")] * 2
        assert len(receiver.requests) == 3


async def tried(partner, times):
    """Poll until the only delivery was tried so often, and return its state."""
    while True:
        [delivery] = (await partner.get(HOOKS))["deliveries"]
        if (delivery["tries"], delivery["status"]) == (times, 500 + times):
            return delivery["state"]


async def test_waits_between_tries_are_of_the_sandbox_clock():
    """Nothing is tried before its time; moved forward, the clock brings each try, at increasing intervals."""
    plays = answering(*(answer(status=500 + number) for number in (1, 2, 3)))
    async with listened(plays, webhook_retry_after=(600, 3600)) as (partner, receiver):
        partner.sandbox.add_balance(1)
        for number, wait in ((1, 600), (2, 3600)):
            assert await tried(partner, number) == "waiting"
            partner.sandbox.advance(wait - 60)
            assert (await partner.get(HOOKS))["deliveries"][0]["tries"] == number
            partner.sandbox.advance(60)
        assert await tried(partner, 3) == "given up"
        assert len(receiver.requests) == 3


async def test_a_receiver_that_hangs_holds_up_no_answer():
    """While a delivery waits for its receiver, the API answers, and the end of the sandbox waits for nothing."""
    async with listened(silent, webhook_timeout=600) as (partner, receiver):
        await move(partner, await partner.applied(PLAIN), status="INSTALLED")
        await receiver.came.wait()
        waiting = asyncio.create_task(partner.sandbox.delivered())
        assert (await partner.get("/api/balance"))["data"]["balance"] < 1000
        assert not waiting.done()
    with pytest.raises(RuntimeError, match="the sandbox was stopped"):
        await waiting


async def test_events_come_in_their_sequence():
    """One receiver gets the events in the order in which they happened."""
    async with listened() as (partner, receiver):
        await partner.buy(PLAIN, quantity=5, path="/api/esim/order/instant")
        partner.sandbox.advance("3d")
        times = [event["data"]["timestamp"] for event in await told(partner, receiver)]
        assert len(times) > 80
        assert times == sorted(times)


async def test_a_receiver_is_named_and_forgotten_over_http(partner):
    """Before there is a URL nothing is sent or kept; after its end, what is not acknowledged is dropped."""
    esim = await partner.applied(PLAIN)
    await move(partner, esim, status="INSTALLED")
    assert await partner.get(HOOKS) == {"url": None, "deliveries": []}
    async with Raw(silent) as receiver:
        assert await partner.post(HOOKS, {"url": receiver.url}) == {"url": receiver.url}
        await move(partner, esim, usedData=1)
        await receiver.came.wait()
        ended = await partner.call("DELETE", HOOKS)
        assert (ended["url"], [delivery["state"] for delivery in ended["deliveries"]]) == (None, ["dropped"])
        await partner.sandbox.delivered()
        await move(partner, esim, status="EXPIRED")
        assert len((await partner.get(HOOKS))["deliveries"]) == 1


FOREIGN_URLS = [
    "http://192.0.2.7/",
    "https://example.com/hook",
    "ftp://127.0.0.1/",
    "127.0.0.1:80",
    "http://[::1",
    "",
    7,
    None,
]


async def test_a_receiver_is_on_this_machine(partner):
    """Events never leave the machine: any other URL is refused, as an option, too."""
    for url in FOREIGN_URLS:
        body = await partner.post(HOOKS, {"url": url}, status=400)
        assert "on this machine" in body["message"]
        if url is not None:
            with pytest.raises(ValueError, match="webhook_url"):
                Sandbox(webhook_url=url)


async def test_an_event_is_sent_again_byte_for_byte():
    """A replay has an id of its own and the body and signature of the first."""
    async with listened() as (partner, receiver):
        await move(partner, await partner.applied(PLAIN), status="INSTALLED")
        again = await partner.post(SEND, {"id": 1})
        assert (again["id"], again["event"]) == (2, "esim.status")
        await partner.sandbox.delivered()
        first, second = receiver.requests
        signed = [(request.body, request.get("X-Roamify-Signature")) for request in (first, second)]
        assert signed[0] == signed[1]


async def test_a_test_can_make_up_an_event():
    """Whatever has a category and a type is signed and sent as it is."""
    event = {"event_category": "esim", "event_type": "teleported", "data": {"to": "Ελλάδα"}}
    async with listened() as (partner, receiver):
        await partner.post(SEND, {"id": None, "event": event})
        assert await told(partner, receiver) == [event]


INVALID_EVENTS = [
    ({}, "exactly one"),
    ({"id": 9}, "no delivery 9"),
    ({"id": 1, "event": {}}, "exactly one"),
    ({"event": []}, "event_category and event_type"),
    ({"event": {"event_type": "usage"}}, "event_category and event_type"),
    ({"body": ""}, "allowed: id, event"),
]


async def test_what_cannot_be_sent_is_400():
    """The message names what is wrong."""
    for given, named in INVALID_EVENTS:
        async with listened() as (partner, _):
            assert named in (await partner.post(SEND, given, status=400))["message"]


async def test_without_a_receiver_nothing_can_be_sent(partner):
    """It says where to name one."""
    assert HOOKS in (await partner.post(SEND, {"id": 1}, status=400))["message"]


async def test_a_low_balance_is_an_event_at_each_level():
    """At the threshold and at 75, 50 and 25 percent of it, as the balance comes down to it, once."""
    async with listened(balance="10.00", low_balance="6.00") as (partner, receiver):
        price = float(partner.sandbox.price(PLAIN))
        events = []
        for _ in range(5):
            await partner.buy(PLAIN)
            events += await told(partner, receiver)
        assert {(event["event_category"], event["event_type"]) for event in events} == {("partner", "low_balance")}
        data = [event["data"] for event in events]
        assert [entry["threshold_percentage"] for entry in data] == [100, 75, 50]
        for entry in data:
            assert entry["balance"] <= 6 * entry["threshold_percentage"] / 100 < entry["balance"] + price
            assert (entry["threshold"], entry["currency"]) == (6, "USD")


async def test_one_purchase_can_pass_every_level():
    """Each level that it passes is an event, highest first; without a threshold there is none."""
    for threshold, levels in (("6.00", [100, 75, 50, 25]), (0, [])):
        async with listened(balance="1.55", low_balance=threshold) as (partner, receiver):
            partner.sandbox.add_balance("10.45")
            await partner.buy(PLAIN, quantity=7)
            events = [event["data"] for event in await told(partner, receiver) if event["event_type"] == "low_balance"]
            assert [entry["threshold_percentage"] for entry in events] == levels


async def test_a_refused_purchase_and_a_top_up_are_events():
    """Each event has the balance; a dry run or a lost purchase sends none."""
    async with listened(balance="1.00", low_balance="0.00") as (partner, receiver):
        partner.sandbox.fail("POST", "/api/esim/order", "503", when="before")
        await partner.buy(PLAIN, status=503)
        assert await told(partner, receiver) == []
        for path in ("/api/esim/order", "/api/esim/order/instant"):
            await partner.buy(PLAIN, status=409, path=path)
        await partner.post("/api/esim/vouchers", {"packageId": PLAIN}, status=409)
        assert await partner.post("/_sandbox/balance", {"add": "99.25"}) == {"balance": "100.25"}
        events = await told(partner, receiver)
        types = [(event["event_type"], event["data"]["balance"]) for event in events]
        assert types == [("insufficient_balance", 1)] * 3 + [("top_up", 100.25)]


async def test_a_lost_response_sends_events_if_it_was_booked():
    """It sends balance events only if it was booked."""
    for when in ["before", "after"]:
        async with listened(balance="2.00", low_balance="0.50") as (partner, receiver):
            partner.sandbox.fail("POST", "/api/esim/order", "drop", when=when)
            with pytest.raises(aiohttp.ServerDisconnectedError):
                await partner.buy(PLAIN)
            assert len(await told(partner, receiver)) == (when == "after")


async def test_only_money_is_added(partner):
    """Anything else is 400, and the balance stays."""
    for amount in ["0", "-1", "1.005", "much", None, True, 1.5, []]:
        assert "add" in (await partner.post("/_sandbox/balance", {"add": amount}, status=400))["message"]
        assert partner.sandbox.state()["balance"] == "1000.00"


async def test_an_affiliate_order_is_sent_on_request():
    """On request only: the newest order or the one that is named, with the commission on its total."""
    async with listened() as (partner, receiver):
        first = (await partner.buy(PLAIN, quantity=2))["data"]
        await partner.buy(partner.kind("unlimited"))
        await partner.post("/_sandbox/affiliate", {"orderId": first["id"], "status": "pending"})
        await partner.post("/_sandbox/affiliate", {})
        named, newest = await told(partner, receiver)
        assert (named["event_category"], named["event_type"]) == ("affiliate", "order")
        assert (named["data"]["commission_rate"], named["data"]["commission_amount"]) == (10, 0.31)
        order = named["data"]["order_data"]
        assert (order["order_id"], order["order_total"], order["order_status"]) == (first["id"], 3.1, "pending")
        assert order["order_items"] == [
            {"item_id": PLAIN, "item_name": "1 GB - 30 Days", "item_quantity": 2, "item_price": 1.55}
        ]
        assert newest["data"]["order_data"]["order_status"] == "completed"
        assert newest["data"]["order_data"]["order_id"] != first["id"]
        for wrong in ({"orderId": "nowhere"}, {"orderId": []}, {"status": "COMPLETED"}, {"total": 1}):
            await partner.post("/_sandbox/affiliate", wrong, status=400)


@pytest.mark.parametrize(("status", "reason"), [("REFUNDED", ""), ("REJECTED", "used"), ("CANCELLED", "")])
async def test_a_decided_refund_is_an_event_with_an_id(status, reason):
    """Only REFUNDED and REJECTED are events, not creation, processing or cancellation."""
    async with listened() as (partner, receiver):
        esim = await partner.applied(PLAIN)
        refund = (await partner.post("/_sandbox/refunds", {"esimId": esim["id"]}))["refundId"]
        decide = {"refundId": refund, "reason": reason or "none"}
        await partner.post("/_sandbox/refunds/decide", {**decide, "status": "PROCESSING"})
        await partner.post("/_sandbox/refunds/decide", {**decide, "status": status})
        events = await told(partner, receiver)
        if status == "CANCELLED":
            assert events == []
            return
        [event] = events
        assert event.pop("event_id") == f"rfd_{refund}_{status.lower()}"
        assert (event["event_category"], event["event_type"]) == ("refund", status.lower())
        del event["data"]["timestamp"]
        assert event["data"] == {
            "refund_id": refund, "status": status, "product_type": "esim", "esim_id": esim["id"],
            "iccid": esim["iccid"], "rejection_reason": reason,
        }  # fmt: skip


async def test_reset_forgets_deliveries_and_returns_to_the_first_url():
    """What was under way is dropped, a URL that was named later is forgotten, and ids begin anew."""
    async with listened() as (partner, receiver), Raw(silent) as other:
        await partner.post(HOOKS, {"url": other.url})
        await partner.post("/_sandbox/balance", {"add": 1})
        await other.came.wait()
        partner.sandbox.reset()
        assert await partner.get(HOOKS) == {"url": receiver.url + "/roamify", "deliveries": []}
        await partner.post("/_sandbox/balance", {"add": 2})
        [event] = await told(partner, receiver)
        assert (event["data"]["balance"], partner.sandbox.deliveries()[0]["id"]) == (1002, 1)


async def test_wait_delivered_refuses_to_block_a_loop():
    """In an event loop it says what to await instead."""
    async with Sandbox(packages=20) as sandbox:
        with pytest.raises(RuntimeError, match="delivered"):
            sandbox.wait_delivered()


def test_the_blocking_form_waits_for_a_receiver_in_another_thread():
    """It waits until all is delivered; while a receiver keeps silent it gives up and counts what waits."""
    gate, seen = threading.Event(), []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            seen.append(self.rfile.read(int(self.headers["Content-Length"])))
            gate.wait(20)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object):
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Receiver) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        with Sandbox(packages=20, webhook_url=f"http://127.0.0.1:{server.server_port}") as sandbox:
            sandbox.wait_delivered()
            sandbox.add_balance("5")
            with pytest.raises(TimeoutError, match="1 events are not delivered"):
                sandbox.wait_delivered(timeout=0.01)
            gate.set()
            sandbox.wait_delivered()
            assert [delivery["body"].encode() for delivery in sandbox.deliveries()] == seen
            with urllib.request.urlopen(sandbox.url + HOOKS, timeout=20) as response:
                assert json.load(response)["deliveries"] == sandbox.deliveries()
        server.shutdown()
        thread.join()
