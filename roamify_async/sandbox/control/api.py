"""The control API under `/_sandbox/`: how tests in any language inspect and steer the sandbox.

It needs no token on this machine, serves no others without one, and is neither counted nor affected by faults.
"""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final, cast

from attrs import frozen

from roamify_async.sandbox.context import Context
from roamify_async.sandbox.data.catalogue import Filter
from roamify_async.sandbox.data.currencies import to_decimal
from roamify_async.sandbox.data.encoding import Json
from roamify_async.sandbox.handlers import refunds, vouchers
from roamify_async.sandbox.http.errors import ApiError, failed
from roamify_async.sandbox.http.responses import Response, bare
from roamify_async.sandbox.lifecycle import move, simulate
from roamify_async.sandbox.notifications import add_balance, affiliate_order
from roamify_async.sandbox.options import parse_receiver
from roamify_async.sandbox.routes import carry_out_due, check_fault, exclusive
from roamify_async.sandbox.state.clock import parse_duration
from roamify_async.sandbox.state.records import Esim
from roamify_async.sandbox.state.store import STATUSES

from .snapshot import esim_snapshot, snapshot

PREFIX: Final = "/_sandbox/"

_MOST_DATA: Final = 10**12  # megabytes
_AFFILIATE_STATUSES: Final = ("completed", "pending", "failed", "refunded")


def control(context: Context, method: str, path: str, body: bytes) -> Response:
    """Return the response to one request of the control API."""
    call = _CALLS.get((method, path.removeprefix(PREFIX)))
    if call is None:
        allowed = ", ".join(f"{method} {PREFIX}{name}" for method, name in _CALLS)
        return failed(404, f"Unknown control call; there are: {allowed}")
    try:
        with exclusive(context):
            return bare(call.handler(context, _parse_body(body)))
    except ApiError as raised:
        return raised.response
    except (ValueError, RecursionError) as error:
        return failed(400, str(error))


def describe() -> list[tuple[str, str, str]]:
    """Return every control call: method and path, an example body or an empty text, and what it does."""
    return [
        (f"{method} {PREFIX}{name}", call.example, (call.handler.__doc__ or "").partition("\n")[0])
        for (method, name), call in _CALLS.items()
    ]


def advance(context: Context, seconds: float) -> None:
    """Advance the clock: carry out due requests, simulate the eSIMs, and send the webhook events."""
    with context.store.advance(seconds) as since:
        carry_out_due(context)
        events = simulate(context, since)
    context.webhooks.send(*events)
    context.webhooks.check_due()


def _state(context: Context, _given: Json) -> Json:
    """Return the balance, all records, and the number of requests by endpoint."""
    return snapshot(context)


def _reset(context: Context, _given: Json) -> Json:
    """Restore the initial state."""
    context.reset(*context.initial)
    return snapshot(context)


def _list_faults(context: Context, _given: Json) -> Json:
    """Return the faults that are not used up."""
    return {"faults": context.faults.to_json()}


def _add_fault(context: Context, given: Json) -> Json:
    """Script a fault; see below."""
    check_fault(given)
    context.faults.add(given)
    return _list_faults(context, given)


def _clear_faults(context: Context, given: Json) -> Json:
    """Remove all faults."""
    context.faults.clear()
    return _list_faults(context, given)


def _move_esim(context: Context, given: Json) -> Json:
    """Set the status of an applied eSIM, or add data usage in megabytes."""
    _allow_only(given, "esimId", "iccid", "status", "usedData")
    esim = _find_esim(context, given)
    megabytes = given.get("usedData", 0)
    if isinstance(megabytes, bool) or not isinstance(megabytes, int) or not 0 <= megabytes < _MOST_DATA:
        raise ValueError(f"usedData must be megabytes as an integer of 0 or more, not {megabytes!r}")
    # An eSIM that uses data must be installed.
    status = given.get("status", "INSTALLED" if megabytes and esim.status == "READY" else esim.status)
    if status not in STATUSES:
        raise ValueError(f"status must be one of {', '.join(STATUSES)}, not {status!r}")
    context.webhooks.send(*move(context, esim, status, megabytes))
    return esim_snapshot(context, context.find_esim(id=esim.id, hidden=True))


