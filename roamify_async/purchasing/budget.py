"""The money that a bulk order may spend: what its lines cost, and what limits them."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from decimal import Decimal
from typing import Any, Final

from roamify_async._engine.crowd import gather
from roamify_async.errors import BudgetError, RoamifyError

from .judgement import is_lasting

BALANCE: Final = "the balance"


class Budget:
    """Prices, and the limits that they are held against. Each price is asked for once, and so is the balance."""

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
        """By all lines, those of earlier runs included: ``max_spend`` is for them all."""
        self._drawn = Decimal(0)
        """From the balance since it was read; that is before the first line of a run is sent."""
        self._answers: dict[str, asyncio.Future[Decimal]] = {}

    async def price(self, request: Any) -> Decimal:
        """Give what a purchase will cost."""
        self._ask(BALANCE, self._balance)  # It will be needed next.
        total = Decimal(0)
        for package_id, quantity in request.packages().items():
            total += quantity * await self._price_of(package_id)
        return total

    async def quote(self, wanted: Mapping[str, int]) -> Decimal:
        """Give what so many of each package will cost together, as far as their prices can be had."""
        prices = await gather(self._price_of, wanted)
        pairs = zip(wanted.values(), prices, strict=True)
        return sum((count * price for count, price in pairs if isinstance(price, Decimal)), Decimal(0))

    async def reserve(self, price: Decimal) -> None:
        """Speak for an amount; raises ``BudgetError`` where it would pass a limit."""
        await self.refuse(price)
        self.add(price)

    async def refuse(self, price: Decimal, what: str = "this line") -> None:
        """Raise ``BudgetError`` where an amount would pass a limit."""
        limits = [(BALANCE, await self._answer(BALANCE, self._balance), self._drawn)]
        if self._max_spend is not None:
            limits.append(("max_spend", self._max_spend, self._spent))
        for name, limit, used in limits:
            if used + price > limit:
                raise BudgetError(f"{what} would cost {price} and pass {name}: {limit - used} of {limit} is left")

    def add(self, amount: Decimal, *, is_older: bool = False) -> None:
        """Count an amount, or with a minus give it back; one of before the run is gone from the balance already."""
        self._spent += amount
        if not is_older:
            self._drawn += amount

    async def _price_of(self, package_id: str) -> Decimal:
        return await self._answer(f"package {package_id}", lambda: self._price(package_id))

    async def _answer(self, question: str, ask: Callable[[], Awaitable[Decimal]]) -> Decimal:
        """Give an answer that all lines share; one that failed is asked for again, if that may help."""
        try:
            return await asyncio.shield(self._ask(question, ask))
        except RoamifyError as error:
            if not is_lasting(error):
                self._answers.pop(question, None)
            raise

    def _ask(self, question: str, ask: Callable[[], Awaitable[Decimal]]) -> "asyncio.Future[Decimal]":
        answer = self._answers.get(question)
        if answer is None:
            answer = self._answers[question] = asyncio.ensure_future(ask())
            answer.add_done_callback(_seen)
        return answer


def _seen(answer: "asyncio.Future[Decimal]") -> None:
    """Take note of a failure that nobody may wait for, or asyncio would report it."""
    if not answer.cancelled():
        answer.exception()
