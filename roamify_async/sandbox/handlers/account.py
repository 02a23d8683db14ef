"""The endpoint of the partner's account."""

from roamify_async.sandbox.context import Context, Request
from roamify_async.sandbox.data.currencies import to_number
from roamify_async.sandbox.http.responses import Response, success
from roamify_async.sandbox.http.validation import EMPTY


def balance(context: Context, request: Request) -> Response:
    """Return the partner's balance."""
    EMPTY.parse(request.query)
    return success({"balance": to_number(context.store.balance()), "currency": "USD"})
