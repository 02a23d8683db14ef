"""The endpoint of compatible devices."""

from roamify_async.sandbox.context import Context, Request
from roamify_async.sandbox.data.devices import DEVICES
from roamify_async.sandbox.http.responses import Response, success
from roamify_async.sandbox.http.validation import EMPTY


def list_all(_context: Context, request: Request) -> Response:
    """Return the devices that support eSIMs."""
    EMPTY.parse(request.query)
    return success(DEVICES)
