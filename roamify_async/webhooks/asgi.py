"""Receiver as an ASGI application, for Starlette, FastAPI and ASGI servers; none of them is imported."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import attrs

from .receiver import METHOD_NOT_ALLOWED, Receiver, Response
from .signature import SIGNATURE_HEADER

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@attrs.frozen
class AsgiApp:
    """ASGI 3 application that passes deliveries to a receiver, at any path.

    See: https://docs.getroamify.com/webhooks/verification/
    """

    receiver: Receiver

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one HTTP request or the lifespan of the server; a websocket is closed.

        Raises ``ValueError`` for any other type of scope.
        """
        if scope["type"] == "http":
            await self._serve_request(scope, receive, send)
        elif scope["type"] == "lifespan":
            for _ in ("startup", "shutdown"):
                await send({"type": f"{(await receive())['type']}.complete"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise ValueError(f"webhooks arrive over HTTP, not {scope['type']!r}")

    async def _serve_request(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _send_response(send, METHOD_NOT_ALLOWED, (b"allow", b"POST"))
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await self._read_body(receive)
        if body is None:
            return
        signature = headers.get(SIGNATURE_HEADER.lower().encode())
        await _send_response(send, await self.receiver.receive(body, signature))

    async def _read_body(self, receive: Receive) -> bytes | None:
        """Return the body, read only until it passes the limit; ``None`` if the client disconnected."""
        body = bytearray()
        while len(body) <= self.receiver.limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        return bytes(body)


async def _send_response(send: Send, response: Response, *headers: tuple[bytes, bytes]) -> None:
    length = str(len(response.body)).encode()
    all_headers = [(b"content-type", b"application/json"), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": response.status, "headers": all_headers})
    await send({"type": "http.response.body", "body": response.body})
