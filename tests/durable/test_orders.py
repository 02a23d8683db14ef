"""Batches that are submitted, and workers in the process of the test. Orders are counted at the server."""

import asyncio
import subprocess
import sys
from decimal import Decimal
from typing import Any

import attrs
import pytest
from support.clients import QUICK
from support.purchases import APPLY, LISTED, ORDER, OTHER, PLAIN, came
from support.shop import Shop, booked, page

from roamify_async import (
    AsyncRoamify,
    AuthenticationError,
    BudgetError,
    ConfigurationError,
    CreateOrder,
    JournalError,
    LedgerError,
    OrderItem,
    PurchaseInDoubtError,
    Roamify,
)
from roamify_async.durable import DurableOrders, store
from roamify_async.purchasing.batch import Batch as Lines

SENT = f"POST {ORDER}"
LATENCY = 0.5
PRICE = Decimal("1.55")
"""Of the plain package."""


def lines(count: int, *, own: bool = False, package: str = PLAIN) -> list[CreateOrder]:
    """Ask for one eSIM in each of so many lines."""
    return [CreateOrder([OrderItem(package)], reference_id=f"r-{number}" if own else None) for number in range(count)]


async def read(batch: Any) -> list[tuple[str, str | None]]:
    """Return the status and the order's id of each line."""
    with await batch.report() as report:
        return [(line.status, line.order and line.order.id) for line in report.lines]


async def counts(batch: Any) -> dict[str, int]:
    """Return the number of lines by status, without zeros."""
    return {status: count for status, count in (await batch.progress()).counts.items() if count}


async def work(open_desk: Any, workers: int = 1, **options: Any) -> None:
    """Run some workers at once until all is done."""
    desks = [await open_desk() for _ in range(workers)]
    await asyncio.gather(*(desk.work(until_done=True, **options) for desk in desks))


def orders(sandbox: Any) -> list[str]:
    """Return the ids of all orders of the server."""
    return [order["id"] for order in sandbox.state()["orders"]]


# ---------------------------------------------------------------- submitting and working


