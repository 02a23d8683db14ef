"""Every endpoint of the API by its name, with the documented request and response of each."""

import json
from pathlib import Path
from typing import Any

from roamify_async import AsyncRoamify
from roamify_async._core.endpoint import Endpoint, Resource, endpoints
from roamify_async._http.messages import HttpRequest, HttpResponse
from roamify_async._serde.envelope import decode, encode

SAMPLES = Path(__file__).parents[1] / "samples"
RESOURCES: dict[str, type[Resource[Any]]] = {
    name: type(value) for name, value in vars(AsyncRoamify("token")).items() if isinstance(value, Resource)
}
ENDPOINTS: dict[str, Endpoint[..., Any]] = {
    f"{resource}.{name}": endpoint for resource, kind in RESOURCES.items() for name, endpoint in endpoints(kind).items()
}
"""The endpoints, named as they are called: ``orders.create``."""


def sample(name: str) -> dict[str, Any]:
    """Return the documented request and response of an endpoint."""
    value: dict[str, Any] = json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))
    return value


def encoded(endpoint: Endpoint[..., Any], request: object) -> HttpRequest:
    """Encode a request of an endpoint, as the engine does."""
    return encode(request, endpoint.method, endpoint.path)


def decoded(endpoint: Endpoint[..., Any], response: HttpResponse) -> Any:
    """Decode a response of an endpoint, as the engine does."""
    if endpoint.decode is not None:
        return endpoint.decode(response)
    return decode(response, endpoint.response, endpoint.data_path, method=endpoint.method)
