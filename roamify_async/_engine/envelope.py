"""What goes over the wire: requests as bytes, answers out of their envelopes, and the errors that answers may be."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from http import HTTPStatus
from typing import Any, Final, TypeVar, cast
from urllib.parse import quote, urlencode

from roamify_async.errors import APIStatusError, DecodeError, error_class

from .codec import JSON, parse, read, write
from .direct import direct
from .facade import MAYBE_DATA, Endpoint
from .wire import HttpRequest, HttpResponse

T = TypeVar("T")


def encode(endpoint: Endpoint[..., Any], request: object) -> HttpRequest:
    """Make the bytes of a request: its fields go into the path where that names them, else into the query or body.

    A request that is bytes already goes out as it is.
    """
    if isinstance(request, HttpRequest):
        return request
    fields: dict[str, Any] = write(request)
    path = endpoint.path
    if "{" in path:
        path = re.sub(r"\{(\w+)\}", lambda match: quote(str(fields.pop(match.group(1))), safe=""), path)
    if endpoint.method == "GET":
        return HttpRequest(endpoint.method, path, query(fields))
    return HttpRequest(endpoint.method, path, body=json.dumps(fields, ensure_ascii=False).encode())


def query(fields: Mapping[str, object]) -> str:
    """Write a query of values that are ready for JSON."""
    texts = {key: str(value).lower() if isinstance(value, bool) else str(value) for key, value in fields.items()}
    return urlencode(texts, quote_via=quote)


# ---------------------------------------------------------------- answers


def decode(endpoint: Endpoint[..., T], response: HttpResponse) -> T:
    """Give the answer that a successful response holds; raises ``DecodeError`` where it is not as described."""
    if endpoint.read is not None:
        return endpoint.read(response)
    kind: Any = endpoint.response
    swift = direct(kind, endpoint.answer)
    if swift is not None:
        with suppress(Exception):  # It is not as described: the codec reads it after all, or says why not.
            return cast("T", swift(response.body))
    try:
        value: Any = {} if _has_no_body(endpoint, response) else parse(response.body)
    except ValueError as error:
        raise _undecodable("the answer is no JSON", str(error), response, garbled=True) from None
    place = endpoint.answer
    if place == MAYBE_DATA:
        place = "data" if _is_envelope(value) else ""
    try:
        return read(_unwrap(value, place), endpoint.response)
    except ValueError as error:
        problems = re.sub(r"^\$", f"$.{place}".rstrip("."), str(error), flags=re.MULTILINE)
    summary = f"the answer is not what the API describes: {problems.splitlines()[0]}"
    raise _undecodable(summary, problems, response, garbled=False)


def _has_no_body(endpoint: Endpoint[..., Any], response: HttpResponse) -> bool:
    """Tell whether there is nothing to parse by the rules of HTTP, and not because something was lost."""
    return endpoint.method == "HEAD" or (response.status == HTTPStatus.NO_CONTENT and not response.body)


def _is_envelope(value: Any) -> bool:
    """Tell an envelope from an object that has a ``data`` of its own, as eSIMs do."""
    return value.__class__ is dict and "data" in value and value.get("status", "success") == "success"


def raw(response: HttpResponse) -> Any:
    """Give an answer that may be anything: its JSON, or its text where it is none that could be used."""
    with suppress(ValueError):
        return read(parse(response.body), JSON)
    return response.text


def _undecodable(summary: str, problems: str, response: HttpResponse, *, garbled: bool) -> DecodeError:
    return DecodeError(
        summary,
        body=response.text,
        problems=tuple(problems.splitlines()),
        ids=find_ids(response.text),
        garbled=garbled,
        request_id=response.request_id,
    )


def _unwrap(value: Any, answer: str) -> Any:
    """Take the answer out of its envelope."""
    for key in filter(None, answer.split(".")):
        if value.__class__ is not dict or key not in value:
            shown = json.dumps(value, default=str)[:60]
            raise ValueError(f"$: it has no {answer!r}: {shown}")
        value = value[key]
    return value


_ID: Final = re.compile(
    r"""[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}|(?<="iccid":)\s*(?:"(\w+)"|(\d+))|(?<="referenceId":)\s*"([^"\\]+)\"""",
    re.IGNORECASE,
)


def find_ids(text: str) -> tuple[str, ...]:
    """Find every id in a text that may be cut off or garbled: UUIDs, ICCIDs and references, each once."""
    found = (next(filter(None, match.groups()), match.group()) for match in _ID.finditer(text))
    return tuple(dict.fromkeys(found))


def refusal(response: HttpResponse) -> APIStatusError:
    """Make the error of a response that is no success."""
    try:
        value = parse(response.body)
    except ValueError:
        value = None
    fields = cast("dict[str, Any]", value if isinstance(value, dict) else {})
    code = fields.get("code")
    return error_class(response.status)(
        _message(fields, response),
        status=response.status,
        code=code if isinstance(code, str) else None,
        body=response.text,
        retry_after=response.retry_after(),
        request_id=response.request_id,
    )


def _message(fields: dict[str, Any], response: HttpResponse) -> str:
    """Find what the server says went wrong: it has three shapes for that, and its gateways have others."""
    inner: tuple[Any, ...] = tuple(fields.get(key) for key in ("details", "data", "error"))
    messages: list[Any] = [part.get("message") for part in inner if part.__class__ is dict]
    candidates: list[Any] = [fields.get("message"), fields.get("error"), *messages]
    for candidate in candidates:
        if isinstance(candidate, str) and candidate:
            return candidate
    title = re.search(r"<title[^<>]*>([^<]*)", response.text, re.IGNORECASE)
    text = title.group(1) if title else "" if "<" in response.text else response.text
    return " ".join(text.split())[:200] or "no reason given"
