"""The state of the API itself."""

from typing import Any

import attrs


@attrs.frozen
class GetHealth:
    """Ask whether the API is up; ``/health``. An error is raised where it is not."""


@attrs.define(kw_only=True)
class Health:
    """The API is up; what it says besides is not documented."""

    raw: Any = None
    """The answer as parsed JSON, or as text where it is none."""
