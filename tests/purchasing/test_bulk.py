"""Bulk orders: what becomes of each line, of the money, of what the caller raises, and of what is cut off."""

import asyncio
import gc
import json
import os
import re
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.clients import HANG, QUICK
from support.servers import Clock

from roamify_async import (
    AsyncRoamify,
    AuthenticationError,
    BudgetError,
    ConflictError,
    CreateOrder,
    NotFoundError,
    OrderItem,
    PermissionDeniedError,
    PurchaseInDoubtError,
    Roamify,
    RoamifyError,
    ServerError,
    Timeouts,
)
from roamify_async._core import concurrency
from roamify_async.purchasing import Journal, machine
from roamify_async.sandbox import Sandbox, app

PLAIN = "esim-greece-30days-1gb-all"
OTHER = "esim-germany-30days-1gb-all"
DEAR = "esim-curacao-30days-1gb-all"
PRICE = Decimal("1.55")
"""Of the plain one."""
ORDER = "/api/esim/order"
POST = f"POST {ORDER}"
APPLY = "/api/esim/apply"


def one(package_id: str = PLAIN, quantity: int = 1, reference: str | None = None) -> CreateOrder:
    """Ask for eSIMs of one package."""
    return CreateOrder([OrderItem(package_id, quantity)], reference_id=reference)


def several(count: int) -> list[CreateOrder]:
    """Ask for one eSIM in each of so many lines, under references that a test knows."""
    return [one(reference=f"r-{place}") for place in range(count)]


def posts(sandbox: Sandbox) -> int:
    """Count the orders that were sent."""
    return int(sandbox.state()["requests"].get(POST, 0))


def booked(sandbox: Sandbox) -> list[str]:
    """Return the references of the orders in the server's books, sorted."""
    return sorted(order["referenceId"] for order in sandbox.state()["orders"])


def spent(sandbox: Sandbox) -> Decimal:
    """Return what the server took from the balance."""
    return 1000 - Decimal(sandbox.state()["balance"])


def statuses(report: Any) -> list[str]:
    """Return the status of each line."""
    return [line.status for line in report.lines]


@pytest.fixture
def served() -> Iterator[Sandbox]:
    """Run a sandbox in a thread of its own, for tests whose own thread blocks."""
    with Sandbox(packages=300) as sandbox:
        yield sandbox


# ---------------------------------------------------------------- lines


async def test_lines_in_the_order_of_the_requests(either, sandbox):
    """Each request has its line, in the order of the requests, with the very order that the server booked."""
    packages = [sandbox.kinds["plain"][place % 7] for place in range(30)]
    report = await either.orders.bulk([one(package, 1 + place % 2) for place, package in enumerate(packages)])
    lines = list(report.lines)
    assert [line.position for line in lines] == list(range(30))
    assert [line.request.items[0].package_id for line in lines] == packages
    assert [line.order.items[0].package_id for line in lines] == packages
    assert [len(line.order.items) for line in lines] == [1, 2] * 15
    assert {line.order.id for line in lines} == {order["id"] for order in sandbox.state()["orders"]}
    assert len(sandbox.state()["orders"]) == 30


async def test_money_is_exact(either, sandbox):
    """What was spent is the sum of the orders to the cent, and what the balance has less."""
    packages = sandbox.kinds["plain"][:9]
    report = await either.orders.bulk([one(package) for package in packages])
    assert report.spent == sum(map(sandbox.price, packages)) == spent(sandbox)


async def test_every_outcome(either, sandbox):
    """A line is ordered, refused, in doubt or not sent; its order and its error say so, and none hurts another."""
    sandbox.fail("POST", ORDER, "drop")
    requests = (
        one(package, reference=reference)
        for package, reference in [
            (PLAIN, "doubt"), ("esim-nowhere", None), (PLAIN, "mine"), (PLAIN, "mine"), (DEAR, None), (PLAIN, None)
        ]
    )  # fmt: skip
    report = await either.orders.bulk(requests, concurrency=1, max_spend=PRICE * 3)
    assert statuses(report) == ["in_doubt", "refused", "ordered", "refused", "not_sent", "ordered"]
    doubt, unknown, bought, twin, dear, last = report.lines
    assert [line.order is not None for line in report.lines] == [False, False, True, False, False, True]
    assert [line.esims for line in report.lines] == [()] * 6
    assert isinstance(doubt.error, PurchaseInDoubtError)
    assert (doubt.reference_id, doubt.error.reference_id, doubt.error.request) == ("doubt", "doubt", doubt.request)
    assert isinstance(unknown.error, NotFoundError)
    assert "esim-nowhere" in str(unknown.error)
    assert isinstance(twin.error, ConflictError)
    assert twin.error.sent == "no"
    assert isinstance(dear.error, BudgetError)
    assert (bought.error, last.error) == (None, None)
    assert report.counts == {"ordered": 2, "refused": 2, "in_doubt": 1, "not_sent": 1}
    assert report.spent == PRICE * 2 == spent(sandbox)
    parts = {"ordered": [2, 5], "refused": [1, 3], "in_doubt": [0], "not_sent": [4]}
    for name, places in parts.items():
        assert [line.position for line in getattr(report, name)] == places
    assert (len(report.lines), report.lines[2].order.id, report.lines[-1].position) == (6, bought.order.id, 5)
    assert len(sandbox.state()["orders"]) == 2


