"""The health of the API."""

from typing import Final

from roamify_async._core.endpoint import Endpoint, Mode, Resource, resource
from roamify_async._http.messages import HttpResponse
from roamify_async._serde.envelope import decode_any
from roamify_async.models.service import GetHealth, Health


def _decode_health(response: HttpResponse) -> Health:
    return Health(raw=decode_any(response))


@resource
class Service(Resource[Mode]):
    """The health of the API."""

    health: Final = Endpoint("GET", "/api/health", GetHealth, Health, decode=_decode_health)
    """Check that the API is up."""
