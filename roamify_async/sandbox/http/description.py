"""The API described in OpenAPI 3.1, in a file beside this one that is written by hand from what is published."""

import json
from functools import cache
from pathlib import Path
from typing import Final

from roamify_async.sandbox.data.packages import Json

from .responses import Answer, bare

DESCRIBED: Final = ("GET", "/openapi.json")
"""How it is asked for."""


def description(url: str) -> Answer:
    """Answer with the description of a server at that address."""
    return bare(_document() | {"servers": [{"url": url, "description": "this sandbox"}]})


@cache
def _document() -> Json:
    document: Json = json.loads(Path(__file__).with_name("openapi.json").read_text("utf-8"))
    return document
