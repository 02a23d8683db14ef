"""Records of the store: orders, eSIMs, and what belongs to them. Amounts are in cents, times in Unix seconds."""

from typing import Final, Literal
from uuid import UUID

from attrs import field, frozen

Kind = Literal["order", "instant", "topup", "voucher", "insurance"]
OrderStatus = Literal["COMPLETED", "PENDING", "CANCELLED", "REFUNDED", "FAILED"]

FAILURES: Final = ("CANCELLED", "REFUNDED", "FAILED")
"""The final statuses of orders whose eSIMs are not delivered; FAILED is undocumented."""


@frozen
class Item:
    """One item of an order: a package for one eSIM, or insurance for one policy."""

    esim_id: str
    package_id: str
    price: int
    created_at: int


@frozen
class Order:
    """One order."""

    id: str
    reference_id: str
    requested_reference_id: str
    """The referenceId of the request, which the server may change."""
    kind: Kind
    total: int
    status: OrderStatus
    created_at: int
    updated_at: int
    items: list[Item] = field(factory=list[Item])


@frozen
class Esim:
    """One eSIM as the API shows it now; while its profile is being generated, it is NEW and has no ICCID."""

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
class EsimEvent:
    """One event of an eSIM."""

    status: str
    at: int


@frozen
class Usage:
    """The megabytes that an eSIM used on one day, written YYYYMMDD."""

    date: str
    megabytes: int


@frozen
class Voucher:
    """One voucher, with the eSIM and the order behind it; `redeemed_at` is 0 until it is redeemed."""

    id: str
    code: str
    status: str
    reference_id: str
    requested_reference_id: str
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
    """One insurance policy; dates, name and time of issue are empty until it is applied."""

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
    """One refund request for an eSIM."""

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
    """One link to the web page of an eSIM."""

    esim_id: str
    key: str
    access_code: str
    created_at: int


@frozen
class Message:
    """One text message sent to an eSIM."""

    esim_id: str
    text: str
    at: int


@frozen
class DelayedRequest:
    """A request, as JSON text, that is carried out when it is due."""

    n: int
    due: float
    request: str


def iccid_of(esim_id: str) -> str:
    """Return the ICCID of an eSIM: 19 digits that begin with 89 and end with the Luhn check digit."""
    body = f"8900{UUID(esim_id).int % 10**14:014}"
    doubled = sum(sum(divmod(int(digit) * 2, 10)) for digit in body[::-2])
    return f"{body}{-(doubled + sum(map(int, body[-2::-2]))) % 10}"
