"""The endpoints that anyone could read: health, countries, packages, devices, and the balance."""

from collections.abc import Sequence
from typing import Any

from roamify_async.sandbox.context import Call, World
from roamify_async.sandbox.data.catalogue import Selection, Wanted
from roamify_async.sandbox.data.devices import DEVICES
from roamify_async.sandbox.data.money import number as money
from roamify_async.sandbox.data.packages import Package, as_groups, dumps
from roamify_async.sandbox.http.responses import Answer, refused, success, success_text
from roamify_async.sandbox.http.validation import Shape, count, enum, flag, number, text

_GEOGRAPHY = enum("local", "regional", "global")
_NOTHING = Shape({})
_COUNTRIES = Shape({"geography": _GEOGRAPHY})
_PACKAGES = Shape(
    {
        "page": count,
        "pageSize": count,
        "country": text,
        "countryCode": text,
        "geography": _GEOGRAPHY,
        "days": number,
        "gbs": number,
        "isUnlimited": flag,
        "packageId": text,
    }
)


def health(_world: World, _call: Call) -> Answer:
    """Tell that the API is up; undocumented: its body."""
    return success({"message": "API is up and running"})


def countries(world: World, call: Call) -> Answer:
    """List the destinations, all or those of one geography."""
    geography = _COUNTRIES.read(call.query).get("geography")
    places = [group.place for group in world.catalogue.groups]
    return success(
        {
            "countries": [
                {"code": place.code, "name": place.name, "geography": place.geography}
                for place in places
                if geography in {None, place.geography}
            ]
        }
    )


def packages(world: World, call: Call) -> Answer:
    """List one page of the catalogue; undocumented: what pageSize counts, totals, and what follows the last page."""
    query = _PACKAGES.read(call.query)
    wanted = _wanted(query)
    selection = world.catalogue.select(wanted)
    if call.fate.shifts and selection.packages:
        world.change_catalogue(remove=[selection.packages[0].id])
        selection = world.catalogue.select(wanted)
    by_package = world.options.page_counts == "packages"
    units = len(selection.packages if by_package else selection.destinations)
    page, size = query.get("page", 1), query.get("pageSize", 50)
    pages = max(1, -(-units // size))
    if page > pages and world.options.past_end == "not_found":
        raise refused(404, "Page not found")
    if page > pages and world.options.past_end == "last":
        page = pages
    groups = as_groups(_page(world, selection, (page - 1) * size, page * size))
    return success_text(f'{{"packages":{groups}{_totals(world, units, page, size)}}}')


def devices(_world: World, call: Call) -> Answer:
    """List the devices that take an eSIM."""
    _NOTHING.read(call.query)
    return success(DEVICES)


def balance(world: World, call: Call) -> Answer:
    """Tell what the partner has left."""
    _NOTHING.read(call.query)
    return success({"balance": money(world.store.balance()), "currency": "USD"})


def _wanted(query: dict[str, Any]) -> Wanted:
    gigabytes = query.get("gbs")
    return Wanted(
        country=query.get("country"),
        code=query.get("countryCode"),
        geography=query.get("geography"),
        days=query.get("days"),
        megabytes=None if gigabytes is None else gigabytes * 1024,
        unlimited=query.get("isUnlimited", False),
        package_id=query.get("packageId"),
    )


def _page(world: World, selection: Selection, start: int, end: int) -> Sequence[Package]:
    if world.options.page_counts == "packages":
        return selection.packages[start:end]
    return [package for destination in selection.destinations[start:end] for package in destination]


def _totals(world: World, units: int, page: int, size: int) -> str:
    claimed = world.options.totals
    if claimed is False:
        return ""
    total = units if claimed is True else claimed
    # A page of JSON is joined, not dumped: the totals go in as the tail of the same object.
    return "," + dumps({"total": total, "totalPages": -(-total // size), "page": page, "pageSize": size})[1:-1]
