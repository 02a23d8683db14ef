"""What to do after a try, decided from values alone.

The loop around it is the engine's. A retry library drives its own loop and asks only "again or not?"; here the answer
depends on the kind of the endpoint, on whether the request had left, and on the time that remains, so the judgement is
kept apart: small, pure, and tested without a clock.
"""

import random
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import attrs

from roamify_async.settings import Retries

from .facade import Kind
from .wire import HttpResponse, NoResponse, Outcome

TRANSIENT: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
"""Refusals below 500 that may be over soon."""
LASTING: Final = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})
"""Failures of a server that another try does not mend."""


@attrs.frozen
class Again:
    """Send the same bytes again after so many seconds."""

    wait: float


@attrs.frozen
class GiveUp:
    """Take the outcome as it is."""


Verdict = Again | GiveUp


def is_success(status: int) -> bool:
    """Tell whether a status means that the call did what it should."""
    return 200 <= status < 300  # noqa: PLR2004


def may_repeat(kind: Kind, outcome: Outcome, *, readable: bool = True) -> bool:
    """Tell whether the same request may be sent again after this outcome.

    A read that came as a success but cannot be read at all (cut off, a gateway's page) is worth another try.
    """
    if kind is not Kind.READ:
        # A 429 refuses before anything is done. All else that was answered, or may have left, is looked into instead.
        if isinstance(outcome, HttpResponse):
            return outcome.status == HTTPStatus.TOO_MANY_REQUESTS
        return outcome.sent == "no"
    if not isinstance(outcome, HttpResponse):
        return True
    if is_success(outcome.status):
        return not readable
    return outcome.status in TRANSIENT or (outcome.status >= 500 and outcome.status not in LASTING)  # noqa: PLR2004


def judge(
    kind: Kind,
    outcome: Outcome,
    *,
    tries: int,
    time_left: float,
    retries: Retries,
    readable: bool = True,
    chance: Callable[[], float] = random.random,
) -> Verdict:
    """Decide what to do after *tries* tries, the last of which came to *outcome*, with *time_left* seconds to go.

    A wait that would not end in time is not begun.
    """
    if tries >= retries.tries or not may_repeat(kind, outcome, readable=readable):
        return GiveUp()
    asked = outcome.retry_after() if isinstance(outcome, HttpResponse) else None
    if tries == 1 and isinstance(outcome, NoResponse) and outcome.failure == "lost":
        asked = 0.0  # A kept connection that had died: the commonest failure, and over at once.
    wait = backoff(tries, retries, chance()) if asked is None else asked
    return Again(wait) if wait < time_left else GiveUp()


def backoff(tries: int, retries: Retries, chance: float) -> float:
    """Give the seconds to wait after *tries* tries; *chance* lies between 0 and 1 and takes up to half of them away."""
    full = min(retries.wait * 2.0 ** min(tries - 1, 1000), retries.longest_wait)
    return full * (1 - chance / 2)
