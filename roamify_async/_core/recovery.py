"""Actions without a key, whose outcome is read after a failure. They are never sent twice."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from roamify_async.errors import (
    APIStatusError,
    ConflictError,
    DecodeError,
    RoamifyError,
    ServerError,
    TransportError,
)

from .concurrency import poll
from .engine import MIN_DEADLINE, Engine
from .server_messages import is_pending

T = TypeVar("T")


def may_have_succeeded(failure: RoamifyError) -> bool:
    """Return whether an action that failed may be under way all the same, or done."""
    if isinstance(failure, TransportError):
        return failure.last_try != "no"
    if isinstance(failure, APIStatusError) and is_pending(failure):
        return True
    return isinstance(failure, ServerError | ConflictError | DecodeError)


def recovery_window(engine: Engine, failure: RoamifyError) -> float:
    """Return the seconds for which the outcome of an action is polled. Raises a failure that leaves no question.

    This is the deadline of a call; after a server error that does not mention waiting, the reconcile window.
    """
    if not may_have_succeeded(failure):
        raise failure
    settings = engine.settings
    if isinstance(failure, ServerError) and not is_pending(failure):
        return settings.reconcile_window
    return settings.retries.deadline or MIN_DEADLINE


async def poll_until(look: Callable[[], Awaitable[T | None]], window: float, failure: RoamifyError) -> T:
    """Poll until *look* returns a value. Raises *failure* when the window has passed, or reading is refused."""
    async for _ in poll(window):
        try:
            found = await look()
        except (TransportError, ServerError):
            continue
        except RoamifyError:
            break
        if found is not None:
            return found
    raise failure
