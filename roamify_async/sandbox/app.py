"""The way of a request through the sandbox: counted, hit by a fault or served, and answered."""

import asyncio
import hmac
import json
from functools import partial
from typing import Any

from aiohttp import web

from .context import Call, Fate, World
from .control.api import PREFIX, control
from .control.dashboard import page
from .faults.effects import Accident, Outcome, strike
from .http.description import DESCRIBED, description
from .http.responses import Answer, failed
from .http.wire import response
from .routes import PUBLIC, serve

_UNREADABLE = object()


async def handle(world: World, request: web.BaseRequest) -> web.StreamResponse:
    """Answer any request that reaches the server."""
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return response(request, failed(413, "request entity too large"), compress=False)
    if request.path == "/" and request.method == "GET":
        answer: Outcome = page(world, request.remote, still="still" in request.query)
    elif request.path.startswith(PREFIX) and _is_foreign(request):
        answer = failed(403, "The control plane serves no pages of other origins")
    elif request.path.startswith(PREFIX):
        answer = control(world, request.method, request.path, request.remote, body)
    elif (request.method, request.path) == DESCRIBED:
        answer = description(f"{request.scheme}://{request.host}")
    else:
        answer = await _api(world, request, body)
    if isinstance(answer, web.StreamResponse):
        return answer
    return response(request, answer, compress=world.options.compress)


async def _api(world: World, request: web.BaseRequest, body: bytes) -> Outcome:
    what = f"{request.method} {request.path}"
    with world.lock:
        world.arrivals.note(what)
        hit = world.faults.take(request.method, request.path, set(request.query.items()))
        resets = world.resets
        visit = world.visits.note(request.method, request.path, world.now(), hit.rule.fault if hit else "")
    if delay := world.options.delay(what):
        await asyncio.sleep(delay)
    give = partial(_serve, world, request, body, resets)
    answer = give(Fate()) if hit is None else await strike(Accident(request, hit, give))
    visit.status = answer.status if isinstance(answer, Answer) else "cut"
    return answer


def _serve(world: World, request: web.BaseRequest, body: bytes, resets: int, fate: Fate) -> Answer:
    if world.resets != resets:
        return failed(503, "The sandbox was reset meanwhile")
    if request.path.startswith("/api/") and request.path not in PUBLIC and not _authorized(world, request):
        return failed(401, "Unauthorized, please make sure your have the correct api key")
    understood = _json_body(request, body)
    if understood is _UNREADABLE:
        return failed(400, "Invalid JSON body")
    return serve(world, request.method, request.path, Call(_query(request), understood, fate))


def _is_foreign(request: web.BaseRequest) -> bool:
    """Tell whether a page in a browser asks that came from elsewhere; other programs name no origin."""
    return request.headers.get("Origin", own := f"{request.scheme}://{request.host}") != own


def _authorized(world: World, request: web.BaseRequest) -> bool:
    given = request.headers.get("Authorization", "")
    return hmac.compare_digest(given.encode(errors="surrogateescape"), f"Bearer {world.options.token}".encode())


def _query(request: web.BaseRequest) -> dict[str, object]:
    query: dict[str, object] = {}
    for name in request.query:
        values: list[str] = request.query.getall(name)
        query[name] = values[0] if len(values) == 1 else values
    return query


def _json_body(request: web.BaseRequest, body: bytes) -> Any:  # JSON of every kind comes in
    """Read the body as JSON; any other content type is not read at all, which leaves an empty object."""
    if request.content_type != "application/json" or not body:
        return {}
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _UNREADABLE
