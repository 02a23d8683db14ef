"""Receivers of webhooks as the documentation page shows them, each served by its framework on a free port."""

import asyncio
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from threading import Thread
from typing import Any

import uvicorn
from aiohttp import web
from werkzeug.serving import make_server

from roamify_async import webhooks

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "webhooks.md"
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)

Scope = dict[str, Any]


def run_blocks(*texts: str, **names: object) -> Scope:
    """Run the page's blocks that contain these texts in one namespace and return it."""
    scope: Scope = {"__name__": "webhooks_page", **names}
    for text in texts:
        (block,) = (block for block in BLOCKS if text in block)
        exec(compile(block, PAGE.name, "exec"), scope)
    return scope


def set_up_django() -> None:
    """Set up Django, once in a process."""
    from django.conf import settings

    if settings.configured:
        return
    settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="not-a-secret", MIDDLEWARE=[
        "django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
    ])  # fmt: skip
    import django

    django.setup()


@asynccontextmanager
async def in_thread(serve: Callable[[], object], stop: Callable[[], object]) -> AsyncIterator[None]:
    """Run a server in a thread until the block ends."""
    thread = Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        await asyncio.to_thread(stop)
        await asyncio.to_thread(thread.join)


@asynccontextmanager
async def serve_aiohttp(app: web.Application) -> AsyncIterator[int]:
    """Serve an aiohttp application in the test's own loop; yield the port.

    What a client still sends after a response is not read for long.
    """
    runner = web.AppRunner(app, lingering_time=0.05)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def serve_asgi(app: Any) -> AsyncIterator[int]:
    """Serve an ASGI application, including its lifespan; yield the port."""
    config = uvicorn.Config(app, loop="asyncio", http="h11", ws="none", lifespan="on", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        async with in_thread(lambda: server.run([listener]), lambda: setattr(server, "should_exit", True)):
            yield listener.getsockname()[1]


@asynccontextmanager
async def serve_wsgi(server: Any) -> AsyncIterator[int]:
    """Serve a WSGI application with a bound server; yield the port."""
    with server:
        async with in_thread(lambda: server.serve_forever(poll_interval=0.01), server.shutdown):
            yield server.server_port


def serve_flask(app: Any) -> AbstractAsyncContextManager[int]:
    """Serve a Flask application; yield the port."""
    return serve_wsgi(make_server("127.0.0.1", 0, app, threaded=True))


@asynccontextmanager
async def serve_django(urlpatterns: Any) -> AsyncIterator[int]:
    """Serve Django views with its CSRF check; yield the port."""
    set_up_django()
    from django.core.handlers.wsgi import WSGIHandler
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.test import override_settings

    with override_settings(ROOT_URLCONF=type("Urls", (), {"urlpatterns": urlpatterns})):
        server = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler)
        server.set_app(WSGIHandler())
        async with serve_wsgi(server) as port:
            yield port


FRAMEWORKS: dict[str, tuple[str, str, Callable[[Any], AbstractAsyncContextManager[int]]]] = {
    "aiohttp": ("app.router.add_post", "app", serve_aiohttp),
    "starlette": ("Starlette(", "app", serve_asgi),
    "fastapi": ("FastAPI(", "app", serve_asgi),
    "flask": ("Flask(", "app", serve_flask),
    "django": ("urlpatterns", "urlpatterns", serve_django),
}
"""For each framework: a text in the page's block for it, the name that the block defines, and its server."""


@asynccontextmanager
async def serve_receiver(framework: str, receiver: webhooks.Receiver) -> AsyncIterator[str]:
    """Serve a receiver with the page's block for a framework; yield its URL."""
    text, name, serve = FRAMEWORKS[framework]
    scope = run_blocks(text, webhooks=webhooks, receiver=receiver)
    async with serve(scope[name]) as port:
        yield f"http://127.0.0.1:{port}/roamify"
