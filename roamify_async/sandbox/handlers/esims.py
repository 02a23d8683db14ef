"""The endpoints of eSIMs: apply, get, list, usage, history and events."""

import time
from itertools import islice
from typing import Any, Final

from roamify_async.sandbox.context import Context, Request
from roamify_async.sandbox.data.encoding import Json
from roamify_async.sandbox.data.packages import Package
from roamify_async.sandbox.data.plans import UNLIMITED
from roamify_async.sandbox.http.errors import ESIM_PENDING, error, esim_not_found, invalid, unknown_route
from roamify_async.sandbox.http.responses import Response, bare, success
from roamify_async.sandbox.http.serializers import esim as esim_json, order_item, usage as usage_json
from roamify_async.sandbox.http.validation import Schema, count, iso_date, text
from roamify_async.sandbox.state.records import Esim, EsimEvent

_APPLY = Schema({"esimId": text, "referenceId": text, "startDate": iso_date}, any_of=("esimId", "referenceId"))
_GET = Schema({"iccid": text, "esimId": text}, one_of=("iccid", "esimId"))
_LIST = Schema({"status": text, "limit": count, "referenceId": text})
_STATUSES: Final = ("NEW", "READY", "INSTALLED", "REVOKED", "EXPIRED", "UNKNOWN")
_ICCID = Schema({"iccid": text}, required=frozenset({"iccid"}))
_EVENT = Schema(
    {"iccid": text, "esimId": text, "referenceId": text},
    any_of=("iccid", "esimId", "referenceId"),
)
_SMALLER_UNITS: Final = {"allowedData": 1024, "remainingData": 1024, "allowedVoice": 60, "remainingVoice": 60}


def apply(context: Context, request: Request) -> Response:
    """Generate profiles.

    Undocumented: with both esimId and referenceId, all eSIMs of the reference are applied; a second call changes
    nothing.
    """
    body = _APPLY.parse(request.body)
    esim_id, reference_id = body.get("esimId"), body.get("referenceId")
    if esim_id is None and context.options.apply_needs_esim_id:
        raise invalid('"esimId" is required')
    esims = _selected(context, esim_id, reference_id)
    start_date = body.get("startDate", "")
    for esim in esims:
        if esim.pending:
            raise error(500, ESIM_PENDING)
        if esim.status == "REVOKED" and not esim.iccid:
            raise error(400, "This eSIM is revoked")
        if esim.status == "NEW" and not start_date and _package(context, esim).needs_travel_date:
            raise error(400, "startDate is required for this package")
    context.store.apply(esims, start_date, request.modifiers.ready_in)
    applied = [_to_json(context, context.find_esim(id=esim.id)) for esim in esims]
    return success(applied if reference_id is not None else applied[0])


def get(context: Context, request: Request) -> Response:
    """Return one eSIM."""
    query = _GET.parse(request.query)
    return success(_to_json(context, context.find_esim(id=query.get("esimId"), iccid=query.get("iccid"))))


def list_all(context: Context, request: Request) -> Response:
    """Return the eSIMs, newest first (undocumented)."""
    query = _LIST.parse(request.query)
    status = query.get("status")
    context.check_status(status, _STATUSES)
    found = context.store.esims(reference_id=query.get("referenceId"), prefix=context.filters_by_prefix)
    esims = (esim for esim in found if status in {None, esim.status})
    return success([_to_json(context, esim) for esim in islice(esims, query.get("limit", 50))])


def usage(context: Context, request: Request) -> Response:
    """Return the allowances of an eSIM; disputed: whether in megabytes and minutes, or kilobytes and seconds."""
    return success(_usage(context, _find_with_usage(context, request)))


def usage_details(context: Context, request: Request) -> Response:
    """Return the allowances of an eSIM and its daily usage; disputed: the format of dates."""
    esim = _find_with_usage(context, request)
    location = _package(context, esim).destination.json["signals"][0]["name"]
    factor = _SMALLER_UNITS["remainingData"] if context.options.usage_units == "KB" else 1
    days = [
        {"date": _date(context, used.date), "usage": used.megabytes * factor, "location": location}
        for used in context.store.usages(esim.id)
    ]
    return success(_usage(context, esim) | {"dataUsages": days})


