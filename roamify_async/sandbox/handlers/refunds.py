"""Refund requests: the endpoint that returns one, and the control calls that create and decide one.

The paths for creating one are not documented.
"""

from typing import Final
from uuid import uuid4

from roamify_async.sandbox.context import Context, Request
from roamify_async.sandbox.data.currencies import to_decimal, to_number
from roamify_async.sandbox.data.encoding import Json
from roamify_async.sandbox.http.errors import coded_error
from roamify_async.sandbox.http.responses import Response, success
from roamify_async.sandbox.http.validation import Schema, enum, text, text_or_empty
from roamify_async.sandbox.notifications import refund as refund_event
from roamify_async.sandbox.state.records import Refund

_OPEN: Final = ("PENDING", "PROCESSING")
_GET = Schema({"refundId": text}, required=frozenset({"refundId"}))
_CREATE = Schema({"esimId": text, "reason": text_or_empty}, required=frozenset({"esimId"}))
_DECIDE = Schema(
    {
        "refundId": text,
        "status": enum("PROCESSING", "REFUNDED", "REJECTED", "CANCELLED"),
        "reason": text_or_empty,
    },
    required=frozenset({"refundId", "status"}),
)


def get(context: Context, request: Request) -> Response:
    """Return one refund request; undocumented: all its fields, which follow the refund webhook."""
    return success(_to_json(context, _find(context, _GET.parse(request.query)["refundId"])))


def create(context: Context, given: Json) -> Json:
    """Create a refund request for an eSIM; refused if one is open or the eSIM was refunded."""
    body = _CREATE.parse(given)
    esim = context.store.esim(id=body["esimId"], hidden=True)
    if esim is None:
        raise coded_error(404, "eSIM not found", "ESIM_NOT_FOUND")
    for earlier in context.refunds.select(esim_id=esim.id):
        if earlier.status in _OPEN:
            message = "A refund request for this eSIM is already open"
            raise coded_error(409, message, "REFUND_ALREADY_OPEN", refundId=earlier.id)
        if earlier.status == "REFUNDED":
            raise coded_error(422, "This eSIM is already refunded", "ALREADY_REFUNDED")
    price = context.store.history(esim.id, hidden=True)[0].price
    now = int(context.now())
    refund = Refund(str(uuid4()), esim.id, price, "PENDING", body.get("reason", ""), "", now, now)
    context.refunds.insert(refund)
    return _to_json(context, refund)


def decide(context: Context, given: Json) -> Json:
    """Set the status of an open refund request; REFUNDED credits the price to the balance."""
    body = _DECIDE.parse(given)
    refund, status = _find(context, body["refundId"]), body["status"]
    if refund.status not in _OPEN:
        raise coded_error(409, f"This refund request is already {refund.status}", "REFUND_ALREADY_DECIDED")
    with context.store.db.transaction():
        if status == "REFUNDED":
            context.store.credit(refund.amount)
        reason = body.get("reason", "") if status == "REJECTED" else ""
        context.refunds.update(refund.id, status=status, rejection_reason=reason)
    decided = _find(context, refund.id)
    if status in {"REFUNDED", "REJECTED"}:
        context.webhooks.send(refund_event(context, decided))
    return _to_json(context, decided)


def all_json(context: Context) -> list[Json]:
    """Return every refund request, oldest first."""
    refunds = reversed(context.refunds.select())
    return [_to_json(context, refund) | {"amount": str(to_decimal(refund.amount))} for refund in refunds]


def _find(context: Context, refund_id: str) -> Refund:
    for refund in context.refunds.select(id=refund_id):
        return refund
    raise coded_error(404, "Refund request not found", "REFUND_NOT_FOUND")


def _to_json(context: Context, refund: Refund) -> Json:
    esim = context.store.esim(id=refund.esim_id, hidden=True)
    return {
        context.options.refund_key: refund.id,
        "status": refund.status,
        "productType": "esim",
        "esimId": refund.esim_id,
        "iccid": esim.iccid if esim else "",
        "orderId": esim.order_id if esim else "",
        "amount": to_number(refund.amount),
        "currency": "USD",
        "reason": refund.reason,
        "rejectionReason": refund.rejection_reason,
        "createdAt": refund.created_at,
        "updatedAt": refund.updated_at,
    }
