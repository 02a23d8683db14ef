"""The documentation page's receivers in each framework, over real sockets, with events of the sandbox."""

import asyncio
import hashlib
import io
import json
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import aiohttp
import pytest
from support.deliveries import EVENTS, body_of, headers_of, patient
from support.partner import Partner, partner_of
from support.receivers import FRAMEWORKS, serve_asgi, serve_receiver

from roamify_async import webhooks
from roamify_async.webhooks import (
    AffiliateItem,
    AffiliateOrder,
    AffiliateOrderEvent,
    AffiliateOrderStatus,
    BalanceEvent,
    DailyUsage,
    EsimStatusEvent,
    EsimUsageEvent,
    NotifiedStatus,
    RefundDecision,
    RefundEvent,
    UsageAllowances,
    WebhookEvent,
)

PLAIN = "esim-greece-30days-1gb-all"
INSTANT, BALANCE = "/api/esim/order/instant", "/_sandbox/balance"
HOOKS, SEND = "/_sandbox/webhooks", "/_sandbox/webhooks/send"
NOW = 1_800_000_000  # 2027-01-15 08:00:00 UTC
HOUR = 3_600

in_every_framework = pytest.mark.parametrize("framework", FRAMEWORKS)


@asynccontextmanager
async def sandbox_and_receiver(
    framework: str, handler: webhooks.Handler, **options: object
) -> AsyncIterator[tuple[Partner, str]]:
    """Run a receiver in a framework, and a sandbox that posts to it and retries at once; yield both."""
    async with serve_receiver(framework, patient(handler)) as url:
        options = {"webhook_url": url, "webhook_retry_after": (0, 0), "webhook_timeout": 20, **options}
        async with partner_of(**options) as partner:
            yield partner, url


async def outcomes(partner: Partner) -> list[tuple[int, int, str]]:
    """Wait until every delivery has ended and return the tries, the last status and the state of each."""
    await partner.sandbox.delivered()
    deliveries = (await partner.get(HOOKS))["deliveries"]
    return [(delivery["tries"], delivery["status"], delivery["state"]) for delivery in deliveries]


async def post(url: str, body: bytes, headers: dict[str, str]) -> tuple[int, bytes]:
    """Post a body and return the status and the body of the response."""
    async with (
        aiohttp.ClientSession() as session,
        session.post(url, data=io.BytesIO(body), headers=headers) as response,
    ):
        return response.status, await response.read()


# ---------------------------------------------------------------- single requests


@in_every_framework
async def test_responses(framework):
    """A signed event is acknowledged as documented; forged, malformed and oversized bodies are refused."""
    seen: list[WebhookEvent] = []
    async with serve_receiver(framework, patient(seen.append)) as url:
        body = body_of(EVENTS["top_up"])
        large = b" " * (2**20 + 1)
        for forged, headers, expected in [
            (body.replace(b"20.1", b"99.1"), headers_of(body), 401),
            (json.dumps(json.loads(body)).encode(), headers_of(body), 401),
            (body, headers_of(body, "another-secret"), 401),
            (body, {"Content-Type": "application/json"}, 401),
            (b"", headers_of(body), 401),
            (b"[]", headers_of(b"[]"), 400),
            (large, headers_of(large), 413),
        ]:
            assert (await post(url, forged, headers))[0] == expected
        assert not seen

        status, response = await post(url, body, headers_of(body))
        assert (status, json.loads(response)) == (200, {"code": 200, "status": "success"})
        # Bytes that no JSON encoder would produce are verified unchanged.
        unusual = b' {"event_category":\t"voucher", "event_type":"\\u00e9", "data":{"a":1.10, "a":1.10}}\r\n'
        assert (await post(url, unusual, headers_of(unusual)))[0] == 200
        assert [event.type for event in seen] == ["top_up", "\u00e9"]


# ---------------------------------------------------------------- deliveries of the sandbox


@in_every_framework
async def test_event_is_handled_once(framework):
    """An event is acknowledged at the first try; delivered again, it is acknowledged and not handled."""
    seen: list[WebhookEvent] = []
    async with sandbox_and_receiver(framework, seen.append) as (partner, _):
        for amount in ("1.50", "2.25"):
            await partner.post(BALANCE, {"add": amount})
        assert await outcomes(partner) == [(1, 200, "acknowledged")] * 2
        await partner.post(SEND, {"id": 1})
        assert await outcomes(partner) == [(1, 200, "acknowledged")] * 3
    assert [(event.type, event.balance) for event in seen if isinstance(event, BalanceEvent)] == [
        ("top_up", Decimal("1001.50")),
        ("top_up", Decimal("1003.75")),
    ]
    assert len(seen) == 2