def _change_catalogue(context: Context, given: Json) -> Json:
    """Take packages off sale, put them back on sale, or change their prices."""
    _allow_only(given, "remove", "add", "reprice")
    prices: object = given.get("reprice", {})
    if not isinstance(prices, dict):
        raise ValueError(f"reprice must be prices by packageId, not {prices!r}")  # noqa: TRY004 - becomes a 400
    context.change_catalogue(_package_ids(given, "remove"), _package_ids(given, "add"), cast("dict[str, Any]", prices))
    return {"packages": len(context.catalogue.select(Filter()).packages)}


def _change_prices(context: Context, given: Json) -> Json:
    """Change the prices of some packages, or multiply all prices."""
    _allow_only(given, "prices", "scale")
    prices: object = given.get("prices", {})
    if not isinstance(prices, dict):
        raise ValueError(f"prices must be prices by packageId, not {prices!r}")  # noqa: TRY004 - becomes a 400
    context.change_catalogue(reprice=cast("dict[str, Any]", prices))
    if "scale" in given:
        context.scale_prices(given["scale"])
    return {"packages": len(context.catalogue.packages) if "scale" in given else len(cast("Json", prices))}


def _add_destination(context: Context, given: Json) -> Json:
    """Add a destination with new packages at a position of the catalogue, from 0."""
    _allow_only(given, "name", "packages", "position")
    name, packages, position = given.get("name"), given.get("packages", 8), given.get("position", 0)
    if not isinstance(name, str) or not all(type(number) is int for number in (packages, position)):
        raise ValueError("name must be a string, packages and position integers")
    context.add_destination(name, packages, position)
    return {"destinations": len(context.catalogue.json)}


def _clock(context: Context, given: Json) -> Json:
    """Return the time of the sandbox, and how many seconds it is ahead of the system time."""
    _allow_only(given)
    now = context.now()
    time = datetime.fromtimestamp(int(now), UTC).isoformat().replace("+00:00", "Z")
    return {"now": int(now), "time": time, "ahead": int(context.store.ahead)}


def _advance_clock(context: Context, given: Json) -> Json:
    """Advance the clock by seconds, or by a text such as 90s, 15m, 4h or 30d."""
    _allow_only(given, "advance")
    advance(context, parse_duration(given.get("advance")))
    return _clock(context, {})


def _add_balance(context: Context, given: Json) -> Json:
    """Add US dollars to the balance."""
    _allow_only(given, "add")
    add_balance(context, given.get("add"))
    return {"balance": str(to_decimal(context.store.balance()))}


def _list_webhooks(context: Context, given: Json) -> Json:
    """Return the URL of the receiver and the latest deliveries."""
    _allow_only(given)
    return {"url": context.webhooks.url, "deliveries": [d.to_json() for d in context.webhooks.recent()]}


def _set_receiver(context: Context, given: Json) -> Json:
    """Send webhook events to a URL on this machine from now on."""
    _allow_only(given, "url")
    context.webhooks.url = parse_receiver(given.get("url"))
    return {"url": context.webhooks.url}


def _remove_receiver(context: Context, given: Json) -> Json:
    """Send no more webhook events, and drop those that are not acknowledged."""
    _allow_only(given)
    context.webhooks.stop()
    return _list_webhooks(context, {})


def _send_webhook(context: Context, given: Json) -> Json:
    """Send the event of a delivery again, byte for byte, or send the given event."""
    _allow_only(given, "id", "event")
    if context.webhooks.url is None:
        raise ValueError("there is no url to send to: POST one to /_sandbox/webhooks")
    id = given.get("id")
    if (id is None) == (given.get("event") is None):
        raise ValueError("exactly one of id, event is required")
    if id is not None:
        found = [delivery for delivery in context.webhooks.recent() if delivery.id == id]
        if not found:
            raise ValueError(f"there is no delivery {id!r}")
        context.webhooks.send_body(found[0].event, found[0].body)
    else:
        context.webhooks.send(_parse_event(given["event"]))
    return context.webhooks.recent()[-1].to_json()


def _send_affiliate_order(context: Context, given: Json) -> Json:
    """Send the event that a customer of an affiliate placed an order, by default the newest one."""
    _allow_only(given, "orderId", "status")
    id, status = given.get("orderId"), given.get("status", "completed")
    if status not in _AFFILIATE_STATUSES:
        raise ValueError(f"status must be one of {', '.join(_AFFILIATE_STATUSES)}, not {status!r}")
    orders = context.store.orders(id=None if id is None else str(id), limit=1, hidden=True)
    if not orders:
        raise ValueError("there is no such order")
    return _send_webhook(context, {"event": affiliate_order(context, orders[0], status)})


