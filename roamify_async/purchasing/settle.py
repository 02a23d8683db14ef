"""What the answer to a purchase means, and what is done about it.

The API has no key that makes a purchase repeatable. A reference is the only handle: the client makes one before the
first byte is sent, one reference is one purchase, and what is not known is never guessed.
"""

import logging
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from http import HTTPStatus
from typing import Any, Final, Protocol, TypeVar
from uuid import uuid4

import attrs

from roamify_async._engine.engine import Engine
from roamify_async._engine.facade import Endpoint, LookUp
from roamify_async.errors import (
    APIStatusError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    PurchaseInDoubtError,
    RoamifyError,
    ServerError,
    TransportError,
)

T = TypeVar("T")

log: logging.Logger = logging.getLogger("roamify_async")

CLOCK_SKEW: Final = timedelta(minutes=5)
"""An order may look so much older than the purchase that made it, if the two clocks differ."""
REFUSED: Final = frozenset({400, 401, 402, 403, 404, 405, 413, 415, 422, 429})
"""Answers to a purchase that say that nothing was bought."""


class PurchaseRequest(Protocol):
    """A request that buys."""

    @property
    def reference_id(self) -> str | None:
        """The caller's own key for it."""
        ...

    def packages(self) -> Mapping[str, int]:
        """How many of each package it buys."""
        ...


class Meaning(Enum):
    """What a failed purchase may have done."""

    NOTHING = "nothing was bought"
    CONFLICT = "it exists already, or it was refused"
    DOUBT = "it may have been booked"


def meaning(failure: RoamifyError) -> Meaning:
    """Tell what the failure of a purchase means. Whatever is not known to be harmless is in doubt."""
    if isinstance(failure, ConfigurationError | ConnectError):
        return Meaning.NOTHING
    if isinstance(failure, TransportError):
        return Meaning.NOTHING if failure.last_try == "no" else Meaning.DOUBT
    if isinstance(failure, ConflictError):
        return Meaning.CONFLICT
    if isinstance(failure, APIStatusError) and failure.status in REFUSED:
        return Meaning.NOTHING
    return Meaning.DOUBT


def is_ours(order: Any, request: PurchaseRequest, first_sent: datetime) -> bool:
    """Tell whether an order is what a request bought: same reference, same packages as often, not older than it."""
    return (
        order.reference_id == request.reference_id
        and Counter(line.package_id for line in order.items) == Counter(request.packages())
        and order.created_at is not None
        and order.created_at >= first_sent - CLOCK_SKEW
    )


async def purchase(engine: Engine, endpoint: Endpoint[..., T], request: Any, /) -> T:
    """Buy what *request* names, and give the answer; the reference is made here where the caller gave none."""
    if request.reference_id is None:
        request = attrs.evolve(request, reference_id=str(uuid4()))
    try:
        answer = await _buy(engine, endpoint, request)
    except RoamifyError as error:
        raise error.about(reference_id=request.reference_id, package_ids=tuple(request.packages())) from None
    except BaseException as interrupt:
        note = (
            f"the purchase with reference {request.reference_id} was cut off and may have been booked: "
            f"look it up with orders.list(reference_id={request.reference_id!r}) before buying again"
        )
        log.warning("%s", note)
        interrupt.add_note(note)
        raise
    return _with_reference(answer, request.reference_id)


async def _buy(engine: Engine, endpoint: Endpoint[..., T], request: Any) -> T:
    first_sent = datetime.now(UTC)
    try:
        return await engine.exchange(endpoint, request)
    except RoamifyError as error:
        failure = error.with_traceback(None)
    look_up = endpoint.look_up
    found: tuple[object, ...] = ()
    what = meaning(failure)
    if what is Meaning.NOTHING or look_up is None:
        raise failure
    if what is Meaning.CONFLICT:
        seen = await _attempt(look_up.find(engine, request))
        if seen is not None:
            return await _after_conflict(engine, look_up, request, first_sent, seen, failure)
    elif isinstance(failure, ServerError) and failure.status == HTTPStatus.INTERNAL_SERVER_ERROR:
        _refuse_missing(await _attempt(look_up.missing(engine, request)), failure)
    raise doubt(request, failure, found)


async def _attempt(looking: Any) -> Any:
    """Give what a look-up finds, or None where it could not be made."""
    try:
        return await looking
    except RoamifyError as error:
        log.info("a look-up failed: %s", error)
        return None


async def _after_conflict(
    engine: Engine, look_up: LookUp[T], request: Any, first_sent: datetime, seen: Iterable[Any], failure: RoamifyError
) -> T:
    """Give our own order that stands in the way, or raise the conflict with what else stands there."""
    orders = tuple(seen)
    ours = [order for order in orders if is_ours(order, request, first_sent)]
    if len(orders) == 1 and ours:
        return await look_up.become(engine, ours[0])
    if orders:
        others = " ".join(order.id for order in orders)
        failure.args = (f"{failure.args[0]}; other orders stand under this reference: {others}",)
    raise failure


def _refuse_missing(missing: tuple[str, ...] | None, failure: RoamifyError) -> None:
    """Raise where the purchase names packages that are not offered: a 500 is what the server answers to a typo."""
    if missing:
        names = ", ".join(map(repr, missing))
        failure.args = (f"there is no package {names} (the server answered: {failure.args[0]}); see packages.list()",)
        raise failure


def doubt(request: Any, reason: RoamifyError, found: tuple[object, ...] = ()) -> PurchaseInDoubtError:
    """Make the error for a purchase of which it is not known whether it was booked."""
    reason.about(reference_id=request.reference_id, package_ids=tuple(request.packages()))
    return PurchaseInDoubtError(
        f"the purchase may have been booked: {_shown(reason)}. Look it up with "
        f"orders.list(reference_id={request.reference_id!r}) before buying again",
        request=request,
        reason=reason,
        found=found,
        sent=reason.sent,
        method=reason.method,
        path=reason.path,
        request_id=reason.request_id,
    )


def _shown(reason: RoamifyError) -> str:
    status = f" {reason.status}" if isinstance(reason, APIStatusError) else ""
    return f"{type(reason).__name__}{status}: {reason.args[0]}"


def _with_reference(answer: T, reference: str) -> T:
    """Let an answer that does not repeat the reference carry it all the same: it is the caller's only handle."""
    if getattr(answer, "reference_id", reference) is None:
        answer.reference_id = reference  # type: ignore[attr-defined]
    return answer
