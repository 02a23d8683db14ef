"""Purchases over broken connections: each is booked once, counted at the server, and its caller knows of it."""

import asyncio
import itertools
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import attrs
import pytest
from support.clients import HANG, QUICK
from support.purchases import (
    APPLY,
    INSURE,
    LISTED,
    MINT,
    ORDER,
    OTHER,
    PLAIN,
    TOP_UP,
    WAYS,
    Mode,
    bulk,
    buy,
    came,
    create,
    create_instant,
    insure,
    mint,
    refill,
    top_up,
    under,
)

from roamify_async import (
    APIStatusError,
    AsyncRoamify,
    ConflictError,
    CreateOrder,
    EsimsNotReadyError,
    HistoryItem,
    NotFoundError,
    Order,
    OrderItem,
    PermissionDeniedError,
    PurchaseFailedError,
    PurchaseInDoubtError,
    Timeouts,
)
from roamify_async.api.topups import TopUps
from roamify_async.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("impatient")


@pytest.fixture
async def blind(sandbox) -> AsyncIterator[AsyncRoamify]:
    """Open another client, which buys again under a reference that has an order."""
    settings = QUICK.changed(look_first=False)
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=settings) as roamify:
        yield roamify


# ---------------------------------------------------------------- the matrix


LOOKED_UP: dict[Mode, tuple[str, str]] = {
    mint: (f"GET {MINT}", r"vouchers\.list\(reference_id='r'\)"),
    insure: (f"GET {INSURE}", r"insurance\.get_order\(reference_id='r'\)"),
}
"""The request that looks a purchase up, and what an error says of it, where that is not as for orders."""
AS_ORDERS = (LISTED, r"orders\.reconcile\('r'\)")


@attrs.frozen
class Mishap:
    """What goes wrong, and what the caller has of it: the order, an error, or a doubt."""

    fault: str
    when: str = "after"
    seconds: float = 0.0
    ends: type[Exception] | None = None
    window: float = 0.01
    total: float | None = None
    sends: int = 1
    """How often it is sent: again only where the server said that it did nothing."""
    is_booked: bool = attrs.field(default=attrs.Factory(lambda self: self.ends is None, takes_self=True))
    look_up: str = ""
    """What goes wrong with the look-up before sending and the first one after it."""
    not_for: tuple[Mode, ...] = ()
    """Purchases to which the fault does not apply."""

    def __str__(self) -> str:
        """Name it."""
        return " ".join(filter(None, (self.fault, self.when, self.look_up)))


MISHAPS = [
    Mishap("drop"),
    Mishap("503"),
    Mishap("302"),
    Mishap("slow", seconds=60, total=0.12),
    Mishap("reset"),
    Mishap("truncated"),
    Mishap("garbled"),
    Mishap("409"),
    Mishap("429", when="before", sends=2),
    Mishap("429"),
    Mishap("200_failed"),
    Mishap("drop", look_up="stale", seconds=60, window=0.5),
    Mishap("no_items"),
    Mishap("items_without_id", not_for=(buy,)),
    Mishap("other_package"),
    Mishap("other_reference"),
    Mishap("no_reference"),
    Mishap("other_order"),
    Mishap("book_pending", when="pending", seconds=0.05, window=HANG),
    Mishap("book_late", when="late", seconds=0.05, window=HANG),
    Mishap("book_but_hide", when="hidden", seconds=0.05, window=HANG),
    Mishap("drop", when="before", ends=PurchaseInDoubtError),
    Mishap("503", when="before", ends=PurchaseInDoubtError),
    Mishap("reset", when="before", ends=PurchaseInDoubtError),
    Mishap("truncated", when="before", ends=PurchaseInDoubtError),
    Mishap("garbled", when="before", ends=PurchaseInDoubtError),
    Mishap("409", when="before", ends=ConflictError),
    Mishap("200_failed", when="before", ends=PurchaseInDoubtError),
    Mishap("301", when="before", ends=APIStatusError),
    Mishap("book_cancelled", when="booked", ends=PurchaseFailedError, is_booked=True, not_for=(mint,)),
    Mishap("book_refunded", when="booked", ends=PurchaseFailedError, is_booked=True, not_for=(mint,)),
    Mishap("book_failed", when="booked", ends=PurchaseFailedError, is_booked=True, not_for=(mint,)),
]


