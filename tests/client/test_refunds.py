"""Refunds, of which the API documents only one path."""

import json
from datetime import UTC, datetime

import pytest
from support.servers import Raw, answer, answering

from roamify_async import DecodeError, NotFoundError, OrderItem, Refund, RefundStatus
from roamify_async.sandbox import Sandbox

REFUND = "5f3c0000-1c52-4b0e-9d0b-6a1f8f6a1111"


@pytest.mark.parametrize("name", ["refundId", "id"])
@pytest.mark.parametrize("wrap", [lambda data: {"status": "success", "data": data}, lambda data: data])
async def test_get(opened, name, wrap):
    """A refund is read with its id under either name, with or without an envelope, and unknown fields are kept."""
    data = {name: REFUND, "status": "PENDING", "iccid": "", "createdAt": 1794182400, "credit": {"amount": 1}}
    async with Raw(answering(answer(json.dumps(wrap(data))))) as server:
        client = await opened(server.url)
        refund = await client.refunds.get(REFUND)
        (request,) = server.requests
    assert request.line == f"GET /api/refund?refundId={REFUND} HTTP/1.1"
    assert (refund.refund_id, refund.status, refund.iccid) == (REFUND, RefundStatus.PENDING, None)
    assert refund.created_at == datetime(2026, 11, 9, tzinfo=UTC)
    assert refund.raw == data


@pytest.mark.parametrize(("status", "text"), [("CANCELLED", "CANCELLED"), (None, "UNKNOWN")])
async def test_states(opened, status, text):
    """An unknown status keeps its text."""
    async with Raw(answering(answer(json.dumps({"data": {"status": status}})))) as server:
        client = await opened(server.url)
        refund = await client.refunds.get(REFUND)
    assert (str(refund.status), refund.refund_id) == (text, None)


async def test_errors(opened):
    """A missing refund is a ``NotFoundError`` with a code; a response that is no object is a ``DecodeError``."""
    missing = answer('{"message": "no such refund", "status": "failed", "code": "REFUND_NOT_FOUND"}', 404)
    async with Raw(answering(missing, answer("[]"))) as server:
        client = await opened(server.url)
        with pytest.raises(NotFoundError) as caught:
            await client.refunds.get(REFUND)
        assert caught.value.code == "REFUND_NOT_FOUND"
        with pytest.raises(DecodeError, match="an object expected"):
            await client.refunds.get(REFUND)
        with pytest.raises(ValueError, match="refund_id must not be empty"):
            await client.refunds.get("")


@pytest.mark.parametrize("key", ["refundId", "id"])
async def test_life(opened, key):
    """A refund is read as it is requested and decided, under either name of its id."""
    async with Sandbox(packages=300, refund_key=key) as sandbox:
        client = await opened(sandbox.url, sandbox.token)
        order = await client.orders.create([OrderItem("esim-greece-30days-1gb-all")])
        body = {"esimId": order.items[0].esim_id, "reason": "not used"}
        requested = await client.request("POST", "/_sandbox/refunds", json=body, response_type=Refund)
        refund = await client.refunds.get(requested.refund_id)
        assert refund == requested
        assert (refund.status, refund.esim_id, refund.order_id) == (RefundStatus.PENDING, body["esimId"], order.id)
        assert (refund.product_type, refund.reason, refund.raw["amount"]) == ("esim", "not used", order.total)
        decision = {"refundId": requested.refund_id, "status": "REJECTED", "reason": "It was used."}
        await client.request("POST", "/_sandbox/refunds/decide", json=decision)
        refund = await client.refunds.get(requested.refund_id)
        assert (refund.status, refund.rejection_reason) == (RefundStatus.REJECTED, "It was used.")