@pytest.mark.parametrize("own", [False, True], ids=["new references", "own references"])
async def test_workers_share_lines(open_desk, sandbox, own):
    """Three workers buy each line once, and the report that waited for them has all lines."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=LATENCY, times=None)
    batch = await (await open_desk()).submit("night", lines(20, own=own))
    assert (await batch.progress()).done == came(sandbox, SENT) == 0
    waiting = asyncio.create_task(batch.report(wait=True))
    await work(open_desk, 3, concurrency=4)
    with await waiting as report:
        assert report.counts == {"ordered": 20, "refused": 0, "in_doubt": 0, "not_sent": 0}
        assert sorted(line.order.id for line in report.lines) == sorted(orders(sandbox))
    assert len(orders(sandbox)) == came(sandbox, SENT) == 20
    progress = await batch.progress()
    assert (progress.done, progress.total, progress.spent) == (20, 20, 20 * PRICE)


async def test_several_batches(open_desk, sandbox):
    """A worker buys the lines of all batches, and of those that are submitted while it works."""
    first, second = await open_desk(), await open_desk()
    batches = [await first.submit(f"night-{number}", lines(2)) for number in range(6)]
    working = asyncio.create_task(second.work())
    for batch in batches:
        (await batch.report(wait=True)).close()
    late = await first.submit("late", lines(2))
    (await late.report(wait=True)).close()
    working.cancel()
    await asyncio.wait([working])
    assert len(orders(sandbox)) == 14


async def test_submitted_twice(open_desk, sandbox):
    """The same requests under the name of a batch change nothing, before and after it was worked on."""
    one, two = await open_desk(), await open_desk()
    batch, again = await asyncio.gather(one.submit("night", lines(3)), two.submit("night", lines(3)))
    await work(open_desk)
    done = await read(batch)
    assert (await read(again), len(orders(sandbox))) == (done, 3)
    third = await one.submit("night", lines(3))
    await work(open_desk)
    assert (await read(third), await read(await two.get("night")), came(sandbox, SENT)) == (done, done, 3)


@pytest.mark.parametrize(
    ("requests", "options"),
    [(lines(4), {}), (lines(3, package=OTHER), {}), (lines(3), {"max_spend": 90}), (lines(3), {"apply": True})],
    ids=["more", "other", "max_spend", "apply"],
)
async def test_other_requests(desk, sandbox, requests, options):
    """Other requests or options under the name of a batch are refused."""
    await desk.submit("night", lines(3), max_spend=100)
    with pytest.raises(JournalError, match=r"'night' (belongs to other|was submitted with|was begun with)"):
        await desk.submit("night", requests, **{"max_spend": 100, **options})
    assert (await (await desk.get("night")).progress()).total == 3


async def test_requests_that_fail(desk, ledger):
    """Requests that cannot be read leave no batch."""

    def broken() -> Any:
        yield from lines(3)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        await desk.submit("night", broken())
    with pytest.raises(TypeError, match="requests must hold CreateOrder values"):
        await desk.submit("night", [*lines(2), "a line"])
    with pytest.raises(JournalError, match="no batch 'night' was submitted"):
        await desk.get("night")
    assert ledger.read(lambda session: session.rows("SELECT count(*) FROM {table}lines")) == [(0,)]


async def test_batch_of_a_bulk_order(open_desk, sandbox, ledger):
    """A batch that a bulk order began can be submitted, and a bulk order can help with one that was submitted."""
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK, ledger=ledger) as roamify:
        (await roamify.orders.bulk(lines(2), batch="night")).close()
        batch = await (await open_desk()).submit("night", lines(2))
        await work(open_desk)
        other = await (await open_desk()).submit("other", lines(2))
        (await roamify.orders.bulk(lines(2), batch="other")).close()
    assert await counts(batch) == await counts(other) == {"ordered": 2}
    assert len(orders(sandbox)) == 4


async def test_settings_of_the_client(open_desk, sandbox):
    """Workers use the settings with which a batch was submitted."""
    batch = await (await open_desk(QUICK.changed(look_first=False))).submit("night", lines(2, own=True))
    await work(open_desk)
    assert (await counts(batch), came(sandbox, LISTED)) == ({"ordered": 2}, 0)
    other = await (await open_desk()).submit("other", [CreateOrder([OrderItem(PLAIN)], reference_id="other")])
    await work(open_desk)
    assert (await counts(other), came(sandbox, LISTED)) == ({"ordered": 1}, 1)


async def test_apply(open_desk, sandbox):
    """With ``apply`` the profile of each eSIM is made once."""
    batch = await (await open_desk()).submit("night", lines(6), apply=True)
    await work(open_desk, 2)
    with await batch.report(wait=True) as report:
        found = {line.order.items[0].esim_id for line in report.lines}
    assert found == {esim["id"] for esim in sandbox.state()["esims"]}
    assert came(sandbox, SENT) == came(sandbox, f"POST {APPLY}") == 6


# ---------------------------------------------------------------- cancelling and trying again


async def test_cancelled(open_desk, sandbox):
    """After a batch was cancelled, lines that are being sent are finished, and no others are sent."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=LATENCY, times=None)
    batch = await (await open_desk()).submit("night", lines(30, own=True))
    working = asyncio.create_task(work(open_desk, 2, concurrency=2))
    await sandbox.arrived(SENT, 3)
    await batch.cancel()
    with await batch.report(wait=True) as report:
        sent = report.counts["ordered"]
    await working
    assert 3 <= sent == came(sandbox, SENT) == len(orders(sandbox)) <= 6
    assert await counts(batch) == {"ordered": sent, "not_sent": 30 - sent}
    assert (await batch.progress()).done == 30
    assert await batch.retry("in_doubt", "refused") == 0
    await work(open_desk)
    assert came(sandbox, SENT) == sent
    assert await batch.retry("not_sent") == 30 - sent
    await work(open_desk, 2)
    assert (await counts(batch), len(orders(sandbox)), came(sandbox, SENT)) == ({"ordered": 30}, 30, 30)


async def test_line_that_was_cancelled_before_its_send(ledger, open_ledger, sandbox):
    """A worker does not send a line that it had taken when its batch was cancelled, also if the batch is open again."""
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK, ledger=ledger) as roamify:
        batch = await DurableOrders(roamify).submit("night", lines(1))
        (submitted,) = await ledger.run(store.find_free)
        worker = Lines(open_ledger(), "night", submitted.id, max_spend=None)
        worker.join()
        (entry,) = await worker.take(5) or []
        await batch.cancel()
        assert await batch.retry("in_doubt") == 0
        entry.status = "sending"
        with pytest.raises(LedgerError, match="was taken away; nothing was sent"):
            await worker.put(entry)
        await worker.end()
        assert await counts(batch) == {"not_sent": 1}


