"""What the results of a purchase mean: its response, its failure, and what a look-up found.

Pure functions of values. The machine decides by them; the driver sends and looks up.
"""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from enum import Enum
from typing import ClassVar, Final, Generic, Protocol, TypeVar

import attrs

from roamify_async.errors import (
    APIStatusError,
    BudgetError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    JournalError,
    LedgerError,
    NotFoundError,
    RateLimitError,
    RoamifyError,
    TransportError,
)
from roamify_async.models.common import Match
from roamify_async.models.topups import CreateTopUp

CLOCK_SKEW: Final = timedelta(minutes=5)
"""How much older an order may look than its purchase, since clocks differ."""
REFUSED: Final = frozenset({400, 401, 402, 403, 404, 405, 407, 413, 415, 422})
"""Statuses which say that nothing was bought."""
MOVED: Final = frozenset({301, 307, 308})
"""Redirects which say that the request was not taken at this address."""
MIN_PREFIX: Final = 32
"""Length from which a reference that another one begins with may be the same, cut by the server."""


class PurchaseRequest(Protocol):
    """A request that spends money."""

    look_up: ClassVar[str]
    """The call that looks it up, with ``{!r}`` for its reference."""

    @property
    def reference_id(self) -> str | None:
        """The caller's key for the purchase."""
        ...

    def packages(self) -> Mapping[str, int]:
        """Return the quantity of each package."""
        ...


class Booked(Protocol):
    """A booked purchase: an order, or a batch of vouchers."""

    reference_id: str | None
    """Its reference, if the server repeats it."""
    was_found: bool
    """Whether it existed before the call that returns it sent anything."""

    @property
    def id(self) -> str:
        """Its id."""
        ...

    @property
    def created_at(self) -> datetime | None:
        """When it was booked, by the server's clock."""
        ...

    @property
    def is_kept(self) -> bool:
        """Whether it stands: it was not cancelled, refunded or failed."""
        ...

    @property
    def is_pending(self) -> bool:
        """Whether items may still be added to it."""
        ...

    def match(self, packages: Mapping[str, int]) -> Match:
        """Compare it with the packages and quantities of a request."""
        ...

    def falls_short(self, packages: Mapping[str, int]) -> bool:
        """Return whether it holds only a part of a request, and nothing else."""
        ...


BookedT = TypeVar("BookedT", bound=Booked)


def is_same_kind(one: object, other: object) -> bool:
    """Return whether two requests may be the same purchase, apart from packages: the same call, for the same eSIM.

    An order does not show which eSIM was topped up.
    """
    if isinstance(one, CreateTopUp) and isinstance(other, CreateTopUp):
        return one.iccid == other.iccid
    return type(one) is type(other)


# ---------------------------------------------------------------- failures


class Outcome(Enum):
    """What the failure of a purchase means."""

    NOT_SENT = "not one byte of it left"
    REFUSED = "the server refused it"
    RATE_LIMITED = "the server was too busy, and may or may not have booked it"
    CONFLICT = "the server says that it exists, or refused it"
    UNKNOWN = "it may have been booked"


def classify(failure: RoamifyError) -> Outcome:
    """Return what the failure of a purchase means. Whatever is not known to be harmless is unknown."""
    if isinstance(failure, ConfigurationError | ConnectError | BudgetError | JournalError | LedgerError):
        return Outcome.NOT_SENT
    if isinstance(failure, TransportError):
        return Outcome.NOT_SENT if failure.last_try == "no" else Outcome.UNKNOWN
    if isinstance(failure, ConflictError):
        return Outcome.CONFLICT
    if isinstance(failure, RateLimitError):
        return Outcome.RATE_LIMITED
    if isinstance(failure, APIStatusError) and failure.status in REFUSED | MOVED:
        return Outcome.REFUSED
    return Outcome.UNKNOWN


def is_permanent(failure: RoamifyError) -> bool:
    """Return whether repeating the request would not help."""
    if isinstance(failure, TransportError | ConfigurationError):
        return False
    return classify(failure) in {Outcome.REFUSED, Outcome.CONFLICT}


def is_api_404(failure: RoamifyError) -> bool:
    """Return whether a 404 was sent by the API itself, as JSON, and not by a gateway."""
    return isinstance(failure, NotFoundError) and re.match(r"\s*\{", failure.body) is not None


# ---------------------------------------------------------------- responses


