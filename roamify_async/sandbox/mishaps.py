"""What each fault does to the answer of a request."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from email.utils import formatdate
from typing import Final

from aiohttp import web
from attrs import evolve, frozen

from .answers import Answer, failed, success
from .esims import PENDING
from .faults import Rule, whole_seconds
from .wire import cut, cut_in_half

Give = Callable[[float], Answer]  # runs the handler and commits; seconds until a profile it makes is ready

_PAGE: Final = """<!DOCTYPE html>
<html lang="en-US"><head><title>{status} | api.getroamify.com</title></head>
<body><h1>Error {status}</h1><p>{text}</p><hr><center>cloudflare</center></body></html>
"""
_TEXTS: Final = {
    401: "Unauthorized, please make sure your have the correct api key",
    403: "Sorry, you have been blocked",
    409: "Order with the same referenceId already exists, please use another one",
    429: "Too many requests, please try again later",
    500: "Internal server error",
    502: "Bad gateway",
    503: "Service temporarily unavailable, please try again later",
}


@frozen
class Accident:
    """One request that a fault hits: the connection, the rule, and how to let the API serve it."""

    request: web.BaseRequest
    rule: Rule
    give: Give

    def served(self) -> Answer:
        """Let the API answer if the fault comes after that; else make up an answer that was never served."""
        return self.give(0.0) if self.rule.when == "after" else success({})


Outcome = Answer | web.StreamResponse


async def strike(accident: Accident) -> Outcome:
    """Do to a request what its fault says."""
    rule = accident.rule
    special = _SPECIAL.get(rule.fault)
    if special:
        return await special(accident)
    accident.served()
    status, _, form = rule.fault.partition("_")
    return _ANSWERS[form](int(status), rule.seconds)


async def _slow(accident: Accident) -> Outcome:
    if accident.rule.when == "before":
        await asyncio.sleep(accident.rule.seconds)
        return accident.give(0.0)
    answer = accident.give(0.0)
    await asyncio.sleep(accident.rule.seconds)
    return answer


async def _drop(accident: Accident) -> Outcome:
    accident.served()
    return cut(accident.request)


async def _reset(accident: Accident) -> Outcome:
    return await cut_in_half(accident.request, accident.served())


async def _truncated(accident: Accident) -> Outcome:
    answer = accident.served()
    return evolve(answer, text=answer.text[: len(answer.text) // 2])


async def _garbled(accident: Accident) -> Outcome:
    return evolve(accident.served(), status=200, text="\x1f<<<this is no JSON>>>")


async def _pending(accident: Accident) -> Outcome:
    if accident.rule.when == "after":
        accident.give(accident.rule.seconds)
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
    return Answer(status, _PAGE.format(status=status, text=_TEXTS[status]), "text/html; charset=UTF-8")


def _empty(status: int, _seconds: float) -> Answer:
    return Answer(status, "", "text/plain")


_SPECIAL: Final[Mapping[str, Callable[[Accident], Awaitable[Outcome]]]] = {
    "slow": _slow,
    "drop": _drop,
    "reset": _reset,
    "truncated": _truncated,
    "garbled": _garbled,
    "pending": _pending,
}
_ANSWERS: Final[Mapping[str, Callable[[int, float], Answer]]] = {
    "": _json,
    "date": _dated,
    "html": _html,
    "empty": _empty,
}
