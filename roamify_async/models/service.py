"""The health of the API."""

from typing import Any

import attrs

from ._value import Value


@attrs.frozen(eq=False, repr=False)
class GetHealth(Value):
    """Check that the API is up. Any 2xx response counts; its content is not documented.

    Raises:
        RoamifyError: The API is not up, or cannot be reached.

    See: https://docs.getroamify.com/health/
    """


@attrs.define(kw_only=True, eq=False, repr=False)
class Health(Value):
    """Response of a health check. The API is up if there is one."""

    raw: Any = None
    """The response as parsed JSON, or as text if it is not JSON."""
