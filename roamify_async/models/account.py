"""The account that pays."""

from decimal import Decimal

import attrs


@attrs.frozen
class GetBalance:
    """Get what is left to spend; ``/balance``."""


@attrs.define(kw_only=True)
class Balance:
    """Money that orders are paid from."""

    balance: Decimal
    """In major units, exact."""
    currency: str = "USD"
