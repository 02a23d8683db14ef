"""The rows of a ledger, and what a row means to a purchase that asks for its reference. Pure functions of values."""

import hashlib
import json
from collections.abc import Mapping
from decimal import Decimal
from enum import Enum
from typing import Final, Literal

import attrs

Status = Literal["sending", "ordered", "refused", "in_doubt", "not_sent"]
"""State of a purchase. A claimed purchase is ``"not_sent"`` until the first byte may leave."""
Action = Literal["buy", "repeat"]
"""What a row is about: buying under a reference, or ordering an existing reference again."""

MICROS: Final = 1_000_000
"""Reserved amounts are whole numbers of a millionth of a US dollar, which both databases add exactly."""


def to_micros(amount: Decimal) -> int:
    """Convert an amount of money to millionths."""
    return int((amount * MICROS).to_integral_value())


def digest_of(kind: str, facts: Mapping[str, object], reference: str) -> str:
    """Return the digest of what is bought. The reference is its key, so that equal purchases differ."""
    text = json.dumps([kind, facts], sort_keys=True, default=str)
    return hashlib.blake2b(text.encode(), key=reference.encode()[:64], digest_size=16).hexdigest()


@attrs.frozen(kw_only=True)
class Wanted:
    """A purchase that asks for its reference."""

    reference: str
    kind: str
    """What is bought: ``"order"``, ``"top-up"``, ``"vouchers"`` or ``"insurance"``."""
    digest: str
    packages: Mapping[str, int]
    base_url: str
    action: Action = "buy"
    holds: bool = False
    """Whether the reference is held after the purchase, until ``release``."""
    sent_ago: float | None = None
    """Seconds since it was first sent by an earlier run, as far as the caller knows."""


@attrs.frozen(kw_only=True)
class Row:
    """A purchase in the ledger. Its times are those of the database's clock."""

    reference: str
    action: Action
    kind: str
    digest: str
    packages: str
    """Quantity of each package, as JSON."""
    status: Status
    owner: str | None
    """Who holds the reference; ``None`` if nobody does."""
    is_live: bool
    """Whether somebody holds the reference, and the lease is not over."""
    sent_ago: float | None
    """Seconds since the first byte of it may have left; ``None`` if none has."""
    looked_first: bool
    """Whether the reference was new, or was looked up before it was sent."""
    resent: bool
    """Whether it may have been sent more than once."""
    order_id: str | None
    """Id of what was booked, kept or not."""
    total: str | None
    """What it cost."""
    account: str | None
    """Account of the shared limits in which its cost is reserved."""
    reserved: int
    """Reserved cost in millionths of a US dollar."""
    error: str | None
    """Class and status of the last failure."""
    tries: int
    """How often the reference was claimed."""

    def quantities(self) -> Mapping[str, int]:
        """Return the quantity of each package."""
        quantities: dict[str, int] = json.loads(self.packages)
        return quantities


class Verdict(Enum):
    """What a row means to a purchase that asks for its reference."""

    FREE = "nothing was bought: it may be bought as if it were new"
    TAKE_OVER = "it may have been sent, and nobody works on it: it is looked up"
    BOUGHT = "it was booked: it is read again by its id"
    WAIT = "somebody works on it"
    OTHER = "the reference is that of another purchase"


def judge(row: Row, wanted: Wanted) -> Verdict:
    """Return what a row means to a purchase that asks for its reference."""
    is_booked = row.status == "ordered" or row.order_id is not None
    if wanted.action == "repeat" and is_booked:  # Each repetition is an order of its own.
        return Verdict.WAIT if row.is_live else Verdict.FREE
    is_free = row.status in {"refused", "not_sent"} and not is_booked
    if (row.kind, row.digest) != (wanted.kind, wanted.digest) and (row.is_live or not is_free):
        return Verdict.OTHER
    if row.is_live:
        return Verdict.WAIT
    if is_booked:
        return Verdict.BOUGHT
    return Verdict.FREE if is_free else Verdict.TAKE_OVER


@attrs.frozen(kw_only=True)
class Start:
    """What is recorded right before a purchase is sent."""

    price: Decimal | None = None
    """Its expected cost, if it is known."""
    looked_first: bool = True
    resent: bool = False


@attrs.frozen(kw_only=True)
class Outcome:
    """What became of a purchase."""

    status: Status
    order_id: str | None = None
    total: Decimal | None = None
    error: str | None = None
    resent: bool = False
