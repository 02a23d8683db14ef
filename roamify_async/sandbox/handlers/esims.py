"""The endpoints of an eSIM's life: apply, look at it, its usage, history, events and top-up packages."""

import time
from collections.abc import Iterable
from itertools import islice
from typing import Any

from roamify_async.sandbox.context import Call, World, known
from roamify_async.sandbox.data.packages import Json, Package
from roamify_async.sandbox.data.plans import UNLIMITED
from roamify_async.sandbox.http.responses import Answer, bare, invalid, page, refused, success
from roamify_async.sandbox.http.serializers import (
    esim as esim_view,
    item as item_view,
    top_up_package,
    usage as usage_view,
)
from roamify_async.sandbox.http.validation import Shape, count, enum, flag, iso_date, number, text
from roamify_async.sandbox.state.records import Esim, Happening

_FINER = {"allowedData": 1024, "remainingData": 1024, "allowedVoice": 60, "remainingVoice": 60}
PENDING = "eSIM is still pending processing, please try again later"

_APPLY = Shape({"esimId": text, "referenceId": text, "startDate": iso_date}, any_of=("esimId", "referenceId"))
_ONE = Shape({"iccid": text, "esimId": text}, one_of=("iccid", "esimId"))
_LIST = Shape(
    {
        "status": enum("NEW", "READY", "INSTALLED", "REVOKED", "EXPIRED", "UNKNOWN"),
        "limit": count,
        "referenceId": text,
    }
)
_ICCID = Shape({"iccid": text}, required=frozenset({"iccid"}))
_EVENT = Shape(
    {"iccid": text, "esimId": text, "referenceId": text},
    any_of=("iccid", "esimId", "referenceId"),
)
_TOP_UPS = Shape(
    {"iccid": text, "days": number, "gbs": number, "isUnlimited": flag, "packageId": text},
    required=frozenset({"iccid"}),
)


def apply(world: World, call: Call) -> Answer:
    """Make profiles; undocumented: with both names given the referenceId's eSIMs are meant, and twice is as once."""
    body = _APPLY.read(call.body)
    esim_id, reference_id = body.get("esimId"), body.get("referenceId")
    if esim_id is None and world.options.apply_needs_esim_id:
        raise invalid('"esimId" is required')
    esims = _chosen(world, esim_id, reference_id)
    start_date = body.get("startDate", "")
    for esim in esims:
        if esim.pending:
            raise refused(500, PENDING)
        if esim.status == "NEW" and not start_date and _package(world, esim).travel_date:
            raise refused(400, "startDate is required for this package")
    world.store.apply(esims, start_date, call.fate.ready_in)
    made = [_shown(world, known(world.store.esim(id=esim.id))) for esim in esims]
    return success(made if reference_id is not None else made[0])


def get(world: World, call: Call) -> Answer:
    """Show one eSIM."""
    query = _ONE.read(call.query)
    return success(_shown(world, known(world.store.esim(id=query.get("esimId"), iccid=query.get("iccid")))))


def get_all(world: World, call: Call) -> Answer:
    """List eSIMs, newest first (undocumented: the sequence)."""
    query = _LIST.read(call.query)
    status = query.get("status")
    esims = (esim for esim in world.store.esims(reference_id=query.get("referenceId")) if status in {None, esim.status})
    return success([_shown(world, esim) for esim in islice(esims, query.get("limit", 50))])


def usage(world: World, call: Call) -> Answer:
    """Show what is left of an eSIM's allowances; undocumented: megabytes and minutes, or kilobytes and seconds."""
    return success(_used(world, _checkable(world, call)))


def usage_details(world: World, call: Call) -> Answer:
    """Show the same with the usage of each day; undocumented: how days are written."""
    esim = _checkable(world, call)
    covered = _package(world, esim).group.shown["signals"][0]["name"]
    finer = _FINER["remainingData"] if world.options.usage_units == "KB" else 1
    days = [
        {"date": _day(world, used.date), "usage": used.megabytes * finer, "location": covered}
        for used in world.store.usages(esim.id)
    ]
    return success(_used(world, esim) | {"dataUsages": days})


