"""What was applied for and not answered may be done all the same: it is read, and never asked for twice."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from roamify_async._engine.engine import SHORTEST_DEADLINE
from roamify_async._engine.facade import Engine
from roamify_async._engine.waiting import looks
from roamify_async.errors import (
    APIStatusError,
    ConflictError,
    DecodeError,
    RoamifyError,
    ServerError,
    TransportError,
)

T = TypeVar("T")


def is_open_question(failure: RoamifyError) -> bool:
    """Tell whether an apply that failed may be under way all the same, or done."""
    if isinstance(failure, TransportError):
        return failure.last_try != "no"
    if isinstance(failure, APIStatusError) and "pending" in failure.message:
        return True
    return isinstance(failure, ServerError | ConflictError | DecodeError)


def patience(engine: Engine, failure: RoamifyError) -> float:
    """Give the seconds for which is read what an apply that failed may have done; raise what leaves nothing open.

    It has as long as a call may take; after a server error that does not speak of waiting, the settle window.
    """
    if not is_open_question(failure):
        raise failure
    settings = engine.settings
    if isinstance(failure, ServerError) and "pending" not in failure.message:
        return settings.settle_window
    return settings.retries.deadline or SHORTEST_DEADLINE


async def until_done(look: Callable[[], Awaitable[T | None]], window: float, failure: RoamifyError) -> T:
    """Look until there is something; raise *failure* where there is not when the window has passed."""
    async for _ in looks(window):
        try:
            done = await look()
        except (TransportError, ServerError):
            continue
        except RoamifyError:
            break  # Reading is refused: what went wrong first says more.
        if done is not None:
            return done
    raise failure
