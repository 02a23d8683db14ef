"""Calls that no row describes: a row made on the fly, and bytes that the caller chose."""

import json as jsons
import math
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final, TypeVar, get_origin
from urllib.parse import quote, unquote

import attrs

from .access import PATH_SAFE, Access
from .codec import JSON, can_read, write
from .envelope import query, raw
from .facade import ACTION, MAYBE_DATA, READ, Endpoint
from .wire import HttpRequest

T = TypeVar("T")

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
READING: Final = ("GET", "HEAD")
WITH_BODY: Final = ("POST", "PUT", "PATCH")
"""Methods that send an object without fields where the caller gives none, as the API's examples do."""
Simple = str | int | float | Decimal | bool | date


def unlisted(
    access: Access,
    method: str,
    path: str,
    params: Mapping[str, Simple | None] | None,
    json: object,
    answer: type[T],
) -> tuple[Endpoint[..., T], HttpRequest]:
    """Make the row and the request of a call to any path of the API.

    Raises ``ValueError`` or ``TypeError`` for what could not be sent, or not there.
    """
    verb = method.upper() if isinstance(method, str) else method  # pyright: ignore[reportUnnecessaryIsInstance]
    if verb not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    kind: type[Any] = JSON if answer is object else answer
    if not can_read(kind):
        raise TypeError(f"answer must be dict or list, with or without types, or an attrs class, not {answer!r}")
    row: Endpoint[..., T] = Endpoint(
        verb, path, HttpRequest, kind,
        kind=READ if verb in READING else ACTION,
        answer="" if (get_origin(kind) or kind) is dict else MAYBE_DATA,
        read=raw if kind is JSON else None,
    )  # fmt: skip
    body: object = {} if json is None and verb in WITH_BODY else json
    request = HttpRequest(
        verb, _checked(path, access), query(_plain(params or {})), None if body is None else _written(body)
    )
    return row, request


def _checked(path: object, access: Access) -> str:
    """Give a path percent-encoded; the token goes to no other host and to nothing above the base URL."""
    if not isinstance(path, str):
        raise TypeError(f"path must be text, not {path!r}")
    if access.redact(path) != path:
        raise ValueError("path must hold neither the token nor a password: paths are logged")
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError(f"path must begin with one slash and name no host, like /api/balance, not {path!r}")
    if "?" in path or "#" in path:
        raise ValueError(f"path must hold no query and no fragment: pass params, not {path!r}")
    if not path.isprintable() or " " in path:
        raise ValueError(f"path must hold no white space and no control characters, as {path!r} does")
    if {".", ".."} & {*re.split(r"[/\\]", unquote(path))}:
        raise ValueError(f"path must hold no segment that is . or .., as {path!r} does")
    return quote(path, safe=PATH_SAFE)


def _plain(params: Mapping[str, Simple | None]) -> dict[str, object]:
    """Give parameters as values of a query, without what is ``None``."""
    if not isinstance(params, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"params must be a dict of names and values, not {params!r}")
    given = {name: value for name, value in params.items() if value is not None}
    for name, value in given.items():
        if isinstance(value, float | Decimal) and not math.isfinite(value):
            raise ValueError(f"params[{name!r}] must be a number that can be written, not {value}")
        if not isinstance(value, Simple):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"params[{name!r}] must be text, a number, True, False or a date, not {value!r}")
    return {name: write(value) for name, value in given.items()}


def _written(body: object) -> bytes:
    return jsons.dumps(body, default=_writable, ensure_ascii=False, allow_nan=False).encode()


def _writable(value: object) -> Any:
    """Give what JSON has for a value that it does not know: exact numbers, ISO dates, objects with wire names."""
    if isinstance(value, Decimal):
        return _number(value)
    if attrs.has(type(value)) or isinstance(value, date):
        return write(value)
    raise TypeError(f"json must hold what JSON has, Decimals, dates and requests, not {value!r}")


def _number(value: Decimal) -> int | float:
    """Give a number that is written with the same value, and refuse one of which JSON's writer would lose digits."""
    if not value.is_finite():
        raise ValueError(f"json holds {value}, which JSON has no number for")
    if value == value.to_integral_value():
        return int(value)
    if Decimal(repr(float(value))) != value:
        raise ValueError(f"json holds {value}, which has more digits than can be written as a number: send it as text")
    return float(value)
