"""The receiver as an ASGI application."""

from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.routing import Mount
from support.deliveries import BODY, EVENT, SECRET, headers_of, patient

from roamify_async.webhooks import AsgiApp, Receiver, WebhookEvent


async def exchange(app: AsgiApp, scope: dict[str, Any], *messages: dict[str, Any]) -> list[dict[str, Any]]:
    """Call an application with these messages and return what it sends, and how many it left unread."""
    waiting, sent = [*messages], list[dict[str, Any]]()

    async def receive() -> dict[str, Any]:
        return waiting.pop(0)

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    return [*sent, {"unread": len(waiting)}]


def http(method: str = "POST") -> dict[str, Any]:
    """Return the scope of a delivery, with header names in mixed case, as some proxies write them."""
    headers = [(name.encode(), value.encode()) for name, value in headers_of(BODY).items()]
    return {"type": "http", "method": method, "headers": headers}


def part(body: bytes, *, more: bool) -> dict[str, Any]:
    """Return a message with a part of a body."""
    return {"type": "http.request", "body": body, "more_body": more}


async def test_body_in_parts():
    """A body in several messages is verified as a whole."""
    seen: list[WebhookEvent] = []
    parts = [part(BODY[:9], more=True), {"type": "http.request", "more_body": True}, part(BODY[9:], more=False)]
    start, end, rest = await exchange(AsgiApp(patient(seen.append)), http(), *parts)
    assert (start["type"], start["status"]) == ("http.response.start", 200)
    assert dict(start["headers"]) == {
        b"content-type": b"application/json",
        b"content-length": str(len(end["body"])).encode(),
    }
    assert (seen, rest) == ([EVENT], {"unread": 0})


async def test_reading_stops_at_the_limit():
    """An endless body is read until it passes the limit, and refused."""
    endless = [part(b"x" * 10, more=True)] * 100
    start, _, rest = await exchange(AsgiApp(Receiver(repr, SECRET, limit=25)), http(), *endless)
    assert (start["status"], rest) == (413, {"unread": 97})


async def test_disconnected_client_gets_no_response():
    """If the client disconnects during its body, nothing is sent and nothing is handled."""
    seen: list[WebhookEvent] = []
    messages = [part(BODY[:9], more=True), {"type": "http.disconnect"}]
    assert await exchange(AsgiApp(patient(seen.append)), http(), *messages) == [{"unread": 0}]
    assert not seen


async def test_other_methods_are_not_allowed():
    """Any method other than POST is a 405 that names POST."""
    for method in ("GET", "PUT", "HEAD"):
        start, *_ = await exchange(AsgiApp(Receiver(repr, SECRET)), http(method))
        assert (start["status"], dict(start["headers"])[b"allow"]) == (405, b"POST")


async def test_lifespan():
    """Startup and shutdown of the server are acknowledged."""
    messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    assert await exchange(AsgiApp(Receiver(repr, SECRET)), {"type": "lifespan"}, *messages) == [
        {"type": "lifespan.startup.complete"},
        {"type": "lifespan.shutdown.complete"},
        {"unread": 0},
    ]


async def test_other_scopes():
    """A websocket is closed before it opens; an unknown type of scope is a ValueError."""
    app = AsgiApp(Receiver(repr, SECRET))
    assert await exchange(app, {"type": "websocket"}, {"type": "websocket.connect"}) == [
        {"type": "websocket.close", "code": 1000},
        {"unread": 0},
    ]
    with pytest.raises(ValueError, match="arrive over HTTP, not 'mqtt'"):
        await exchange(app, {"type": "mqtt"})


async def test_mounted():
    """A mounted application serves its path with a slash; Starlette redirects the path without one."""
    app = Starlette(routes=[Mount("/roamify", AsgiApp(Receiver(repr, SECRET)))])
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app") as client:
        responses = [
            await client.post(path, content=BODY, headers=headers_of(BODY)) for path in ("/roamify/", "/roamify")
        ]
    assert [response.status_code for response in responses] == [200, 307]
