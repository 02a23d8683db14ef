"""Money as the sandbox keeps it: whole cents inside, exact decimals and exact JSON numbers outside."""

from decimal import Decimal, InvalidOperation
from typing import Final

# Fifteen digits: up to here the shortest text of a float is the very text it was read from.
_MOST: Final = 10**15


def cents(amount: Decimal | str | int, what: str = "balance") -> int:
    """Count the cents of an amount; ValueError for one that is negative, finer than a cent, or no number."""
    try:
        counted = Decimal(amount) * 100
        exact = 0 <= counted < _MOST and counted == int(counted)
    except (InvalidOperation, ValueError, TypeError):
        exact, counted = False, Decimal(0)
    if not exact:
        raise ValueError(f"{what} must be an amount of 0 or more in whole cents, such as '1000.00', not {amount!r}")
    return int(counted)


def decimal(count: int) -> Decimal:
    """Give cents as an amount with two decimals: 132 is Decimal('1.32')."""
    return Decimal(count).scaleb(-2)


def number(count: int) -> int | float:
    """Give cents as the number that JSON writes exactly: 500 is 5, 132 is 1.32 (read from text, never divided)."""
    whole, rest = divmod(count, 100)
    return float(f"{whole}.{rest:02}") if rest else whole