@in_every_framework
async def test_failed_event_is_handled_at_the_next_delivery(framework, caplog):
    """A failure is a 500 that the sandbox retries, three times at most; delivered again later, it is handled."""
    keys: list[str] = []
    failures = [True, False, True, True, True]

    async def handler(event: WebhookEvent) -> None:
        keys.append(event.key)
        if failures and failures.pop(0):
            raise LookupError("no such customer")

    async with sandbox_and_receiver(framework, handler) as (partner, _):
        await partner.post(BALANCE, {"add": 1})
        assert await outcomes(partner) == [(2, 200, "acknowledged")]
        await partner.post(BALANCE, {"add": 1})
        assert (await outcomes(partner))[1:] == [(3, 500, "given up")]
        await partner.post(SEND, {"id": 2})
        assert (await outcomes(partner))[1:] == [(3, 500, "given up"), (1, 200, "acknowledged")]
    assert len(keys) == 6
    assert (len({*keys[:2]}), len({*keys[2:]})) == (1, 1)
    assert "no such customer" in caplog.text


@in_every_framework
async def test_simultaneous_deliveries(framework):
    """While an event is handled, another delivery of it is a 409; the first one is acknowledged."""
    started, proceed, seen = threading.Event(), threading.Event(), list[WebhookEvent]()

    def handler(event: WebhookEvent) -> None:
        started.set()
        proceed.wait(20)
        seen.append(event)

    async with sandbox_and_receiver(framework, handler) as (partner, url):
        await partner.post(BALANCE, {"add": 1})
        assert await asyncio.to_thread(started.wait, 20)
        [body] = [delivery["body"].encode() for delivery in partner.sandbox.deliveries()]
        assert (await post(url, body, headers_of(body)))[0] == 409
        proceed.set()
        assert await outcomes(partner) == [(1, 200, "acknowledged")]
    assert len(seen) == 1


async def test_wrong_secret_is_given_up():
    """Each try of an event that is signed with another secret is a 401."""
    seen: list[WebhookEvent] = []
    async with sandbox_and_receiver("aiohttp", seen.append, webhook_secret="another-secret") as (partner, _):
        await partner.post(BALANCE, {"add": 1})
        assert await outcomes(partner) == [(3, 401, "given up")]
    assert not seen


async def test_asgi_app_without_a_framework():
    """An ASGI server runs the application by itself, lifespan included."""
    seen: list[WebhookEvent] = []
    body = body_of(EVENTS["top_up"])
    async with serve_asgi(webhooks.AsgiApp(patient(seen.append))) as port:
        assert (await post(f"http://127.0.0.1:{port}", body, headers_of(body)))[0] == 200
    assert [event.type for event in seen] == ["top_up"]


# ---------------------------------------------------------------- every event


@pytest.fixture
def _stopped_clock(monkeypatch):
    """Stop the clock of this machine, so that times are exact."""
    monkeypatch.setattr(time, "time", lambda: float(NOW))


async def cause_every_event(partner: Partner) -> tuple[Any, Any, list[str]]:
    """Cause every event, once or more, and return both orders and the ids of the refunds."""
    first = (await partner.buy(PLAIN, path=INSTANT, referenceId="trip-1"))["data"]
    second = (await partner.buy(PLAIN))["data"]
    await partner.buy(PLAIN, quantity=50, status=409)
    partner.sandbox.add_balance("91.10")
    await partner.post("/_sandbox/affiliate", {})
    partner.sandbox.advance("6h")
    refunds: list[str] = []
    for esim_id, status in ((first["esims"][0]["id"], "REJECTED"), (second["items"][0]["esimId"], "REFUNDED")):
        created = await partner.post("/_sandbox/refunds", {"esimId": esim_id})
        decision = {"refundId": created["refundId"], "status": status, "reason": "used"}
        refunds.append((await partner.post("/_sandbox/refunds/decide", decision))["refundId"])
    await partner.sandbox.delivered()
    return first, second, refunds


def at(hours: int) -> datetime:
    """Return the time after some hours."""
    return datetime.fromtimestamp(NOW + hours * HOUR, UTC)


