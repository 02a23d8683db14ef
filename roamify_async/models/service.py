"""The health of the API."""

from typing import Any

import attrs


@attrs.frozen
class GetHealth:
    """Check that the API is up. Any 2xx response counts; its content is not documented.

    Raises:
        RoamifyError: The API is not up, or cannot be reached.

    See: https://docs.getroamify.com/health/
    """


@attrs.define(kw_only=True)
class Health:
    """Response of a health check. The API is up if there is one."""

    raw: Any = None
    """The response as parsed JSON, or as text if it is not JSON."""