async def test_doubt_holds_its_money(client, sandbox):
    """What a line in doubt may have cost counts against the budget, for it may have been booked."""
    sandbox.fail("POST", ORDER, "drop")
    report = await client.orders.bulk(iter(several(2)), concurrency=1, max_spend=PRICE)
    assert statuses(report) == ["in_doubt", "not_sent"]


async def test_refusals_give_their_money_back(client, sandbox):
    """What a refused line would have cost is free for the others."""
    sandbox.fail("POST", ORDER, "409", times=5)
    report = await client.orders.bulk(iter(several(10)), concurrency=1, max_spend=PRICE * 5)
    assert statuses(report) == ["refused"] * 5 + ["ordered"] * 5


@pytest.mark.parametrize("listed", [True, False])
async def test_priced_once(client, sandbox, listed):
    """Each package is priced once, also one that is unknown and refused again and again."""
    requests = [one(package) for package in (PLAIN, "esim-nowhere", OTHER, "esim-gone") * 5]
    report = await client.orders.bulk(requests if listed else iter(requests))
    assert report.counts == {"ordered": 10, "refused": 10, "in_doubt": 0, "not_sent": 0}
    assert sandbox.state()["requests"]["GET /api/esim/packages"] == 4
    assert posts(sandbox) == 10


async def test_price_that_cannot_be_learnt(client, sandbox, tmp_path):
    """A line whose price cannot be learnt for now was not refused: it is not sent, and a later run sends it."""
    sandbox.fail("GET", "/api/esim/packages", "503", query={"packageId": PLAIN}, times=10)
    journal = tmp_path / "orders.db"
    report = await client.orders.bulk(iter([one(), one(OTHER)]), journal=journal, concurrency=1)
    assert statuses(report) == ["not_sent", "ordered"]
    assert isinstance(report.lines[0].error, ServerError)
    assert statuses(await client.orders.bulk([one(), one(OTHER)], journal=journal)) == ["ordered", "ordered"]
    assert len(sandbox.state()["orders"]) == 2


async def test_equal_lines_are_separate_orders(either, sandbox):
    """Equal lines without a reference are separate purchases, each under a reference of its own."""
    report = await either.orders.bulk([one()] * 5)
    assert report.counts["ordered"] == 5
    assert len({line.reference_id for line in report.lines}) == 5
    assert booked(sandbox) == sorted(line.reference_id for line in report.lines)


@pytest.mark.parametrize("concurrency", [1, 8])
async def test_one_reference_is_one_purchase(client, sandbox, concurrency):
    """Of the lines with one reference the first is bought and the others are refused, however many run at once."""
    requests = [one(reference="r"), one(OTHER, reference="r"), one(), one(reference="r"), one(reference="s")]
    report = await client.orders.bulk(requests, concurrency=concurrency)
    assert statuses(report) == ["ordered", "refused", "ordered", "refused", "ordered"]
    assert booked(sandbox).count("r") == 1


async def test_under_way_elsewhere(client, sandbox, tmp_path):
    """A line whose reference another call holds for too long is not sent, and the next run of the journal buys it."""
    hasty = client.with_settings(timeouts=Timeouts(total=0.1), reconcile_window=0.05)
    async with client._engine.memory.claims.hold("r-0", 0):
        with await hasty.orders.bulk(several(2), journal=tmp_path / "j.db") as report:
            assert statuses(report) == ["not_sent", "ordered"]
            assert isinstance(report.lines[0].error, ConflictError)
            assert report.lines[0].error.is_under_way
    assert posts(sandbox) == 1
    with await client.orders.bulk(several(2), journal=tmp_path / "j.db") as report:
        assert statuses(report) == ["ordered", "ordered"]
    assert sorted(booked(sandbox)) == ["r-0", "r-1"]


async def test_errors_name_their_purchase(client, sandbox):
    """The error of a line names the line's reference, also where nothing was sent."""
    sandbox.fail("POST", ORDER, "drop")
    requests = iter([one(reference="a"), one("esim-nowhere", reference="b"), one(DEAR, reference="c")])
    report = await client.orders.bulk(requests, max_spend=2, concurrency=1)
    assert [line.error.reference_id for line in report.lines] == ["a", "b", "c"]


async def test_doubt_of_an_earlier_call(client, sandbox):
    """A line whose reference this client left in doubt before is looked for before anything is sent."""
    sandbox.fail("POST", ORDER, "book_but_hide", seconds=600)
    with pytest.raises(PurchaseInDoubtError):
        await client.orders.create([OrderItem(PLAIN)], reference_id="r")
    sandbox.advance(600)
    report = await client.with_settings(reconcile_window=HANG).orders.bulk([one(reference="r")])
    assert statuses(report) == ["ordered"]
    assert (posts(sandbox), booked(sandbox)) == (1, ["r"])


async def test_nothing(either, sandbox):
    """No requests are an empty report."""
    report = await either.orders.bulk([])
    assert (list(report.lines), len(report.lines), report.spent) == ([], 0, 0)
    assert report.counts == {"ordered": 0, "refused": 0, "in_doubt": 0, "not_sent": 0}
    assert repr(report) == "<BulkReport no lines, spent 0>"


