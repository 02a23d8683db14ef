"""A receiver as a handler of aiohttp's web server, which is imported when it is used."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from .receiver import TOO_LARGE, Receiver
from .signature import SIGNATURE_HEADER

if TYPE_CHECKING:
    from aiohttp import web


def aiohttp_handler(receiver: Receiver) -> "Callable[[web.Request], Awaitable[web.Response]]":
    """Make a handler for ``app.router.add_post(path, ...)``."""
    from aiohttp import web

    async def take(request: web.Request) -> web.Response:
        if (request.content_length or 0) > receiver.limit:
            answer = TOO_LARGE
        else:
            answer = await receiver.receive(await request.read(), request.headers.get(SIGNATURE_HEADER))
        return web.Response(body=answer.body, status=answer.status, content_type="application/json")

    return take
