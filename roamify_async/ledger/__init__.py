"""Ledgers of purchases: one row for each reference, shared by processes and machines.

    async with AsyncRoamify(ledger="purchases.db") as roamify:  # or ledger="postgresql://..."
        order = await roamify.orders.create([OrderItem(package_id)], reference_id="order-4711")

Whichever process asks first under a reference buys, and the others get the same purchase. What a killed process left
behind is looked up by whoever asks next, or by ``python -m roamify_async.ledger reconcile``.
"""

import os
from typing import TYPE_CHECKING

from roamify_async.errors import ConfigurationError

from .lease import Lease as Lease, LeaseLostError as LeaseLostError
from .limits import SharedLimits as SharedLimits
from .protocol import Claim as Claim, PurchaseLedger as PurchaseLedger
from .rows import Outcome as Outcome, Row as Row, Start as Start, Verdict as Verdict, Wanted as Wanted
from .sqlite import SqliteLedger as SqliteLedger

if TYPE_CHECKING:
    from .postgres import PostgresLedger as PostgresLedger

__all__ = [
    "Claim",
    "Lease",
    "LeaseLostError",
    "LedgerLike",
    "Outcome",
    "PostgresLedger",
    "PurchaseLedger",
    "Row",
    "SharedLimits",
    "SqliteLedger",
    "Start",
    "Verdict",
    "Wanted",
    "open_ledger",
]

LedgerLike = PurchaseLedger | os.PathLike[str] | str | None
"""A ledger, the path of a SQLite file, a URL, or ``None`` for that of ``ROAMIFY_LEDGER``."""

SQLITE = "sqlite:///"


def __getattr__(name: str) -> object:
    """Import ``PostgresLedger`` at first use, since it needs the extra ``postgres``."""
    if name != "PostgresLedger":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from .postgres import PostgresLedger

    return PostgresLedger


def open_ledger(value: LedgerLike) -> PurchaseLedger | None:
    """Return a ledger for a path, a URL or an object. ``None`` means the value of ``ROAMIFY_LEDGER``, or no ledger.

    No connection is made before the first purchase. Raises ``ConfigurationError`` for another kind of URL.
    """
    given = os.environ.get("ROAMIFY_LEDGER") or None if value is None else value
    if given is None:
        return None
    if not isinstance(given, str | os.PathLike):
        if not callable(getattr(given, "claim", None)):
            raise TypeError(f"ledger must be a path, a URL or a PurchaseLedger, not {type(given).__name__}")
        return given
    text = os.fspath(given)
    scheme, separator, _ = text.partition("://")
    if scheme in {"postgresql", "postgres"} and separator:
        from .postgres import PostgresLedger

        return PostgresLedger(text)
    if text.startswith(SQLITE):
        text = text.removeprefix(SQLITE)
    elif separator:
        raise ConfigurationError(f"the ledger must be a path, sqlite:///path or postgresql://..., not {scheme}://...")
    if not text:
        raise ConfigurationError("the ledger must be a path, sqlite:///path or postgresql://..., not an empty text")
    return SqliteLedger(text)