async def test_lines_outlive_their_report(client):
    """Lines can be read where the report itself was never kept, as in a loop over them."""
    seen = []
    for line in (await client.orders.bulk(several(3))).ordered:
        gc.collect()
        seen.append(line.reference_id)
    assert seen == ["r-0", "r-1", "r-2"]
    lines = (await client.orders.bulk([one()])).lines
    gc.collect()
    assert lines[0].order.total == PRICE


# ---------------------------------------------------------------- what the caller gives


async def awaited(requests: list[CreateOrder]) -> AsyncIterator[CreateOrder]:
    """Return requests one by one, asynchronously."""
    for request in requests:
        await asyncio.sleep(0)
        yield request


@pytest.mark.parametrize("given", [list, tuple, iter, awaited], ids=["list", "tuple", "generator", "async"])
async def test_any_iterable(either, sandbox, given):
    """Requests come from a list, a tuple, a generator or an async iterable, to either client."""
    report = await either.orders.bulk(given(several(20)))
    assert [line.reference_id for line in report.lines] == [f"r-{place}" for place in range(20)]
    assert booked(sandbox) == sorted(f"r-{place}" for place in range(20))


@pytest.mark.parametrize("given", [None, 5, one(), "esim-1"])
async def test_no_requests(client, sandbox, given):
    """What is no iterable of requests is a ``TypeError`` before anything is sent."""
    with pytest.raises(TypeError):
        await client.orders.bulk(given)
    assert posts(sandbox) == 0


async def test_wrong_request_in_a_list(either, sandbox):
    """A list that holds something else is refused before anything is sent."""
    with pytest.raises(TypeError, match=r"requests must hold CreateOrder values, not 'esim-1'"):
        await either.orders.bulk([one(), "esim-1"])
    assert posts(sandbox) == 0


class Threads:
    """A lazy sequence of requests and a callback that note in which thread they run."""

    def __init__(self, count: int, *, sized: bool) -> None:
        """Hold so many requests, and tell their number or not."""
        self.count = count
        self.sized = sized
        self.seen: set[int] = set()

    def note(self, _: object = None) -> None:
        """Note the thread."""
        self.seen.add(threading.get_ident())

    def requests(self) -> Any:
        """Return the iterable."""
        noting = self

        class Plain:
            def __iter__(self) -> Iterator[CreateOrder]:
                noting.note()
                return (noting.note() or request for request in several(noting.count))  # type: ignore[func-returns-value]

        class Sized(Plain):
            def __len__(self) -> int:
                noting.note()
                return noting.count

        return Sized() if self.sized else Plain()


@pytest.mark.parametrize("sized", [True, False])
def test_callers_thread_blocking(served, sized):
    """The blocking client takes requests and tells of progress in the thread that called."""
    threads = Threads(100, sized=sized)
    with Roamify(served.token, base_url=served.url, settings=QUICK) as roamify:
        report = roamify.orders.bulk(threads.requests(), on_progress=threads.note)
    assert report.counts["ordered"] == 100
    assert threads.seen == {threading.get_ident()}


@pytest.mark.parametrize("sized", [True, False])
async def test_callers_thread_awaiting(client, sized):
    """The awaiting client takes requests and tells of progress in the thread of its event loop."""
    threads = Threads(100, sized=sized)
    report = await client.orders.bulk(threads.requests(), on_progress=threads.note)
    assert report.counts["ordered"] == 100
    assert threads.seen == {threading.get_ident()}


async def test_progress(either, sandbox):
    """Progress is told after each line: how many are done, of how many, what came of them, and what was spent."""
    told: list[Any] = []
    await either.orders.bulk([one(), one("esim-nowhere"), one()], on_progress=told.append, concurrency=1)
    assert [(step.done, step.total) for step in told] == [(1, 3), (2, 3), (3, 3)]
    assert all(step.spent == PRICE * step.counts["ordered"] for step in told)
    assert told[-1].counts == {"ordered": 2, "refused": 1, "in_doubt": 0, "not_sent": 0}
    assert str(told[-1]) == "3 of 3 lines: 2 ordered, 1 refused; spent 3.10"
    await either.orders.bulk(iter([one()]), on_progress=told.append)
    assert (told[-1].total, str(told[-1])) == (None, "1 lines: 1 ordered; spent 1.55")


class Broken(Exception):  # noqa: N818 -- it is the caller's own
    """What the caller's own code raises."""


def breaking(count: int) -> Iterator[CreateOrder]:
    """Return so many requests, then an error."""
    yield from several(count)
    raise Broken("the file ends in mid-line")


async def breaking_late(count: int) -> AsyncIterator[CreateOrder]:
    """Return so many requests, then an error."""
    for request in several(count):
        yield request
    raise Broken("the queue is gone")


@pytest.mark.parametrize("given", [breaking, breaking_late], ids=["generator", "async"])
async def test_iterable_that_raises(either, sandbox, tmp_path, given):
    """What the iterable raises is raised at the end; the lines that came before it are settled and written."""
    with pytest.raises(Broken):
        await either.orders.bulk(given(5), journal=tmp_path / "orders.db", concurrency=2)
    assert booked(sandbox) == [f"r-{place}" for place in range(5)]
    with Journal.open(tmp_path / "orders.db") as journal:
        assert statuses(journal) == ["ordered"] * 5
    report = await either.orders.bulk(several(7), journal=tmp_path / "orders.db")
    assert report.counts["ordered"] == 7 == len(booked(sandbox))