async def test_doubts(open_ledger):
    """A line in doubt is looked up when it is tried again, and is not sent twice."""
    async with Shop() as shop:
        shop.faults, shop.look_up = [booked()], lambda: page(500)
        async with AsyncRoamify("token", base_url=shop.url, settings=QUICK, ledger=open_ledger()) as roamify:
            desk = DurableOrders(roamify)
            batch = await desk.submit("night", lines(2))
            await desk.work(until_done=True, concurrency=1)
            with await batch.report(wait=True) as report:
                assert [line.status for line in report.lines] == ["in_doubt", "ordered"]
                assert isinstance(report.lines[0].error, PurchaseInDoubtError)
            shop.look_up = lambda: None
            assert await batch.retry("not_sent") == 0
            assert await batch.retry("in_doubt") == 1
            await desk.work(until_done=True)
            assert (await counts(batch), await batch.retry()) == ({"ordered": 2}, 0)
        assert (shop.posts, len(shop.orders)) == (2, 2)


async def test_refused_for_good(open_desk, sandbox):
    """A line that was refused for good is not tried again, and does not affect the others."""
    batch = await (await open_desk()).submit("night", [*lines(1), *lines(1, package="esim-nowhere")])
    await work(open_desk)
    assert await counts(batch) == {"ordered": 1, "refused": 1}
    assert await batch.retry() == 0


async def test_balance(open_desk, sandbox):
    """An insufficient balance stops the batch, and it goes on when it is tried again."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=LATENCY, times=None)
    desk = await open_desk()
    batch = await desk.submit("night", lines(12))
    taken = asyncio.create_task(work(open_desk, 2, concurrency=2))
    await sandbox.arrived(SENT, 4)
    sandbox.balance = "0"
    with await batch.report(wait=True) as report:
        assert report.counts["ordered"] == len(orders(sandbox)) < 12
        assert report.counts["in_doubt"] == 0
    await taken
    sandbox.balance = "1000"
    assert await batch.retry() == 12 - len(orders(sandbox))
    await work(open_desk, 2)
    assert (await counts(batch), len(orders(sandbox))) == ({"ordered": 12}, 12)


async def test_token(open_desk, sandbox):
    """A worker whose token is refused ends with that error, and others buy its lines."""
    desk = await open_desk()
    batch = await desk.submit("night", lines(6))
    sandbox.fail("POST", ORDER, "401")
    with pytest.raises(AuthenticationError):
        await desk.work(until_done=True, concurrency=1)
    assert (await batch.progress()).done < 6
    sandbox.fail("GET", "/api/balance", "401")
    with pytest.raises(AuthenticationError):
        await (await open_desk()).work(until_done=True)
    await work(open_desk)
    assert (await counts(batch), len(orders(sandbox))) == ({"ordered": 6}, 6)


async def test_max_spend(open_desk, sandbox):
    """The limit holds for three workers together; it is exceeded by no more than the rise on lines in flight."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=LATENCY, times=None)
    batch = await (await open_desk()).submit("night", lines(12), max_spend=12 * PRICE)

    async def double() -> None:
        await sandbox.arrived(SENT, 3)
        sandbox.set_price(PLAIN, 2 * PRICE)

    await asyncio.gather(work(open_desk, 3, concurrency=1), double())
    with await batch.report(wait=True) as report:
        assert {type(line.error) for line in report.not_sent} == {BudgetError}
        assert report.counts["ordered"] == len(orders(sandbox)) < 12
        assert report.spent <= (12 + 3) * PRICE
    sandbox.set_price(PLAIN, PRICE)
    before = len(orders(sandbox))
    await batch.retry("not_sent")
    await work(open_desk, 3, concurrency=1)
    spent = (await batch.progress()).spent
    assert len(orders(sandbox)) >= before
    assert spent <= (12 + 3) * PRICE


async def test_max_spend_when_submitted(desk, sandbox):
    """Lines that are known to cost too much are refused when they are submitted, and leave nothing."""
    with pytest.raises(BudgetError, match="nothing was submitted"):
        await desk.submit("night", lines(3), max_spend=3 * PRICE - Decimal("0.01"))
    batch = await desk.submit("night", lines(2), max_spend=2 * PRICE)
    assert (await batch.progress()).total == 2


