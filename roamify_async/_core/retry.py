"""What to do after an attempt, decided from values alone.

The loop around it belongs to the engine. A retry library drives its own loop and asks only whether to try again. Here
the decision depends on the safety of the endpoint, on whether the request had left, and on the time that remains.
"""

import random
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

import attrs

from roamify_async._http.messages import AttemptResult, HttpResponse, NoResponse
from roamify_async.settings import Retries

from .endpoint import Safety

TRANSIENT: Final = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS})
"""Statuses below 500 that another attempt may overcome."""
PERMANENT: Final = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})
"""Statuses from 500 that another attempt does not overcome."""


@attrs.frozen
class Retry:
    """Send the same bytes again after *delay* seconds."""

    delay: float


@attrs.frozen
class Stop:
    """Accept the result as it is."""


Decision = Retry | Stop


def is_success(status: int) -> bool:
    """Return whether a status is 2xx."""
    return 200 <= status < 300  # noqa: PLR2004


def may_repeat(safety: Safety, result: AttemptResult, *, readable: bool = True) -> bool:
    """Return whether the same request may be sent again after this result.

    A read whose 2xx response cannot be parsed (cut off, or a gateway's page) is worth another attempt.
    """
    if safety is not Safety.READ:
        # Whatever was answered, or may have left, is looked up instead. A purchase may be booked even by a 429.
        if isinstance(result, HttpResponse):
            return safety is Safety.ACTION and result.status == HTTPStatus.TOO_MANY_REQUESTS
        return result.sent == "no"
    if not isinstance(result, HttpResponse):
        return True
    if is_success(result.status):
        return not readable
    return result.status in TRANSIENT or (result.status >= 500 and result.status not in PERMANENT)  # noqa: PLR2004


def decide(
    safety: Safety,
    result: AttemptResult,
    *,
    tries: int,
    time_left: float,
    retries: Retries,
    readable: bool = True,
    chance: Callable[[], float] = random.random,
) -> Decision:
    """Decide what to do after *tries* attempts, the last of which ended in *result*, with *time_left* seconds to go.

    A delay that would not end in time is not started.
    """
    if tries >= retries.tries or not may_repeat(safety, result, readable=readable):
        return Stop()
    delay = result.retry_after() if isinstance(result, HttpResponse) else None
    if tries == 1 and isinstance(result, NoResponse) and result.failure == "lost":
        delay = 0.0  # A kept-alive connection that had died: the commonest failure, and over at once.
    if delay is None:
        delay = backoff(tries, retries, chance())
    return Retry(delay) if delay < time_left else Stop()


def backoff(tries: int, retries: Retries, chance: float) -> float:
    """Return the seconds to wait after *tries* attempts. *chance*, from 0 to 1, takes off up to a half."""
    full = min(retries.wait * 2.0 ** min(tries - 1, 1000), retries.longest_wait)
    return full * (1 - chance / 2)
