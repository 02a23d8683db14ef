"""State of a client between calls: claimed references, purchases in doubt, packages, and the server's clock."""

import logging
from collections import OrderedDict
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final, Generic, TypeVar

import anyio
import attrs

from roamify_async._fork import renew_in_children
from roamify_async._http.messages import parse_http_date
from roamify_async.errors import ConflictError, RoamifyError
from roamify_async.ledger.protocol import PurchaseLedger
from roamify_async.models.country_names import Place
from roamify_async.models.packages import Package

from . import telemetry
from .concurrency import Limiter

if TYPE_CHECKING:
    from roamify_async.models.insurance import OrderInsurance
    from roamify_async.models.orders import CreateOrder
    from roamify_async.models.topups import CreateTopUp
    from roamify_async.models.vouchers import CreateVouchers
    from roamify_async.purchasing.recorded import RecordedPurchase

T = TypeVar("T")

log: logging.Logger = logging.getLogger("roamify_async")

MAX_DOUBTS: Final = 1_000
"""Maximum number of remembered purchases in doubt. The oldest are forgotten first, with a warning."""
MAX_REFERENCES: Final = 10_000
"""Maximum number of remembered references."""
MAX_PACKAGES: Final = 50_000
"""Maximum number of remembered packages."""
PACKAGE_LIFETIME: Final = 600.0
"""Seconds for which a package is remembered."""


@attrs.frozen(kw_only=True)
class Doubt:
    """A purchase that this client sent, and that may or may not be booked."""

    reference_id: str
    """Reference of the purchase."""
    first_sent_at: datetime
    """When it was first sent, in UTC by the clock of this machine."""
    request: "CreateOrder | CreateTopUp | CreateVouchers | OrderInsurance | RecordedPurchase"
    """The request, with its reference; or what a ledger records of it."""
    reason: RoamifyError | None = attrs.field(default=None, eq=False)
    """The failure that caused the doubt; ``None`` if the call was cancelled before there was one."""
    looked_first: bool = attrs.field(default=True, repr=False)
    """Whether the reference was looked up before it was sent, or was new."""
    seen: tuple[object, ...] = attrs.field(default=(), eq=False, repr=False)
    """Responses to it that differ from the request: something was bought, which no look-up needs to show."""


class Bounded(OrderedDict[str, T], Generic[T]):
    """A dictionary that forgets its oldest entries."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self._size = size

    def remember(self, key: str, value: T) -> T | None:
        """Add an entry as the newest one. Return the entry that was dropped for it, if any."""
        self[key] = value
        self.move_to_end(key)
        return self.popitem(last=False)[1] if len(self) > self._size else None


@attrs.define(eq=False)
class _Claim:
    lock: anyio.Lock = attrs.field(factory=anyio.Lock)
    users: int = 0


class Claims:
    """References of purchases in progress: one reference is one purchase."""

    def __init__(self) -> None:
        self._claims: dict[str, _Claim] = {}

    @asynccontextmanager
    async def hold(self, reference: str, patience: float) -> AsyncGenerator[bool, None]:
        """Hold a reference. If another call holds it, wait for at most *patience* seconds.

        Yield whether another call held it. Raises ``ConflictError`` if it is still held after that time.
        """
        claim = self._claims.setdefault(reference, _Claim())
        claim.users += 1
        try:
            was_held = claim.lock.locked()
            if not was_held:
                claim.lock.acquire_nowait()
            elif not await _acquire(claim.lock, patience):
                raise ConflictError(
                    f"a purchase with the reference {reference!r} is under way elsewhere; nothing was sent",
                    status=409,
                    sent="no",
                    reference_id=reference,
                ).with_facts(is_under_way=True)
            try:
                yield was_held
            finally:
                claim.lock.release()
        finally:
            claim.users -= 1
            if not claim.users:
                self._claims.pop(reference, None)


async def _acquire(lock: anyio.Lock, patience: float) -> bool:
    """Acquire a lock within *patience* seconds. Return whether it was acquired."""
    with anyio.move_on_after(patience) as scope:
        await lock.acquire()
    return not scope.cancelled_caught


class Memory:
    """State that all views of a client share."""

    def __init__(self) -> None:
        self.limiter: Limiter | None = None
        """The limiter of all requests, created in the event loop at first use."""
        self.was_answered: bool = False
        """Whether the server has answered any request."""
        self.claims: Claims = Claims()
        self.ledger: PurchaseLedger | None = None
        """The ledger that this client shares with other processes."""
        self.owns_ledger: bool = False
        """Whether the ledger is closed with the client."""
        self.doubts: Bounded[Doubt] = Bounded(MAX_DOUBTS)
        self.references: Bounded[None] = Bounded(MAX_REFERENCES)
        """References of recent purchases of this client, whatever became of them."""
        self.bought: Bounded[object] = Bounded(MAX_REFERENCES)
        """Requests by the reference under which something was booked, kept or not. A look-up may not show it yet."""
        self.countries: dict[str, tuple[float, Sequence[Place]]] = {}
        """Lists of countries by the path of their endpoint, each with the time until which it is used."""
        self.countries_lock: anyio.Lock = anyio.Lock()
        self._packages: Bounded[tuple[float, Package]] = Bounded(MAX_PACKAGES)
        self._date: tuple[str, datetime] | None = None
        renew_in_children(self)

    def renew(self) -> None:
        """Forget the calls in progress after a fork, since they continue in the parent process. Facts are kept."""
        self.limiter = None
        self.claims = Claims()
        self.countries_lock = anyio.Lock()

    def add_doubt(self, doubt: Doubt) -> None:
        """Remember a purchase in doubt until it is resolved."""
        telemetry.count("roamify.doubts")
        forgotten = self.doubts.remember(doubt.reference_id, doubt)
        if forgotten is not None:
            log.warning("too many purchases in doubt: %s is no longer remembered", forgotten.reference_id)

    def resolve(self, reference: str) -> None:
        """Forget a doubt, since the outcome of the purchase is known."""
        self.doubts.pop(reference, None)

    def add_bought(self, reference: str, request: object = None) -> None:
        """Remember that a purchase was booked, kept or not. It is no longer in doubt."""
        doubt = self.doubts.pop(reference, None)
        known = self.bought.get(reference) if doubt is None else doubt.request
        self.bought.remember(reference, known if request is None else request)

    def package(self, package_id: str) -> Package | None:
        """Return a package if it was found in the last ten minutes."""
        entry = self._packages.get(package_id)
        return entry[1] if entry is not None and entry[0] > anyio.current_time() else None

    def add_package(self, package: Package) -> None:
        """Remember that a package exists."""
        self._packages.remember(package.package_id, (anyio.current_time() + PACKAGE_LIFETIME, package))

    def forget_packages(self, package_ids: tuple[str, ...]) -> None:
        """Forget packages, since an order for them failed with a server error."""
        for package_id in package_ids:
            self._packages.pop(package_id, None)

    def note_date(self, header: str | None) -> None:
        """Remember the ``Date`` header of a response, and when it was received."""
        if header is not None:
            self._date = header, datetime.now(UTC)

    def server_time(self, moment: datetime) -> datetime:
        """Convert a time by the clock of this machine to the server's clock, if the difference is known."""
        if self._date is None:
            return moment
        header, received = self._date
        sent = parse_http_date(header)
        if sent is None:
            return moment
        offset = sent - received
        # The header has a resolution of one second, so that small differences are not significant.
        return moment + offset if abs(offset) > timedelta(seconds=2) else moment