def expected(first: Any, second: Any, refunds: list[str]) -> list[tuple[type[WebhookEvent], dict[str, Any]]]:
    """Return the class and the attributes of each event of ``cause_every_event``, in order."""
    balance = {"category": "partner", "timestamp": at(0), "currency": "USD"}
    low = {"threshold": Decimal(10), "threshold_percentage": Decimal(100)}
    order = AffiliateOrder(
        order_id=second["id"],
        order_total=Decimal("1.55"),
        order_subtotal=Decimal("1.55"),
        order_status=AffiliateOrderStatus.COMPLETED,
        order_items=(AffiliateItem(item_id=PLAIN, item_name="1 GB - 30 Days", item_price=Decimal("1.55")),),
    )
    affiliate = {"partner_name": "Sandbox Partner", "partner_id": "sandbox-partner", "timestamp": at(0)}
    commission = {"commission_rate": Decimal(10), "commission_amount": Decimal("0.15"), "order_data": order}
    iccid, esim_id = first["esims"][0]["iccid"], first["esims"][0]["id"]
    times = {"start": at(1), "end": at(1 + 30 * 24)}
    esim = {"category": "esim", "iccid": iccid, "esim_id": esim_id, "reference_id": "trip-1", **times}
    none = {"allowed_sms": Decimal(0), "remaining_sms": Decimal(0)}
    none |= {"allowed_voice": Decimal(0), "remaining_voice": Decimal(0)}
    usage = UsageAllowances(allowed_data=Decimal(1024), remaining_data=Decimal(1016), **none)
    days = (DailyUsage(date="2027-01-15", data_used=Decimal(8), location="Greece"),)
    package = {"package_id": PLAIN, "package_name": "1 GB - 30 Days", "usage_data": usage, "usage_list": days}
    rejected, refunded = refunds
    return [
        (BalanceEvent, {**balance, "type": "low_balance", "balance": Decimal("8.90"), **low}),
        (BalanceEvent, {**balance, "type": "insufficient_balance", "balance": Decimal("8.90")}),
        (BalanceEvent, {**balance, "type": "top_up", "balance": Decimal(100)}),
        (AffiliateOrderEvent, {"category": "affiliate", "type": "order", **affiliate, **commission}),
        (EsimStatusEvent, {**esim, "type": "status", "timestamp": at(1), "status": NotifiedStatus.INSTALLED}),
        (EsimStatusEvent, {**esim, "type": "status", "timestamp": at(2), "status": NotifiedStatus.ACTIVATED}),
        (
            EsimUsageEvent,
            {**esim, "type": "usage", "timestamp": at(6), "status": NotifiedStatus.ACTIVATED, **package},
        ),
        (
            RefundEvent,
            {
                "category": "refund", "type": "rejected", "event_id": f"rfd_{rejected}_rejected", "timestamp": at(6),
                "refund_id": rejected, "status": RefundDecision.REJECTED, "esim_id": esim_id, "iccid": iccid,
                "rejection_reason": "used",
            },
        ),
        (
            RefundEvent,
            {
                "category": "refund", "type": "refunded", "event_id": f"rfd_{refunded}_refunded", "timestamp": at(6),
                "refund_id": refunded, "status": RefundDecision.REFUNDED, "esim_id": second["items"][0]["esimId"],
            },
        ),
    ]  # fmt: skip


@pytest.mark.usefixtures("_stopped_clock")
@pytest.mark.parametrize(
    ("framework", "options", "types", "place"),
    [
        *((framework, {}, ["status", "status", "usage"], "data") for framework in FRAMEWORKS),
        ("aiohttp", {"webhook_types": "prefixed"}, ["esim_status", "esim_status", "esim_usage"], "data"),
        ("aiohttp", {"webhook_usage_list": "usage_data"}, ["status", "status", "usage"], "usage_data"),
    ],
)
async def test_every_event_is_decoded(framework, options, types, place):
    """Each event has its class and all its attributes, for every documented spelling of types and place of days."""
    seen: list[WebhookEvent] = []
    options = {"balance": "12.00", "low_balance": "10.00", **options}
    async with sandbox_and_receiver(framework, seen.append, **options) as (partner, _):
        caused = await cause_every_event(partner)
        bodies = [delivery["body"].encode() for delivery in partner.sandbox.deliveries()]
        assert await outcomes(partner) == [(1, 200, "acknowledged")] * 9
    digests = [hashlib.sha256(body).hexdigest() for body in bodies]
    assert seen == [
        kind(**values, digest=digest) for (kind, values), digest in zip(expected(*caused), digests, strict=True)
    ]
    documents = [json.loads(body, parse_float=Decimal) for body in bodies]
    assert [event.data for event in seen] == [document["data"] for document in documents]
    assert [document["event_type"] for document in documents if document["event_category"] == "esim"] == types
    data = documents[6]["data"]
    assert ("usage_list" in data, "usage_list" in data["usage_data"]) == (place == "data", place == "usage_data")