def history(world: World, call: Call) -> Answer:
    """List the packages an eSIM was given, oldest first."""
    esim = _by_iccid(world, _ICCID.read(call.query))
    return success([item_view(item, world.catalogue) for item in world.store.history(esim.id)])


def event(world: World, call: Call) -> Answer:
    """Tell the life of an eSIM, without envelope; undocumented: of several under one referenceId, the first."""
    if world.options.event_path == "events":
        return page(404, "Cannot GET /api/esim/event")
    return _life(world, call)


def events(world: World, call: Call) -> Answer:
    """Do the same at the path of older texts, where the sandbox is told to."""
    if world.options.event_path == "event":
        raise refused(404, "Cannot GET /api/esim/events")
    return _life(world, call)


def _life(world: World, call: Call) -> Answer:
    query = _EVENT.read(call.query)
    esim = known(_named(world, query))
    eid = f"8904903200000000{int(esim.id[:8], 16):016}"
    happened = [_happened(esim, happening, eid) for happening in world.store.events(esim.id)]
    names = {"iccid": esim.iccid, "esimId": esim.id, "referenceId": esim.reference_id}
    life = names | {"events": happened, "locations": []}
    return success(life) if world.options.event_envelope else bare(life)


def top_up_packages(world: World, call: Call) -> Answer:
    """List what an applied eSIM can be topped up with; one that cannot be topped up has an empty list."""
    query = _TOP_UPS.read(call.query)
    package = _package(world, _by_iccid(world, query))
    return success([top_up_package(offered) for offered in _narrowed(package.top_ups, query)])


def _chosen(world: World, esim_id: str | None, reference_id: str | None) -> list[Esim]:
    if reference_id is None:
        return [known(world.store.esim(id=esim_id))]
    esims = [*world.store.esims(reference_id=reference_id)][::-1]
    if not esims or esim_id not in {None, *(esim.id for esim in esims)}:
        raise refused(404, "Order not found")
    return esims


def _package(world: World, esim: Esim) -> Package:
    return world.catalogue.packages[esim.package_id]


def _shown(world: World, esim: Esim) -> Json:
    return esim_view(esim, _package(world, esim))


def _by_iccid(world: World, query: dict[str, Any]) -> Esim:
    return known(world.store.esim(iccid=query["iccid"]))


def _named(world: World, query: dict[str, Any]) -> Esim | None:
    if query.keys() == {"referenceId"}:
        return next(iter([*world.store.esims(reference_id=query["referenceId"])][::-1]), None)
    return world.store.esim(id=query.get("esimId"), iccid=query.get("iccid"))


def _day(world: World, compact: str) -> str:
    if world.options.usage_dates == "YYYYMMDD":
        return compact
    return f"{compact[:4]}-{compact[4:6]}-{compact[6:]}"


def _checkable(world: World, call: Call) -> Esim:
    esim = _by_iccid(world, _ICCID.read(call.query))
    if not _package(world, esim).usage_check:
        raise refused(400, "Usage check is not supported for this eSIM, please read its notes")
    return esim


def _used(world: World, esim: Esim) -> Json:
    used = usage_view(esim, world.bought(esim), world.store.usages(esim.id))
    if world.options.usage_units == "MB":
        return used
    return used | {name: _finer(used[name], _FINER[name]) for name in _FINER}


def _finer(amount: int, parts: int) -> int:
    return amount if amount == UNLIMITED else amount * parts


def _happened(esim: Esim, happening: Happening, eid: str) -> Json:
    return {
        "iccid": esim.iccid,
        "eid": "" if happening.status == "NEW" else eid,
        "status": happening.status,
        "timeStamp": happening.at,
        "dateTime": time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(happening.at)),
    }


def _narrowed(packages: Iterable[Package], query: dict[str, Any]) -> Iterable[Package]:
    unlimited = query.get("isUnlimited", False)
    megabytes = query["gbs"] * 1024 if "gbs" in query and not unlimited else None
    for package in packages:
        plan = package.plan
        if query.get("packageId") not in {None, package.id} or query.get("days") not in {None, plan.days}:
            continue
        if megabytes in {None, plan.megabytes} and (plan.unlimited or not unlimited):
            yield package
