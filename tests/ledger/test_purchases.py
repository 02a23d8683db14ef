"""Purchases of several replicas with one ledger, over real sockets. Orders are counted at the server.

A control beside each test of safety shows that the scenario is a danger without the ledger.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import anyio
import attrs
import pytest
from support.clients import QUICK
from support.ledgers import Wrapped, expire
from support.purchases import (
    APPLY,
    INSTANT,
    ORDER,
    OTHER,
    PLAIN,
    TOP_UP,
    WAYS,
    bulk,
    buy,
    came,
    create,
    create_instant,
    refill,
    top_up,
    under,
)

from roamify_async import (
    AsyncRoamify,
    BudgetError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    CreateOrder,
    EsimsNotReadyError,
    LedgerError,
    OrderItem,
    PackageNotFoundError,
    PurchaseFailedError,
    PurchaseInDoubtError,
    Retries,
    Roamify,
)
from roamify_async.ledger import LeaseLostError, SharedLimits, SqliteLedger, sqlite
from roamify_async.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("impatient")

SENT = f"POST {ORDER}"
LATENCY = 0.5
ITEMS = [OrderItem(PLAIN)]
AGAIN = [create, create_instant, top_up, buy, bulk]
"""Ways under whose references the sandbox books as often as it is asked to."""


def name(value: Any) -> str:
    """Name a case by its function."""
    return str(getattr(value, "__name__", value))


def slow(sandbox: Sandbox, path: str) -> None:
    """Make purchases take as long as real ones."""
    sandbox.fail("POST", path, "slow", when="before", seconds=LATENCY, times=None)


# ---------------------------------------------------------------- at once


@pytest.mark.parametrize("way", WAYS, ids=name)
async def test_two_replicas_at_once(replica, open_ledger, sandbox, iccid, way):
    """Two replicas that buy under one reference at once make one purchase, and both get it."""
    slow(sandbox, WAYS[way])
    sent = came(sandbox, f"POST {WAYS[way]}")
    replicas = [await replica(sandbox, open_ledger()) for _ in range(2)]
    assert await asyncio.gather(*(way(one, iccid) for one in replicas)) == ["r", "r"]
    assert len(under(sandbox)) == 1
    assert came(sandbox, f"POST {WAYS[way]}") == sent + 1


@pytest.mark.parametrize("way", AGAIN, ids=name)
async def test_two_replicas_at_once_without_a_ledger(replica, sandbox, iccid, way):
    """Control: without a ledger both buy."""
    slow(sandbox, WAYS[way])
    replicas = [await replica(sandbox, None) for _ in range(2)]
    await asyncio.gather(*(way(one, iccid) for one in replicas), return_exceptions=True)
    assert len(under(sandbox)) == 2


async def test_four_replicas_and_many_references(replica, open_ledger, sandbox):
    """Four replicas that ask for the same 20 references make 20 orders, and each gets all of them."""
    slow(sandbox, ORDER)
    replicas = [await replica(sandbox, open_ledger()) for _ in range(4)]

    async def ask(one, number):
        return (await one.orders.create(ITEMS, reference_id=f"r-{number}")).id

    orders = await asyncio.gather(*(ask(one, number) for number in range(20) for one in replicas))
    assert len(sandbox.state()["orders"]) == len({*orders}) == 20
    assert all(len({*orders[place : place + 4]}) == 1 for place in range(0, 80, 4))


async def test_different_calls_at_once(replica, open_ledger, sandbox):
    """Replicas that buy the same by different calls make one purchase, and its profile is made once."""
    slow(sandbox, ORDER)
    replicas = [await replica(sandbox, open_ledger()) for _ in range(4)]
    await asyncio.gather(
        replicas[0].esims.buy(PLAIN, reference_id="r"),
        replicas[1].esims.buy(PLAIN, reference_id="r"),
        replicas[2].orders.create(ITEMS, reference_id="r"),
        replicas[3].orders.bulk([CreateOrder(ITEMS, reference_id="r")]),
    )
    assert (len(under(sandbox)), came(sandbox, f"POST {APPLY}")) == (1, 1)


async def test_other_items_at_once(replica, open_ledger, sandbox):
    """Of two replicas that order different things under one reference, one orders and the other is told."""
    slow(sandbox, ORDER)
    replicas = [await replica(sandbox, open_ledger()) for _ in range(2)]
    first, second = await asyncio.gather(
        replicas[0].orders.create(ITEMS, reference_id="r"),
        replicas[1].orders.create([OrderItem(OTHER)], reference_id="r"),
        return_exceptions=True,
    )
    _check_conflict(first, second)
    assert (len(under(sandbox)), came(sandbox, SENT)) == (1, 1)


async def test_other_top_up_at_once(replica, open_ledger, sandbox, iccid):
    """So it is with top-ups."""
    slow(sandbox, TOP_UP)
    replicas = [await replica(sandbox, open_ledger()) for _ in range(2)]
    packages = [package.package_id for package in await replicas[0].topups.packages(iccid)][:2]
    first, second = await asyncio.gather(
        *(one.topups.create(iccid, package, reference_id="r") for one, package in zip(replicas, packages, strict=True)),
        return_exceptions=True,
    )
    _check_conflict(first, second)
    assert (len(under(sandbox)), came(sandbox, f"POST {TOP_UP}")) == (1, 1)


async def test_other_items_at_once_without_a_ledger(replica, sandbox):
    """Control: without a ledger both orders are booked."""
    slow(sandbox, ORDER)
    replicas = [await replica(sandbox, None) for _ in range(2)]
    await asyncio.gather(
        replicas[0].orders.create(ITEMS, reference_id="r"),
        replicas[1].orders.create([OrderItem(OTHER)], reference_id="r"),
        return_exceptions=True,
    )
    assert len(under(sandbox)) == 2


def _check_conflict(*outcomes: object) -> None:
    (error,) = (outcome for outcome in outcomes if isinstance(outcome, BaseException))
    assert isinstance(error, ConflictError)
    assert (error.sent, error.reference_id) == ("no", "r")
    assert "another purchase has the reference 'r'; nothing was sent" in str(error)


async def test_top_up_of_another_esim(replica, open_ledger, sandbox, iccid):
    """The same package for another eSIM is another purchase."""
    one, other = await replica(sandbox, open_ledger()), await replica(sandbox, open_ledger())
    package = await refill(one, iccid)
    await one.topups.create(iccid, package, reference_id="r")
    (esim,) = await one.esims.buy(PLAIN)
    with pytest.raises(ConflictError, match="another purchase has the reference"):
        await other.topups.create(esim.iccid, package, reference_id="r")
    assert len(under(sandbox)) == 1


async def test_waiting_ends(replica, open_ledger, sandbox):
    """Who waits for another replica waits for the time-out and the window, and is then told."""
    sandbox.fail("POST", ORDER, "hang", when="after")
    first, second = [await replica(sandbox, open_ledger()) for _ in range(2)]
    async with asyncio.TaskGroup() as group:
        hanging = group.create_task(first.orders.create(ITEMS, reference_id="r"))
        await sandbox.arrived(SENT)
        hasty = second.with_settings(timeouts=attrs.evolve(QUICK.timeouts, total=0.05))
        with pytest.raises(ConflictError, match="under way elsewhere") as caught:
            await hasty.orders.create(ITEMS, reference_id="r")
        assert caught.value.sent == "no"
        sandbox.reset()
        hanging.cancel()
    assert came(sandbox, SENT) == 0


@pytest.fixture
async def generous() -> AsyncIterator[Sandbox]:
    """Run a sandbox that orders again what is asked for by its reference alone."""
    async with Sandbox(packages=300, repeat_order="orders") as running:
        yield running


async def test_repetition_at_once(replica, open_ledger, generous):
    """Two replicas that order an existing reference again at once do so one after the other."""
    first, second = [await replica(generous, open_ledger()) for _ in range(2)]
    await first.orders.create(ITEMS, reference_id="r")
    slow(generous, ORDER)
    outcomes = await asyncio.gather(*(one.orders.repeat("r") for one in (first, second)), return_exceptions=True)
    (error,) = (outcome for outcome in outcomes if isinstance(outcome, BaseException))
    assert isinstance(error, ConflictError)
    assert "2 orders have the reference" in str(error)
    assert len(under(generous)) == 2


async def test_repetition_at_once_without_a_ledger(replica, generous):
    """Control: without a ledger the reference is ordered again twice."""
    first, second = [await replica(generous, None) for _ in range(2)]
    await first.orders.create(ITEMS, reference_id="r")
    slow(generous, ORDER)
    await asyncio.gather(*(one.orders.repeat("r") for one in (first, second)), return_exceptions=True)
    assert len(under(generous)) == 3


# ---------------------------------------------------------------- afterwards


async def test_order_is_read_again_by_its_id(replica, open_ledger, sandbox):
    """A replica gets what another one bought in its present state, although the list does not show it yet."""
    sandbox.fail("POST", ORDER, "book_but_hide", when="after", seconds=3600)
    first, second = [await replica(sandbox, open_ledger()) for _ in range(2)]
    with pytest.raises(PurchaseInDoubtError):
        await first.orders.create(ITEMS, reference_id="r")
    assert [doubt.reference_id for doubt in _doubts(second)] == ["r"]
    sandbox.advance(3600)
    order = await second.orders.create(ITEMS, reference_id="r")
    assert (order.was_found, _doubts(first), _doubts(second)) == (True, (), ())
    looked = came(sandbox, "GET /api/esim/orders")
    assert (await first.orders.create(ITEMS, reference_id="r")).id == order.id
    assert (came(sandbox, "GET /api/esim/orders"), came(sandbox, SENT)) == (looked, 1)


def _doubts(client) -> tuple[Any, ...]:
    target = getattr(client, "_target", client)
    doubts: tuple[Any, ...] = target.doubts()
    return doubts


async def test_order_that_was_not_kept(replica, open_ledger, sandbox):
    """An order that was not kept is told to each replica that asks, and is not made again."""
    sandbox.fail("POST", ORDER, "book_cancelled", when="after")
    first, second = [await replica(sandbox, open_ledger()) for _ in range(2)]
    for one in (first, second, second):
        with pytest.raises(PurchaseFailedError):
            await one.orders.create(ITEMS, reference_id="r")
    assert came(sandbox, SENT) == 1


async def test_order_that_cannot_be_read(replica, open_ledger, sandbox):
    """What was bought and cannot be read is an error that says so, and is not bought again."""
    first, second = [await replica(sandbox, open_ledger()) for _ in range(2)]
    order = await first.orders.create(ITEMS, reference_id="r")
    sandbox.fail("GET", ORDER, "503", times=None)
    with pytest.raises(PurchaseInDoubtError, match=f"was booked as {order.id}, and could not be read"):
        await second.orders.create(ITEMS, reference_id="r")
    assert came(sandbox, SENT) == 1


async def test_refused_may_be_bought_again(replica, open_ledger, sandbox):
    """A reference whose purchase was refused may be used by any replica, for other packages too."""
    first, second = [await replica(sandbox, open_ledger()) for _ in range(2)]
    with pytest.raises(PackageNotFoundError):
        await first.orders.create([OrderItem("none")], reference_id="r")
    sandbox.fail("POST", ORDER, "422")
    with pytest.raises(Exception, match="422"):
        await first.orders.create([OrderItem(OTHER)], reference_id="r")
    order = await second.orders.create(ITEMS, reference_id="r")
    assert [line.package_id for line in order.items] == [PLAIN]


async def test_reconcile_settles_a_doubt(replica, open_ledger, sandbox):
    """A doubt that any replica reconciles is resolved for all."""
    sandbox.fail("POST", ORDER, "book_but_hide", when="after", seconds=3600)
    first, second = [await replica(sandbox, open_ledger()) for _ in range(2)]
    with pytest.raises(PurchaseInDoubtError):
        await first.orders.create(ITEMS, reference_id="r")
    sandbox.advance(3600)
    order = await second.orders.reconcile("r")
    assert (_doubts(first), _doubts(second)) == ((), ())
    assert open_ledger().get("r").order_id == order.id


@pytest.mark.parametrize("sent", [False, True])
async def test_cancelled(replica, open_ledger, sandbox, sent, request):
    """A purchase that is cancelled before it is sent is free at once; one that was sent is looked up."""
    if "blocking" in request.node.name:
        pytest.skip("a thread cannot be cancelled")
    first, second = [await replica(sandbox, open_ledger()) for _ in range(2)]
    what = SENT if sent else "GET /api/esim/orders"
    if sent:
        sandbox.fail("POST", ORDER, "hang", when="after")
    else:
        sandbox.fail("GET", "/api/esim/orders", "hang")
    task = asyncio.create_task(first.orders.create(ITEMS, reference_id="r"))
    await sandbox.arrived(what)
    task.cancel()
    await asyncio.wait([task])
    assert open_ledger().get("r").status == ("in_doubt" if sent else "not_sent")
    order = await second.orders.create(ITEMS, reference_id="r")
    assert (order.was_found, len(under(sandbox)), came(sandbox, SENT)) == (sent, 1, 1)


# ---------------------------------------------------------------- a ledger that fails


async def _unreachable(*_: object, **__: object) -> None:
    raise LedgerError("the ledger cannot be reached")


@pytest.mark.parametrize("method", ["claim", "start"])
@pytest.mark.parametrize("reference", ["r", None])
async def test_unreachable_before_sending(replica, open_ledger, sandbox, method, reference):
    """Without its ledger a replica sends nothing."""
    one = await replica(sandbox, Wrapped(open_ledger(), **{method: _unreachable}))
    if (method, reference) == ("claim", None):  # Written when it is sent.
        pytest.skip("a new reference is not claimed before")
    with pytest.raises(LedgerError, match="cannot be reached") as caught:
        await one.orders.create(ITEMS, reference_id=reference)
    assert (caught.value.sent, caught.value.package_ids, came(sandbox, SENT)) == ("no", (PLAIN,), 0)
    report = await one.orders.bulk([CreateOrder(ITEMS, reference_id=reference)])
    assert (report.counts["not_sent"], came(sandbox, SENT)) == (1, 0)


async def test_lost_in_the_middle(replica, open_ledger, sandbox, caplog):
    """A purchase goes to its end without the ledger, and who asks next finds it."""
    ledger = open_ledger()
    first, second = await replica(sandbox, Wrapped(ledger, settle=_unreachable)), await replica(sandbox, open_ledger())
    order = await first.orders.create(ITEMS, reference_id="r")
    assert "r could not be recorded in the ledger, and is looked up later" in caplog.text
    assert ledger.get("r").status == "sending"
    await expire(ledger)
    again = await second.orders.create(ITEMS, reference_id="r")
    assert (again.id, again.was_found, came(sandbox, SENT)) == (order.id, True, 1)
    assert ledger.get("r").status == "ordered"


async def _start_and_expire(ledger, lease, *facts: Any) -> None:
    await ledger.start(lease, *facts)
    lease.until = 0.0


async def test_veto_at_the_first_byte(replica, open_ledger, sandbox):
    """A replica that is stopped for longer than its lease sends nothing: not one byte of the body leaves."""
    one = await replica(sandbox, Wrapped(open_ledger(), start=_start_and_expire))
    with pytest.raises(ConnectError, match="the lease of 'r' is over") as caught:
        await one.orders.create(ITEMS, reference_id="r")
    assert (caught.value.sent, came(sandbox, SENT), under(sandbox)) == ("no", 0, [])
    assert open_ledger().get("r").status == "not_sent"


async def test_renewed_lease_after_a_veto(replica, open_ledger, sandbox):
    """A replica that still holds its reference after a stop renews its lease, and sends."""
    stops = iter([True])

    async def start(ledger, lease, *facts: Any) -> None:
        await ledger.start(lease, *facts)
        if next(stops, False):
            lease.until = 0.0

    one = await replica(sandbox, Wrapped(open_ledger(), start=start))
    await one.orders.create(ITEMS, reference_id="r")
    assert (len(under(sandbox)), came(sandbox, SENT)) == (1, 1)


async def test_taken_over_before_sending(replica, open_ledger, sandbox):
    """A replica that lost its reference before it sent gets what the other one bought."""
    slow(sandbox, ORDER)
    other = await replica(sandbox, open_ledger())
    others: list[asyncio.Task[Any]] = []

    async def start(ledger, lease, *facts: Any) -> None:
        if not others:
            await expire(ledger)
            others.append(asyncio.create_task(other.orders.create(ITEMS, reference_id="r")))
            await sandbox.arrived(SENT)
        await ledger.start(lease, *facts)

    # The blocking client has a loop of its own.
    async with AsyncRoamify(
        sandbox.token, base_url=sandbox.url, settings=QUICK, ledger=Wrapped(open_ledger(), start=start)
    ) as one:
        order = await one.orders.create(ITEMS, reference_id="r")
    assert (order.id, order.was_found) == ((await others[0]).id, True)
    assert (len(under(sandbox)), came(sandbox, SENT)) == (1, 1)


async def test_lost_lease_after_a_first_send(replica, open_ledger, sandbox):
    """A resend after the reference was lost is vetoed, and the purchase stays in doubt."""
    sandbox.fail("POST", ORDER, "503")
    starts = iter(["first"])

    async def start(ledger, lease, *facts: Any) -> None:
        if next(starts, None) is None:
            raise LeaseLostError("another process took over the purchase 'r'")
        await ledger.start(lease, *facts)

    one = await replica(
        sandbox, Wrapped(open_ledger(), start=start), attrs.evolve(QUICK, on_doubt="look_up_then_resend")
    )
    with pytest.raises(PurchaseInDoubtError):
        await one.orders.create(ITEMS, reference_id="r")
    assert came(sandbox, SENT) == 1
    assert open_ledger().get("r").status == "in_doubt"


# ---------------------------------------------------------------- shared limits


@pytest.mark.parametrize("way", WAYS, ids=name)
async def test_shared_budget(replica, open_ledger, sandbox, iccid, way):
    """What is over the shared ``max_spend`` is not sent, by whatever call."""
    sent = came(sandbox, f"POST {WAYS[way]}")
    one = await replica(sandbox, open_ledger(limits=SharedLimits(max_spend="0.01")))
    with pytest.raises((BudgetError, AssertionError)):  # A line is not sent, and says so.
        await way(one, iccid)
    assert came(sandbox, f"POST {WAYS[way]}") == sent
    rich = await replica(sandbox, open_ledger(limits=SharedLimits(max_spend=1000)))
    await way(rich, iccid)
    assert came(sandbox, f"POST {WAYS[way]}") == sent + 1
    assert open_ledger().spent()["main"] > 0


async def test_busy_server_slows_down_everybody(replica, open_ledger, sandbox):
    """After a 429 to one replica all wait."""
    limits = SharedLimits(account="shop")
    sandbox.fail("POST", ORDER, "429", seconds=30)
    one = await replica(sandbox, open_ledger(limits=limits), attrs.evolve(QUICK, retries=Retries(tries=1, deadline=1)))
    with pytest.raises(Exception, match="429"):
        await one.orders.create(ITEMS, reference_id="r")
    assert await open_ledger(limits=limits).turn() > 1


# ---------------------------------------------------------------- which ledger


async def test_client_takes_a_path_a_url_and_an_object(sandbox, tmp_path, monkeypatch):
    """A ledger is given as a path, a URL or an object, or by the environment; only an object is left open."""
    path = tmp_path / "purchases.db"
    for value in (path, str(path), f"sqlite:///{path}"):
        async with AsyncRoamify(sandbox.token, base_url=sandbox.url, ledger=value) as one:
            await one.orders.create(ITEMS, reference_id="r")
        assert one._engine.memory.ledger._opened is None
    monkeypatch.setenv("ROAMIFY_LEDGER", str(path))
    with SqliteLedger(path) as ledger:
        for value in (None, ledger):
            async with AsyncRoamify(sandbox.token, base_url=sandbox.url, ledger=value) as one:
                await one.orders.create(ITEMS, reference_id="r")
        assert ledger._opened is not None
    assert came(sandbox, SENT) == 1
    view = AsyncRoamify(sandbox.token, base_url=sandbox.url).with_settings(look_first=False)
    assert view._engine.memory.ledger.path == path


@pytest.mark.parametrize("client", [AsyncRoamify, Roamify])
def test_wrong_ledger(client):
    """What is no ledger is refused when the client is made."""
    for wrong in ("mysql://host/name", "sqlite:///"):
        with pytest.raises(ConfigurationError, match="must be a path, sqlite:///path or postgresql://"):
            client("token", ledger=wrong)
    with pytest.raises(TypeError, match="ledger must be a path, a URL or a PurchaseLedger, not int"):
        client("token", ledger=1)


async def test_new_references_are_in_the_ledger(replica, open_ledger, sandbox):
    """A purchase whose reference the client made is in the ledger too, and costs no look-up."""
    one = await replica(sandbox, open_ledger())
    order = await one.orders.create(ITEMS)
    row = open_ledger().get(order.reference_id)
    assert (row.status, row.order_id, came(sandbox, "GET /api/esim/orders")) == ("ordered", order.id, 0)
    with anyio.fail_after(5):
        assert (await one.orders.create(ITEMS, reference_id=order.reference_id)).id == order.id


async def test_doubt_is_cut_off_while_it_is_recorded(sandbox, ledger):
    """Whoever cuts a purchase in doubt off learns its reference, also when only the ledger is waited for."""
    is_recorded = asyncio.Event()

    async def settle(*_: object, **__: object) -> bool:
        is_recorded.set()
        return await asyncio.Event().wait()

    sandbox.fail("POST", ORDER, "drop", when="after")
    settings = QUICK.changed(on_doubt="raise")
    wrapped: Any = Wrapped(ledger, settle=settle)
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=settings, ledger=wrapped) as roamify:
        buying = asyncio.create_task(roamify.orders.create(ITEMS))
        await is_recorded.wait()
        buying.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await buying
    (order,) = sandbox.state()["orders"]
    assert getattr(caught.value, "reference_id", None) == order["referenceId"]
    assert "may have been booked" in caught.value.__notes__[0]


async def test_buy_is_cut_off_while_its_reference_is_released(sandbox, ledger):
    """Whoever cuts a paid purchase off learns its reference, also when only the ledger is waited for."""
    is_released = asyncio.Event()

    async def release(_: object, __: object) -> None:
        is_released.set()
        await asyncio.Event().wait()

    wrapped: Any = Wrapped(ledger, release=release)
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK, ledger=wrapped) as roamify:
        buying = asyncio.create_task(roamify.esims.buy(PLAIN, reference_id="r"))
        await is_released.wait()
        buying.cancel()
        with pytest.raises(asyncio.CancelledError) as caught:
            await buying
    assert getattr(caught.value, "reference_id", None) == "r"
    assert "booked and paid" in caught.value.__notes__[0]
    assert len(under(sandbox)) == 1


async def test_paid_without_its_esims(sandbox, replica, open_ledger):
    """An order that is paid, and whose eSIMs are not listed yet, is recorded as ordered, with what it cost."""
    ledger = open_ledger(limits=SharedLimits(max_spend=1000))
    one = await replica(sandbox, ledger)
    sandbox.fail("POST", INSTANT, "drop", when="after")
    sandbox.fail("GET", "/api/esims", "stale", times=1000, seconds=1000)
    with pytest.raises(EsimsNotReadyError) as caught:
        await one.orders.create_instant(ITEMS, reference_id="r")
    (booked,) = under(sandbox)
    assert caught.value.order.id == booked["id"]
    row = ledger.get("r")
    assert (row.status, row.order_id, row.total) == ("ordered", booked["id"], booked["total"])
    assert ledger.spent() == {"main": Decimal(booked["total"])}


# ---------------------------------------------------------------- clocks


@pytest.mark.parametrize("step", [3600, -3600])
async def test_clock_of_the_machine_is_set(replica, sandbox, tmp_path, monkeypatch, step):
    """A clock that is set while a purchase is sent, by which SQLite judges leases, lets nobody buy it again."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=0.5, times=None)
    settings = attrs.evolve(QUICK, reconcile_window=5, on_doubt="look_up_then_resend")
    first, second = [await replica(sandbox, SqliteLedger(tmp_path / "purchases.db"), settings) for _ in range(2)]
    task = asyncio.create_task(first.orders.create(ITEMS, reference_id="r"))
    await sandbox.arrived(SENT)
    dialect = attrs.evolve(sqlite.DIALECT, now=f"({sqlite.DIALECT.now} + {step})")
    monkeypatch.setattr(sqlite, "DIALECT", dialect)
    orders = [await second.orders.create(ITEMS, reference_id="r"), await task]
    assert len({order.id for order in orders}) == 1
    assert (len(under(sandbox)), came(sandbox, SENT)) == (1, 1)
    assert (await second.orders.create(ITEMS, reference_id="r")).id == orders[0].id


@pytest.mark.parametrize("step", [3600, -3600])
async def test_clock_of_one_process_is_set(replica, open_ledger, sandbox, monkeypatch, step):
    """A process whose own clock is wrong waits for the others as all do, and buys nothing again."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=0.3, times=None)
    first, second = [await replica(sandbox, open_ledger()) for _ in range(2)]
    task = asyncio.create_task(first.orders.create(ITEMS, reference_id="r"))
    await sandbox.arrived(SENT)
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + step)
    orders = [await second.orders.create(ITEMS, reference_id="r"), await task]
    assert len({order.id for order in orders}) == 1
    assert (len(under(sandbox)), came(sandbox, SENT)) == (1, 1)
