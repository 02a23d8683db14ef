"""Decides who may use the sandbox: programs on this machine, others that know its token, and no foreign web page."""

import hmac
from typing import Final
from urllib.parse import urlsplit

from aiohttp import web

from roamify_async.sandbox.options import Options, is_loopback

from .errors import failed
from .responses import Response

VISIT: Final = ("GET", "navigate", "document")
"""A person follows a link to the dashboard, which no page can read."""


def refuse(options: Options, request: web.BaseRequest, *, is_control: bool) -> Response | None:
    """Return the refusal of a request, or ``None``. *is_control* means the control API and the dashboard.

    The control API needs no token on this machine, and the default token is public. So a web page must not reach
    either, also if the name of its host is made to resolve to this machine (DNS rebinding).
    """
    if _is_cross_site(request) or (is_control and _is_cross_origin(request)):
        return failed(403, "The sandbox refuses requests of web pages of other origins")
    if options.allow_remote and (not is_control or is_authorized(options, request)):
        return None  # Other endpoints of the API check the token themselves.
    hosts: list[str] = request.headers.getall("Host", [])
    for host in hosts:
        if not _is_allowed(options, host):
            return failed(
                403, f"The sandbox does not serve the host {host!r}; allow_hosts or --allow-host adds names of hosts"
            )
    if is_control and not is_loopback(request.remote or ""):
        return failed(403, "The control API and the dashboard need the token on other machines, and allow_remote")
    return None


def is_authorized(options: Options, request: web.BaseRequest) -> bool:
    """Return whether a request has the token."""
    header = request.headers.get("Authorization", "")
    return hmac.compare_digest(header.encode(errors="surrogateescape"), f"Bearer {options.token}".encode())


def _is_allowed(options: Options, host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    return is_loopback(name) or name in {allowed.lower() for allowed in options.allow_hosts}


def _is_cross_site(request: web.BaseRequest) -> bool:
    """Return whether a browser says that another site sent the request, other than by a link to the dashboard."""
    headers = request.headers
    visit = (request.method, headers.get("Sec-Fetch-Mode"), headers.get("Sec-Fetch-Dest"))
    return headers.get("Sec-Fetch-Site") == "cross-site" and not (request.path == "/" and visit == VISIT)


def _is_cross_origin(request: web.BaseRequest) -> bool:
    """Return whether a web page of another origin sent the request; only browsers send an Origin header."""
    return request.headers.get("Origin", own := f"{request.scheme}://{request.host}") != own