async def test_progress_that_raises(either, sandbox, tmp_path):
    """What ``on_progress`` raises ends the taking and is raised at the end, when what was in flight is settled."""
    told = []

    def tell(progress: Any) -> None:
        told.append(progress)
        if len(told) == 2:
            raise Broken("no more")

    with pytest.raises(Broken):
        await either.orders.bulk(several(50), journal=tmp_path / "orders.db", concurrency=3, on_progress=tell)
    with Journal.open(tmp_path / "orders.db") as journal:
        assert 2 <= len(journal.lines) <= 8
        assert set(statuses(journal)) == {"ordered"}
        assert [line.reference_id for line in journal.lines] == booked(sandbox)


# ---------------------------------------------------------------- money


@pytest.mark.parametrize("limit", [Decimal("3.10"), 4, "3.10", "3.1"])
async def test_max_spend(either, sandbox, limit):
    """The limit is a ``Decimal``, a whole number or text; lines that would pass it are not sent."""
    report = await either.orders.bulk(iter(several(4)), max_spend=limit, concurrency=1)
    assert statuses(report) == ["ordered", "ordered", "not_sent", "not_sent"]
    assert isinstance(report.lines[3].error, BudgetError)
    assert spent(sandbox) == report.spent == Decimal("3.10")
    assert posts(sandbox) == 2


@pytest.mark.parametrize("concurrency", [1, 16])
async def test_max_spend_is_never_passed(client, sandbox, concurrency):
    """However many lines run at once, what they cost together stays within the limit."""
    report = await client.orders.bulk(iter([one()] * 40), max_spend=PRICE * 7, concurrency=concurrency)
    assert report.counts == {"ordered": 7, "refused": 0, "in_doubt": 0, "not_sent": 33}
    assert spent(sandbox) == PRICE * 7


@pytest.mark.parametrize(
    ("limit", "error"),
    [
        (3.10, TypeError),
        (True, TypeError),
        (-1, ValueError),
        ("-0.01", ValueError),
        ("ten", ValueError),
        ("NaN", ValueError),
    ],
)
async def test_limits_that_are_none(client, sandbox, limit, error):
    """A float is not exact, and neither are words: they are refused before anything is sent."""
    with pytest.raises(error, match="max_spend"):
        await client.orders.bulk(several(1), max_spend=limit)
    assert posts(sandbox) == 0


async def test_list_that_costs_too_much(either, sandbox, tmp_path):
    """A list whose price is known to pass the limit is refused as a whole, before anything is sent."""
    with pytest.raises(BudgetError, match=r"6\.20.*max_spend.*6\.19"):
        await either.orders.bulk(several(4), max_spend="6.19", journal=tmp_path / "orders.db")
    assert posts(sandbox) == 0
    with Journal.open(tmp_path / "orders.db") as journal:
        assert len(journal.lines) == 0
    report = await either.orders.bulk(several(4), max_spend="6.20", journal=tmp_path / "orders.db")
    assert report.counts["ordered"] == 4


async def test_unknown_packages_cost_nothing(client):
    """Lines that will be refused have no part in what a list costs."""
    report = await client.orders.bulk([one(), one("esim-nowhere", 99)], max_spend=PRICE)
    assert statuses(report) == ["ordered", "refused"]


async def test_balance_is_a_limit():
    """Without a lower limit of the caller's the balance is it: for a list at once, else line by line."""
    async with Sandbox(packages=300, balance="4.00") as sandbox:
        async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
            for limit in (None, 50):
                with pytest.raises(BudgetError, match="the balance"):
                    await roamify.orders.bulk(several(3), max_spend=limit)
            report = await roamify.orders.bulk(iter(several(3)), concurrency=1)
        assert statuses(report) == ["ordered", "ordered", "not_sent"]
        assert sandbox.state()["balance"] == "0.90"
        assert posts(sandbox) == 2


# ---------------------------------------------------------------- what stops it


@pytest.mark.parametrize(("fault", "error"), [("401", AuthenticationError), ("403_html", PermissionDeniedError)])
async def test_refused_token_stops(either, sandbox, tmp_path, fault, error):
    """A refused token stops the taking, and the report comes back; run again, all lines are bought."""
    sandbox.fail("POST", ORDER, fault, times=None)
    taken = []
    requests = (taken.append(request) or request for request in several(100))  # type: ignore[func-returns-value]
    report = await either.orders.bulk(requests, concurrency=2, journal=tmp_path / "orders.db")
    assert 1 <= len(report.lines) == posts(sandbox) <= 4
    assert set(statuses(report)) == {"refused"}
    assert all(isinstance(line.error, error) for line in report.lines)
    assert len(taken) < 100
    sandbox.reset()
    report = await either.orders.bulk(several(100), journal=tmp_path / "orders.db")
    assert report.counts == {"ordered": 100, "refused": 0, "in_doubt": 0, "not_sent": 0}
    assert len(sandbox.state()["orders"]) == 100