def _cases() -> Iterator[Any]:
    """Yield each mishap with each way; half of them are long, so that each mishap and each way is among the others."""
    for (row, mishap), (column, way) in itertools.product(enumerate(MISHAPS), enumerate(WAYS)):
        if way not in mishap.not_for:
            marks = [pytest.mark.long] if (row + column) % 2 else []
            yield pytest.param(mishap, way, id=f"{mishap}-{way.__name__}", marks=marks)


@pytest.mark.parametrize(("mishap", "way"), [*_cases()])
async def test_booked_once(either, sandbox, iccid, way, mishap):
    """Whatever happens to its answer, a purchase is booked once and its caller has it, or knows that it is in doubt."""
    when = mishap.when if mishap.when in {"before", "after"} else "before"
    sandbox.fail("POST", WAYS[way], mishap.fault, when=when, seconds=mishap.seconds)
    if mishap.look_up:
        method, path = LOOKED_UP.get(way, AS_ORDERS)[0].split(" ")
        sandbox.fail(method, path, mishap.look_up, seconds=mishap.seconds, times=2)
    sent = f"POST {WAYS[way]}"
    before = came(sandbox, sent)
    client = either.with_settings(reconcile_window=mishap.window)
    if mishap.total:
        client = client.with_settings(timeouts=Timeouts(total=mishap.total))
    if mishap.ends is None:
        assert await way(client, iccid) == "r"
    else:
        with pytest.raises(mishap.ends) as caught:
            await way(client, iccid)
        assert type(caught.value) is mishap.ends
        assert caught.value.reference_id == "r"
    assert len(under(sandbox)) == mishap.is_booked
    assert came(sandbox, sent) - before == mishap.sends


async def test_items_without_an_id(either, sandbox):
    """The eSIMs of an order that does not name them are paid and not ready: the error holds the order."""
    sandbox.fail("POST", ORDER, "items_without_id", when="after", times=2)
    with pytest.raises(EsimsNotReadyError, match="carry no id in the order") as caught:
        await either.esims.buy(PLAIN, 2, reference_id="r")
    assert caught.value.order.id == under(sandbox)[0]["id"]
    assert len(await either.esims.buy(PLAIN, 2, reference_id="r")) == 2
    report = await either.orders.bulk([CreateOrder([OrderItem(PLAIN)], reference_id=name) for name in "ab"], apply=True)
    (one, other) = sorted(report.lines, key=lambda line: line.error is None)
    assert (one.status, type(one.error), other.status, other.error) == ("ordered", EsimsNotReadyError, "ordered", None)
    assert [len(under(sandbox, name)) for name in "rab"] == [1, 1, 1]


@pytest.mark.parametrize("way", [create, create_instant, top_up, bulk], ids=lambda way: way.__name__)
async def test_look_up_that_lags_where_it_is_the_only_one(opened, sandbox, iccid, way):
    """Control: in another client, which did not send it, a look-up that lags shows nothing, and it is bought again."""
    await way(await opened(sandbox.url, sandbox.token), iccid)
    sandbox.fail("GET", "/api/esim/orders", "stale", seconds=60)
    await way(await opened(sandbox.url, sandbox.token), iccid)
    assert len(under(sandbox)) == 2


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_sent_again_after_a_proven_absence(either, sandbox, iccid, way):
    """Where that is allowed, a purchase that is not there when the window has passed is sent again, and booked once."""
    sandbox.fail("POST", WAYS[way], "drop")
    assert await way(either.with_settings(on_doubt="look_up_then_resend", reconcile_window=0.01), iccid) == "r"
    assert len(under(sandbox)) == 1


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_raised_at_once(either, sandbox, iccid, way, when):
    """With the policy that raises, a doubt is raised at once: it was looked up before it was sent only."""
    sandbox.fail("POST", WAYS[way], "drop", when=when)
    look_up, advice = LOOKED_UP.get(way, AS_ORDERS)
    before = came(sandbox, look_up)
    with pytest.raises(PurchaseInDoubtError, match=advice):
        await way(either.with_settings(on_doubt="raise", reconcile_window=60), iccid)
    assert came(sandbox, look_up) - before == 1
    assert len(under(sandbox)) == (when == "after")


