"""Batches: bulk orders whose lines several processes share through a ledger. Orders are counted at the server."""

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest
from support.clients import QUICK
from support.purchases import APPLY, LISTED, ORDER, OTHER, PLAIN, came
from support.servers import answer
from support.shop import PACKAGE, Shop, booked, envelope, page, vain

from roamify_async import (
    AsyncRoamify,
    BudgetError,
    ConflictError,
    CreateOrder,
    EsimsNotReadyError,
    JournalError,
    LedgerError,
    OrderItem,
    PurchaseInDoubtError,
)
from roamify_async.purchasing import batch_statements as sql
from roamify_async.purchasing.batch import Batch

SENT = f"POST {ORDER}"
LATENCY = 0.5
PRICE = Decimal("1.55")
"""Of the plain package."""


def lines(count: int, *, own: bool = False, package: str = PLAIN) -> list[CreateOrder]:
    """Ask for one eSIM in each of so many lines."""
    return [CreateOrder([OrderItem(package)], reference_id=f"r-{number}" if own else None) for number in range(count)]


def read(report: Any) -> list[tuple[str, str | None]]:
    """Return the status and the order's id of each line."""
    with report:
        return [(line.status, line.order and line.order.id) for line in report.lines]


async def _race(replica, open_ledger, sandbox, **options: Any) -> list[Any]:
    """Run the same batch in three replicas at once."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=LATENCY, times=None)
    replicas = [await replica(sandbox, None) for _ in range(3)]
    if "journals" in options:
        calls = [
            one.orders.bulk(lines(20), journal=journal, concurrency=4)
            for one, journal in zip(replicas, options["journals"], strict=True)
        ]
    else:
        calls = [
            one.orders.bulk(lines(20, own=options["own"]), journal=open_ledger(), batch="night", concurrency=4)
            for one in replicas
        ]
    return [read(report) for report in await asyncio.gather(*calls)]


@pytest.mark.parametrize("own", [False, True], ids=["new references", "own references"])
async def test_lines_are_shared(replica, open_ledger, sandbox, own):
    """Three replicas that run a batch at once buy each line once, and all report all lines."""
    reports = await _race(replica, open_ledger, sandbox, own=own)
    orders = {order["id"] for order in sandbox.state()["orders"]}
    assert (len(orders), came(sandbox, SENT)) == (20, 20)
    assert reports[0] == reports[1] == reports[2]
    assert {status for status, _ in reports[0]} == {"ordered"}
    assert {order for _, order in reports[0]} == orders


async def test_lines_without_a_ledger(replica, open_ledger, sandbox, tmp_path):
    """Control: with a journal each, all of them buy all lines."""
    await _race(replica, open_ledger, sandbox, journals=[tmp_path / f"{number}.db" for number in range(3)])
    assert len(sandbox.state()["orders"]) == 60


async def test_work_is_divided(open_ledger, sandbox):
    """Replicas take different lines."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=LATENCY, times=None)

    async def run() -> int:
        seen: list[Any] = []
        async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
            report = await roamify.orders.bulk(
                lines(8), journal=open_ledger(), batch="night", concurrency=2, on_progress=seen.append
            )
        report.close()
        return len(seen) - 1  # The last one is that of the end.

    finished = await asyncio.gather(run(), run())
    assert (sum(finished), came(sandbox, SENT)) == (8, 8)
    assert min(finished) >= 2


async def test_next_run(replica, open_ledger, sandbox):
    """A later call with the same name and requests sends nothing, and reports all lines from the ledger."""
    first = read(await (await replica(sandbox, None)).orders.bulk(lines(3), journal=open_ledger(), batch="night"))
    looked = came(sandbox, LISTED)
    again = read(await (await replica(sandbox, None)).orders.bulk(lines(3), journal=open_ledger(), batch="night"))
    assert again == first
    assert (came(sandbox, SENT), came(sandbox, LISTED)) == (3, looked)


async def test_clients_own_ledger(sandbox, ledger):
    """Without a journal, the batch is in the ledger of the client."""
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK, ledger=ledger) as roamify:
        assert read(await roamify.orders.bulk(lines(2), batch="night"))[0][0] == "ordered"
    assert ledger.counts() == {"ordered": 2}