async def test_refused_balance_stops(client, sandbox):
    """A balance that somebody else has spent stops the taking, and the report comes back."""
    done = asyncio.Event()

    async def requests() -> AsyncIterator[CreateOrder]:
        yield one(reference="first")
        await done.wait()
        for package in (DEAR, PLAIN):
            count = int(Decimal(sandbox.state()["balance"]) // sandbox.price(package))
            if count:
                await client.orders.create([OrderItem(package, count)])
        for request in several(50):
            yield request

    report = await client.orders.bulk(requests(), concurrency=1, on_progress=lambda _: done.set())
    assert statuses(report)[0] == "ordered"
    assert len(report.lines) < 5
    assert report.lines[-1].status == "refused"
    assert "balance" in report.lines[-1].error.message


async def test_stop_does_not_wait_for_requests(client, sandbox):
    """Once a refused token has stopped the taking, a request that is long in coming is not waited for, nor sent."""
    sandbox.fail("POST", ORDER, "401")
    waiting = asyncio.Event()

    async def requests() -> AsyncIterator[CreateOrder]:
        yield one(reference="first")
        waiting.set()
        await asyncio.Event().wait()
        yield one()

    report = await client.orders.bulk(requests(), concurrency=2)
    assert waiting.is_set()
    assert statuses(report) == ["refused"]
    assert posts(sandbox) == 1


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"concurrency": 0}, ValueError),
        ({"concurrency": -1}, ValueError),
        ({"concurrency": 2.5}, TypeError),
        ({"concurrency": True}, TypeError),
        ({"rate": 0}, ValueError),
        ({"rate": -2}, ValueError),
        ({"rate": float("nan")}, ValueError),
        ({"rate": "5"}, TypeError),
        ({"rate": True}, TypeError),
    ],
)
async def test_bad_pace(either, sandbox, arguments, error):
    """A concurrency or rate that is none is refused before anything is sent."""
    with pytest.raises(error, match=next(iter(arguments))):
        await either.orders.bulk(several(2), **arguments)
    assert sandbox.state()["requests"] == {}


# ---------------------------------------------------------------- pace


class Door:
    """Where orders come into the sandbox: it counts those under way at once, and a test may hold them there."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Stand in the way of each request."""
        self.came = self.under_way = self.most = 0
        self.hold: Callable[[int], Any] | None = None
        """Awaited with the number of the order, from 1."""
        served = app._api

        async def api(world: Any, request: Any, body: bytes) -> Any:
            if f"{request.method} {request.path}" != POST:
                return await served(world, request, body)
            self.came += 1
            self.under_way += 1
            self.most = max(self.most, self.under_way)
            try:
                if self.hold is not None:
                    await self.hold(self.came)
                return await served(world, request, body)
            finally:
                self.under_way -= 1

        monkeypatch.setattr(app, "_api", api)


@pytest.fixture
def door(monkeypatch) -> Door:
    """Watch the orders that come in."""
    return Door(monkeypatch)


@pytest.mark.parametrize("concurrency", [1, 3, 24])
async def test_so_many_at_once(client, door, concurrency):
    """As many orders as asked for are in flight at the server at once, and never more."""
    barrier = asyncio.Barrier(concurrency)
    door.hold = lambda _: barrier.wait()
    report = await client.orders.bulk(several(concurrency * 4), concurrency=concurrency)
    assert report.counts["ordered"] == concurrency * 4
    assert door.most == concurrency


async def test_clients_own_concurrency(sandbox, door):
    """Without a word the client's own concurrency holds."""
    barrier = asyncio.Barrier(5)
    door.hold = lambda _: barrier.wait()
    settings = QUICK.changed(concurrency=5)
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=settings) as roamify:
        await roamify.orders.bulk(several(20))
    assert door.most == 5


async def test_rate(client, sandbox):
    """No more orders a second are sent than asked for."""
    begun = time.monotonic()
    report = await client.orders.bulk(several(6), rate=40)
    assert report.counts["ordered"] == 6
    assert time.monotonic() - begun >= 5 / 40


@pytest.mark.parametrize(("fault", "when"), [("429", "before"), ("503", "after")])
async def test_busy_server_is_given_way(client, sandbox, door, monkeypatch, fault, when):
    """After a 429 or 503 half as many orders are in flight at once; the line itself is bought once."""
    sandbox.fail("POST", ORDER, fault, when=when)
    told, free, under_way = asyncio.Event(), asyncio.Event(), list[int]()
    throttle = concurrency.Limiter.throttle

    def gives_way(queue: concurrency.Limiter, seconds: float | None) -> None:
        throttle(queue, seconds)
        told.set()

    monkeypatch.setattr(concurrency.Limiter, "throttle", gives_way)
    monkeypatch.setattr(machine, "MIN_RATE_LIMIT_DELAY", 0.01)

    async def hold(number: int) -> None:
        if 2 <= number <= 8:  # They are in flight when the first is answered.
            await told.wait()
        if number == 12:
            for _ in range(10):  # More than others would need to come.
                await client.account.balance()
            under_way.append(door.under_way)
            free.set()
        if number > 8:
            await free.wait()

    door.hold = hold
    report = await client.orders.bulk(several(40), concurrency=8)
    assert under_way == [4]
    assert report.counts["ordered"] == len(sandbox.state()["orders"]) == 40


async def test_busy_for_a_while_only(client, sandbox, door, monkeypatch):
    """When the while is over all places are taken again."""
    monkeypatch.setattr(concurrency, "MIN_THROTTLE", 0.0)
    monkeypatch.setattr(machine, "MIN_RATE_LIMIT_DELAY", 0.01)
    sandbox.fail("POST", ORDER, "429")
    barrier = asyncio.Barrier(8)

    async def hold(number: int) -> None:
        if number > 1:
            await barrier.wait()

    door.hold = hold
    report = await client.orders.bulk(several(32), concurrency=8)
    assert report.counts["ordered"] == 32
    assert door.most == 8


