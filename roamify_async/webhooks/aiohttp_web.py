"""Receiver as a handler of aiohttp's web server, which is imported on use."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
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
        response = TOO_LARGE
        if (request.content_length or 0) <= receiver.limit:
            with suppress(web.HTTPRequestEntityTooLarge):
                body = await _limited(request, receiver.limit).read()
                response = await receiver.receive(body, request.headers.get(SIGNATURE_HEADER))
        return web.Response(body=response.body, status=response.status, content_type="application/json")

    return handle


def _limited(request: "web.Request", limit: int) -> "web.Request":
    """Return the request with the lower of its own limit and *limit*, whose body is read until it passes that."""
    try:
        return request.clone(client_max_size=min(limit, request.client_max_size or limit))
    except RuntimeError:  # A middleware has read the body.
        return request
