"""JSON as the API writes it."""

import json
from typing import Any

Json = dict[str, Any]
"""A JSON object; its values are of every JSON type."""


def dumps(value: object) -> str:
    """Return a value as compact JSON text; non-ASCII characters are not escaped."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))
