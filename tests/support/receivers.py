"""Receivers of webhooks as the page on them shows them, each behind a server of its own framework, on a free port."""

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

PAGE = Path(__file__).parents[2] / "docs" / "webhooks.md"
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)

Scope = dict[str, Any]


def run(*parts: str, into: Scope | None = None) -> Scope:
    """Run the page's blocks that hold these words, one after the other, in one namespace."""
    scope: Scope = {"__name__": "page_on_webhooks"} if into is None else into
    for part in parts:
        (block,) = (block for block in BLOCKS if part in block)
        exec(compile(block, PAGE.name, "exec"), scope)
    return scope


def prepare_django() -> None:
    """Set Django up, which can be done once in a process."""
    from django.conf import settings

    if settings.configured:
        return
    settings.configure(ALLOWED_HOSTS=["*"], SECRET_KEY="not-a-secret", MIDDLEWARE=[
        "django.middleware.common.CommonMiddleware", "django.middleware.csrf.CsrfViewMiddleware",
    ])  # fmt: skip
    import django

    django.setup()


@asynccontextmanager
async def threaded(serve: Callable[[], object], stop: Callable[[], object]) -> AsyncIterator[None]:
    """Let a server serve in a thread until the block ends."""
    thread = Thread(target=serve)
    thread.start()
    try:
        yield
    finally:
        await asyncio.to_thread(stop)
        await asyncio.to_thread(thread.join)


@asynccontextmanager
async def by_aiohttp(app: web.Application) -> AsyncIterator[int]:
    """Serve an application of aiohttp, in the test's own loop."""
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@asynccontextmanager
async def by_uvicorn(app: Any) -> AsyncIterator[int]:
    """Serve an ASGI application, its start and its end included."""
    config = uvicorn.Config(app, loop="asyncio", http="h11", ws="none", lifespan="on", log_config=None)
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as door:
        async with threaded(lambda: server.run([door]), lambda: setattr(server, "should_exit", True)):
            yield door.getsockname()[1]


@asynccontextmanager
async def by_wsgi(server: Any) -> AsyncIterator[int]:
    """Serve a WSGI application by a server that has its port already."""
    with server:
        async with threaded(lambda: server.serve_forever(poll_interval=0.01), server.shutdown):
            yield server.server_port


def by_werkzeug(app: Any) -> AbstractAsyncContextManager[int]:
    """Serve an application of Flask."""
    return by_wsgi(make_server("127.0.0.1", 0, app, threaded=True))


@asynccontextmanager
async def by_django(urlpatterns: Any) -> AsyncIterator[int]:
    """Serve views of Django, its check of forged forms included."""
    prepare_django()
    from django.core.handlers.wsgi import WSGIHandler
    from django.core.servers.basehttp import ThreadedWSGIServer, WSGIRequestHandler
    from django.test import override_settings

    with override_settings(ROOT_URLCONF=type("Urls", (), {"urlpatterns": urlpatterns})):
        server = ThreadedWSGIServer(("127.0.0.1", 0), WSGIRequestHandler)
        server.set_app(WSGIHandler())
        async with by_wsgi(server) as port:
            yield port


FRAMEWORKS: dict[str, tuple[str, str, Callable[[Any], AbstractAsyncContextManager[int]]]] = {
    "aiohttp": ("app.router.add_post", "app", by_aiohttp),
    "starlette": ("Starlette(", "app", by_uvicorn),
    "fastapi": ("FastAPI(", "app", by_uvicorn),
    "flask": ("Flask(", "app", by_werkzeug),
    "django": ("urlpatterns", "urlpatterns", by_django),
}
"""Words of the page's code for each framework, what that code makes, and who serves it."""


@asynccontextmanager
async def receiving(framework: str, receiver: webhooks.Receiver) -> AsyncIterator[str]:
    """Serve a receiver by the page's code for a framework; give its URL."""
    words, made, serve = FRAMEWORKS[framework]
    scope = run(words, into={"__name__": "page_on_webhooks", "webhooks": webhooks, "receiver": receiver})
    async with serve(scope[made]) as port:
        yield f"http://127.0.0.1:{port}/roamify"
