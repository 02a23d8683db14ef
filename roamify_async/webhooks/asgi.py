"""A receiver as an ASGI application, for Starlette, FastAPI and every server of that kind; it imports none of them."""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import attrs

from .receiver import NOT_POSTED, Answer, Receiver
from .signature import SIGNATURE_HEADER

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


@attrs.frozen
class AsgiApp:
    """ASGI 3 application that takes deliveries at whatever path it is put on."""

    receiver: Receiver

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection, or the server's start and end."""
        if scope["type"] == "http":
            await self._serve(scope, receive, send)
        elif scope["type"] == "lifespan":
            for _ in ("startup", "shutdown"):
                await send({"type": f"{(await receive())['type']}.complete"})
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.close", "code": 1000})
        else:
            raise ValueError(f"webhooks come over HTTP, not {scope['type']!r}")

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["method"] != "POST":
            await _reply(send, NOT_POSTED, (b"allow", b"POST"))
            return
        headers = {name.lower(): value.decode("latin-1") for name, value in scope["headers"]}
        body = await self._body(receive)
        if body is None:
            return
        signature = headers.get(SIGNATURE_HEADER.lower().encode())
        await _reply(send, await self.receiver.receive(body, signature))

    async def _body(self, receive: Receive) -> bytes | None:
        """Read the body, as far as its limit; ``None`` where the sender went away."""
        body = bytearray()
        while len(body) <= self.receiver.limit:
            message = await receive()
            if message["type"] == "http.disconnect":
                return None
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        return bytes(body)


async def _reply(send: Send, answer: Answer, *headers: tuple[bytes, bytes]) -> None:
    length = str(len(answer.body)).encode()
    about = [(b"content-type", b"application/json"), (b"content-length", length), *headers]
    await send({"type": "http.response.start", "status": answer.status, "headers": about})
    await send({"type": "http.response.body", "body": answer.body})
