"""The application: how a request is logged, authorized, hit by a fault, served and answered."""

import asyncio
import json
from functools import partial
from typing import Any, Final

from aiohttp import web

from .context import Context, Request
from .control.api import PREFIX, control
from .control.dashboard import dashboard
from .faults.effects import FaultyRequest, Outcome, inject
from .faults.rules import Modifiers
from .http.access import is_authorized, refuse
from .http.errors import UNAUTHORIZED, failed
from .http.responses import Response, openapi, to_aiohttp
from .routes import PUBLIC, canonical_path, serve

_UNREADABLE: Final = object()


async def handle(context: Context, request: web.BaseRequest) -> web.StreamResponse:
    """Return the response to any request that reaches the server."""
    try:
        body = await request.read()
    except web.HTTPRequestEntityTooLarge:
        return to_aiohttp(request, failed(413, "request entity too large"), compress=False)
    is_dashboard = (request.method, request.path) == ("GET", "/")
    is_control = is_dashboard or request.path.startswith(PREFIX)
    response: Outcome
    if (refusal := refuse(context.options, request, is_control=is_control)) is not None:
        response = refusal
    elif is_dashboard:
        response = dashboard(context, paused="paused" in request.query)
    elif is_control:
        response = control(context, request.method, request.path, body)
    elif (request.method, request.path) == ("GET", "/openapi.json"):
        response = openapi(f"{request.scheme}://{request.host}")
    else:
        response = await _api(context, request, body)
    if isinstance(response, web.StreamResponse):
        return response
    etags = context.options.etags and request.path.startswith("/api/")
    return to_aiohttp(request, response, compress=context.options.compress, etags=etags)


async def _api(context: Context, request: web.BaseRequest, body: bytes) -> Outcome:
    path = request.path if context.options.strict else canonical_path(request.path)
    endpoint = f"{request.method} {path}"
    with context.lock:
        context.requests.count(endpoint)
        hit = context.faults.take(request.method, path, set(request.query.items()))
        resets = context.resets
        fault = hit.rule.fault if hit else ""
        entry = context.requests.add(request.method, path, context.now(), fault, query=request.query, body=body)
    if latency := context.options.latency_of(endpoint):
        await asyncio.sleep(latency)
    respond = partial(_respond, context, request, path, body, resets)
    response = (
        respond(Modifiers())
        if hit is None
        else await inject(FaultyRequest(request, hit, respond, context.catalogue.packages))
    )
    entry.status = response.status if isinstance(response, Response) else "aborted"
    return response


def _respond(
    context: Context, request: web.BaseRequest, path: str, body: bytes, resets: int, modifiers: Modifiers
) -> Response:
    if context.resets != resets:
        return failed(503, "The sandbox was reset")
    if path.startswith("/api/") and path not in PUBLIC and not is_authorized(context.options, request):
        return failed(401, UNAUTHORIZED)
    parsed = _parse_body(request, body)
    if parsed is _UNREADABLE:
        return failed(400, "Invalid JSON body")
    query = _parse_query(request)
    if not context.options.strict:
        query.pop("", None)
    return serve(context, request.method, path, Request(query, parsed, modifiers))


def _parse_query(request: web.BaseRequest) -> dict[str, object]:
    query: dict[str, object] = {}
    for name in request.query:
        values: list[str] = request.query.getall(name)
        query[name] = values[0] if len(values) == 1 else values
    return query


def _parse_body(request: web.BaseRequest, body: bytes) -> Any:  # JSON of any type
    """Return the parsed body; a body of another content type is ignored, as Express does, and counts as `{}`."""
    if request.content_type != "application/json" or not body:
        return {}
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return _UNREADABLE
