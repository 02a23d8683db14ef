"""What each fault does to the response of a request."""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from email.utils import formatdate
from typing import Final

from aiohttp import web
from attrs import evolve, frozen

from roamify_async.sandbox.http.errors import DUPLICATE_REFERENCE, ESIM_PENDING, POLICY_PENDING, UNAUTHORIZED, failed
from roamify_async.sandbox.http.responses import JSON_TYPE, Response, abort, abort_halfway, html_page

from .corruption import CORRUPTIONS, corrupt
from .rules import FaultRule, Hit, Modifiers
from .wrong_orders import WRONG_ORDERS, replace_orders

Serve = Callable[[Modifiers], Response]
"""Lets the API serve the request."""

Outcome = Response | web.StreamResponse

_OTHER_HOST: Final = "https://attacker.invalid/api"
_BLOCKED: Final = "Sorry, you have been blocked"
_DISCONNECT_CHECK: Final = 0.05  # seconds between two checks whether the client is still connected
_MESSAGES: Final = {
    200: "Unknown error",
    301: "Moved permanently",
    302: "Found",
    303: "See other",
    307: "Temporary redirect",
    308: "Permanent redirect",
    400: "Invalid request, please check your request and try again",
    401: UNAUTHORIZED,
    402: "Payment required",
    403: "Forbidden, this feature is not enabled for your api key",
    404: "Not found",
    408: "Request timeout",
    409: DUPLICATE_REFERENCE,
    422: "Unprocessable request",
    429: "Too many requests, please try again later",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Service temporarily unavailable, please try again later",
    504: "Gateway timeout",
    520: "Web server is returning an unknown error",
    522: "Connection timed out",
    524: "A timeout occurred",
}


@frozen
class FaultyRequest:
    """One request that a fault is injected into."""

    request: web.BaseRequest
    hit: Hit
    serve: Serve
    packages: Iterable[str]
    """The ids of all eSIM packages."""

    @property
    def rule(self) -> FaultRule:
        """The rule that applies."""
        return self.hit.rule

    def respond(self) -> Response:
        """Return the API's response; with when=before all changes are rolled back."""
        return self.serve(Modifiers(dry_run=self.rule.when == "before"))


async def inject(faulty: FaultyRequest) -> Outcome:
    """Inject the fault into the request and return what is sent."""
    rule = faulty.rule
    effect = _EFFECTS.get(rule.fault)
    if effect:
        return await effect(faulty)
    faulty.respond()
    status, _, form = rule.fault.partition("_")
    return _FORMS[form or _DEFAULT_FORMS.get(status, "json")](int(status), rule.seconds)


async def _slow(faulty: FaultyRequest) -> Outcome:
    response = faulty.serve(Modifiers()) if faulty.rule.when == "after" else None
    await asyncio.sleep(faulty.rule.seconds)
    return response or faulty.serve(Modifiers())


async def _drop(faulty: FaultyRequest) -> Outcome:
    faulty.respond()
    return abort(faulty.request)


async def _reset(faulty: FaultyRequest) -> Outcome:
    return await abort_halfway(faulty.request, faulty.respond())


async def _hang(faulty: FaultyRequest) -> Outcome:
    faulty.respond()
    while faulty.request.transport:  # noqa: ASYNC110 - aiohttp has no event for a client that disconnects
        await asyncio.sleep(_DISCONNECT_CHECK)
    return abort(faulty.request)


async def _book_late(faulty: FaultyRequest) -> Outcome:
    faulty.serve(Modifiers(delayed_by=faulty.rule.seconds))
    return abort(faulty.request)


async def _book_but_hide(faulty: FaultyRequest) -> Outcome:
    faulty.serve(Modifiers(hidden_for=faulty.rule.seconds))
    return abort(faulty.request)


async def _book_with_status(faulty: FaultyRequest) -> Outcome:
    return faulty.serve(_STATUSES[faulty.rule.fault](faulty.rule.seconds))


async def _stale(faulty: FaultyRequest) -> Outcome:
    return faulty.serve(Modifiers(lag=faulty.rule.seconds))


