"""All that a sandbox holds, as a test sees it."""

from roamify_async.sandbox.context import World
from roamify_async.sandbox.data.money import decimal
from roamify_async.sandbox.data.packages import Json
from roamify_async.sandbox.data.plans import UNLIMITED
from roamify_async.sandbox.handlers import messaging as contacts, policies, refunds, vouchers
from roamify_async.sandbox.state.records import Esim, Order


def state(world: World) -> Json:
    """Tell the balance, all that is kept from the oldest on, hidden or not, and how many requests came for what."""
    store = world.store
    with world.lock:
        return {
            "balance": str(decimal(store.balance())),
            "orders": [_order(order, "esimId") for order in reversed(store.orders(hidden=True))],
            "esims": [_esim(world, esim) for esim in [*store.esims(hidden=True)][::-1]],
            "vouchers": vouchers.kept(world),
            "insuranceOrders": [
                _order(order, "policyId") for order in reversed(store.orders(insurance=True, hidden=True))
            ],
            "policies": policies.kept(world),
            "refunds": refunds.kept(world),
            "messages": contacts.kept(world),
            "requests": dict(world.arrivals.counts),
        }


def _order(order: Order, bought: str) -> Json:
    return {
        "id": order.id,
        "referenceId": order.reference_id,
        "total": str(decimal(order.total)),
        "kind": order.kind,
        "items": [
            {"packageId": item.package_id, bought: item.esim_id, "price": str(decimal(item.price))}
            for item in order.items
        ],
    }


def _esim(world: World, esim: Esim) -> Json:
    held = world.bought(esim, hidden=True)
    return {
        "id": esim.id,
        "iccid": esim.iccid,
        "status": esim.status,
        "packageId": esim.package_id,
        "orderId": esim.order_id,
        "referenceId": esim.reference_id,
        "startDate": esim.start_date,
        "allowedData": min(UNLIMITED, sum(package.plan.megabytes for package in held)),
        "usedData": sum(day.megabytes for day in world.store.usages(esim.id)),
    }