@pytest.mark.parametrize("way", [way for way in WAYS if way not in LOOKED_UP], ids=lambda way: way.__name__)
async def test_booked_later_than_the_window(client, sandbox, iccid, way):
    """An order that is booked later than the window leaves a doubt, and is found by its reference afterwards."""
    sandbox.fail("POST", WAYS[way], "book_late", seconds=600)
    with pytest.raises(PurchaseInDoubtError) as caught:
        await way(client.with_settings(reconcile_window=0), iccid)
    assert (caught.value.reference_id, caught.value.found) == ("r", ())
    sandbox.advance(600)
    order = await client.with_settings(reconcile_window=HANG).orders.reconcile("r")
    assert [order.id] == [booked["id"] for booked in under(sandbox)]


# ---------------------------------------------------------------- references that the server changes


@pytest.fixture
async def changing(request) -> AsyncIterator[Sandbox]:
    """Run a server that changes the references of what it books, and drops the answer to each purchase once."""
    async with Sandbox(packages=300, reference_changes=request.param) as sandbox:
        for path in {*WAYS.values()}:
            sandbox.fail("POST", path, "drop", when="after")
        yield sandbox


async def buy_blindly(opened, sandbox: Sandbox, way: Mode, reference: str) -> PurchaseInDoubtError | None:
    """Buy with the policy that sends again; the first answer is lost. Return the doubt, if there is one."""
    iccid, client = "", await opened(sandbox.url, sandbox.token)
    if way is top_up:
        (esim,) = (await client.orders.create_instant([OrderItem(PLAIN)], reference_id="other")).esims
        iccid = esim.iccid
    try:
        await way(client.with_settings(on_doubt="look_up_then_resend"), iccid, reference)
    except PurchaseInDoubtError as doubt:
        return doubt
    return None


def books(sandbox: Sandbox, way: Mode) -> list[object]:
    """Return the purchases of a way in the server's books, whatever their reference."""
    state = sandbox.state()
    kept = state["vouchers"] if way is mint else state["insuranceOrders"] if way is insure else state["orders"]
    return [entry for entry in kept if entry["referenceId"] != "other"]


@pytest.mark.parametrize("changing", [("casefold",), ("cut:34",), ("casefold", "cut:40")], indirect=True, ids="+".join)
@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_reference_that_the_server_changes(opened, changing, way):
    """A purchase that the server books under a changed reference is seen, named, and never sent again."""
    doubt = await buy_blindly(opened, changing, way, "Order-4711/2026-11-25/warehouse-south-east")
    assert doubt is not None
    assert len(doubt.found) == 1
    assert len(books(changing, way)) == 1


@pytest.mark.parametrize("changing", [("cut:6",)], indirect=True, ids="+".join)
@pytest.mark.parametrize("way", [create, create_instant, bulk], ids=lambda way: way.__name__)
async def test_reference_that_the_server_changes_beyond_recognition(opened, changing, way):
    """Control: of a reference that is cut to a few characters nothing can be recognised, and it is bought twice."""
    await buy_blindly(opened, changing, way, "Order-4711/2026-11-25/warehouse-south-east")
    assert len(books(changing, way)) == 2


# ---------------------------------------------------------------- races

BUYER = """
import asyncio, sys
from roamify_async import AsyncRoamify, OrderItem

async def main(url, token, package):
    async with AsyncRoamify(token, base_url=url) as roamify:
        print("ready", flush=True)
        sys.stdin.readline()
        await roamify.orders.create([OrderItem(package)], reference_id="r")

asyncio.run(main(*sys.argv[1:]))
"""
"""A process that buys once it is told to."""


async def test_two_tasks_that_race():
    """Two calls of one client at once are one purchase, also if the server takes its time."""
    async with (
        Sandbox(packages=300, latency={"POST /api/esim/order": 0.6}) as sandbox,
        AsyncRoamify(sandbox.token, base_url=sandbox.url) as roamify,
    ):
        calls = (roamify.orders.create([OrderItem(PLAIN)], reference_id="r") for _ in range(2))
        first, second = await asyncio.gather(*calls)
        assert first == second
        assert (len(under(sandbox)), came(sandbox, f"POST {ORDER}")) == (1, 1)