async def test_retry_after_is_honoured(client, sandbox, monkeypatch):
    """A line that is refused for now waits as long as the server says, and is bought then."""
    clock = Clock(monkeypatch)
    monkeypatch.setattr(anyio, "sleep", clock.sleep)
    sandbox.fail("POST", ORDER, "429", seconds=7)
    report = await client.orders.bulk(several(1))
    assert statuses(report) == ["ordered"]
    assert 7 in clock.slept
    assert posts(sandbox) == 2


# ---------------------------------------------------------------- eSIMs


async def test_apply(either, sandbox):
    """With ``apply`` each line has its eSIMs, with the codes that a device takes."""
    report = await either.orders.bulk([one(quantity=2), one(), one("esim-nowhere")], apply=True)
    assert statuses(report) == ["ordered", "ordered", "refused"]
    assert [len(line.esims) for line in report.lines] == [2, 1, 0]
    codes = [esim.esim.lpa_code for line in report.lines for esim in line.esims]
    assert len(set(codes)) == 3
    assert all(code.startswith("LPA:1$") for code in codes)
    known = await either.esims.get(esim_id=report.lines[1].order.items[0].esim_id)
    assert report.lines[1].esims == (known,)


async def test_apply_that_fails(either, sandbox, tmp_path):
    """A line whose eSIM cannot be made stays ordered and says what went wrong; run again, it is made, not bought."""
    sandbox.fail("POST", APPLY, "403_html")
    requests = several(3)
    arguments = {"journal": tmp_path / "orders.db", "apply": True, "concurrency": 1}
    report = await either.orders.bulk(requests, **arguments)
    assert statuses(report) == ["ordered"] * 3
    assert [len(line.esims) for line in report.lines] == [0, 1, 1]
    assert "0 of 1 eSIMs are ready" in str(report.lines[0].error)
    assert report.spent == PRICE * 3
    told: list[Any] = []
    report = await either.orders.bulk(requests, **arguments, on_progress=told.append)
    assert [(len(line.esims), line.error) for line in report.lines] == [(1, None)] * 3
    assert [(step.done, step.spent) for step in told] == [(3, PRICE * 3)]
    assert len(sandbox.state()["orders"]) == 3


async def test_apply_that_fails_in_part(client, sandbox, tmp_path):
    """Of a line with several eSIMs those that are ready are shown; run again, only the others are made."""
    sandbox.fail("POST", APPLY, "403_html")
    arguments = {"journal": tmp_path / "orders.db", "apply": True}
    report = await client.orders.bulk([one(quantity=3)], **arguments)
    (line,) = report.lines
    assert (line.status, len(line.esims)) == ("ordered", 2)
    assert line.error.esims == line.esims
    (failure,) = line.error.failures.values()
    assert isinstance(failure, PermissionDeniedError)
    assert line.error.order == line.order
    report = await client.orders.bulk([one(quantity=3)], **arguments)
    (line,) = report.lines
    assert (line.status, len(line.esims), line.error) == ("ordered", 3, None)
    assert sandbox.state()["requests"]["POST " + APPLY] == 4
    assert len(sandbox.state()["orders"]) == 1


# ---------------------------------------------------------------- cut off


async def test_cancelled(client, sandbox, door, tmp_path):
    """A bulk order that is cancelled settles what is in flight, and says how many lines it did and how to go on."""
    three, go, told = asyncio.Event(), asyncio.Event(), list[Any]()

    async def hold(number: int) -> None:
        if number == 3:
            three.set()
        await go.wait()

    door.hold = hold
    roamify = client.with_settings(reconcile_window=5)
    arguments = {"journal": tmp_path / "orders.db", "concurrency": 3, "on_progress": told.append}
    task = asyncio.create_task(roamify.orders.bulk(several(20), **arguments))
    await three.wait()
    task.cancel()
    await asyncio.sleep(0)
    go.set()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    (note,) = caught.value.__notes__
    assert "same journal and requests" in note
    with Journal.open(tmp_path / "orders.db") as journal:
        begun = len(journal.lines)
        assert statuses(journal) == ["ordered"] * begun
    assert 3 <= begun < 20
    assert f"after {begun} lines; no line is in doubt" in note
    assert told == []
    assert booked(sandbox) == [f"r-{place}" for place in range(begun)]
    report = await client.orders.bulk(several(20), journal=tmp_path / "orders.db")
    assert report.counts["ordered"] == 20 == len(booked(sandbox))


