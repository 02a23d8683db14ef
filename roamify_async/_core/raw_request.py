"""Requests to paths without an endpoint: an endpoint created for one call, and the encoded request."""

import json as jsons
import math
import re
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from typing import Any, Final, TypeVar, get_origin
from urllib.parse import quote, unquote

import attrs

from roamify_async._http.credentials import PATH_SAFE, Credentials
from roamify_async._http.messages import HttpRequest
from roamify_async._serde.converter import JSON, can_structure, unstructure
from roamify_async._serde.envelope import DATA_OR_BODY, decode_any, encode_query

from .endpoint import ACTION, READ, Endpoint

T = TypeVar("T")

METHODS: Final = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")
"""Supported HTTP methods."""
READS: Final = ("GET", "HEAD")
"""Methods that are retried like reads."""
WITH_BODY: Final = ("POST", "PUT", "PATCH")
"""Methods that send ``{}`` if the caller passes no body, as in the examples of the API's documentation."""
QueryValue = str | int | float | Decimal | bool | date
"""Type of a query parameter."""


def build_request(
    credentials: Credentials,
    method: str,
    path: str,
    params: Mapping[str, QueryValue | None] | None,
    json: object,
    response_type: type[T],
) -> tuple[Endpoint[..., T], HttpRequest]:
    """Return the endpoint and the encoded request of a call to any path of the API.

    Raises ``ValueError`` or ``TypeError`` for an invalid method, path, query, body or response type.
    """
    verb = method.upper() if isinstance(method, str) else method  # pyright: ignore[reportUnnecessaryIsInstance]
    if verb not in METHODS:
        raise ValueError(f"method must be one of {', '.join(METHODS)}, not {method!r}")
    target: type[Any] = JSON if response_type is object else response_type
    if not can_structure(target):
        raise TypeError(
            f"response_type must be dict or list, with or without types, or an attrs class, not {response_type!r}"
        )
    endpoint: Endpoint[..., T] = Endpoint(
        verb, path, HttpRequest, target,
        safety=READ if verb in READS else ACTION,
        data_path="" if (get_origin(target) or target) is dict else DATA_OR_BODY,
        decode=decode_any if target is JSON else None,
    )  # fmt: skip
    body: object = {} if json is None and verb in WITH_BODY else json
    encoded = None if body is None else _encode_body(body)
    return endpoint, HttpRequest(verb, _checked(path, credentials), encode_query(_encode_params(params or {})), encoded)


def _checked(path: object, credentials: Credentials) -> str:
    """Return a path, percent-encoded. A path with which the token would leave the base URL is refused."""
    if not isinstance(path, str):
        raise TypeError(f"path must be text, not {path!r}")
    if credentials.redact(path) != path:
        raise ValueError("path must contain neither the token nor a password: paths are logged")
    if not path.startswith("/") or path.startswith("//"):
        raise ValueError(f"path must begin with one slash and name no host, like /api/balance, not {path!r}")
    if "?" in path or "#" in path:
        raise ValueError(f"path must have no query and no fragment: pass params, not {path!r}")
    if not path.isprintable() or " " in path:
        raise ValueError(f"path must not contain whitespace or control characters, as {path!r} does")
    if {".", ".."} & {*re.split(r"[/\\]", unquote(path))}:
        raise ValueError(f"path must not contain . or .. segments, as {path!r} does")
    return quote(path, safe=PATH_SAFE)


def _encode_params(params: Mapping[str, QueryValue | None]) -> dict[str, object]:
    """Return query parameters as JSON-ready values, without those that are ``None``."""
    if not isinstance(params, Mapping):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"params must be a dict of names and values, not {params!r}")
    given = {name: value for name, value in params.items() if value is not None}
    for name, value in given.items():
        if isinstance(value, float | Decimal) and not math.isfinite(value):
            raise ValueError(f"params[{name!r}] must be a finite number, not {value}")
        if not isinstance(value, QueryValue):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"params[{name!r}] must be text, a number, True, False or a date, not {value!r}")
    return {name: unstructure(value) for name, value in given.items()}


def _encode_body(body: object) -> bytes:
    return jsons.dumps(body, default=_encode_value, ensure_ascii=False, allow_nan=False).encode()


def _encode_value(value: object) -> Any:
    """Return the JSON form of a value that ``json`` does not support: exact numbers, ISO dates, JSON names."""
    if isinstance(value, Decimal):
        return _encode_number(value)
    if attrs.has(type(value)) or isinstance(value, date):
        return unstructure(value)
    raise TypeError(f"json must consist of JSON types, Decimals, dates and requests, not {value!r}")


def _encode_number(value: Decimal) -> int | float:
    """Return a number that JSON encodes with the same value. Refuse one that would lose digits."""
    if not value.is_finite():
        raise ValueError(f"json contains {value}, which JSON has no number for")
    if value == value.to_integral_value():
        return int(value)
    if Decimal(repr(float(value))) != value:
        raise ValueError(f"json contains {value}, which has too many digits for a JSON number: send it as text")
    return float(value)
