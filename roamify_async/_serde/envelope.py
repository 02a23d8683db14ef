"""Encoding of requests, decoding of responses in their envelopes, and conversion of error responses."""

import json
import logging
import re
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote, urlencode

from roamify_async._http.messages import HttpRequest, HttpResponse
from roamify_async.errors import APIStatusError, DecodeError, error_class

from .converter import JSON, parse, structure, unstructure
from .fast_decoder import fast_decoder

T = TypeVar("T")

_to_json: Final = json.JSONEncoder(ensure_ascii=False).encode
MAX_LOCATION: Final = 500
"""Length at which the address of a redirect is cut in a message."""

log: logging.Logger = logging.getLogger("roamify_async")

DECOMPRESSED: Final = frozenset({"", "identity", "gzip", "deflate", "br", "zstd"})
"""Values of ``Content-Encoding`` that the transport decodes."""
DATA_OR_BODY: Final = "data?"
"""Data path of a response that is in ``data`` if the body is an envelope, and else is the body."""


def encode(request: object, method: str, path: str) -> HttpRequest:
    """Encode a request. Fields that the path contains are put there, the others into the query or the body.

    An ``HttpRequest`` is returned unchanged.
    """
    if isinstance(request, HttpRequest):
        return request
    fields: dict[str, Any] = unstructure(request)
    if "{" in path:
        path = re.sub(r"\{(\w+)\}", lambda match: quote(str(fields.pop(match.group(1))), safe=""), path)
    if method == "GET":
        return HttpRequest(method, path, encode_query(fields))
    return HttpRequest(method, path, body=_to_json(fields).encode())


def encode_query(fields: Mapping[str, object]) -> str:
    """Encode JSON-ready values as a query."""
    texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in fields.items()}
    return urlencode(texts, quote_via=quote)


# ---------------------------------------------------------------- responses


def decode(response: HttpResponse, response_type: type[T], data_path: str, *, method: str = "GET") -> T:
    """Decode a 2xx response. Raises ``DecodeError`` if it is not as documented."""
    target: Any = response_type
    fast = fast_decoder(target, data_path)
    if fast is not None:
        try:
            return cast("T", fast(response.body))
        except Exception as error:  # noqa: BLE001 -- not as documented; the converter is tolerant, or reports the problem
            log.debug("the fast decoder did not read a %s: %r", getattr(response_type, "__name__", "tuple"), error)
    try:
        value: Any = {} if _has_no_body(method, response) else parse(response.body)
    except ValueError as error:
        raise _not_json(response, str(error)) from None
    path = data_path
    if path == DATA_OR_BODY:
        path = "data" if _is_envelope(value) else ""
    try:
        return structure(_unwrap(value, path), response_type)
    except ValueError as error:
        problems = re.sub(r"^\$", f"$.{path}".rstrip("."), str(error), flags=re.MULTILINE)
    summary = f"the response is not what the API describes: {problems.splitlines()[0]}"
    raise _decode_error(summary, problems, response, garbled=False)


def refuse_failed_envelope(response: HttpResponse) -> None:
    """Raise ``DecodeError`` if the envelope of a 2xx response reports a failure."""
    if b"failed" not in response.body:
        return
    with suppress(ValueError):
        value = parse(response.body)
        if value.__class__ is dict and value.get("status") == "failed":
            message = _message(value, response)
            raise _decode_error(
                f"the response says that it failed: {message}", "$.status: failed", response, garbled=False
            )


def decode_any(response: HttpResponse) -> Any:
    """Return the parsed JSON of a response, or its text if it is not JSON."""
    with suppress(ValueError):
        return structure(parse(response.body), JSON)
    return response.text


def _has_no_body(method: str, response: HttpResponse) -> bool:
    """Return whether HTTP allows that the response has no body, so that it is not truncated."""
    return method == "HEAD" or (response.status == HTTPStatus.NO_CONTENT and not response.body)


def _is_envelope(value: Any) -> bool:
    """Return whether a value is an envelope. Some resources, such as eSIMs, have their own key ``data``."""
    return value.__class__ is dict and "data" in value and value.get("status", "success") == "success"


def _not_json(response: HttpResponse, problem: str) -> DecodeError:
    coding = response.headers.get("content-encoding", "").strip().lower()
    if coding in DECOMPRESSED:
        return _decode_error("the response is not JSON", problem, response, garbled=True)
    summary = f"the response is in a coding that was not asked for: {coding[:100]!r}"
    return _decode_error(summary, problem, response, garbled=False)


def _decode_error(summary: str, problems: str, response: HttpResponse, *, garbled: bool) -> DecodeError:
    return DecodeError(
        summary,
        body=response.text,
        problems=tuple(problems.splitlines()),
        ids=find_ids(response.text),
        garbled=garbled,
        request_id=response.request_id,
    )


def _unwrap(value: Any, path: str) -> Any:
    """Return the value at a data path."""
    for key in filter(None, path.split(".")):
        if value.__class__ is not dict or key not in value:
            text = json.dumps(value, default=str)[:60]
            raise ValueError(f"$: it has no {path!r}: {text}")
        value = value[key]
    return value


_ID: Final = re.compile(
    r"""[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<="iccid":)\s*(?:"(\w+)"|(\d+))|(?<="referenceId":)\s*"([^"\\]+)\"""",
    re.IGNORECASE,
)


def find_ids(text: str) -> tuple[str, ...]:
    """Return each UUID, ICCID and reference in a text, which may be truncated or not be JSON, once."""
    found = (next(filter(None, match.groups()), match.group()) for match in _ID.finditer(text))
    return tuple(dict.fromkeys(found))


def status_error(response: HttpResponse) -> APIStatusError:
    """Return the error for a response that is not 2xx."""
    try:
        value = parse(response.body)
    except ValueError:
        value = None
    fields = cast("dict[str, Any]", value if isinstance(value, dict) else {})
    code = fields.get("code")
    return error_class(response.status)(
        _message(fields, response) + _location(response),
        status=response.status,
        code=code if isinstance(code, str) else None,
        body=response.text,
        retry_after=response.retry_after(),
        request_id=response.request_id,
    )


def _location(response: HttpResponse) -> str:
    """Return advice where a redirect leads, which is not followed: the token belongs to this host only."""
    location = " ".join(response.headers.get("location", "").split())[:MAX_LOCATION]
    if not (location and 300 <= response.status < 400):  # noqa: PLR2004
        return ""
    return f": it leads to {location!r} and is not followed; correct the base URL"


def _message(fields: dict[str, Any], response: HttpResponse) -> str:
    """Return the server's message. The API has three formats for it, and gateways have others."""
    inner: tuple[Any, ...] = tuple(fields.get(key) for key in ("details", "data", "error"))
    messages: list[Any] = [part.get("message") for part in inner if part.__class__ is dict]
    candidates: list[Any] = [fields.get("message"), fields.get("error"), *messages]
    for candidate in candidates:
        if isinstance(candidate, str) and candidate:
            return candidate
    title = re.search(r"<title[^<>]*>([^<]*)", response.text, re.IGNORECASE)
    text = title.group(1) if title else "" if "<" in response.text else response.text
    return " ".join(text.split())[:200] or "no message in the response"