@pytest.mark.long
async def test_two_processes_that_race():
    """Control: without a ledger that they share, two processes that race look before either sends, and buy twice."""
    async with Sandbox(packages=300, latency={"POST /api/esim/order": 0.6}) as sandbox:
        command = [sys.executable, "-c", BUYER, sandbox.url, sandbox.token, PLAIN]
        processes = [await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE) for _ in range(2)]
        for process in processes:
            assert process.stdout is not None
            assert await process.stdout.readline() == b"ready\n"
        await asyncio.gather(*(process.communicate(b"go\n") for process in processes))
        assert [process.returncode for process in processes] == [0, 0]
        assert len(under(sandbox)) == 2


# ---------------------------------------------------------------- what stands under a reference


async def test_two_orders_under_one_reference(either, blind, sandbox):
    """Two orders that both are the purchase are reported, with both, and neither is returned as the order."""
    await blind.orders.create([OrderItem(PLAIN)], reference_id="r")
    sandbox.fail("POST", ORDER, "drop", when="after")
    with pytest.raises(PurchaseInDoubtError, match="booked 2 times") as caught:
        await either.with_settings(look_first=False).orders.create([OrderItem(PLAIN)], reference_id="r")
    assert sorted(order.id for order in caught.value.found) == sorted(order["id"] for order in under(sandbox))
    assert len(caught.value.found) == 2


async def test_booked_twice_by_sending_again(either, sandbox):
    """An order that shows itself only after it was sent again makes two, and both are reported."""
    sandbox.fail("POST", ORDER, "book_but_hide", seconds=600)
    second = sandbox._running().requests.expect(f"POST {ORDER}", 2)
    second.add_done_callback(lambda _: sandbox.advance(600))  # in the server's thread, before the response
    client = either.with_settings(on_doubt="look_up_then_resend")
    with pytest.raises(PurchaseInDoubtError, match="booked 2 times") as caught:
        await client.orders.create([OrderItem(PLAIN)], reference_id="r")
    assert {order.id for order in caught.value.found} == {order["id"] for order in under(sandbox)}
    assert len(under(sandbox)) == 2


@pytest.mark.parametrize("policy", ["look_up", "look_up_then_resend"])
async def test_another_order_under_the_reference(either, blind, sandbox, policy):
    """An order of something else under the reference is reported and never returned; nothing is sent beside it."""
    other = await blind.orders.create([OrderItem(OTHER)], reference_id="r")
    client = either.with_settings(on_doubt=policy)
    with pytest.raises(ConflictError, match=other.id) as refused:
        await client.orders.create([OrderItem(PLAIN)], reference_id="r")
    assert (refused.value.sent, came(sandbox, f"POST {ORDER}")) == ("no", 1)
    sandbox.fail("POST", ORDER, "drop")
    with pytest.raises(PurchaseInDoubtError) as caught:
        await client.with_settings(look_first=False).orders.create([OrderItem(PLAIN)], reference_id="r")
    assert [order.id for order in caught.value.found] == [other.id]
    assert [order["id"] for order in under(sandbox)] == [other.id]
    assert came(sandbox, f"POST {ORDER}") == 2


async def test_deadline_that_has_passed(client, sandbox):
    """Within a deadline that is over nothing is bought, although a connection is open already."""
    await client.account.balance()
    with anyio.move_on_after(-1) as scope:
        await client.orders.create([OrderItem(PLAIN)], reference_id="r")
    assert scope.cancelled_caught
    await client.account.balance()
    assert (came(sandbox, f"POST {ORDER}"), under(sandbox)) == (0, [])