class Verdict(Enum):
    """What a booked purchase is to a request."""

    OURS = "it is the purchase"
    NOT_KEPT = "it was the purchase, and was cancelled, refunded or failed"
    INCOMPLETE = "it is the purchase, and items may still be added"
    FOREIGN = "it is another purchase"


def judge_response(response: Booked, request: PurchaseRequest) -> Verdict:
    """Return what a 2xx response is to its request."""
    reference = response.reference_id
    if not response.id or reference not in {None, request.reference_id}:
        return Verdict.FOREIGN
    return _judge(response, request, reference_matches=reference is not None)


def _judge(booked: Booked, request: PurchaseRequest, *, reference_matches: bool) -> Verdict:
    packages = request.packages()
    match = booked.match(packages)
    if not booked.is_kept:
        is_ours = match is not Match.NO or (reference_matches and booked.falls_short(packages))
        return Verdict.NOT_KEPT if is_ours else Verdict.FOREIGN
    if match is not Match.NO:
        return Verdict.OURS
    return Verdict.INCOMPLETE if booked.is_pending and booked.falls_short(packages) else Verdict.FOREIGN


# ---------------------------------------------------------------- look-ups


@attrs.frozen
class LookUpResult(Generic[BookedT]):
    """What is booked under the reference of a purchase."""

    ours: tuple[BookedT, ...] = ()
    """Purchases that match and stand, the oldest first; there should be at most one."""
    incomplete: tuple[BookedT, ...] = ()
    """Purchases that match as far as they go, and to which items may still be added."""
    not_kept: tuple[BookedT, ...] = ()
    """Purchases that match and were cancelled, refunded or failed."""
    foreign: tuple[BookedT, ...] = ()
    """Purchases under the reference that differ from the request, or may be older than it."""
    evidence: tuple[object, ...] = ()
    """What else may be the purchase: near matches of its reference, or items of an eSIM's history."""
    failure: RoamifyError | None = None
    """Why the look-up failed. A failed look-up proves nothing."""

    @property
    def is_empty(self) -> bool:
        """Whether the look-up succeeded and found nothing that might be the purchase."""
        return not (self.booked or self.evidence) and self.failure is None

    @property
    def booked(self) -> tuple[BookedT, ...]:
        """Everything that is booked under the reference."""
        return self.ours + self.incomplete + self.not_kept + self.foreign


def judge_found(
    found: Iterable[BookedT], request: PurchaseRequest, *, not_before: datetime | None = None
) -> LookUpResult[BookedT]:
    """Sort what a look-up by reference returned.

    Purchases with another reference are ignored, unless the reference is a near match. *not_before*, by the server's
    clock, applies only if nobody looked before sending: older purchases are foreign.
    """
    groups: dict[Verdict, list[BookedT]] = {verdict: [] for verdict in Verdict}
    evidence: list[BookedT] = []
    for booked in found:
        if booked.reference_id != request.reference_id:
            if is_near_match(booked.reference_id, request.reference_id) or booked.reference_id is None:
                evidence.append(booked)
            continue
        verdict = _judge(booked, request, reference_matches=True)
        if not_before is not None and (booked.created_at is None or booked.created_at < not_before):
            verdict = Verdict.FOREIGN
        groups[verdict].append(booked)
    return LookUpResult(
        ours=tuple(sorted(groups[Verdict.OURS], key=_age)),
        incomplete=tuple(groups[Verdict.INCOMPLETE]),
        not_kept=tuple(groups[Verdict.NOT_KEPT]),
        foreign=tuple(groups[Verdict.FOREIGN]),
        evidence=tuple(evidence),
    )


def _age(booked: Booked) -> float:
    return booked.created_at.timestamp() if booked.created_at is not None else float("inf")


def is_near_match(seen: str | None, reference: str | None) -> bool:
    """Return whether a reference may be *reference*, changed by the server: trimmed, folded, normalised or cut."""
    if not seen or reference is None or seen == reference:
        return False
    is_cut = len(seen) >= MIN_PREFIX and _fold(reference).startswith(_fold(seen))
    return is_cut or _fold(seen) == _fold(reference)


def _fold(text: str) -> str:
    return unicodedata.normalize("NFKC", text).casefold().strip()


def ids(booked: Iterable[object]) -> str:
    """Return the ids of purchases, in a line."""
    return " ".join(str(getattr(one, "id", None) or getattr(one, "esim_id", "")) for one in booked)
