"""Everything that a sandbox has stored, as one JSON object for tests."""

from roamify_async.sandbox.context import Context
from roamify_async.sandbox.data.currencies import to_decimal
from roamify_async.sandbox.data.encoding import Json
from roamify_async.sandbox.data.plans import UNLIMITED
from roamify_async.sandbox.handlers import insurance, refunds, vouchers
from roamify_async.sandbox.state.records import Esim, Order


def snapshot(context: Context) -> Json:
    """Return the balance, all records, oldest first and including hidden ones, and the request counts."""
    store = context.store
    with context.lock:
        return {
            "balance": str(to_decimal(store.balance())),
            "orders": [_order(order, "esimId") for order in reversed(store.orders(hidden=True))],
            "esims": [esim_snapshot(context, esim) for esim in [*store.esims(hidden=True)][::-1]],
            "vouchers": vouchers.all_json(context),
            "insuranceOrders": [
                _order(order, "policyId") for order in reversed(store.orders(insurance=True, hidden=True))
            ],
            "policies": insurance.all_policies_json(context),
            "refunds": refunds.all_json(context),
            "messages": [
                {"esimId": message.esim_id, "message": message.text, "sentAt": message.at}
                for message in reversed(context.messages.select())
            ],
            "requests": dict(context.requests.counts),
        }


def esim_snapshot(context: Context, esim: Esim) -> Json:
    """Return one eSIM with its data allowance and usage."""
    packages = context.packages_of(esim, hidden=True)
    return {
        "id": esim.id,
        "iccid": esim.iccid,
        "status": esim.status,
        "packageId": esim.package_id,
        "orderId": esim.order_id,
        "referenceId": esim.reference_id,
        "startDate": esim.start_date,
        "allowedData": min(UNLIMITED, sum(package.plan.megabytes for package in packages)),
        "usedData": sum(day.megabytes for day in context.store.usages(esim.id)),
    }


def _order(order: Order, item_key: str) -> Json:
    return {
        "id": order.id,
        "referenceId": order.reference_id,
        "requestedReferenceId": order.requested_reference_id,
        "status": order.status,
        "total": str(to_decimal(order.total)),
        "kind": order.kind,
        "items": [
            {"packageId": item.package_id, item_key: item.esim_id, "price": str(to_decimal(item.price))}
            for item in order.items
        ],
    }
