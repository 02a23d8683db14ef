"""What is known of a purchase, judged: what a failure means, which order is ours, and how a doubt is told.

Pure functions of values; whoever looks and sends is ``settle``.
"""

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, ClassVar, Final, Protocol

import attrs

from roamify_async.errors import (
    APIStatusError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    PurchaseInDoubtError,
    RateLimitError,
    RoamifyError,
    TransportError,
)

CLOCK_SKEW: Final = timedelta(minutes=5)
"""An order may look so much older than the purchase that made it, if the two clocks differ."""
REFUSED: Final = frozenset({400, 401, 402, 403, 404, 405, 413, 415, 422, 429})
"""Answers to a purchase that say that nothing was bought."""


class PurchaseRequest(Protocol):
    """A request that buys."""

    look_up: ClassVar[str]
    """What a user calls to look it up, with ``{!r}`` for its reference."""

    @property
    def reference_id(self) -> str | None:
        """The caller's own key for it."""
        ...

    def packages(self) -> Mapping[str, int]:
        """How many of each package it buys."""
        ...


class Bought(Protocol):
    """What a purchase came to: an order, or a batch of vouchers."""

    @property
    def reference_id(self) -> str | None:
        """The reference that it carries."""
        ...

    @property
    def created_at(self) -> datetime | None:
        """When it was made."""
        ...

    def holds(self, packages: Mapping[str, int]) -> bool:
        """Tell whether it is what one purchase of so many of these packages comes to."""
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


def is_lasting(failure: RoamifyError) -> bool:
    """Tell whether asking again would not help."""
    passing = isinstance(failure, TransportError | RateLimitError | ConfigurationError)
    return not passing and meaning(failure) is not Meaning.DOUBT


def is_ours(order: Bought, request: PurchaseRequest, first_sent: datetime) -> bool:
    """Tell whether an order is what a request bought: same reference, same packages as often, not older than it."""
    return (
        order.reference_id == request.reference_id
        and order.holds(request.packages())
        and order.created_at is not None
        and order.created_at >= first_sent - CLOCK_SKEW
    )


@attrs.frozen
class Seen:
    """What a search for a purchase came to."""

    ours: tuple[Any, ...] = ()
    """Orders that are the purchase; more than one is one too many."""
    others: tuple[Any, ...] = ()
    """What else stands under the reference, or speaks for it."""
    failure: RoamifyError | None = None
    """Why the last look-up told nothing."""

    @property
    def is_absent(self) -> bool:
        """Whether the last look-up was answered, and with nothing that might be the purchase."""
        return not self.ours and not self.others and self.failure is None


def sift(orders: Iterable[Any], is_one: Callable[[Any], bool], traces: tuple[Any, ...] = ()) -> Seen:
    """Part the orders that are the purchase from what else was found."""
    found = tuple(orders)
    ours = tuple(order for order in found if is_one(order))
    return Seen(ours, tuple(order for order in found if order not in ours) + traces)


def with_others(failure: RoamifyError, others: tuple[Any, ...]) -> RoamifyError:
    """Name in a refusal what else stands under the reference."""
    if others:
        failure.args = (f"{failure.args[0]}; other orders stand under this reference: {ids(others)}",)
    return failure


def ids(found: Iterable[object]) -> str:
    """Give the ids of what was found, in a line."""
    return " ".join(str(getattr(one, "id", None) or getattr(one, "esim_id", "")) for one in found)


def doubt(
    request: Any, reason: RoamifyError | None, found: tuple[object, ...] = (), message: str = ""
) -> PurchaseInDoubtError:
    """Make the error for a purchase of which it is not known whether it was booked once."""
    facts: dict[str, Any] = {}
    if reason is not None:
        reason.about(reference_id=request.reference_id, package_ids=tuple(request.packages()))
        facts = {name: getattr(reason, name) for name in ("sent", "method", "path", "request_id")}
    advice = f"Look it up with {request.look_up.format(request.reference_id)} before buying again"
    seen = f"; under its reference stand {ids(found)}" if found and not message else ""
    return PurchaseInDoubtError(
        message or f"the purchase may have been booked: {_shown(reason)}{seen}. {advice}",
        request=request,
        reason=reason,
        found=found,
        **facts,
    )


def _shown(reason: RoamifyError | None) -> str:
    if reason is None:
        return "it was begun before, and is not found"
    status = f" {reason.status}" if isinstance(reason, APIStatusError) else ""
    return f"{type(reason).__name__}{status}: {reason.args[0]}"
