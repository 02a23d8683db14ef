"""The endpoint of countries and other destinations."""

from roamify_async.sandbox.context import Context, Request
from roamify_async.sandbox.http.responses import Response, success
from roamify_async.sandbox.http.validation import Schema, enum

_LIST = Schema({"geography": enum("local", "regional", "global")})


def list_all(context: Context, request: Request) -> Response:
    """Return the destinations, all or those of one geography."""
    geography = _LIST.parse(request.query).get("geography")
    places = [destination.place for destination in context.catalogue.destinations]
    countries = [
        {"code": place.code, "name": place.name, "geography": place.geography}
        for place in places
        if geography in {None, place.geography}
    ]
    return success({"countries": countries})