async def test_cancelled_with_an_answer_that_does_not_come(client, sandbox, tmp_path):
    """What is not settled within the window is left in doubt, under the references that the note names."""
    sandbox.fail("POST", ORDER, "slow", when="after", seconds=60, times=2)
    roamify = client.with_settings(reconcile_window=0.1)
    task = asyncio.create_task(roamify.orders.bulk(several(20), journal=tmp_path / "orders.db", concurrency=2))
    await sandbox.arrived(POST, 2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    (note,) = caught.value.__notes__
    with Journal.open(tmp_path / "orders.db") as journal:
        first, second = (line.reference_id for line in journal.in_doubt)
    assert {first, second} < {"r-0", "r-1", "r-2"}  # Two are sent at a time, and a third is prepared.
    assert f"after 0 lines; in doubt: {first} {second}; " in note
    report = await client.orders.bulk(several(20), journal=tmp_path / "orders.db")
    assert report.counts["ordered"] == 20 == len(booked(sandbox))


async def test_cancelled_without_a_journal(client, sandbox, tmp_path, monkeypatch):
    """Where there is no journal, the note names the temporary file, which is kept, and what is in doubt."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    sandbox.fail("POST", ORDER, "slow", when="after", seconds=60)
    task = asyncio.create_task(client.orders.bulk(several(20), concurrency=1))
    await sandbox.arrived(POST)
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    (note,) = caught.value.__notes__
    assert "; in doubt: r-0; " in note
    (folder,) = tmp_path.iterdir()
    assert caught.value.journal == folder / "lines.db"
    assert f"journal={str(folder / 'lines.db')!r}" in note
    report = await client.orders.bulk(several(20), journal=folder / "lines.db")
    assert report.counts["ordered"] == 20 == len(booked(sandbox))


async def test_cancelled_while_it_waits_for_requests(client, sandbox, tmp_path):
    """A cancelled bulk order does not wait for a request that is long in coming."""
    waiting, told = asyncio.Event(), asyncio.Event()

    async def requests() -> AsyncIterator[CreateOrder]:
        yield one(reference="r-0")
        waiting.set()
        await asyncio.Event().wait()

    roamify = client.with_settings(reconcile_window=600)
    arguments = {"concurrency": 4, "journal": tmp_path / "orders.db", "on_progress": lambda _: told.set()}
    task = asyncio.create_task(roamify.orders.bulk(requests(), **arguments))
    await waiting.wait()
    await told.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await asyncio.wait_for(task, HANG)
    assert "after 1 lines" in caught.value.__notes__[0]


def script(body: str, served: Sandbox, *arguments: str) -> subprocess.Popen[str]:
    """Run a program of its own against the sandbox."""
    head = f"""
        import os, signal, sys, threading, time
        from roamify_async import *
        from roamify_async.purchasing import Journal
        settings = Settings(reconcile_window=0.5, retries=Retries(wait=0.001))
        roamify = Roamify(sys.argv[1], base_url=sys.argv[2], settings=settings)
        journal = sys.argv[3]
        requests = [CreateOrder([OrderItem("{PLAIN}")], reference_id=f"r-{{n}}") for n in range(20)]
    """
    return subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(head) + textwrap.dedent(body), served.token, served.url, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"},
    )


def test_ctrl_c(served, tmp_path):
    """Ctrl-C settles what is in flight, and says how many lines were done and how to go on."""
    served.fail("POST", ORDER, "slow", when="after", seconds=0.1, times=None)
    body = """
        try:
            roamify.orders.bulk(requests, journal=journal, concurrency=2)
        except KeyboardInterrupt as interrupt:
            print(*interrupt.__notes__)
        print(roamify.account.balance().balance)
        roamify.close()
        print([thread.name for thread in threading.enumerate() if "roamify" in thread.name])
    """
    process = script(body, served, str(tmp_path / "orders.db"))
    served.wait_for(POST, 4, timeout=HANG)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=HANG)
    note, *_, threads = out.splitlines()
    assert (process.returncode, threads) == (0, "[]"), err
    with Journal.open(tmp_path / "orders.db") as journal:
        assert statuses(journal) == ["ordered"] * len(journal.lines)
        assert f"after {len(journal.lines)} lines; no line is in doubt" in note
        assert sorted(line.reference_id for line in journal.lines) == booked(served)
    assert "same journal and requests" in note


def test_ctrl_c_with_an_answer_that_does_not_come(served, tmp_path):
    """The note of Ctrl-C names what could not be settled in time."""
    served.fail("POST", ORDER, "slow", when="after", seconds=60, times=2)
    body = """
        try:
            roamify.orders.bulk(requests, journal=journal, concurrency=2)
        except KeyboardInterrupt as interrupt:
            print(*interrupt.__notes__)
        roamify.close()
    """
    process = script(body, served, str(tmp_path / "orders.db"))
    served.wait_for(POST, 2, timeout=HANG)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=HANG)
    assert process.returncode == 0, err
    assert re.search(r"after 0 lines; in doubt: r-\d r-\d; ", out), (out, err)


@pytest.mark.parametrize("where", ["requests", "progress"])
def test_ctrl_c_in_the_callers_own_code(served, tmp_path, where):
    """Ctrl-C in the iterable or in ``on_progress`` ends the order at once: the caller's code is not waited for."""
    body = f"""
        roamify = roamify.with_settings(reconcile_window=600)
        def interrupted():
            signal.raise_signal(signal.SIGINT)
            time.sleep(600)
        def slow():
            yield from requests[:3]
            if "{where}" == "requests":
                interrupted()
        def tell(progress):
            if "{where}" == "progress" and progress.done == 3:
                interrupted()
        try:
            roamify.orders.bulk(slow(), journal=journal, concurrency=1, on_progress=tell)
        except KeyboardInterrupt as interrupt:
            print(*interrupt.__notes__)
        roamify.close()
    """
    process = script(body, served, str(tmp_path / "orders.db"))
    out, err = process.communicate(timeout=HANG)
    assert process.returncode == 0, err
    assert out.startswith("the bulk order was interrupted after"), (out, err)
    with Journal.open(tmp_path / "orders.db") as journal:
        assert [line.reference_id for line in journal.ordered] == booked(served)


async def test_client_closed_under_it(sandbox, tmp_path):
    """A client that is closed meanwhile ends the order with an error; its journal can be run again."""
    sandbox.fail("POST", ORDER, "slow", when="after", seconds=60)
    roamify = AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK)
    task = asyncio.create_task(roamify.orders.bulk(several(3), journal=tmp_path / "orders.db", concurrency=1))
    await sandbox.arrived(POST)
    await roamify.aclose()
    with pytest.raises(RoamifyError, match="closed"):
        await task
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as again:
        report = await again.orders.bulk(several(3), journal=tmp_path / "orders.db")
    assert statuses(report) == ["ordered"] * 3
    assert booked(sandbox) == ["r-0", "r-1", "r-2"]


