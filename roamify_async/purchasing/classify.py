"""What a failure of a purchase means, which order is the purchase, and how a doubt is reported.

Pure functions of values; ``attempt`` sends and looks up.
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
"""How much older an order may look than its purchase, since clocks differ."""
REFUSED: Final = frozenset({400, 401, 402, 403, 404, 405, 413, 415, 422, 429})
"""Statuses which say that nothing was bought."""


class PurchaseRequest(Protocol):
    """A request that buys."""

    look_up: ClassVar[str]
    """The call that looks it up, with ``{!r}`` for its reference."""

    @property
    def reference_id(self) -> str | None:
        """The caller's key for the purchase."""
        ...

    def packages(self) -> Mapping[str, int]:
        """Return the quantity of each package."""
        ...


class Bought(Protocol):
    """A booked purchase: an order, or a batch of vouchers."""

    @property
    def reference_id(self) -> str | None:
        """Its reference."""
        ...

    @property
    def created_at(self) -> datetime | None:
        """When it was booked."""
        ...

    def holds(self, packages: Mapping[str, int]) -> bool:
        """Return whether it is a purchase of these packages and quantities."""
        ...


class Outcome(Enum):
    """What a failed purchase means."""

    NOT_BOUGHT = "nothing was bought"
    CONFLICT = "it exists already, or it was refused"
    UNKNOWN = "it may have been booked"


def classify(failure: RoamifyError) -> Outcome:
    """Return what the failure of a purchase means. Whatever is not known to be harmless is unknown."""
    if isinstance(failure, ConfigurationError | ConnectError):
        return Outcome.NOT_BOUGHT
    if isinstance(failure, TransportError):
        return Outcome.NOT_BOUGHT if failure.last_try == "no" else Outcome.UNKNOWN
    if isinstance(failure, ConflictError):
        return Outcome.CONFLICT
    if isinstance(failure, APIStatusError) and failure.status in REFUSED:
        return Outcome.NOT_BOUGHT
    return Outcome.UNKNOWN


def is_permanent(failure: RoamifyError) -> bool:
    """Return whether repeating the request would not help."""
    passing = isinstance(failure, TransportError | RateLimitError | ConfigurationError)
    return not passing and classify(failure) is not Outcome.UNKNOWN


def is_ours(order: Bought, request: PurchaseRequest, first_sent: datetime) -> bool:
    """Return whether an order is the purchase of a request: same reference and packages, and not older."""
    return (
        order.reference_id == request.reference_id
        and order.holds(request.packages())
        and order.created_at is not None
        and order.created_at >= first_sent - CLOCK_SKEW
    )


@attrs.frozen
class LookUpResult:
    """The result of looking up a purchase."""

    ours: tuple[Any, ...] = ()
    """Orders that are the purchase; there should be at most one."""
    others: tuple[Any, ...] = ()
    """Other orders under the reference, or other evidence."""
    failure: RoamifyError | None = None
    """Why the last look-up failed."""

    @property
    def is_absent(self) -> bool:
        """Whether the last look-up succeeded and found nothing that might be the purchase."""
        return not self.ours and not self.others and self.failure is None


def partition(orders: Iterable[Any], is_one: Callable[[Any], bool], traces: tuple[Any, ...] = ()) -> LookUpResult:
    """Separate the orders that are the purchase from the others."""
    found = tuple(orders)
    ours = tuple(order for order in found if is_one(order))
    return LookUpResult(ours, tuple(order for order in found if order not in ours) + traces)


def with_orders(failure: RoamifyError, others: tuple[Any, ...]) -> RoamifyError:
    """Add the ids of other orders under the reference to a refusal."""
    if others:
        failure.args = (f"{failure.args[0]}; there are other orders under this reference: {ids(others)}",)
    return failure


def ids(found: Iterable[object]) -> str:
    """Return the ids of orders, in a line."""
    return " ".join(str(getattr(one, "id", None) or getattr(one, "esim_id", "")) for one in found)


def doubt(
    request: Any, reason: RoamifyError | None, found: tuple[object, ...] = (), message: str = ""
) -> PurchaseInDoubtError:
    """Return the error of a purchase of which it is not known whether it was booked once."""
    facts: dict[str, Any] = {}
    if reason is not None:
        reason.with_facts(reference_id=request.reference_id, package_ids=tuple(request.packages()))
        facts = {name: getattr(reason, name) for name in ("sent", "method", "path", "request_id")}
    advice = f"Look it up with {request.look_up.format(request.reference_id)} before buying again"
    seen = f"; under its reference there are {ids(found)}" if found and not message else ""
    return PurchaseInDoubtError(
        message or f"the purchase may have been booked: {_shown(reason)}{seen}. {advice}",
        request=request,
        reason=reason,
        found=found,
        **facts,
    )


def _shown(reason: RoamifyError | None) -> str:
    if reason is None:
        return "it was started before, and was not found"
    status = f" {reason.status}" if isinstance(reason, APIStatusError) else ""
    return f"{type(reason).__name__}{status}: {reason.args[0]}"
