"""Receiver as a handler of aiohttp's web server, which is imported on use."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from .receiver import TOO_LARGE, Receiver
from .signature import SIGNATURE_HEADER

if TYPE_CHECKING:
    from aiohttp import web


def aiohttp_handler(receiver: Receiver) -> "Callable[[web.Request], Awaitable[web.Response]]":
    """Return a handler for ``app.router.add_post(path, ...)`` that passes deliveries to *receiver*.

    See: https://docs.getroamify.com/webhooks/verification/
    """
    from aiohttp import web

    async def handle(request: web.Request) -> web.Response:
        if (request.content_length or 0) > receiver.limit:
            response = TOO_LARGE
        else:
            response = await receiver.receive(await request.read(), request.headers.get(SIGNATURE_HEADER))
        return web.Response(body=response.body, status=response.status, content_type="application/json")

    return handle
