"""The budget of a bulk order: prices, and the limits that they are checked against."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Final

import anyio

from roamify_async._core.concurrency import gather
from roamify_async.errors import BudgetError, RoamifyError

from .classify import PurchaseRequest, is_permanent

BALANCE: Final = "the balance"


class Budget:
    """Prices, and the limits that they are checked against. Each price is requested once, and so is the balance.

    With ``max_spend``, the first line of each package is sent alone and confirms its price. If an order costs something
    else than was quoted, its packages are quoted again, and the next line confirms them.
    """

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
        self._confirmed: set[str] = set()
        """Packages whose price an order has confirmed."""
        self._confirming: dict[str, anyio.Event] = {}
        """Packages whose price a line is confirming; the others wait."""

    async def price(self, request: PurchaseRequest) -> Decimal:
        """Return the cost of a purchase."""
        self._request(BALANCE, self._balance)  # Needed next.
        total = Decimal(0)
        for package_id, quantity in request.packages().items():
            total += quantity * await self._price_of(package_id)
        return total

    async def read_balance(self) -> None:
        """Read the balance, if it can be read."""
        with suppress(RoamifyError):
            await self._result(BALANCE, self._balance)

    async def quote(self, wanted: Mapping[str, int]) -> Decimal:
        """Return the total cost of so many of each package, as far as their prices are known."""
        prices = await gather(self._price_of, wanted)
        pairs = zip(wanted.values(), prices, strict=True)
        return sum((count * price for count, price in pairs if isinstance(price, Decimal)), Decimal(0))

    async def admit(self, request: PurchaseRequest) -> Decimal:
        """Reserve the cost of a line, once the prices of its packages are confirmed, or are its own to confirm.

        Raises ``BudgetError`` if the cost would exceed a limit. Every admitted line is released in the end.
        """
        packages = request.packages()
        while self._max_spend is not None:
            busy = next((self._confirming[one] for one in packages if one in self._confirming), None)
            if busy is None:
                self._confirming |= {one: anyio.Event() for one in packages if one not in self._confirmed}
                break
            await busy.wait()
        try:
            price = await self.price(request)
            await self.refuse(price)
        except BaseException:
            self.release(request)
            raise
        self.add(price)
        return price

    def release(self, request: PurchaseRequest) -> None:
        """Allow other lines to confirm the prices of a line's packages: its outcome is known, or in doubt."""
        for package_id in request.packages():
            event = self._confirming.pop(package_id, None)
            if event is not None:
                event.set()

    def confirm(self, request: PurchaseRequest, quoted: Decimal, total: Decimal) -> None:
        """Compare what an order cost with what was quoted."""
        for package_id in request.packages():
            if total == quoted:
                self._confirmed.add(package_id)
            else:
                self._confirmed.discard(package_id)
                self._results.pop(f"package {package_id}", None)

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
