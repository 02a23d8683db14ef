"""The balance of the account."""

from collections.abc import Mapping
from decimal import Decimal

import attrs

from ._text import money, summary
from ._value import Value


@attrs.frozen(eq=False, repr=False)
class GetBalance(Value):
    """Return the balance that purchases are paid from.

    See: https://docs.getroamify.com/esims/balance/
    """


@attrs.define(kw_only=True, eq=False, repr=False)
class Balance(Value):
    """The balance that purchases are paid from."""

    balance: Decimal
    """The exact amount in major units of the currency, such as dollars."""
    currency: str = "USD"
    """ISO 4217 code."""

    def _html_cells(self) -> Mapping[str, object]:
        return {"balance": money(self.balance, self.currency)}

    def __repr__(self) -> str:
        """Return one line."""
        return summary(self, money(self.balance, self.currency))
