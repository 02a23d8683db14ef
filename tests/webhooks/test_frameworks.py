"""The sandbox's signed events at a receiver in each framework, over real sockets: verified, typed, handled once."""

import asyncio
import hashlib
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
from support.deliveries import SECRET, headers_of
from support.partner import Partner, partner_of
from support.receivers import FRAMEWORKS, by_uvicorn, receiving

from roamify_async import webhooks
from roamify_async.webhooks import (
    AffiliateItem,
    AffiliateOrder,
    AffiliateOrderEvent,
    AffiliateOrderStatus,
    BalanceEvent,
    DayUsed,
    EsimStatusEvent,
    EsimUsageEvent,
    NotifiedStatus,
    Receiver,
    RefundDecision,
    RefundEvent,
    UsageLeft,
    WebhookEvent,
)

PLAIN = "esim-greece-30days-1gb-all"
INSTANT, BALANCE = "/api/esim/order/instant", "/_sandbox/balance"
HOOKS, SEND = "/_sandbox/webhooks", "/_sandbox/webhooks/send"
NOW = 1_800_000_000  # 2027-01-15 08:00:00 UTC
HOUR = 3_600


@pytest.fixture(params=FRAMEWORKS)
def framework(request) -> str:
    """Name each framework."""
    return str(request.param)


@asynccontextmanager
async def told(framework: str, handler: webhooks.Handler, **options: object) -> AsyncIterator[tuple[Partner, str]]:
    """Run a receiver in a framework, and a sandbox that tells it of all and tries again at once; give the URL."""
    async with receiving(framework, Receiver(handler, SECRET, deadline=20)) as url:
        given = {"webhook_url": url, "webhook_retry_after": (0, 0), "webhook_timeout": 20}
        async with partner_of(**{**given, **options}) as partner:
            yield partner, url


async def ends(partner: Partner) -> list[tuple[int, int, str]]:
    """Wait until all is delivered; give tries, last status and state of each delivery."""
    await partner.sandbox.delivered()
    listed = (await partner.get(HOOKS))["deliveries"]
    return [(delivery["tries"], delivery["status"], delivery["state"]) for delivery in listed]


async def posted(url: str, body: bytes, signature: str) -> int:
    """Post bytes as anybody can who knows the URL; give the status."""
    headers = headers_of(body) | {webhooks.SIGNATURE_HEADER: signature}
    async with aiohttp.ClientSession() as session, session.post(url, data=body, headers=headers) as response:
        return response.status


async def test_an_event_is_handled_once(framework):
    """It is acknowledged at the first try; sent again byte for byte it is acknowledged and not handled."""
    seen: list[WebhookEvent] = []
    async with told(framework, seen.append) as (partner, _):
        for amount in ("1.50", "2.25"):
            await partner.post(BALANCE, {"add": amount})
        assert await ends(partner) == [(1, 200, "acknowledged")] * 2
        await partner.post(SEND, {"id": 1})
        assert await ends(partner) == [(1, 200, "acknowledged")] * 3
    assert [(type(event), event.type, event.balance) for event in seen if isinstance(event, BalanceEvent)] == [
        (BalanceEvent, "top_up", Decimal("1001.50")),
        (BalanceEvent, "top_up", Decimal("1003.75")),
    ]
    assert len(seen) == 2


async def test_what_another_secret_signed_is_refused(framework):
    """Every try of a forged event is a 401, and nothing is handled."""
    seen: list[WebhookEvent] = []
    async with told(framework, seen.append, webhook_secret="another-secret") as (partner, _):
        await partner.post(BALANCE, {"add": 1})
        assert await ends(partner) == [(3, 401, "given up")]
    assert not seen


async def test_the_same_json_in_other_bytes_is_refused(framework):
    """An event that was read and written again no longer fits its signature; as it came it does."""
    seen: list[WebhookEvent] = []
    async with told(framework, seen.append) as (partner, url):
        await partner.post(BALANCE, {"add": 1})
        await partner.sandbox.delivered()
        [body] = [delivery["body"].encode() for delivery in partner.sandbox.deliveries()]
        written_again = json.dumps(json.loads(body)).encode()
        assert written_again != body
        signature = webhooks.sign(body, SECRET)
        assert [await posted(url, given, signature) for given in (written_again, body)] == [401, 200]
    assert len(seen) == 1


async def test_what_failed_is_handled_when_it_comes_again(framework, caplog):
    """A handler that fails is a 500; the sandbox's next try is handled, and acknowledged."""
    seen: list[WebhookEvent] = []

    async def handler(event: WebhookEvent) -> None:
        seen.append(event)
        if len(seen) == 1:
            raise LookupError("no such customer")

    async with told(framework, handler) as (partner, _):
        await partner.post(BALANCE, {"add": 1})
        assert await ends(partner) == [(2, 200, "acknowledged")]
    assert [event.type for event in seen] == ["top_up"] * 2
    assert "no such customer" in caplog.text