async def test_reference_that_is_taken(opened):
    """Where the server refuses a reference that is taken, our own order is returned, and another's is named."""
    async with Sandbox(packages=300, duplicate_reference="conflict") as sandbox:
        first, second, third = [
            (await opened(sandbox.url, sandbox.token)).with_settings(look_first=False) for _ in range(3)
        ]
        order = await first.orders.create([OrderItem(PLAIN)], reference_id="r")
        assert await second.orders.create([OrderItem(PLAIN)], reference_id="r") == order
        with pytest.raises(ConflictError, match=f"there are other orders under this reference: {order.id}"):
            await third.orders.create([OrderItem(OTHER)], reference_id="r")
        assert came(sandbox, f"POST {ORDER}") == 3
        assert len(sandbox.state()["orders"]) == 1


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_doubt_is_looked_for_before_it_is_sent_again(either, sandbox, iccid, way):
    """A reference that was left in doubt is looked for by the next call with it, before that sends anything."""
    sandbox.fail("POST", WAYS[way], "drop")
    client = either.with_settings(reconcile_window=0.01)
    with pytest.raises(PurchaseInDoubtError):
        await way(client, iccid)
    sent = came(sandbox, f"POST {WAYS[way]}")
    with pytest.raises(PurchaseInDoubtError):
        await way(client, iccid)
    assert came(sandbox, f"POST {WAYS[way]}") == sent
    assert await way(client.with_settings(on_doubt="look_up_then_resend"), iccid) == "r"
    assert came(sandbox, f"POST {WAYS[way]}") == sent + 1
    assert len(under(sandbox)) == 1


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
async def test_doubt_that_has_come_to_light(client, sandbox, iccid, way):
    """A reference left in doubt whose order shows itself later is found by the next call, which sends nothing."""
    sandbox.fail("POST", WAYS[way], "book_but_hide", seconds=600)
    with pytest.raises(PurchaseInDoubtError):
        await way(client.with_settings(reconcile_window=0), iccid)
    sandbox.advance(600)
    sent = came(sandbox, f"POST {WAYS[way]}")
    assert await way(client.with_settings(reconcile_window=HANG), iccid) == "r"
    assert came(sandbox, f"POST {WAYS[way]}") == sent
    assert len(under(sandbox)) == 1


async def test_look_ups_that_fail(either, sandbox):
    """Look-ups that fail prove no absence: nothing is sent again, whatever is allowed."""
    sandbox.fail("POST", ORDER, "drop")
    sandbox.fail("GET", "/api/esim/orders", "503", times=None)
    with pytest.raises(PurchaseInDoubtError):
        await either.with_settings(on_doubt="look_up_then_resend").orders.create([OrderItem(PLAIN)])
    assert came(sandbox, f"POST {ORDER}") == 1


async def test_look_up_that_fails_once(either, sandbox):
    """A look-up that fails is made again while the window is open."""
    sandbox.fail("POST", ORDER, "drop", when="after")
    sandbox.fail("GET", "/api/esim/orders", "502_html")
    order = await either.with_settings(reconcile_window=HANG).orders.create([OrderItem(PLAIN)], reference_id="r")
    assert [order.id] == [booked["id"] for booked in under(sandbox)]


# ---------------------------------------------------------------- reconcile


async def test_reconcile(either, sandbox):
    """``reconcile`` returns the order under a reference, waiting for it until the window has passed."""
    sandbox.fail("POST", ORDER, "book_but_hide", seconds=600)
    with pytest.raises(PurchaseInDoubtError):
        await either.orders.create([OrderItem(PLAIN)], reference_id="r")
    looks = came(sandbox, LISTED)
    waiting = asyncio.create_task(either.with_settings(reconcile_window=HANG).orders.reconcile("r"))
    await sandbox.arrived(LISTED, looks + 1)
    sandbox.advance(600)
    order = await waiting
    assert isinstance(order, Order)
    assert [order.id] == [booked["id"] for booked in under(sandbox)]


async def test_reconcile_what_is_not_there(either, sandbox):
    """``reconcile`` raises once the window has passed without an order, and buys nothing."""
    with pytest.raises(NotFoundError, match="no order found for reference 'nothing'") as caught:
        await either.orders.reconcile("nothing")
    assert caught.value.reference_id == "nothing"
    assert came(sandbox, LISTED) >= 2
    assert sandbox.state()["orders"] == []


async def test_reconcile_two(either, blind):
    """``reconcile`` reports several orders under one reference, with all of them."""
    clients = {PLAIN: either, OTHER: blind}
    ids = [(await one.orders.create([OrderItem(package)], reference_id="r")).id for package, one in clients.items()]
    with pytest.raises(PurchaseInDoubtError, match="there are 2 orders under this reference") as caught:
        await either.orders.reconcile("r")
    assert sorted(order.id for order in caught.value.found) == sorted(ids)


# ---------------------------------------------------------------- eSIMs