async def test_orders_that_may_be_booked_twice(ledger, open_ledger, sandbox):
    """An order that was sent twice ends with its check: if its worker is killed before, another one makes it."""
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK, ledger=ledger) as roamify:
        desk = DurableOrders(roamify)
        batch = await desk.submit("night", lines(1))
        (submitted,) = await ledger.run(store.find_free)
        killed = Lines(open_ledger(), "night", submitted.id, max_spend=None)
        killed.join()
        (entry,) = await killed.take(1) or []
        entry.status, entry.total, entry.resent = "ordered", str(PRICE), True
        entry.first_sent = "2026-01-01T00:00:00+00:00"
        await killed.put(entry)
        await killed.finish(entry)
        assert ((await batch.progress()).done, await killed.take(1)) == (0, [])
        await killed.end()
        await desk.work(until_done=True)
        assert ((await batch.progress()).done, came(sandbox, LISTED), came(sandbox, SENT)) == (1, 1, 0)


async def test_resent(open_desk, sandbox):
    """A worker sends again what was not booked if the batch allows it, and checks it before the line ends."""
    sandbox.fail("POST", ORDER, "drop", when="before")
    resending = QUICK.changed(on_doubt="look_up_then_resend", reconcile_window=0.2)
    batch = await (await open_desk(resending)).submit("night", lines(2))
    await work(open_desk)
    assert (await counts(batch), (await batch.progress()).done) == ({"ordered": 2}, 2)
    assert (len(orders(sandbox)), came(sandbox, SENT)) == (2, 3)


# ---------------------------------------------------------------- odd input


async def test_wrong_arguments(desk, sandbox):
    """Wrong arguments are refused before anything is written."""
    for call, kind in (
        (lambda: desk.submit(" ", lines(1)), ValueError),
        (lambda: desk.submit(4, lines(1)), TypeError),
        (lambda: desk.submit("night", 4), TypeError),
        (lambda: desk.submit("night", lines(1), max_spend=0.5), TypeError),
        (lambda: desk.submit("night", lines(1), max_spend="much"), ValueError),
        (lambda: desk.submit("night", lines(1), apply="yes"), TypeError),
        (lambda: desk.work(concurrency=0), ValueError),
        (lambda: desk.work(rate=-1), ValueError),
    ):
        with pytest.raises(kind):
            await call()
    batch = await desk.submit("night", [])
    with pytest.raises(ValueError, match="status must be one of"):
        await batch.retry("lost")
    with await batch.report(wait=True) as report:
        assert len(report.lines) == 0
    assert batch.name == "night"


async def test_wrong_clients(sandbox, tmp_path, monkeypatch):
    """A client without a ledger, of the other kind, or of another host is refused."""
    monkeypatch.delenv("ROAMIFY_LEDGER", raising=False)
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url) as roamify:
        with pytest.raises(ConfigurationError, match="need a client with a SqliteLedger"):
            DurableOrders(roamify)
        with pytest.raises(TypeError, match="must be a Roamify"):
            DurableOrders.blocking(roamify)
    blocking = Roamify(sandbox.token, base_url=sandbox.url, ledger=tmp_path / "p.db")
    with pytest.raises(TypeError, match=r"see DurableOrders\.blocking"):
        DurableOrders(blocking)
    await asyncio.to_thread(blocking.close)
    for url in (sandbox.url, "http://127.0.0.1:1"):
        async with AsyncRoamify(sandbox.token, base_url=url, ledger=tmp_path / "p.db") as roamify:
            if url == sandbox.url:
                async with DurableOrders(roamify) as desk:
                    await desk.submit("night", lines(1))
            else:
                with pytest.raises(LedgerError, match="belongs to"):
                    await DurableOrders(roamify).__aenter__()
                with pytest.raises(LedgerError, match="belongs to"):
                    await DurableOrders(roamify).work(until_done=True)
    assert sandbox.state()["orders"] == []


async def test_other_settings(open_desk, sandbox):
    """The workers resend or not as the first submission says: another one that says otherwise is refused."""
    await (await open_desk()).submit("night", lines(1))
    other = attrs.evolve(QUICK, on_doubt="look_up_then_resend")
    with pytest.raises(JournalError, match="was submitted with other options"):
        await (await open_desk(other)).submit("night", lines(1))


async def test_purged(open_desk, ledger):
    """A batch that was purged is reported as that."""
    batch = await (await open_desk()).submit("night", lines(1))
    await work(open_desk)
    ledger.purge(-1)
    with pytest.raises(LedgerError, match="'night' was purged"):
        await batch.report(wait=True)


def test_imports():
    """The package imports neither a database driver nor an engine."""
    code = (
        "import sys, roamify_async.durable; print(sorted({'celery', 'dbos', 'psycopg', 'sqlalchemy'} & {*sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[]\n"
