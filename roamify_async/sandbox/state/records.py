"""What the sandbox keeps of orders, eSIMs and what goes with them."""

from typing import Literal
from uuid import UUID

from attrs import field, frozen

Kind = Literal["order", "instant", "topup", "voucher", "insurance"]


@frozen
class Item:
    """One line of an order: a package bought for one eSIM, or insurance for one policy, at a price in cents."""

    esim_id: str
    package_id: str
    price: int
    created_at: int


@frozen
class Order:
    """One order as it was booked; its total is in cents."""

    id: str
    reference_id: str
    kind: Kind
    total: int
    created_at: int
    items: list[Item] = field(factory=list[Item])


@frozen
class Esim:
    """One eSIM as its partner sees it now: while its profile is still made it is NEW and has no ICCID."""

    id: str
    order_id: str
    reference_id: str
    package_id: str
    iccid: str
    status: str
    pending: bool
    start_date: str
    created_at: int
    updated_at: int
    started_at: int


@frozen
class Happening:
    """One event in the life of an eSIM."""

    status: str
    at: int


@frozen
class Usage:
    """The megabytes an eSIM used on one day, written YYYYMMDD."""

    date: str
    megabytes: int


@frozen
class Voucher:
    """One voucher, with the eSIM and order behind it; its price is in cents, and 0 is no time."""

    id: str
    code: str
    status: str
    reference_id: str
    package_id: str
    price: int
    esim_id: str
    order_id: str
    notes: str
    redeemed_at: int
    created_at: int
    updated_at: int


@frozen
class Policy:
    """One insurance policy: reserved until it is applied, which sets dates, a name and the time of its issue."""

    id: str
    order_id: str
    package_id: str
    start_date: str
    end_date: str
    insurer_name: str
    issued_at: float
    created_at: int
    updated_at: int


@frozen
class Refund:
    """One request to be paid back for an eSIM; the amount is in cents."""

    id: str
    esim_id: str
    amount: int
    status: str
    reason: str
    rejection_reason: str
    created_at: int
    updated_at: int


@frozen
class Link:
    """The page on which an eSIM is shown to whoever has the key and code."""

    esim_id: str
    key: str
    access_code: str
    created_at: int


@frozen
class Message:
    """One text message that was sent to an eSIM."""

    esim_id: str
    text: str
    at: int


@frozen
class Late:
    """A request, as text, that is carried out when it is due."""

    n: int
    due: float
    request: str


def iccid_of(esim_id: str) -> str:
    """Make the ICCID of an eSIM: 19 digits that begin with 89 and end with their Luhn digit."""
    body = f"8900{UUID(esim_id).int % 10**14:014}"
    doubled = sum(sum(divmod(int(digit) * 2, 10)) for digit in body[::-2])
    return f"{body}{-(doubled + sum(map(int, body[-2::-2]))) % 10}"
