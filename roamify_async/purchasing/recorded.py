"""Purchases that a ledger records, and those of them that are in doubt."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import ClassVar

import anyio.to_thread
import attrs

from roamify_async._core.engine import Engine
from roamify_async._core.memory import Doubt
from roamify_async.ledger.rows import Row
from roamify_async.models.common import Match

from .classify import Booked


@attrs.frozen(kw_only=True)
class RecordedPurchase:
    """A purchase as a ledger records it, without data of travellers."""

    look_up: ClassVar[str] = "python -m roamify_async.ledger reconcile"
    """Command that looks it up."""

    reference_id: str
    kind: str
    """What is bought: ``"order"``, ``"top-up"``, ``"vouchers"`` or ``"insurance"``."""
    quantities: Mapping[str, int]
    """Quantity of each package."""
    digest: str = attrs.field(default="", repr=False)
    """Digest of its request."""

    @property
    def quantity(self) -> int:
        """Quantity of all packages."""
        return sum(self.quantities.values())

    def packages(self) -> Mapping[str, int]:
        """Return the quantity of each package."""
        return self.quantities


def recorded(row: Row) -> RecordedPurchase:
    """Return the purchase of a row."""
    return RecordedPurchase(reference_id=row.reference, kind=row.kind, quantities=row.quantities(), digest=row.digest)


async def resolve(engine: Engine, booked: Booked) -> None:
    """Record that a purchase in doubt was found, unless it holds other packages than were asked for."""
    ledger, reference = engine.memory.ledger, booked.reference_id
    if ledger is None or reference is None:
        return
    row = await anyio.to_thread.run_sync(ledger.get, reference)
    if row is not None and booked.match(row.quantities()) is not Match.NO:
        await ledger.resolve(reference, booked.id, getattr(booked, "total", None))


def doubts(engine: Engine) -> tuple[Doubt, ...]:
    """Return the purchases in doubt, oldest first: those of the ledger, and those of this client that it lacks."""
    own, ledger = engine.memory.doubts, engine.memory.ledger
    if ledger is None:
        return tuple(own.values())
    found = {row.reference: own.get(row.reference) or _doubt(row) for row in ledger.doubts()}
    for reference, doubt in [*own.items()]:
        if reference in found:
            continue
        row = ledger.get(reference)
        if row is not None and row.status in {"ordered", "refused", "not_sent"}:
            engine.memory.resolve(reference)  # By another process.
        else:
            found[reference] = doubt
    return tuple(sorted(found.values(), key=lambda doubt: doubt.first_sent_at))


def _doubt(row: Row) -> Doubt:
    first_sent = datetime.now(UTC) - timedelta(seconds=row.sent_ago or 0)
    return Doubt(
        reference_id=row.reference, first_sent_at=first_sent, request=recorded(row), looked_first=row.looked_first
    )