async def test_buy_goes_on_by_its_reference(either, sandbox):
    """Where some eSIMs could not be made, the next call with the reference makes those, and orders nothing."""
    sandbox.fail("POST", APPLY, "403_html")
    with pytest.raises(EsimsNotReadyError, match="2 of 3 eSIMs are ready; all are paid") as caught:
        await either.esims.buy(PLAIN, 3, reference_id="r")
    error = caught.value
    assert (error.reference_id, error.order.reference_id, len(error.esims)) == ("r", "r", 2)
    (failed,) = error.failures
    assert isinstance(error.failures[failed], PermissionDeniedError)
    assert {failed, *(esim.id for esim in error.esims)} == {line.esim_id for line in error.order.items}
    esims = await either.esims.buy(PLAIN, 3, reference_id="r")
    assert [esim.id for esim in esims] == [line.esim_id for line in error.order.items]
    assert all(esim.is_installable for esim in esims)
    assert came(sandbox, f"POST {APPLY}") == 4
    assert (came(sandbox, f"POST {ORDER}"), len(under(sandbox))) == (1, 1)


async def test_buy_twice(either, sandbox):
    """A purchase that was made is given again under its reference, without an order or a profile more."""
    first = await either.esims.buy(PLAIN, 2, reference_id="r")
    assert await either.esims.buy(PLAIN, 2, reference_id="r") == first
    assert (came(sandbox, f"POST {ORDER}"), came(sandbox, f"POST {APPLY}")) == (1, 2)


async def test_buy_something_else_under_the_reference(either, sandbox):
    """Under the reference of another purchase nothing is bought."""
    await either.esims.buy(PLAIN, reference_id="r")
    for package, quantity in ((OTHER, 1), (PLAIN, 2)):
        with pytest.raises(ConflictError, match="differ from this purchase"):
            await either.esims.buy(package, quantity, reference_id="r")
    assert came(sandbox, f"POST {ORDER}") == 1


async def test_pending_profile(either, sandbox):
    """An eSIM that is still being made is read until it is ready, and applied once."""
    sandbox.fail("POST", APPLY, "pending", when="after", seconds=0.1)
    order = await either.orders.create([OrderItem(PLAIN)])
    esim = await either.esims.apply(order.items[0].esim_id)
    assert esim.is_installable
    assert esim.esim.lpa_code.startswith("LPA:1$")
    assert came(sandbox, f"POST {APPLY}") == 1


async def test_pending_profiles_of_an_order(either, sandbox):
    """``apply_order`` reads the eSIMs of its order until all are ready, and applies once."""
    sandbox.fail("POST", APPLY, "pending", when="after", seconds=0.1)
    await either.orders.create([OrderItem(PLAIN, 2)], reference_id="r")
    assert [esim.is_installable for esim in await either.esims.apply_order("r")] == [True, True]
    assert came(sandbox, f"POST {APPLY}") == 1


# ---------------------------------------------------------------- top-ups


async def test_history_speaks_for_a_top_up(either, sandbox, iccid, monkeypatch):
    """A top-up that no order shows and the eSIM's history does is reported, and never sent again."""

    async def find(*_: object) -> tuple[Order, ...]:
        return ()

    assert TopUps.create.reconciliation is not None
    monkeypatch.setattr(TopUps.create, "reconciliation", attrs.evolve(TopUps.create.reconciliation, find=find))
    sandbox.fail("POST", TOP_UP, "drop", when="after")
    package = await refill(either, iccid)
    with pytest.raises(PurchaseInDoubtError) as caught:
        await either.with_settings(on_doubt="look_up_then_resend").topups.create(iccid, package, reference_id="r")
    (trace,) = caught.value.found
    assert isinstance(trace, HistoryItem)
    assert trace.package_id == package
    assert (came(sandbox, f"POST {TOP_UP}"), len(under(sandbox))) == (1, 1)


# ---------------------------------------------------------------- together


async def test_many_at_once_over_a_bad_line(client, sandbox):
    """Many purchases at once, a third of them over broken connections, are booked once each."""
    for fault in ("drop", "503", "reset", "garbled", "truncated"):
        sandbox.fail("POST", ORDER, fault, when="after", times=4, probability=0.4)
    calls = (client.orders.create([OrderItem(PLAIN)], reference_id=f"r-{place}") for place in range(60))
    orders = await asyncio.gather(*calls)
    assert [order.reference_id for order in orders] == [f"r-{place}" for place in range(60)]
    assert sorted(order["id"] for order in sandbox.state()["orders"]) == sorted(order.id for order in orders)