# ---------------------------------------------------------------- memory

MEMORY = """
import asyncio, json, sys
from roamify_async import *
from roamify_async._http.transport import Transport
from roamify_async._http.messages import HttpResponse

PACKAGE = "esim-greece-30days-1gb-all"

async def answer(transport, request, timeouts, **options):
    await asyncio.sleep(0)
    if "balance" in request.path:
        data = {"balance": 1000000, "currency": "USD"}
    elif "packages" in request.path:
        data = json.loads(sys.argv[2])
    elif request.method == "GET":
        data = {"orders": []}
    else:
        reference = json.loads(request.body)["referenceId"]
        item = {"esimId": reference, "packageId": PACKAGE, "price": 1.55, "currency": "USD", "createdAt": 1900000000}
        data = {"id": reference, "referenceId": reference, "total": 1.55, "items": [item], "createdAt": 1900000000}
    return HttpResponse(200, {}, json.dumps({"status": "success", "data": data}).encode())

Transport.send = answer

async def main():
    count = int(sys.argv[1])
    requests = (CreateOrder([OrderItem(PACKAGE)], reference_id=f"my-own-reference-{n:08}") for n in range(count))
    async with AsyncRoamify("a-token", base_url="http://127.0.0.1:1") as roamify:
        report = await roamify.orders.bulk(requests)
        assert report.counts["ordered"] == count == sum(1 for line in report.ordered if line.order.total)
    status = open("/proc/self/status").read()
    print(status.split("VmHWM:")[1].split()[0])

asyncio.run(main())
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="peaks are read from /proc")
@pytest.mark.long
@pytest.mark.timeout(300)
async def test_memory_does_not_grow_with_the_lines(sandbox):
    """Lines lie on the disk: ten times as many need no more memory, under references of the caller's too."""
    groups = [group for group in sandbox.catalogue if any(one["packageId"] == PLAIN for one in group["packages"])]
    data = json.dumps({"packages": groups}, default=float)

    async def peak(count: int) -> int:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", MEMORY, str(count), data, stdout=subprocess.PIPE, cwd=Path(__file__).parents[1]
        )
        out, _ = await process.communicate()
        assert process.returncode == 0
        return int(out)

    few, many = await asyncio.gather(peak(400), peak(4000))
    assert many <= 1.2 * few


async def test_refused_token_before_the_first_line(either, sandbox):
    """A token that is refused as soon as the balance is asked for is told by the report; nothing is sent."""
    sandbox.fail("GET", "*", "401", times=None)
    for requests in (several(3), iter(several(3))):
        report = await either.orders.bulk(requests, concurrency=1)
        assert [type(line.error) for line in report.lines] == [AuthenticationError]
    assert posts(sandbox) == 0


async def test_balance_that_cannot_be_read(either, sandbox):
    """Where the balance cannot be read, the lines say why; it is asked for again by the next line."""
    sandbox.fail("GET", "/api/balance", "500", times=10)
    report = await either.orders.bulk(iter(several(3)), concurrency=1)
    assert [type(line.error) for line in report.lines] == [ServerError, ServerError, type(None)]
    assert statuses(report) == ["not_sent", "not_sent", "ordered"]


@pytest.mark.parametrize(
    "place", [slice(None), slice(2), slice(1, 3), slice(-2, None), slice(None, None, -1), slice(3, 0, -2), slice(9, 12)]
)
async def test_slices(client, place):
    """Some of the lines are given as those of a list would be."""
    report = await client.orders.bulk(several(5))
    assert [line.position for line in report.lines[place]] == [*range(5)][place]
    assert [line.position for line in report.ordered[place]] == [*range(5)][place]


@pytest.mark.parametrize("rate", [float("inf"), 10**400, 1_000_001])
async def test_rates_that_are_no_limit(client, rate):
    """A rate that limits nothing is refused."""
    with pytest.raises(ValueError, match="at most 1,000,000 a second"):
        await client.orders.bulk(several(1), rate=rate)


async def test_no_more_workers_than_lines(client, sandbox):
    """However many may be in flight, a few lines take a few workers."""
    tasks: list[int] = []
    report = await client.orders.bulk(
        several(3), concurrency=100_000, on_progress=lambda _: tasks.append(len(asyncio.all_tasks()))
    )
    assert report.counts["ordered"] == 3
    assert max(tasks) < 20
