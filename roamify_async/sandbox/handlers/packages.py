"""The endpoint of the catalogue."""

from collections.abc import Sequence
from typing import Any

from roamify_async.sandbox.context import Context, Request
from roamify_async.sandbox.data.catalogue import Filter, Selection
from roamify_async.sandbox.data.encoding import dumps
from roamify_async.sandbox.data.packages import Package, group_by_destination
from roamify_async.sandbox.http.errors import error
from roamify_async.sandbox.http.responses import Response, success_text
from roamify_async.sandbox.http.validation import Schema, boolean, count, enum, number, text

_PAGE = Schema(
    {
        "page": count,
        "pageSize": count,
        "country": text,
        "countryCode": text,
        "geography": enum("local", "regional", "global"),
        "days": number,
        "gbs": number,
        "isUnlimited": boolean,
        "packageId": text,
    }
)


def page(context: Context, request: Request) -> Response:
    """Return one page of the catalogue; undocumented: what pageSize counts, totals, and pages after the last."""
    query = _PAGE.parse(request.query)
    filter = _filter(context, query)
    selection = context.catalogue.select(filter)
    if request.modifiers.shifts and selection.packages:
        context.change_catalogue(remove=[selection.packages[0].id])
        selection = context.catalogue.select(filter)
    by_package = context.options.page_counts == "packages"
    units = len(selection.packages if by_package else selection.destinations)
    number, size = query.get("page", 1), query.get("pageSize", 50)
    pages = max(1, -(-units // size))
    if number > pages and context.options.past_end == "not_found":
        raise error(404, "Page not found")
    if number > pages and context.options.past_end == "last":
        number = pages
    packages = group_by_destination(_slice(context, selection, (number - 1) * size, number * size))
    return success_text(f'{{"packages":{packages}{_totals(context, units, number, size)}}}')


def _filter(context: Context, query: dict[str, Any]) -> Filter:
    """Return the filter of a query; undocumented: the response to an unknown country."""
    gigabytes, country, code = query.get("gbs"), query.get("country"), query.get("countryCode")
    if country is not None and not any(one.place.name == country for one in context.catalogue.destinations):
        if context.options.unknown_country == "refused":
            raise error(400, "Invalid country, please use a name of the list of countries")
        if context.options.unknown_country == "code":
            country, code = None, country if code in {None, country} else ""
    return Filter(
        country=country,
        code=code,
        geography=query.get("geography"),
        days=query.get("days"),
        megabytes=None if gigabytes is None else gigabytes * 1024,
        unlimited=query.get("isUnlimited", False),
        package_id=query.get("packageId"),
    )


def _slice(context: Context, selection: Selection, start: int, end: int) -> Sequence[Package]:
    if context.options.page_counts == "packages":
        return selection.packages[start:end]
    return [package for destination in selection.destinations[start:end] for package in destination]


def _totals(context: Context, units: int, page: int, size: int) -> str:
    """Return the totals as the tail of the page's JSON object, whose text is joined from cached parts."""
    claimed = context.options.totals
    if claimed is False:
        return ""
    total = units if claimed is True else claimed
    return "," + dumps({"total": total, "totalPages": -(-total // size), "page": page, "pageSize": size})[1:-1]
