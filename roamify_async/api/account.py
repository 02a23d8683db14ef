"""The account that pays."""

from decimal import Decimal
from typing import Final

import attrs

from roamify_async._engine.facade import Endpoint, Resource, Way


@attrs.frozen
class GetBalance:
    """Get what is left to spend; ``/balance``."""


@attrs.define(kw_only=True)
class Balance:
    """Money that orders are paid from."""

    balance: Decimal
    """In major units, exact."""
    currency: str = "USD"


class Account(Resource[Way]):
    """The account that pays."""

    balance: Final = Endpoint("GET", "/api/balance", GetBalance, Balance)
    """What is left to spend."""
