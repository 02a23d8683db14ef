"""The service itself."""

from typing import Any, Final

import attrs

from roamify_async._engine.envelope import raw
from roamify_async._engine.facade import Endpoint, Resource, Way
from roamify_async._engine.wire import HttpResponse


@attrs.frozen
class GetHealth:
    """Ask whether the API is up; ``/health``. An error is raised where it is not."""


@attrs.define(kw_only=True)
class Health:
    """The API is up; what it says besides is not documented."""

    raw: Any = None
    """The answer as parsed JSON, or as text where it is none."""


def _health(response: HttpResponse) -> Health:
    return Health(raw=raw(response))


class Service(Resource[Way]):
    """The service itself."""

    health: Final = Endpoint("GET", "/api/health", GetHealth, Health, read=_health)
    """Whether the API is up."""
