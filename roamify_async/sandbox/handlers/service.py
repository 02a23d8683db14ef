"""The health endpoint."""

from roamify_async.sandbox.context import Context, Request
from roamify_async.sandbox.http.responses import Response, success


def health(_context: Context, _request: Request) -> Response:
    """Return that the API is up; undocumented: its body."""
    return success({"message": "API is up and running"})
