"""What each fault does to the answer of a request."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import Final

from aiohttp import web
from attrs import evolve, frozen

from roamify_async.sandbox.context import Fate
from roamify_async.sandbox.handlers.esims import PENDING
from roamify_async.sandbox.handlers.policies import BEING_ISSUED
from roamify_async.sandbox.http.responses import JSON_TYPE, Answer, failed, page
from roamify_async.sandbox.http.wire import cut, cut_in_half

from .corruption import SPOILING, spoil
from .rules import Hit, Rule, whole_seconds

Give = Callable[[Fate], Answer]  # lets the API serve the request

_FOREIGN: Final = "https://attacker.invalid/api"
_LOOK: Final = 0.05  # seconds between two looks at whether a client is still there
_TEXTS: Final = {
    301: "Moved permanently",
    302: "Found",
    401: "Unauthorized, please make sure your have the correct api key",
    403: "Sorry, you have been blocked",
    409: "Order with the same referenceId already exists, please use another one",
    429: "Too many requests, please try again later",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Service temporarily unavailable, please try again later",
    520: "Web server is returning an unknown error",
    522: "Connection timed out",
    524: "A timeout occurred",
}


@frozen
class Accident:
    """One request that a fault hits: the connection, the hit, and how to let the API serve it."""

    request: web.BaseRequest
    hit: Hit
    give: Give

    @property
    def rule(self) -> Rule:
        """The fault as it was scripted."""
        return self.hit.rule

    def served(self) -> Answer:
        """Let the API answer; if the fault comes before that, nothing of it stays."""
        return self.give(Fate(rehearsed=self.rule.when == "before"))


Outcome = Answer | web.StreamResponse


async def strike(accident: Accident) -> Outcome:
    """Do to a request what its fault says."""
    rule = accident.rule
    special = _SPECIAL.get(rule.fault)
    if special:
        return await special(accident)
    accident.served()
    status, _, form = rule.fault.partition("_")
    return _FORMS[form or _USUAL_FORMS.get(status, "json")](int(status), rule.seconds)


async def _slow(accident: Accident) -> Outcome:
    answer = accident.give(Fate()) if accident.rule.when == "after" else None
    await asyncio.sleep(accident.rule.seconds)
    return answer or accident.give(Fate())


async def _drop(accident: Accident) -> Outcome:
    accident.served()
    return cut(accident.request)


async def _reset(accident: Accident) -> Outcome:
    return await cut_in_half(accident.request, accident.served())


async def _hang(accident: Accident) -> Outcome:
    accident.served()
    while accident.request.transport:  # noqa: ASYNC110 - aiohttp has no event for a client that goes away
        await asyncio.sleep(_LOOK)
    return cut(accident.request)


async def _book_late(accident: Accident) -> Outcome:
    accident.give(Fate(late_by=accident.rule.seconds))
    return cut(accident.request)


async def _book_but_hide(accident: Accident) -> Outcome:
    accident.give(Fate(hidden_for=accident.rule.seconds))
    return cut(accident.request)


async def _truncated(accident: Accident) -> Outcome:
    answer = accident.served()
    return evolve(answer, text=answer.text[: len(answer.text) // 2])


async def _garbled(accident: Accident) -> Outcome:
    return evolve(accident.served(), status=200, text="\x1f<<<this is no JSON>>>")


async def _spoiled(accident: Accident) -> Outcome:
    answer = accident.served()
    if answer.content_type != JSON_TYPE:
        return answer
    return evolve(answer, text=spoil(accident.rule.fault, answer.text, accident.hit.dice))


async def _shift(accident: Accident) -> Outcome:
    if accident.rule.when == "before":
        return accident.give(Fate(shifts=True))
    answer = accident.give(Fate())
    accident.give(Fate(shifts=True, rehearsed=True))
    return answer


async def _pending(accident: Accident) -> Outcome:
    if accident.rule.when == "after":
        accident.give(Fate(ready_in=accident.rule.seconds))
    if accident.request.path == "/api/insurance/apply":
        return failed(409, BEING_ISSUED)
    return failed(500, PENDING)


def _json(status: int, seconds: float) -> Answer:
    wait = status == 429 or (status == 503 and seconds > 0)  # noqa: PLR2004
    headers = {"Retry-After": str(whole_seconds(seconds))} if wait else {}
    return evolve(failed(status, _TEXTS[status]), headers=headers)


def _dated(status: int, seconds: float) -> Answer:
    # The date has whole seconds: the next one, so that waiting for it is never too short.
    at = formatdate(whole_seconds(time.time() + seconds), usegmt=True)
    return evolve(failed(status, _TEXTS[status]), headers={"Retry-After": at})


def _html(status: int, _seconds: float) -> Answer:
    return page(status, _TEXTS[status])


def _empty(status: int, _seconds: float) -> Answer:
    return Answer(status, "", "text/plain")


def _redirect(status: int, seconds: float) -> Answer:
    return evolve(_html(status, seconds), headers={"Location": _FOREIGN})


_SPECIAL: Final[Mapping[str, Callable[[Accident], Awaitable[Outcome]]]] = {
    "slow": _slow,
    "drop": _drop,
    "reset": _reset,
    "hang": _hang,
    "book_late": _book_late,
    "book_but_hide": _book_but_hide,
    "truncated": _truncated,
    "garbled": _garbled,
    "shift": _shift,
    "pending": _pending,
    **dict.fromkeys(SPOILING, _spoiled),
}
_FORMS: Final[Mapping[str, Callable[[int, float], Answer]]] = {
    "json": _json,
    "date": _dated,
    "html": _html,
    "empty": _empty,
    "redirect": _redirect,
}
_USUAL_FORMS: Final = {"301": "redirect", "302": "redirect", "520": "html", "522": "html", "524": "html"}