@pytest.mark.parametrize(
    "others", [lines(4), lines(2), lines(3, package=OTHER), lines(3, own=True)], ids=["more", "fewer", "other", "own"]
)
async def test_other_requests(client, sandbox, ledger, others):
    """Another list of requests under the name of a batch is refused, and nothing is sent."""
    read(await client.orders.bulk(lines(3), journal=ledger, batch="night"))
    with pytest.raises(JournalError, match="'night' belongs to other requests"):
        await client.orders.bulk(others, journal=ledger, batch="night")
    assert came(sandbox, SENT) == 3
    read(await client.orders.bulk(others, journal=ledger, batch="another"))
    assert came(sandbox, SENT) == 3 + len(others)


async def test_requests_that_fail(client, sandbox, ledger):
    """Requests that cannot be read leave no batch, and nothing is sent."""

    def broken() -> Any:
        yield from lines(300)
        raise OSError("no more")

    with pytest.raises(OSError, match="no more"):
        await client.orders.bulk(broken(), journal=ledger, batch="night")
    with pytest.raises(TypeError, match="requests must hold CreateOrder values"):
        await client.orders.bulk([*lines(2), "a line"], journal=ledger, batch="night")
    assert ledger.read(lambda session: session.rows("SELECT count(*) FROM {table}lines")) == [(0,)]
    assert read(await client.orders.bulk(lines(1), journal=ledger, batch="night"))[0][0] == "ordered"
    assert came(sandbox, SENT) == 1