async def _truncated(faulty: FaultyRequest) -> Outcome:
    response = faulty.respond()
    return evolve(response, text=response.text[: len(response.text) // 2])


async def _garbled(faulty: FaultyRequest) -> Outcome:
    return evolve(faulty.respond(), status=200, text="\x1f<<<this is not JSON>>>")


async def _corrupted(faulty: FaultyRequest) -> Outcome:
    response = faulty.respond()
    if response.content_type != JSON_TYPE:
        return response
    return evolve(response, text=corrupt(faulty.rule.fault, response.text, faulty.hit.random))


async def _wrong_order(faulty: FaultyRequest) -> Outcome:
    response = faulty.respond()
    if response.content_type != JSON_TYPE:
        return response
    return evolve(response, text=replace_orders(faulty.rule.fault, response.text, faulty.hit.random, faulty.packages))


async def _shift(faulty: FaultyRequest) -> Outcome:
    if faulty.rule.when == "before":
        return faulty.serve(Modifiers(shifts=True))
    response = faulty.serve(Modifiers())
    faulty.serve(Modifiers(shifts=True, dry_run=True))
    return response


async def _sell_out(faulty: FaultyRequest) -> Outcome:
    return faulty.serve(Modifiers(sells_out="before" if faulty.rule.when == "before" else "after"))


async def _pending(faulty: FaultyRequest) -> Outcome:
    if faulty.rule.when == "after":
        faulty.serve(Modifiers(ready_in=faulty.rule.seconds))
    if faulty.request.path == "/api/insurance/apply":
        return failed(409, POLICY_PENDING)
    return failed(500, ESIM_PENDING)


def _json(status: int, seconds: float) -> Response:
    has_retry_after = status == 429 or (status == 503 and seconds > 0)  # noqa: PLR2004
    headers = {"Retry-After": str(math.ceil(seconds))} if has_retry_after else {}
    return evolve(failed(status, _MESSAGES[status]), headers=headers)


def _bare(status: int, _seconds: float) -> Response:
    return failed(status, _MESSAGES[status])


def _retry_date(status: int, seconds: float) -> Response:
    # HTTP dates have whole seconds; rounding up ensures that a client never retries too early.
    at = formatdate(math.ceil(time.time() + seconds), usegmt=True)
    return evolve(failed(status, _MESSAGES[status]), headers={"Retry-After": at})


def _retry_past_date(status: int, seconds: float) -> Response:
    return _retry_date(status, -1 - seconds)


def _html(status: int, _seconds: float) -> Response:
    return html_page(status, _BLOCKED if status == 403 else _MESSAGES[status])  # noqa: PLR2004


def _empty(status: int, _seconds: float) -> Response:
    return Response(status, "", "text/plain")


def _redirect(status: int, seconds: float) -> Response:
    return evolve(_html(status, seconds), headers={"Location": _OTHER_HOST})


_STATUSES: Final[Mapping[str, Callable[[float], Modifiers]]] = {
    "book_pending": lambda seconds: Modifiers(status="PENDING", completes_in=seconds),
    "book_cancelled": lambda _: Modifiers(status="CANCELLED"),
    "book_refunded": lambda _: Modifiers(status="REFUNDED"),
    "book_failed": lambda _: Modifiers(status="FAILED"),
}
_EFFECTS: Final[Mapping[str, Callable[[FaultyRequest], Awaitable[Outcome]]]] = {
    "slow": _slow,
    "drop": _drop,
    "reset": _reset,
    "hang": _hang,
    "book_late": _book_late,
    "book_but_hide": _book_but_hide,
    "stale": _stale,
    "truncated": _truncated,
    "garbled": _garbled,
    "shift": _shift,
    "sell_out": _sell_out,
    "pending": _pending,
    **dict.fromkeys(CORRUPTIONS, _corrupted),
    **dict.fromkeys(_STATUSES, _book_with_status),
    **dict.fromkeys(WRONG_ORDERS, _wrong_order),
}
_FORMS: Final[Mapping[str, Callable[[int, float], Response]]] = {
    "json": _json,
    "failed": _bare,
    "bare": _bare,
    "date": _retry_date,
    "past": _retry_past_date,
    "html": _html,
    "empty": _empty,
    "redirect": _redirect,
}
_DEFAULT_FORMS: Final = {
    **dict.fromkeys(("301", "302", "303", "307", "308"), "redirect"),
    **dict.fromkeys(("520", "522", "524"), "html"),
}
