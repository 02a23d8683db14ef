"""Refund requests: reading one is an endpoint; asking for one and deciding it have no documented path."""

from typing import Final
from uuid import uuid4

from roamify_async.sandbox import notifications as events
from roamify_async.sandbox.context import Call, World
from roamify_async.sandbox.data.money import decimal, number
from roamify_async.sandbox.data.packages import Json
from roamify_async.sandbox.http.responses import Answer, coded, success
from roamify_async.sandbox.http.validation import Shape, any_text, enum, text
from roamify_async.sandbox.state.records import Refund

_OPEN: Final = ("PENDING", "PROCESSING")
_ONE = Shape({"refundId": text}, required=frozenset({"refundId"}))
_REQUEST = Shape({"esimId": text, "reason": any_text}, required=frozenset({"esimId"}))
_DECISION = Shape(
    {
        "refundId": text,
        "status": enum("PROCESSING", "REFUNDED", "REJECTED", "CANCELLED"),
        "reason": any_text,
    },
    required=frozenset({"refundId", "status"}),
)


def get(world: World, call: Call) -> Answer:
    """Show one request; undocumented: all of its fields, which are those of the refund webhook."""
    return success(_shown(world, _found(world, _ONE.read(call.query)["refundId"])))


def request(world: World, given: Json) -> Json:
    """Ask for an eSIM's price; refused while a request for it is open, or once it is refunded."""
    body = _REQUEST.read(given)
    esim = world.store.esim(id=body["esimId"], hidden=True)
    if esim is None:
        raise coded(404, "eSIM not found", "ESIM_NOT_FOUND")
    for earlier in world.refunds.listed(esim_id=esim.id):
        if earlier.status in _OPEN:
            message = "A refund request for this eSIM is already open"
            raise coded(409, message, "REFUND_ALREADY_OPEN", refundId=earlier.id)
        if earlier.status == "REFUNDED":
            raise coded(422, "This eSIM is already refunded", "ALREADY_REFUNDED")
    price = world.store.history(esim.id, hidden=True)[0].price
    now = int(world.now())
    refund = Refund(str(uuid4()), esim.id, price, "PENDING", body.get("reason", ""), "", now, now)
    world.refunds.keep(refund)
    return _shown(world, refund)


def decide(world: World, given: Json) -> Json:
    """Take an open request further; REFUNDED pays the price back to the balance."""
    body = _DECISION.read(given)
    refund, status = _found(world, body["refundId"]), body["status"]
    if refund.status not in _OPEN:
        raise coded(409, f"This refund request is already {refund.status}", "REFUND_ALREADY_DECIDED")
    with world.store.db.transaction():
        if status == "REFUNDED":
            world.store.credit(refund.amount)
        reason = body.get("reason", "") if status == "REJECTED" else ""
        world.refunds.change(refund.id, status=status, rejection_reason=reason)
    decided = _found(world, refund.id)
    if status in {"REFUNDED", "REJECTED"}:
        world.webhooks.send(events.refund(world, decided))
    return _shown(world, decided)


def kept(world: World) -> list[Json]:
    """Show every request, oldest first."""
    refunds = reversed(world.refunds.listed())
    return [_shown(world, refund) | {"amount": str(decimal(refund.amount))} for refund in refunds]


def _found(world: World, refund_id: str) -> Refund:
    for refund in world.refunds.listed(id=refund_id):
        return refund
    raise coded(404, "Refund request not found", "REFUND_NOT_FOUND")


def _shown(world: World, refund: Refund) -> Json:
    esim = world.store.esim(id=refund.esim_id, hidden=True)
    return {
        world.options.refund_key: refund.id,
        "status": refund.status,
        "productType": "esim",
        "esimId": refund.esim_id,
        "iccid": esim.iccid if esim else "",
        "orderId": esim.order_id if esim else "",
        "amount": number(refund.amount),
        "currency": "USD",
        "reason": refund.reason,
        "rejectionReason": refund.rejection_reason,
        "createdAt": refund.created_at,
        "updatedAt": refund.updated_at,
    }