async def test_max_spend(open_ledger, sandbox):
    """The limit holds for all processes together; it is passed by no more than the rise on lines in flight."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=LATENCY, times=None)
    options: dict[str, Any] = {"batch": "night", "concurrency": 1}

    async def run(limit: Decimal) -> tuple[int, Decimal]:
        async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
            with await roamify.orders.bulk(lines(12), journal=open_ledger(), max_spend=limit, **options) as report:
                assert {type(line.error) for line in report.not_sent} <= {BudgetError}
                return report.counts["ordered"], report.spent

    async def double() -> None:  # After all lines together were compared with the limit.
        await sandbox.arrived(SENT, 3)
        sandbox.set_price(PLAIN, 2 * PRICE)

    *reports, _ = await asyncio.gather(*(run(12 * PRICE) for _ in range(3)), double())
    ordered, spent = reports[0]
    assert reports == [(ordered, spent)] * 3
    assert ordered == len(sandbox.state()["orders"]) < 12
    assert 12 * PRICE - 2 * PRICE < spent <= (12 + 3) * PRICE
    needed = spent + (12 - ordered) * 2 * PRICE
    with pytest.raises(BudgetError, match="all lines would cost"):
        await run(needed - 1)
    assert await run(needed) == (12, needed)
    assert len(sandbox.state()["orders"]) == 12


async def test_max_spend_in_the_transaction(open_ledger):
    """What other processes have reserved counts: the line that would exceed the limit is refused when it is written."""
    ledger = open_ledger()
    one, two = [Batch(ledger, "night", "b", max_spend=Decimal(2)) for _ in range(2)]
    await _fill(ledger, 2)
    taken = []
    for batch in (one, two):
        await batch.begin()
        taken += await batch.take(1) or []
    for batch, entry in zip((one, two), taken, strict=True):
        entry.status, entry.total = "sending", "1.50"
        if batch is one:
            await batch.put(entry)
        else:
            with pytest.raises(BudgetError, match=r"0\.5 of 2 is left"):
                await batch.put(entry)
    assert await one.reserved() == Decimal("1.5")
    taken[0].status, taken[0].total, taken[0].error = "refused", None, "{}"
    await one.put(taken[0])
    await two.put(taken[1])
    assert await one.reserved() == Decimal("1.5")
    await one.end()
    await two.end()


async def _fill(ledger: Any, count: int) -> None:
    """Write a batch of some lines."""
    values = [
        {"position": number, "digest": "d", "request": "{}", "reference": f"r-{number}"} for number in range(count)
    ]

    def fill(session: Any) -> None:
        session.rows(sql.DRAFT, id="b")
        for value in values:
            session.rows(
                "INSERT INTO {table}lines (batch, position, digest, request, reference, status) "
                "VALUES ('b', :position, :digest, :request, :reference, 'not_sent')",
                **value,
            )

    await ledger.run(fill)


async def test_line_that_was_taken_over(open_ledger):
    """What a process writes that was stopped for longer than its lease changes nothing."""
    ledger = open_ledger(lease=30.0)
    await _fill(ledger, 1)
    stopped, other = [Batch(ledger, "night", "b", max_spend=None) for _ in range(2)]
    await stopped.begin()
    await other.begin()
    (late,) = await stopped.take(1) or []
    assert stopped.is_first(late)
    assert await other.take(1) == []
    await ledger.run(lambda session: session.rows("UPDATE {table}lines SET lease_until = 1"))
    (entry,) = await other.take(1) or []
    assert not other.is_first(entry)
    entry.status, entry.order_id = "ordered", "order-1"
    await other.put(entry)
    late.status, late.error = "refused", "{}"
    await stopped.put(late)
    assert other.nth(0).order_id == "order-1"
    assert await other.take(1) is None
    await stopped.end()
    await other.end()


async def test_line_that_was_taken_away(open_ledger):
    """A line that another process took over is not sent."""
    ledger = open_ledger()
    await _fill(ledger, 1)
    stopped, other = [Batch(ledger, "night", "b", max_spend=None) for _ in range(2)]
    await stopped.begin()
    await other.begin()
    (late,) = await stopped.take(1) or []
    await ledger.run(lambda session: session.rows("UPDATE {table}lines SET lease_until = 1"))
    assert await other.take(1)
    late.status = "sending"
    with pytest.raises(LedgerError, match="was taken away; nothing was sent"):
        await stopped.put(late)
    assert other.nth(0).status == "not_sent"
    await stopped.end()
    await other.end()


async def test_line_that_is_only_checked_again(open_ledger):
    """A line that a run checks again without writing it ends, so that nobody waits for it."""
    ledger = open_ledger()
    await _fill(ledger, 1)
    first, second = [Batch(ledger, "night", "b", max_spend=None) for _ in range(2)]
    await first.begin()
    (entry,) = await first.take(1) or []
    entry.status, entry.resent = "ordered", True
    await first.put(entry)
    await first.finish(entry)
    await first.end()
    await second.begin()
    (again,) = await second.take(1) or []
    assert await second.take(1) == []
    await second.finish(again)
    assert await second.take(1) is None
    await second.end()


async def test_taken_before_the_connection_was_lost(open_ledger):
    """Lines that were taken in a transaction whose result was lost are taken again by the same process."""
    ledger = open_ledger()
    await _fill(ledger, 2)
    batch = Batch(ledger, "night", "b", max_spend=None)
    await batch.begin()
    lost = await batch.take(1) or []
    batch._tries.clear()
    again = await batch.take(2) or []
    assert [entry.position for entry in again] == [entry.position for entry in lost] == [0]
    await batch.end()


async def test_one_reference_is_one_line(client, sandbox, ledger):
    """A line whose reference an earlier line has is refused."""
    requests = [*lines(2, own=True), *lines(1, own=True)]
    with await client.orders.bulk(requests, journal=ledger, batch="night") as report:
        assert [line.status for line in report.lines] == ["ordered", "ordered", "refused"]
        assert isinstance(report.lines[2].error, ConflictError)
        assert report.lines[2].error.reference_id == "r-0"
    assert came(sandbox, SENT) == 2


# ---------------------------------------------------------------- profiles

APPLIED = f"POST {APPLY}"


def parts(report: Any) -> list[tuple[str, tuple[str | None, ...]]]:
    """Return the status and the eSIMs of each line."""
    with report:
        assert {(line.esims, line.error) for line in report.lines} == {((), None)}
        return [(line.status, tuple(item.esim_id for item in line.order.items)) for line in report.lines]


async def test_apply(replica, open_ledger, sandbox):
    """With ``apply`` each profile is generated once, by either replica, and the reports have no codes."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=LATENCY, times=None)
    replicas = [await replica(sandbox, None) for _ in range(2)]
    calls = [one.orders.bulk(lines(6), journal=open_ledger(), batch="night", apply=True) for one in replicas]
    one, two = [parts(report) for report in await asyncio.gather(*calls)]
    assert one == two
    assert {(status, len(iccids), None in iccids) for status, iccids in one} == {("ordered", 1, False)}
    assert {esim for _, (esim,) in one} == {esim["id"] for esim in sandbox.state()["esims"]}
    assert (came(sandbox, SENT), came(sandbox, APPLIED)) == (6, 6)


