"""Decides whether to send a request again, as a pure function of values.

The loop belongs to the engine. A retry library has its own loop and asks only whether to try again; here the decision
depends on the safety of the endpoint, on whether the request may have left, and on the remaining time.
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
"""Statuses below 500 after which another attempt may succeed."""
PERMANENT: Final = frozenset({HTTPStatus.NOT_IMPLEMENTED, HTTPStatus.HTTP_VERSION_NOT_SUPPORTED})
"""Statuses from 500 after which another attempt would not succeed."""

UNWANTED: Final = frozenset({"too_large", "coding"})
"""Failures of a response that another attempt would receive again."""


@attrs.frozen
class Retry:
    """Send the same request again after *delay* seconds."""

    delay: float


@attrs.frozen
class Stop:
    """Do not send the request again."""


Decision = Retry | Stop


def is_success(status: int) -> bool:
    """Return whether a status is 2xx."""
    return 200 <= status < 300  # noqa: PLR2004


def may_repeat(safety: Safety, result: AttemptResult, *, readable: bool = True) -> bool:
    """Return whether the same request may be sent again after this result.

    A read is repeated if its 2xx response is not JSON, since the response was truncated or came from a gateway.
    """
    if safety is not Safety.READ:
        # Otherwise the outcome is looked up. A purchase may have been booked even if the response is a 429.
        if isinstance(result, HttpResponse):
            return safety is Safety.ACTION and result.status == HTTPStatus.TOO_MANY_REQUESTS
        return result.sent == "no"
    if not isinstance(result, HttpResponse):
        return result.failure not in UNWANTED
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
    """Decide what to do after *tries* attempts, the last of which ended in *result*.

    There is no retry if its delay would end after *time_left* seconds.
    """
    if tries >= retries.tries or not may_repeat(safety, result, readable=readable):
        return Stop()
    asked = result.retry_after() if isinstance(result, HttpResponse) else None
    if tries == 1 and isinstance(result, NoResponse) and result.failure == "lost":
        delay = 0.0  # Usually a keep-alive connection that the server closed; a new connection works at once.
    else:  # A server that asks for no wait, or for one that is over, is still busy.
        delay = max(asked or 0.0, backoff(tries, retries, chance()))
    return Retry(delay) if delay < time_left else Stop()


def backoff(tries: int, retries: Retries, chance: float) -> float:
    """Return the seconds to wait after *tries* attempts. *chance*, from 0 to 1, reduces them by up to a half."""
    full = min(retries.wait * 2.0 ** min(tries - 1, 1000), retries.longest_wait)
    return full * (1 - chance / 2)
