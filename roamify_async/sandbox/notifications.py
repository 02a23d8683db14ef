"""The events that a partner is told of, as they are written: the names are the webhooks' own."""

from collections import Counter
from typing import Final

from .context import World
from .data.money import number
from .data.packages import Json
from .data.plans import UNLIMITED
from .http.serializers import usage as usage_view
from .state.records import Esim, Order, Refund

_COMMISSION: Final = 10  # percent


def status(world: World, esim: Esim, told: str) -> Json:
    """Tell that an eSIM is INSTALLED, ACTIVATED, EXPIRED, REVOKED or DELETED now."""
    return _of_esim(world, "status", _named(world, esim, told))


def usage(world: World, esim: Esim) -> Json:
    """Tell what an eSIM has used by now; where `usage_list` stands is an option."""
    package = world.catalogue.packages[esim.package_id]
    used = world.store.usages(esim.id)
    shown = usage_view(esim, world.bought(esim, hidden=True), used)
    location = package.group.shown["signals"][0]["name"]
    allowances = {
        "isUnlimited": shown["allowedData"] == UNLIMITED,
        "allowed_data": shown["allowedData"],
        "remaining_data": shown["remainingData"],
        "allowed_sms": shown["allowedSms"],
        "remaining_sms": shown["remainingSms"],
        "allowed_voice": shown["allowedVoice"],
        "remaining_voice": shown["remainingVoice"],
    }
    days = {"usage_list": [{"date": _iso(d.date), "data_used": d.megabytes, "location": location} for d in used]}
    inside = world.options.webhook_usage_list == "usage_data"
    data = _named(world, esim, "ACTIVATED") | {
        "package_id": esim.package_id,
        "package_name": package.plan.name,
        "data_units": "MB",
        "voice_units": "minutes",
        "sms_units": "sms",
        "usage_data": allowances | (days if inside else {}),
    }
    return _of_esim(world, "usage", data if inside else data | days)


def low_balance(world: World, percent: int) -> Json:
    """Tell that the balance has come down to so many percent of the threshold."""
    threshold = {"threshold": number(world.options.low_balance), "threshold_percentage": percent}
    return _of_partner(world, "low_balance", threshold)


def insufficient_balance(world: World) -> Json:
    """Tell that a purchase was refused for the balance."""
    return _of_partner(world, "insufficient_balance", {})


def top_up(world: World) -> Json:
    """Tell that the balance was added to."""
    return _of_partner(world, "top_up", {})


def affiliate_order(world: World, order: Order, told: str) -> Json:
    """Tell an affiliate of an order, as if a customer had made it; undocumented: what the adjustment is."""
    total = number(order.total)
    items = [
        {
            "item_id": package_id,
            "item_name": world.catalogue.packages[package_id].plan.name,
            "item_quantity": quantity,
            "item_price": number(price),
        }
        for (package_id, price), quantity in Counter((item.package_id, item.price) for item in order.items).items()
    ]
    data = {
        "timestamp": int(world.now()),
        "partner_name": "Sandbox Partner",
        "partner_id": "sandbox-partner",
        "commission_rate": _COMMISSION,
        "commission_amount": number(order.total * _COMMISSION // 100),
        "order_data": {
            "order_id": order.id,
            "order_total": total,
            "order_adjustment": 0,
            "order_subtotal": total,
            "order_discount": 0,
            "order_currency": "USD",
            "order_status": told,
            "order_items": items,
        },
    }
    return _event("affiliate", "order", data)


def refund(world: World, decided: Refund) -> Json:
    """Tell that a refund request is REFUNDED or REJECTED; of all events only these have an id."""
    esim, name = world.store.esim(id=decided.esim_id, hidden=True), decided.status.lower()
    data = {
        "timestamp": int(world.now()),
        "refund_id": decided.id,
        "status": decided.status,
        "product_type": "esim",
        "esim_id": decided.esim_id,
        "iccid": esim.iccid if esim else "",
        "rejection_reason": decided.rejection_reason,
    }
    return {"event_id": f"rfd_{decided.id}_{name}", **_event("refund", name, data)}


def _of_esim(world: World, name: str, data: Json) -> Json:
    return _event("esim", f"esim_{name}" if world.options.webhook_types == "prefixed" else name, data)


def _of_partner(world: World, name: str, more: Json) -> Json:
    balance = {"timestamp": int(world.now()), "balance": number(world.store.balance())}
    return _event("partner", name, {**balance, **more, "currency": "USD"})


def _event(category: str, name: str, data: Json) -> Json:
    return {"event_category": category, "event_type": name, "data": data}


def _named(world: World, esim: Esim, told: str) -> Json:
    shown = usage_view(esim, world.bought(esim, hidden=True), ())
    return {
        "timestamp": int(world.now()),
        "iccid": esim.iccid,
        "esim_id": esim.id,
        "reference_id": esim.reference_id,
        "start": shown["startedAt"],
        "end": shown["expiredAt"],
        "status": told,
    }


def _iso(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}"
