"""Refund requests."""

from typing import Final

from roamify_async._core.endpoint import Endpoint, Mode, Resource, resource
from roamify_async._serde.envelope import DATA_OR_BODY
from roamify_async.models.refunds import GetRefund, Refund


@resource
class Refunds(Resource[Mode]):
    """Refund requests."""

    get: Final = Endpoint("GET", "/api/refund", GetRefund, Refund, data_path=DATA_OR_BODY)
    """Return one refund request."""
