"""How answers meet a connection: headers, compression, and connections that are cut."""

import zlib
from contextlib import suppress
from secrets import token_hex
from typing import Final

from aiohttp import web

from .responses import JSON_TYPE, Answer

_GZIP_FROM: Final = 1024
_GZIP_BITS: Final = 31  # a window of 32 KB in a gzip frame


def response(request: web.BaseRequest, answer: Answer, *, compress: bool) -> web.Response:
    """Make the HTTP response, gzipped if it is long and the client takes that."""
    headers = _headers(answer)
    body = answer.text.encode(errors="replace")
    if compress and len(body) > _GZIP_FROM and "gzip" in request.headers.get("Accept-Encoding", ""):
        packer = zlib.compressobj(level=1, wbits=_GZIP_BITS)
        body = packer.compress(body) + packer.flush()
        headers |= {"Content-Encoding": "gzip", "Vary": "Accept-Encoding"}
    return web.Response(status=answer.status, body=body, headers=headers)


def cut(request: web.BaseRequest) -> web.StreamResponse:
    """Abort the connection; the response it gives goes nowhere."""
    if request.transport:
        request.transport.abort()
    return web.Response()


async def cut_in_half(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    """Send the headers and half of the body, then abort the connection."""
    body = answer.text.encode(errors="replace")
    cut_off = web.StreamResponse(status=answer.status, headers=_headers(answer))
    cut_off.content_length = len(body)
    with suppress(ConnectionResetError):  # who asked may have gone meanwhile
        await cut_off.prepare(request)
        await cut_off.write(body[: len(body) // 2])
    cut(request)
    return cut_off


def _headers(answer: Answer) -> dict[str, str]:
    return {
        "Content-Type": answer.content_type,
        "Server": "cloudflare",
        "CF-RAY": f"{token_hex(8)}-FRA",
        **({"X-Powered-By": "Express"} if answer.content_type == JSON_TYPE else {}),
        **answer.headers,
    }