async def test_apply_that_was_interrupted(sandbox, open_ledger):
    """A line that was bought, and whose profile was not made, is finished by the next run, and not bought again."""
    sandbox.fail("POST", APPLY, "hang", when="before", times=2)
    ledger = open_ledger()
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
        run = asyncio.create_task(roamify.orders.bulk(lines(2), journal=ledger, batch="night", apply=True))
        await sandbox.arrived(APPLIED, 2)
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
        found = parts(await roamify.orders.bulk(lines(2), journal=ledger, batch="night", apply=True))
    assert [(status, len(iccids)) for status, iccids in found] == [("ordered", 1)] * 2
    assert len(sandbox.state()["orders"]) == came(sandbox, SENT) == 2


async def test_apply_that_fails(client, sandbox, ledger):
    """A line whose profile cannot be made stays ordered, with the error, and the next run tries again."""
    sandbox.fail("POST", APPLY, "403_html")
    with await client.orders.bulk(lines(1), journal=ledger, batch="night", apply=True) as report:
        (line,) = report.lines
        assert (line.status, type(line.error), line.esims) == ("ordered", EsimsNotReadyError, ())
    ((status, iccids),) = parts(await client.orders.bulk(lines(1), journal=ledger, batch="night", apply=True))
    assert (status, len(iccids), came(sandbox, SENT)) == ("ordered", 1, 1)


async def test_apply_that_differs(client, sandbox, ledger):
    """A batch is applied by all runs, or by none."""
    read(await client.orders.bulk(lines(1), journal=ledger, batch="night"))
    with pytest.raises(JournalError, match="was begun with apply=False"):
        await client.orders.bulk(lines(1), journal=ledger, batch="night", apply=True)
    assert came(sandbox, APPLIED) == 0


@pytest.mark.long
async def test_many_lines(client, ledger):
    """The references of a large batch are compared with each other within the ledger's patience."""
    requests = [*lines(12_000, own=True), *lines(2, own=True)]
    with pytest.raises(BudgetError, match="exceed the balance"):
        await client.orders.bulk(requests, journal=ledger, batch="night")
    refused = "SELECT position FROM {table}lines WHERE status = 'refused' ORDER BY position"
    assert ledger.read(lambda session: session.rows(refused)) == [(12_000,), (12_001,)]


async def test_doubts(open_ledger):
    """A doubtful line is one of the report, and is found by the next run, in another process too."""
    async with Shop() as shop:
        shop.faults, shop.look_up = [booked()], lambda: page(500)
        async with AsyncRoamify("token", base_url=shop.url, settings=QUICK) as roamify:
            with await roamify.orders.bulk(lines(2), journal=open_ledger(), batch="night", concurrency=1) as report:
                assert [line.status for line in report.lines] == ["in_doubt", "ordered"]
                assert isinstance(report.lines[0].error, PurchaseInDoubtError)
                assert report.lines[0].error.request == report.lines[0].request
        shop.look_up = lambda: None
        async with AsyncRoamify("token", base_url=shop.url, settings=QUICK) as roamify:
            report = await roamify.orders.bulk(lines(2), journal=open_ledger(), batch="night")
        assert {status for status, _ in read(report)} == {"ordered"}
        assert (shop.posts, len(shop.orders)) == (2, 2)


async def test_cancelled(sandbox, open_ledger):
    """Lines that a cancelled process did not send are free at once, and what it sent is found."""
    sandbox.fail("POST", ORDER, "slow", when="after", seconds=LATENCY, times=2)
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
        run = roamify.orders.bulk(lines(8), journal=open_ledger(), batch="night", concurrency=2)
        cancelled = asyncio.create_task(run)
        await sandbox.arrived(SENT)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await cancelled
        assert "call again with the same journal" in caught.value.__notes__[-1]
        async with asyncio.timeout(20):  # The lease is 30 seconds.
            report = await roamify.orders.bulk(lines(8), journal=open_ledger(), batch="night")
    assert {status for status, _ in read(report)} == {"ordered"}
    assert len(sandbox.state()["orders"]) == came(sandbox, SENT) == 8


