"""The budget of a bulk order: a limit that holds, also if prices change during the run."""

from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import pytest
from support.purchases import ORDER, PLAIN
from support.servers import Received, answer
from support.shop import Shop, told

from roamify_async import BudgetError, CreateOrder, DecodeError, OrderItem
from roamify_async.purchasing.budget import Budget
from roamify_async.sandbox import Sandbox

LIMIT = 10
LOW, HIGH = 1, 5
"""The price before, and after."""


def lines(count: int = 50) -> Iterator[CreateOrder]:
    """Return requests whose number, and so whose cost, nobody knows before."""
    return (CreateOrder([OrderItem(PLAIN)]) for _ in range(count))


def spent(sandbox: Sandbox) -> Decimal:
    """Return what the server took from the balance."""
    return 1000 - Decimal(sandbox.state()["balance"])


@pytest.fixture
def cheap(sandbox: Sandbox) -> Sandbox:
    """Sell the package at the low price."""
    sandbox.set_price(PLAIN, LOW)
    return sandbox


def rise_after(sandbox: Sandbox, count: int) -> Any:
    """Return a callback that raises the price when so many lines are done."""
    return lambda progress: sandbox.set_price(PLAIN, HIGH) if progress.done == count else None


@pytest.fixture
def rise_before_the_first(cheap: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    """Raise the price between the quote and the first order."""
    admit, moments = Budget.admit, iter([HIGH])

    async def admitted(budget: Budget, request: Any) -> Decimal:
        price = await admit(budget, request)
        for risen in moments:
            cheap.set_price(PLAIN, risen)
        return price

    monkeypatch.setattr(Budget, "admit", admitted)


# ---------------------------------------------------------------- a price that rises in the run


async def test_price_that_rises(either, cheap):
    """The first order at the new price is noticed: the limit holds, and what is left of it is spent at that price."""
    report = await either.orders.bulk(lines(), max_spend=LIMIT, concurrency=1, on_progress=rise_after(cheap, 2))
    assert spent(cheap) == report.spent == 2 * LOW + HIGH
    assert report.counts == {"ordered": 3, "refused": 0, "in_doubt": 0, "not_sent": 47}
    assert isinstance(report.lines[-1].error, BudgetError)


async def test_price_that_rises_and_is_not_quoted_again(client, cheap, monkeypatch):
    """Control: with the first quote for ever, more than the limit is spent."""
    monkeypatch.setattr(Budget, "confirm", lambda budget, request, *_: budget._confirmed.update(request.packages()))
    await client.orders.bulk(lines(), max_spend=LIMIT, concurrency=1, on_progress=rise_after(cheap, 2))
    assert spent(cheap) > LIMIT


@pytest.mark.parametrize("concurrency", [2, 16])
async def test_price_that_rises_while_lines_are_in_flight(either, cheap, monkeypatch, concurrency):
    """Beyond the limit goes no more than the rise on the lines that were in flight."""
    confirm, rises = Budget.confirm, list[Decimal]()

    def confirmed(budget: Budget, request: Any, quoted: Decimal, total: Decimal) -> None:
        if total > quoted:
            rises.append(total - quoted)
        confirm(budget, request, quoted, total)

    monkeypatch.setattr(Budget, "confirm", confirmed)
    report = await either.orders.bulk(
        lines(), max_spend=LIMIT, concurrency=concurrency, on_progress=rise_after(cheap, 2)
    )
    assert 1 <= len(rises) <= concurrency + concurrency // 2  # So many workers there are.
    assert spent(cheap) == report.spent <= LIMIT + sum(rises)


@pytest.mark.usefixtures("rise_before_the_first")
async def test_price_that_rises_before_the_first_order(either, cheap):
    """The first line of a package is sent alone: however many may be in flight, the limit holds exactly."""
    report = await either.orders.bulk(lines(), max_spend=LIMIT, concurrency=16)
    assert spent(cheap) == report.spent == LIMIT
    assert report.counts["ordered"] == 2


@pytest.mark.usefixtures("rise_before_the_first")
async def test_price_that_rises_before_the_first_orders(client, cheap, monkeypatch):
    """Control: with the first lines sent together, five times the limit is spent."""
    monkeypatch.setattr(Budget, "_confirming", property(lambda _: {}, lambda *_: None), raising=False)
    await client.orders.bulk(lines(), max_spend=LIMIT, concurrency=16)
    assert spent(cheap) == LIMIT * HIGH


@pytest.mark.parametrize("fault", ["drop", "409"])
async def test_first_line_that_confirms_nothing(either, cheap, fault):
    """If the outcome of the first line is unknown, or a refusal, the next one confirms the price; nobody waits."""
    cheap.fail("POST", ORDER, fault)
    report = await either.orders.bulk(lines(8), max_spend=LIMIT)
    assert (report.counts["in_doubt" if fault == "drop" else "refused"], report.counts["ordered"]) == (1, 7)
    assert spent(cheap) == report.spent == 7


# ---------------------------------------------------------------- numbers that are no amounts


class Absurd(Shop):
    """A shop whose numbers 123.5 are something else on the wire."""

    amount = ""

    async def _reply(self, received: Received) -> bytes:
        head, _, body = (await super()._reply(received)).partition(b"\r\n\r\n")
        return answer(body.decode().replace("123.5", self.amount)) if b"123.5" in body else head + b"\r\n\r\n" + body


@pytest.fixture(params=["1e999999999", "-1e999999999", "1e-999999999", "0e-999999999", "1e1000", "NaN", "-Infinity"])
async def absurd(request: pytest.FixtureRequest) -> AsyncIterator[Absurd]:
    """Run the shop."""
    async with Absurd() as shop:
        shop.amount = request.param
        yield shop


async def test_total_that_is_no_amount(opened, absurd):
    """A total that is no amount of money leaves its own line in doubt; the others are bought, and nothing hangs."""
    absurd.faults = [told(total=123.5)]
    report = await (await opened(absurd.url)).orders.bulk(lines(3), concurrency=1, max_spend=10)
    assert [line.status for line in report.lines] == ["in_doubt", "ordered", "ordered"]
    assert report.spent == Decimal("3.10")
    assert (absurd.posts, len(absurd.orders)) == (3, 3)


async def test_balance_that_is_no_amount(opened, absurd):
    """Without a balance that is an amount of money, nothing is sent; each line says why."""
    absurd.balance = 123.5
    report = await (await opened(absurd.url)).orders.bulk(lines(3), concurrency=1)
    assert {type(line.error) for line in report.lines} == {DecodeError}
    assert absurd.posts == 0
