"""Recovery of actions, which have no key: after a failure their outcome is read, and they are not sent again."""

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
    """Return whether an action that failed may be in progress or completed."""
    if isinstance(failure, TransportError):
        return failure.last_try != "no"
    if isinstance(failure, APIStatusError) and is_pending(failure):
        return True
    return isinstance(failure, ServerError | ConflictError | DecodeError)


def recovery_window(engine: Engine, failure: RoamifyError) -> float:
    """Return the seconds for which the outcome of a failed action is polled.

    This is the deadline of a call, or the reconcile window after a server error that does not report a pending action.
    Raises *failure* if it shows that the action did not happen.
    """
    if not may_have_succeeded(failure):
        raise failure
    settings = engine.settings
    if isinstance(failure, ServerError) and not is_pending(failure):
        return settings.reconcile_window
    return settings.retries.deadline or MIN_DEADLINE


async def poll_until(look: Callable[[], Awaitable[T | None]], window: float, failure: RoamifyError) -> T:
    """Poll until *look* returns a value. Raises *failure* if *window* seconds have passed, or if reading is refused."""
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