async def test_what_always_fails_is_tried_three_times(framework):
    """Then it is given up and left unmarked: sent again later, it is handled."""
    tries: list[str] = []

    def handler(event: WebhookEvent) -> None:
        tries.append(event.key)
        if len(tries) <= 3:
            raise LookupError("the database is down")

    async with told(framework, handler) as (partner, _):
        await partner.post(BALANCE, {"add": 1})
        assert await ends(partner) == [(3, 500, "given up")]
        await partner.post(SEND, {"id": 1})
        assert await ends(partner) == [(3, 500, "given up"), (1, 200, "acknowledged")]
    assert len(tries) == 4
    assert len(set(tries)) == 1


async def test_two_at_one_moment_are_handled_once(framework):
    """While an event is handled the same one is a 409; the first is acknowledged all the same."""
    begun, go, seen = threading.Event(), threading.Event(), list[WebhookEvent]()

    def handler(event: WebhookEvent) -> None:
        begun.set()
        go.wait(20)
        seen.append(event)

    async with told(framework, handler) as (partner, url):
        await partner.post(BALANCE, {"add": 1})
        assert await asyncio.to_thread(begun.wait, 20)
        [body] = [delivery["body"].encode() for delivery in partner.sandbox.deliveries()]
        assert await posted(url, body, webhooks.sign(body, SECRET)) == 409
        go.set()
        assert await ends(partner) == [(1, 200, "acknowledged")]
    assert len(seen) == 1


async def test_an_asgi_app_is_a_whole_application():
    """A server of its kind starts, serves and ends it without a framework."""
    seen: list[WebhookEvent] = []
    async with (
        by_uvicorn(webhooks.AsgiApp(Receiver(seen.append, SECRET))) as port,
        partner_of(webhook_url=f"http://127.0.0.1:{port}") as partner,
    ):
        await partner.post(BALANCE, {"add": 1})
        assert await ends(partner) == [(1, 200, "acknowledged")]
    assert [event.type for event in seen] == ["top_up"]


# ---------------------------------------------------------------- every kind


@pytest.fixture
def _frozen(monkeypatch):
    """Let this machine's clock stand still, so that each moment is exact."""
    monkeypatch.setattr(time, "time", lambda: float(NOW))


async def lived(partner: Partner) -> tuple[Any, Any, list[str]]:
    """Let everything happen that a partner is told of; give both orders and the ids of the refunds."""
    first = (await partner.buy(PLAIN, path=INSTANT, referenceId="trip-1"))["data"]
    second = (await partner.buy(PLAIN))["data"]
    await partner.buy(PLAIN, quantity=50, status=409)
    partner.sandbox.add_balance("91.10")
    await partner.post("/_sandbox/affiliate", {})
    partner.sandbox.advance("6h")
    refunds: list[str] = []
    for esim_id, status in ((first["esims"][0]["id"], "REJECTED"), (second["items"][0]["esimId"], "REFUNDED")):
        asked = await partner.post("/_sandbox/refunds", {"esimId": esim_id})
        given = {"refundId": asked["refundId"], "status": status, "reason": "used"}
        refunds.append((await partner.post("/_sandbox/refunds/decide", given))["refundId"])
    await partner.sandbox.delivered()
    return first, second, refunds


def at(hours: int) -> datetime:
    """Give the moment so many hours from now."""
    return datetime.fromtimestamp(NOW + hours * HOUR, UTC)


def expected(first: Any, second: Any, refunds: list[str]) -> list[tuple[type[WebhookEvent], dict[str, Any]]]:
    """Give the class and the values of each event of ``lived``, in their sequence."""
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
    left = UsageLeft(allowed_data=Decimal(1024), remaining_data=Decimal(1016), **none)
    days = (DayUsed(date="2027-01-15", data_used=Decimal(8), location="Greece"),)
    package = {"package_id": PLAIN, "package_name": "1 GB - 30 Days", "usage_data": left, "usage_list": days}
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


@pytest.mark.usefixtures("_frozen")
@pytest.mark.parametrize(
    ("options", "types", "place"),
    [
        ({}, ["status", "status", "usage"], "data"),
        ({"webhook_types": "prefixed"}, ["esim_status", "esim_status", "esim_usage"], "data"),
        ({"webhook_usage_list": "usage_data"}, ["status", "status", "usage"], "usage_data"),
    ],
)
async def test_every_event_comes_out_typed(framework, options, types, place):
    """Each kind is a value of its class with all that was told, however its type is spelled and its days are placed."""
    seen: list[WebhookEvent] = []
    async with told(framework, seen.append, balance="12.00", low_balance="10.00", **options) as (partner, _):
        happened = await lived(partner)
        bodies = [delivery["body"].encode() for delivery in partner.sandbox.deliveries()]
        assert await ends(partner) == [(1, 200, "acknowledged")] * 9
    digests = [hashlib.sha256(body).hexdigest() for body in bodies]
    assert seen == [
        kind(**values, digest=digest) for (kind, values), digest in zip(expected(*happened), digests, strict=True)
    ]
    wire = [json.loads(body, parse_float=Decimal) for body in bodies]
    assert [event.data for event in seen] == [event["data"] for event in wire]
    assert [event["event_type"] for event in wire if event["event_category"] == "esim"] == types
    usage = wire[6]["data"]
    assert [
        name for name, holds in (("data", usage), ("usage_data", usage["usage_data"])) if "usage_list" in holds
    ] == [place]