async def test_cancelled_while_the_ledger_is_away(sandbox, ledger, monkeypatch):
    """A ledger that cannot be read any more does not replace the cancellation, which says so."""
    sandbox.fail("POST", ORDER, "slow", when="after", seconds=LATENCY, times=2)

    def away(*_: object, **__: object) -> None:
        raise LedgerError("the ledger did not respond")

    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
        run = asyncio.create_task(roamify.orders.bulk(lines(4), journal=ledger, batch="night", concurrency=2))
        await sandbox.arrived(SENT)
        monkeypatch.setattr(Batch, "entries", away)
        run.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await run
    assert "the ledger did not respond" in caught.value.__notes__[-1]


async def test_wrong_arguments(client, sandbox, ledger, tmp_path):
    """A ledger needs the name of a batch, and a batch needs a ledger."""
    with pytest.raises(ValueError, match="needs batch="):
        await client.orders.bulk(lines(1), journal=ledger)
    with pytest.raises(ValueError, match="needs a SqliteLedger or PostgresLedger"):
        await client.orders.bulk(lines(1), batch="night")
    with pytest.raises(ValueError, match="needs a SqliteLedger or PostgresLedger"):
        await client.orders.bulk(lines(1), journal=tmp_path / "j.db", batch="night")
    with pytest.raises(ValueError, match="batch must not be empty"):
        await client.orders.bulk(lines(1), journal=ledger, batch=" ")
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, ledger=tmp_path / "other.db") as other:
        with pytest.raises(ValueError, match="another ledger than the batch"):
            await other.orders.bulk(lines(1), journal=ledger, batch="night")
    assert came(sandbox, SENT) == 0


async def test_other_host(client, sandbox, ledger):
    """A ledger of another host is refused, and nothing is sent."""
    await ledger.bind("https://example.com")
    with pytest.raises(LedgerError, match=r"belongs to https://example\.com"):
        await client.orders.bulk(lines(1), journal=ledger, batch="night")
    assert came(sandbox, SENT) == 0


async def test_nothing_that_installs_an_esim(ledger):
    """Rows hold neither activation codes nor bodies of responses."""
    secret = "LPA:1$secret"
    async with Shop() as shop:
        shop.faults = [
            lambda shop, body: envelope(shop.book(body, esims=[{"id": "e", "lpaCode": secret}])),
            vain(answer(json.dumps({"status": "failed", "message": "no", "data": secret}), 400)),
        ]
        async with AsyncRoamify("token", base_url=shop.url, settings=QUICK) as roamify:
            requests = [CreateOrder([OrderItem(PACKAGE)]) for _ in range(2)]
            read(await roamify.orders.bulk(requests, journal=ledger, batch="night", concurrency=1))
    rows = ledger.read(lambda session: session.rows("SELECT answer, error FROM {table}lines ORDER BY position"))
    assert rows[0][0] is not None
    assert rows[1][1] is not None
    assert secret not in json.dumps(rows)


async def test_purge(client, ledger):
    """Old batches without a line in doubt are deleted with the purchases, and no others."""
    read(await client.orders.bulk(lines(2), journal=ledger, batch="night"))
    assert ledger.purge(3600) == 0
    assert ledger.read(lambda session: session.rows("SELECT count(*) FROM {table}lines")) == [(2,)]
    assert ledger.purge(-1) == 2
    assert ledger.read(lambda session: session.rows("SELECT count(*) FROM {table}lines")) == [(0,)]


async def test_progress(replica, open_ledger, sandbox):
    """The last progress has the lines of all processes."""
    seen: list[Any] = []
    one, two = [await replica(sandbox, None) for _ in range(2)]
    reports = await asyncio.gather(
        one.orders.bulk(lines(6), journal=open_ledger(), batch="night", on_progress=seen.append),
        two.orders.bulk(lines(6), journal=open_ledger(), batch="night"),
    )
    for report in reports:
        report.close()
    assert (seen[-1].done, seen[-1].total, seen[-1].spent) == (6, 6, 6 * PRICE)
