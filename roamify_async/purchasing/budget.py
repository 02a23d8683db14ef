"""The budget of a bulk order: prices, and the limits that they are checked against."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from roamify_async._core.concurrency import gather
from roamify_async.errors import BudgetError, RoamifyError

from .classify import is_permanent

BALANCE: Final = "the balance"


class Budget:
    """Prices, and the limits that they are checked against. Each price is requested once, and so is the balance."""

    def __init__(
        self,
        price: Callable[[str], Awaitable[Decimal]],
        balance: Callable[[], Awaitable[Decimal]],
        *,
        max_spend: Decimal | None,
        spent: Decimal,
    ) -> None:
        self._price = price
        self._balance = balance
        self._max_spend = max_spend
        self._spent = spent
        """By all lines, including those of earlier runs: ``max_spend`` applies to all of them."""
        self._drawn = Decimal(0)
        """Taken from the balance since it was read, which is before the first line of a run is sent."""
        self._results: dict[str, asyncio.Future[Decimal]] = {}

    async def price(self, request: Any) -> Decimal:
        """Return the cost of a purchase."""
        self._request(BALANCE, self._balance)  # Needed next.
        total = Decimal(0)
        for package_id, quantity in request.packages().items():
            total += quantity * await self._price_of(package_id)
        return total

    async def quote(self, wanted: Mapping[str, int]) -> Decimal:
        """Return the total cost of so many of each package, as far as their prices are known."""
        prices = await gather(self._price_of, wanted)
        pairs = zip(wanted.values(), prices, strict=True)
        return sum((count * price for count, price in pairs if isinstance(price, Decimal)), Decimal(0))

    async def reserve(self, price: Decimal) -> None:
        """Reserve an amount. Raises ``BudgetError`` if it would exceed a limit."""
        await self.refuse(price)
        self.add(price)

    async def refuse(self, price: Decimal, what: str = "this line") -> None:
        """Raise ``BudgetError`` if an amount would exceed a limit."""
        limits = [(BALANCE, await self._result(BALANCE, self._balance), self._drawn)]
        if self._max_spend is not None:
            limits.append(("max_spend", self._max_spend, self._spent))
        for name, limit, used in limits:
            if used + price > limit:
                raise BudgetError(f"{what} would cost {price} and exceed {name}: {limit - used} of {limit} is left")

    def add(self, amount: Decimal, *, is_older: bool = False) -> None:
        """Add an amount, or return a negative one. What an earlier run spent is gone from the balance already."""
        self._spent += amount
        if not is_older:
            self._drawn += amount

    async def _price_of(self, package_id: str) -> Decimal:
        return await self._result(f"package {package_id}", lambda: self._price(package_id))

    async def _result(self, question: str, ask: Callable[[], Awaitable[Decimal]]) -> Decimal:
        """Return a result that all lines share. A failed request is repeated, if that may help."""
        try:
            return await asyncio.shield(self._request(question, ask))
        except RoamifyError as error:
            if not is_permanent(error):
                self._results.pop(question, None)
            raise

    def _request(self, question: str, ask: Callable[[], Awaitable[Decimal]]) -> "asyncio.Future[Decimal]":
        future = self._results.get(question)
        if future is None:
            future = self._results[question] = asyncio.ensure_future(ask())
            future.add_done_callback(_retrieve)
        return future


def _retrieve(future: "asyncio.Future[Decimal]") -> None:
    """Retrieve a failure that may never be awaited, which asyncio would report."""
    if not future.cancelled():
        future.exception()
