"""Short texts about values, for people: amounts of money and data, and one-line summaries."""

from datetime import datetime
from decimal import Decimal
from typing import Final, Protocol

CENT: Final = Decimal("0.01")
GIGABYTE: Final = (1024, 1000)
"""Megabytes that are written as one gigabyte."""


def money(amount: Decimal | None, currency: str = "USD") -> str:
    """Return an amount with at least two decimals and its currency, such as ``3.10 USD``; ``""`` if it is not known."""
    if amount is None:
        return ""
    exponent = amount.as_tuple().exponent
    is_coarse = isinstance(exponent, int) and exponent > -2 and amount.adjusted() < 20  # noqa: PLR2004
    return f"{amount.quantize(CENT) if is_coarse else amount:f} {currency}"


def data(amount: Decimal | None, unit: str, *, is_unlimited: bool = False) -> str:
    """Return an amount of data, such as ``1 GB`` or ``unlimited``; ``""`` if it is not known."""
    if is_unlimited or amount is None:
        return "unlimited" if is_unlimited else ""
    if unit.upper() == "MB":
        for size in GIGABYTE:
            if amount >= size and not amount % size:
                return f"{amount / size:f} GB"
    return f"{amount:f} {unit}"


def count(number: int | None, noun: str) -> str:
    """Return a number with its noun, such as ``30 days``; ``""`` if it is not known."""
    return "" if number is None else f"{number} {noun}{'' if number == 1 else 's'}"


def moment(time: datetime | None) -> str:
    """Return a time to the minute, such as ``2026-07-01 12:00 UTC``; ``""`` if it is not known."""
    return "" if time is None else f"{time:%Y-%m-%d %H:%M} UTC"


class OrderHead(Protocol):
    """What all orders have."""

    id: str
    reference_id: str | None
    total: Decimal
    currency: str

    @property
    def status(self) -> object:
        """State of the order."""
        ...


def order_summary(order: OrderHead, items: str) -> str:
    """Return one line about an order, with the number of its *items*."""
    return summary(order, order.id, order.reference_id, order.status, items, money(order.total, order.currency))


def summary(value: object, head: object, *facts: object) -> str:
    """Return one line about a value, such as ``<Balance 100.00 USD>``. Facts that are empty or ``None`` are omitted."""
    shown = [str(fact) for fact in facts if fact not in {None, ""}]
    named = f"{type(value).__name__} {head}".rstrip()
    return f"<{named}{': ' if shown else ''}{', '.join(shown)}>"
