"""What a purchase needs of a ledger."""

from decimal import Decimal
from typing import Protocol

import attrs

from .lease import Lease
from .limits import SharedLimits
from .rows import Outcome, Row, Start, Verdict, Wanted


@attrs.frozen(kw_only=True)
class Claim:
    """The response to a purchase that asked for its reference."""

    verdict: Verdict
    row: Row | None = None
    """The row as it was before; ``None`` for a new reference."""
    lease: Lease | None = None
    """The claim, if the purchase may work on the reference now."""


class PurchaseLedger(Protocol):
    """A ledger of purchases, shared by processes: one row for each reference.

    Each method is one transaction, and all compare times by the database's clock. Every method may raise
    ``LedgerError`` if the database cannot be reached.
    """

    @property
    def limits(self) -> SharedLimits | None:
        """The limits that all processes share."""
        ...

    async def claim(self, wanted: Wanted) -> Claim:
        """Claim a reference, or return the row that holds it. The lease is renewed until the purchase is settled."""
        ...

    def promise(self, wanted: Wanted) -> Lease:
        """Return the lease of a reference that was just created. ``start`` writes its row."""
        ...

    async def start(self, lease: Lease, wanted: Wanted, start: Start) -> None:
        """Record that a purchase may be sent from now on, and reserve its cost.

        Raises ``LeaseLostError``, or ``BudgetError`` if ``max_spend`` would be exceeded.
        """
        ...

    async def renew(self, lease: Lease) -> None:
        """Renew a lease now. Raises ``LeaseLostError`` if another process took it over."""
        ...

    async def settle(self, lease: Lease, outcome: Outcome, *, keeps: bool = False) -> bool:
        """Record what became of a purchase, and give its reference back unless *keeps*.

        Return whether the reference was still held. It is recorded even if the caller is cancelled.
        """
        ...

    async def release(self, lease: Lease) -> None:
        """Release a reference that ``settle`` kept."""
        ...

    async def turn(self) -> float:
        """Reserve the next send under the shared rate limit, and return the seconds until it may be made."""
        ...

    async def pause(self, seconds: float) -> None:
        """Keep all processes from sending for some seconds, since the server is busy."""
        ...

    async def resolve(self, reference: str, order_id: str, total: Decimal | None) -> bool:
        """Record that a purchase in doubt was found. Return whether one was in doubt."""
        ...

    def get(self, reference: str) -> Row | None:
        """Return the row of a reference. Blocks."""
        ...

    def doubts(self) -> tuple[Row, ...]:
        """Return the purchases that may or may not be booked and on which nobody works, oldest first. Blocks."""
        ...

    def close(self) -> None:
        """Write what is left, and close the connections. It opens anew at the next use. Blocks."""
        ...