def _redeem_voucher(context: Context, given: Json) -> Json:
    """Redeem a voucher, as a traveller does."""
    _allow_only(given, "code")
    return vouchers.redeem(context, vouchers.find_by_code(context, str(given.get("code"))))


def _find_esim(context: Context, given: Json) -> Esim:
    id, iccid = given.get("esimId"), given.get("iccid")
    if (id is None) == (iccid is None):
        raise ValueError("exactly one of esimId, iccid is required")
    esim = context.store.esim(id=str(id) if id is not None else None, iccid=str(iccid), hidden=True)
    if esim is None:
        raise ValueError("there is no such eSIM")
    if not esim.iccid:
        raise ValueError("the eSIM is not applied yet")
    return esim


def _allow_only(given: Json, *allowed: str) -> None:
    unknown = given.keys() - set(allowed)
    if unknown:
        raise ValueError(f"unknown {', '.join(sorted(map(repr, unknown)))}; allowed: {', '.join(allowed) or 'nothing'}")


def _package_ids(given: Json, name: str) -> list[str]:
    found: object = given.get(name, [])
    if isinstance(found, list) and all(isinstance(text, str) for text in cast("list[object]", found)):
        return cast("list[str]", found)
    raise ValueError(f"{name} must be a list of packageIds, not {found!r}")


def _parse_event(given: object) -> Json:
    event = cast("Json", given) if isinstance(given, dict) else {}
    names = ("event_category", "event_type")
    if not all(isinstance(event.get(name), str) for name in names):
        raise ValueError(f"event must be an object with the strings {' and '.join(names)}, not {json.dumps(given)}")
    return event


def _parse_body(body: bytes) -> Json:
    given: object = json.loads(body) if body else {}
    if not isinstance(given, dict):
        raise ValueError("the body must be a JSON object")  # noqa: TRY004 - becomes a 400 like the others
    return cast("Json", given)


@frozen
class _Call:
    handler: Callable[[Context, Json], Any]
    example: str = ""


_CALLS: Final[dict[tuple[str, str], _Call]] = {
    ("GET", "state"): _Call(_state),
    ("POST", "reset"): _Call(_reset),
    ("GET", "faults"): _Call(_list_faults),
    ("POST", "faults"): _Call(_add_fault, '{"method": "POST", "path": "/api/esim/order", "fault": "drop"}'),
    ("DELETE", "faults"): _Call(_clear_faults),
    ("POST", "catalogue"): _Call(_change_catalogue, '{"remove": [ID], "add": [ID], "reprice": {ID: "1.23"}}'),
    ("POST", "prices"): _Call(_change_prices, '{"prices": {ID: "1.23"}} or {"scale": "1.1"}'),
    ("POST", "destinations"): _Call(_add_destination, '{"name": "Atlantis", "packages": 8, "position": 0}'),
    ("POST", "balance"): _Call(_add_balance, '{"add": "100.00"}'),
    ("GET", "clock"): _Call(_clock),
    ("POST", "clock"): _Call(_advance_clock, '{"advance": "4h"}'),
    ("POST", "esims"): _Call(_move_esim, '{"esimId": ID, "status": "INSTALLED", "usedData": 100}'),
    ("POST", "vouchers/redeem"): _Call(_redeem_voucher, '{"code": CODE}'),
    ("POST", "refunds"): _Call(refunds.create, '{"esimId": ID, "reason": TEXT}'),
    ("POST", "refunds/decide"): _Call(refunds.decide, '{"refundId": ID, "status": "REFUNDED", "reason": TEXT}'),
    ("GET", "webhooks"): _Call(_list_webhooks),
    ("POST", "webhooks"): _Call(_set_receiver, '{"url": "http://127.0.0.1:8000/roamify"}'),
    ("DELETE", "webhooks"): _Call(_remove_receiver),
    ("POST", "webhooks/send"): _Call(_send_webhook, '{"id": NUMBER} or {"event": {...}}'),
    ("POST", "affiliate"): _Call(_send_affiliate_order, '{"orderId": ID, "status": "completed"}'),
}