def history(context: Context, request: Request) -> Response:
    """Return the packages of an eSIM, oldest first."""
    esim = context.find_esim(iccid=_ICCID.parse(request.query)["iccid"])
    return success([order_item(item, context.catalogue) for item in context.store.history(esim.id)])


def event(context: Context, request: Request) -> Response:
    """Return the events of an eSIM without envelope; undocumented: those of several with one referenceId."""
    if context.options.event_path == "events":
        raise unknown_route("GET", "/api/esim/event")
    return _events(context, request)


def events(context: Context, request: Request) -> Response:
    """Return the events of an eSIM at the path of older documentation, if the option `event_path` says so."""
    if context.options.event_path == "event":
        raise unknown_route("GET", "/api/esim/events")
    return _events(context, request)


def _events(context: Context, request: Request) -> Response:
    query = _EVENT.parse(request.query)
    esims = _find_by_any_name(context, query)
    body = [_events_of(context, esim) for esim in esims] if len(esims) > 1 else _events_of(context, esims[0])
    return success(body) if context.options.event_envelope else bare(body)


def _events_of(context: Context, esim: Esim) -> Json:
    eid = f"8904903200000000{int(esim.id[:8], 16):016}"
    return {
        "iccid": esim.iccid,
        "esimId": esim.id,
        "referenceId": esim.reference_id,
        "events": [_event(esim, event, eid) for event in context.store.events(esim.id)],
        "locations": [],
    }


def _event(esim: Esim, event: EsimEvent, eid: str) -> Json:
    return {
        "iccid": esim.iccid,
        "eid": "" if event.status == "NEW" else eid,
        "status": event.status,
        "timeStamp": event.at,
        "dateTime": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(event.at)),
    }


def _selected(context: Context, esim_id: str | None, reference_id: str | None) -> list[Esim]:
    if reference_id is None:
        return [context.find_esim(id=esim_id)]
    esims = [*context.store.esims(reference_id=reference_id)][::-1]
    if any(order.status == "PENDING" for order in context.store.orders(reference_id=reference_id)):
        raise error(500, ESIM_PENDING)
    if not esims or esim_id not in {None, *(esim.id for esim in esims)}:
        raise error(404, "Order not found")
    return esims


def _find_by_any_name(context: Context, query: dict[str, Any]) -> list[Esim]:
    if query.keys() == {"referenceId"}:
        esims = [*context.store.esims(reference_id=query["referenceId"])]
        if not esims:
            raise esim_not_found()
        return esims[::-1] if context.options.order_events == "list" else esims[-1:]
    return [context.find_esim(id=query.get("esimId"), iccid=query.get("iccid"))]


def _find_with_usage(context: Context, request: Request) -> Esim:
    esim = context.find_esim(iccid=_ICCID.parse(request.query)["iccid"])
    if not _package(context, esim).supports_usage_check:
        raise error(400, "Usage check is not supported for this eSIM, please read its notes")
    return esim


def _package(context: Context, esim: Esim) -> Package:
    return context.catalogue.packages[esim.package_id]


def _to_json(context: Context, esim: Esim) -> Json:
    return esim_json(esim, _package(context, esim))


def _usage(context: Context, esim: Esim) -> Json:
    allowances = usage_json(esim, context.packages_of(esim), context.store.usages(esim.id))
    if context.options.usage_units == "MB":
        return allowances
    return allowances | {name: _in_smaller_units(allowances[name], _SMALLER_UNITS[name]) for name in _SMALLER_UNITS}


def _in_smaller_units(amount: int, factor: int) -> int:
    return amount if amount == UNLIMITED else amount * factor


def _date(context: Context, compact: str) -> str:
    if context.options.usage_dates == "YYYYMMDD":
        return compact
    return f"{compact[:4]}-{compact[4:6]}-{compact[6:]}"
