"""The bodies of webhook events, and the alerts on the balance."""

from collections import Counter
from collections.abc import Generator
from contextlib import contextmanager
from typing import Final

from .context import Context
from .data.currencies import to_cents, to_number
from .data.encoding import Json
from .data.plans import UNLIMITED
from .http.serializers import usage as usage_json
from .state.records import Esim, Order, Refund
from .state.store import InsufficientBalanceError

_COMMISSION: Final = 10  # percent
_ALERT_LEVELS: Final = (100, 75, 50, 25)  # percent of the threshold


def esim_status(context: Context, esim: Esim, status: str) -> Json:
    """Return the event that an eSIM is INSTALLED, ACTIVATED, EXPIRED, REVOKED or DELETED now."""
    return _of_esim(context, "status", _esim_data(context, esim, status))


def esim_usage(context: Context, esim: Esim) -> Json:
    """Return the event with the usage of an eSIM; the place of `usage_list` is an option."""
    package = context.catalogue.packages[esim.package_id]
    used = context.store.usages(esim.id)
    allowances = usage_json(esim, context.packages_of(esim, hidden=True), used)
    location = package.destination.json["signals"][0]["name"]
    usage_data = {
        "isUnlimited": allowances["allowedData"] == UNLIMITED,
        "allowed_data": allowances["allowedData"],
        "remaining_data": allowances["remainingData"],
        "allowed_sms": allowances["allowedSms"],
        "remaining_sms": allowances["remainingSms"],
        "allowed_voice": allowances["allowedVoice"],
        "remaining_voice": allowances["remainingVoice"],
    }
    days = {"usage_list": [{"date": _iso_date(d.date), "data_used": d.megabytes, "location": location} for d in used]}
    nested = context.options.webhook_usage_list == "usage_data"
    data = _esim_data(context, esim, "ACTIVATED") | {
        "package_id": esim.package_id,
        "package_name": package.plan.name,
        "data_units": "MB",
        "voice_units": "minutes",
        "sms_units": "sms",
        "usage_data": usage_data | (days if nested else {}),
    }
    return _of_esim(context, "usage", data if nested else data | days)


def low_balance(context: Context, percent: int) -> Json:
    """Return the event that the balance has fallen to this percentage of the threshold."""
    threshold = {"threshold": to_number(context.options.low_balance), "threshold_percentage": percent}
    return _of_partner(context, "low_balance", threshold)


def insufficient_balance(context: Context) -> Json:
    """Return the event that a purchase was refused because of the balance."""
    return _of_partner(context, "insufficient_balance", {})


def balance_top_up(context: Context) -> Json:
    """Return the event that the balance was topped up."""
    return _of_partner(context, "top_up", {})


def affiliate_order(context: Context, order: Order, status: str) -> Json:
    """Return the event that a customer of an affiliate placed an order; undocumented: what the adjustment is."""
    total = to_number(order.total)
    items = [
        {
            "item_id": package_id,
            "item_name": context.catalogue.packages[package_id].plan.name,
            "item_quantity": quantity,
            "item_price": to_number(price),
        }
        for (package_id, price), quantity in Counter((item.package_id, item.price) for item in order.items).items()
    ]
    data = {
        "timestamp": int(context.now()),
        "partner_name": "Sandbox Partner",
        "partner_id": "sandbox-partner",
        "commission_rate": _COMMISSION,
        "commission_amount": to_number(order.total * _COMMISSION // 100),
        "order_data": {
            "order_id": order.id,
            "order_total": total,
            "order_adjustment": 0,
            "order_subtotal": total,
            "order_discount": 0,
            "order_currency": "USD",
            "order_status": status,
            "order_items": items,
        },
    }
    return _event("affiliate", "order", data)


def refund(context: Context, decided: Refund) -> Json:
    """Return the event that a refund request is REFUNDED or REJECTED, the only events that have an id."""
    esim, name = context.store.esim(id=decided.esim_id, hidden=True), decided.status.lower()
    data = {
        "timestamp": int(context.now()),
        "refund_id": decided.id,
        "status": decided.status,
        "product_type": "esim",
        "esim_id": decided.esim_id,
        "iccid": esim.iccid if esim else "",
        "rejection_reason": decided.rejection_reason,
    }
    return {"event_id": f"rfd_{decided.id}_{name}", **_event("refund", name, data)}


@contextmanager
def balance_alerts(context: Context) -> Generator[None, None, None]:
    """Send the alerts that the block causes: a refused purchase, and each level that the balance falls to."""
    before = context.store.balance()
    try:
        yield
    except InsufficientBalanceError:
        context.webhooks.send(insufficient_balance(context))
        raise
    after = context.store.balance()
    for percent in _ALERT_LEVELS if context.options.low_balance else ():
        if after * 100 <= context.options.low_balance * percent < before * 100:
            context.webhooks.send(low_balance(context, percent))


def add_balance(context: Context, amount: object) -> None:
    """Add dollars to the balance; raises ValueError for anything but a positive amount."""
    cents = to_cents(amount, "add") if isinstance(amount, (str, int)) and not isinstance(amount, bool) else 0
    if not cents:
        raise ValueError(f"add must be an amount above 0 in whole cents, such as '100.00', not {amount!r}")
    context.store.credit(cents)
    context.webhooks.send(balance_top_up(context))


def _of_esim(context: Context, name: str, data: Json) -> Json:
    return _event("esim", f"esim_{name}" if context.options.webhook_types == "prefixed" else name, data)


def _of_partner(context: Context, name: str, more: Json) -> Json:
    balance = {"timestamp": int(context.now()), "balance": to_number(context.store.balance())}
    return _event("partner", name, {**balance, **more, "currency": "USD"})


def _event(category: str, name: str, data: Json) -> Json:
    return {"event_category": category, "event_type": name, "data": data}


def _esim_data(context: Context, esim: Esim, status: str) -> Json:
    allowances = usage_json(esim, context.packages_of(esim, hidden=True), ())
    return {
        "timestamp": int(context.now()),
        "iccid": esim.iccid,
        "esim_id": esim.id,
        "reference_id": esim.reference_id,
        "start": allowances["startedAt"],
        "end": allowances["expiredAt"],
        "status": status,
    }


def _iso_date(day: str) -> str:
    return f"{day[:4]}-{day[4:6]}-{day[6:]}"
