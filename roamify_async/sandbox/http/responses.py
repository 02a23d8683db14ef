"""Responses: their bodies, and how they are sent or cut off."""

import hashlib
import json
import zlib
from base64 import b64encode
from contextlib import suppress
from functools import cache
from html import escape
from http import HTTPStatus
from pathlib import Path
from secrets import token_hex
from typing import Final

from aiohttp import web
from attrs import field, frozen

from roamify_async.sandbox.data.encoding import Json, dumps

JSON_TYPE: Final = "application/json; charset=utf-8"

_DIGEST_LENGTH: Final = 27  # characters of the digest in an ETag, as in Express

_GZIP_THRESHOLD: Final = 1024  # bytes
_GZIP_WINDOW: Final = 31  # zlib's code for a window of 32 KB in the gzip format
_HTML: Final = """<!DOCTYPE html>
<html lang="en-US"><head><title>{status} | api.getroamify.com</title></head>
<body><h1>Error {status}</h1><p>{text}</p><hr><center>cloudflare</center></body></html>
"""
_EXPRESS: Final = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>Error</title>
</head>
<body>
<pre>{text}</pre>
</body>
</html>
"""


@frozen
class Response:
    """One HTTP response, independent of a connection."""

    status: int
    text: str
    content_type: str = JSON_TYPE
    headers: dict[str, str] = field(factory=dict[str, str])


def success(data: object, status: int = 200) -> Response:
    """Return data in the envelope of a success."""
    return success_text(dumps(data), status)


def success_text(data: str, status: int = 200) -> Response:
    """Return data that is JSON text already in the envelope of a success."""
    return Response(status, f'{{"status":"success","data":{data}}}')


def bare(body: object) -> Response:
    """Return a 200 whose body has no envelope."""
    return Response(200, dumps(body))


def html_page(status: int, message: str) -> Response:
    """Return an HTML error page, as gateways send it."""
    return Response(status, _HTML.format(status=status, text=message), "text/html; charset=UTF-8")


def express_page(status: int, message: str) -> Response:
    """Return the HTML error page of Express."""
    return Response(status, _EXPRESS.format(text=escape(message)), "text/html; charset=utf-8")


def openapi(url: str) -> Response:
    """Return the OpenAPI description of the API, with this server URL."""
    return bare(_openapi_document() | {"servers": [{"url": url, "description": "this sandbox"}]})


def to_aiohttp(request: web.BaseRequest, response: Response, *, compress: bool, etags: bool = False) -> web.Response:
    """Return aiohttp's response, compressed if it is long and the client accepts gzip.

    With *etags* it has a weak ETag, and is a 304 without a body if the client has this version, as in Express.
    """
    headers = _headers(response)
    body = response.text.encode(errors="replace")
    if etags and response.content_type == JSON_TYPE:
        headers["ETag"] = etag = _etag(body)
        if request.method == "GET" and response.status == HTTPStatus.OK and _has_version(request, etag):
            del headers["Content-Type"]
            return web.Response(status=HTTPStatus.NOT_MODIFIED, headers=headers)
    if compress and len(body) > _GZIP_THRESHOLD and "gzip" in request.headers.get("Accept-Encoding", ""):
        compressor = zlib.compressobj(level=1, wbits=_GZIP_WINDOW)
        body = compressor.compress(body) + compressor.flush()
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return web.Response(status=response.status, body=body, headers=headers)


def _etag(body: bytes) -> str:
    digest = b64encode(hashlib.sha1(body, usedforsecurity=False).digest()).decode()[:_DIGEST_LENGTH]
    return f'W/"{len(body):x}-{digest}"'


def _has_version(request: web.BaseRequest, etag: str) -> bool:
    """Return whether the client has the version with this ETag, by the weak comparison of RFC 9110."""
    if "no-cache" in request.headers.get("Cache-Control", ""):
        return False
    known = [version.strip() for version in request.headers.get("If-None-Match", "").split(",")]
    return "*" in known or any(version.removeprefix("W/") == etag.removeprefix("W/") for version in known)


def abort(request: web.BaseRequest) -> web.StreamResponse:
    """Abort the connection; the returned response is never sent."""
    if request.transport:
        request.transport.abort()
    return web.Response()


async def abort_halfway(request: web.BaseRequest, response: Response) -> web.StreamResponse:
    """Send the headers and half of the body, then abort the connection."""
    body = response.text.encode(errors="replace")
    partial = web.StreamResponse(status=response.status, headers=_headers(response))
    partial.content_length = len(body)
    with suppress(ConnectionResetError):  # the client may have disconnected
        await partial.prepare(request)
        await partial.write(body[: len(body) // 2])
    abort(request)
    return partial


@cache
def _openapi_document() -> Json:
    document: Json = json.loads(Path(__file__).with_name("openapi.json").read_text("utf-8"))
    return document


def _headers(response: Response) -> dict[str, str]:
    return {
        "Content-Type": response.content_type,
        "Server": "cloudflare",
        "CF-RAY": f"{token_hex(8)}-FRA",
        **({"X-Powered-By": "Express"} if response.content_type == JSON_TYPE else {}),
        **response.headers,
    }
