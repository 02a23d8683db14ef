"""What a walk cost, checked against the balance."""

from collections.abc import Sequence
from decimal import Decimal

import attrs


@attrs.frozen
class Bill:
    """The balance before and after, and what each purchase cost.

    Raises ``ArithmeticError`` where the balance did not fall by exactly the sum of the purchases.
    """

    before: Decimal
    after: Decimal
    totals: Sequence[Decimal]

    def __attrs_post_init__(self) -> None:
        """Refuse a bill that does not add up."""
        if self.before - self.spent != self.after:
            raise ArithmeticError(f"{self.before} - {self.spent} is not the {self.after} that the account says is left")

    @property
    def spent(self) -> Decimal:
        """The sum of the purchases."""
        return sum(self.totals, Decimal(0))
