"""The promise over real sockets: one reference is one purchase, and none is lost from sight.

Orders are counted at the server. A control beside each test of safety shows that the scenario is a danger.
"""

import asyncio
import logging
import signal
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.clients import HANG, QUICK
from support.purchases import (
    APPLY,
    INSTANT,
    INSURANCE,
    LISTED,
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
    insure,
    mint,
    top_up,
    under,
)
from support.shop import Shop, booked, envelope, failure, page, told, vain

from roamify_async import (
    APIStatusError,
    AsyncRoamify,
    ConflictError,
    CreateOrder,
    EsimsNotReadyError,
    NotFoundError,
    OrderItem,
    PackageNotFoundError,
    PermissionDeniedError,
    PurchaseFailedError,
    PurchaseInDoubtError,
    RateLimitError,
    Roamify,
    ServerError,
    Timeouts,
)
from roamify_async._core import memory
from roamify_async._core.callbacks import CallbackQueue
from roamify_async.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("impatient")

SENT = f"POST {ORDER}"
PAIR = [OrderItem(PLAIN, 2)]


def name(value: Any) -> str:
    """Name a case by its function."""
    return str(getattr(value, "__name__", value))


# ---------------------------------------------------------------- the same reference again

AGAIN = [create, create_instant, top_up, buy, bulk]
"""Ways under whose references the sandbox books as often as it is asked to."""


@pytest.mark.parametrize("way", WAYS, ids=name)
async def test_same_reference_again(either, opened, sandbox, iccid, way):
    """Bought again, by the same client or another one, a reference is the same purchase."""
    sent = came(sandbox, f"POST {WAYS[way]}")
    assert await way(either, iccid) == "r"
    assert await way(either, iccid) == "r"
    assert await way(await opened(sandbox.url, sandbox.token), iccid) == "r"
    assert len(under(sandbox)) == 1
    assert came(sandbox, f"POST {WAYS[way]}") == sent + 1


@pytest.mark.parametrize("way", AGAIN, ids=name)
async def test_same_reference_again_without_looking(either, opened, sandbox, iccid, way):
    """Control: without the look before sending, another client buys under the same reference again."""
    hasty = (await opened(sandbox.url, sandbox.token)).with_settings(look_first=False)
    await either.orders.create([OrderItem(PLAIN)], reference_id="r")
    if way is buy:
        await hasty.esims.buy(PLAIN, reference_id="r")
    else:
        await way(hasty, iccid)
    assert len(under(sandbox)) == 2


async def test_order_that_existed_says_so(either):
    """An order that existed before the call says so, and one that was just made does not."""
    assert not (await either.orders.create([OrderItem(PLAIN)], reference_id="r")).was_found
    assert (await either.orders.create([OrderItem(PLAIN)], reference_id="r")).was_found
    report = await either.orders.bulk([CreateOrder([OrderItem(PLAIN)], reference_id="r")])
    assert report.lines[0].order.was_found


async def test_journal_that_was_deleted(either, sandbox, tmp_path):
    """Run again after its journal was deleted, a bulk order finds its own references and buys nothing."""
    requests = [CreateOrder([OrderItem(PLAIN)], reference_id=f"r-{number}") for number in range(5)]
    path = tmp_path / "orders.db"
    first = await either.orders.bulk(requests, journal=path)
    path.unlink()
    second = await either.orders.bulk(requests, journal=path)
    assert [line.order.id for line in second.lines] == [line.order.id for line in first.lines]
    assert (came(sandbox, SENT), len(sandbox.state()["orders"])) == (5, 5)
    # What is found was paid for by an earlier run; the limit is about what is bought.
    assert (second.counts["ordered"], all(line.order.was_found for line in second.lines)) == (5, True)


async def test_journal_that_was_deleted_without_looking(opened, sandbox, tmp_path):
    """Control: without the look before sending, another process buys the lines again."""
    requests = [CreateOrder([OrderItem(PLAIN)], reference_id="r-0")]
    for number in range(2):
        hasty = (await opened(sandbox.url, sandbox.token)).with_settings(look_first=False)
        await hasty.orders.bulk(requests, journal=tmp_path / f"{number}.db")
    assert len(under(sandbox, "r-0")) == 2


async def test_same_reference_while_the_list_lags(shopper, shop):
    """What this client bought is searched for while the list lags behind, and not bought again."""
    shop.faults = [told(is_hidden=True)]
    first = await shopper.orders.create(PAIR, reference_id="r")
    with pytest.raises(PurchaseInDoubtError):
        await shopper.orders.create(PAIR, reference_id="r")
    shop.hidden.clear()
    assert await shopper.orders.create(PAIR, reference_id="r") == first
    assert (shop.posts, len(shop.orders)) == (1, 1)


async def test_same_reference_while_the_list_lags_in_another_client(opened, shop):
    """Control: another client, which cannot know, looks once and buys again while the list lags."""
    shop.faults = [told(is_hidden=True)]
    for _ in range(2):
        await (await opened(shop.url)).orders.create(PAIR, reference_id="r")
    assert len(shop.orders) == 2


async def test_other_items_without_looking(either, opened, sandbox):
    """Control: without the look before sending, another client buys other items under a reference that is taken."""
    hasty = (await opened(sandbox.url, sandbox.token)).with_settings(look_first=False)
    await either.orders.create([OrderItem(PLAIN)], reference_id="r")
    await hasty.orders.create([OrderItem(OTHER)], reference_id="r")
    assert len(under(sandbox)) == 2


async def test_other_items_under_a_reference_in_doubt(shopper, shop):
    """Other items are a conflict while a purchase under the reference is in doubt, whatever the policy."""
    shop.faults = [vain()]
    with pytest.raises(PurchaseInDoubtError):
        await shopper.orders.create(PAIR, reference_id="r")
    resending = shopper.with_settings(on_doubt="look_up_then_resend")
    with pytest.raises(ConflictError, match="is in doubt; nothing was sent") as caught:
        await resending.orders.create([OrderItem(PLAIN, 3)], reference_id="r")
    assert (caught.value.sent, shop.posts) == ("no", 1)
    assert len((await resending.orders.create(PAIR, reference_id="r")).items) == 2
    assert shop.posts == 2


# ---------------------------------------------------------------- at once


async def test_two_at_once(either, sandbox):
    """Two calls at once under one reference are one purchase, with one profile."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=0.05)
    first, second = await asyncio.gather(*(either.esims.buy(PLAIN, reference_id="r") for _ in range(2)))
    assert first == second
    assert (len(under(sandbox)), came(sandbox, SENT), came(sandbox, f"POST {APPLY}")) == (1, 1, 1)


async def test_two_at_once_in_two_clients(opened, sandbox):
    """Control: two clients share no claims; both look before either sends, and both buy."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=0.3, times=2)
    clients = [await opened(sandbox.url, sandbox.token) for _ in range(2)]
    await asyncio.gather(*(one.orders.create([OrderItem(PLAIN)], reference_id="r") for one in clients))
    assert len(under(sandbox)) == 2


async def test_different_calls_at_once(either, sandbox):
    """Calls of several kinds at once under one reference are one purchase."""
    await asyncio.gather(
        either.orders.create([OrderItem(PLAIN)], reference_id="r"),
        either.esims.buy(PLAIN, reference_id="r"),
        either.orders.create_instant([OrderItem(PLAIN)], reference_id="r"),
        either.orders.bulk([CreateOrder([OrderItem(PLAIN)], reference_id="r")]),
    )
    assert len(under(sandbox)) == 1


async def test_second_caller_does_not_wait_for_ever(client, sandbox):
    """A second caller waits for the time-out and the window; then the purchase is under way elsewhere."""
    sandbox.fail("POST", ORDER, "hang", when="after")
    first = asyncio.create_task(client.orders.create([OrderItem(PLAIN)], reference_id="r"))
    await sandbox.arrived(SENT)
    hasty = client.with_settings(timeouts=Timeouts(total=0.01), reconcile_window=0.01)
    with pytest.raises(ConflictError, match="under way elsewhere") as caught:
        await hasty.orders.create([OrderItem(PLAIN)], reference_id="r")
    assert (caught.value.sent, caught.value.reference_id) == ("no", "r")
    assert came(sandbox, SENT) == 1
    first.cancel()
    await asyncio.wait([first])


async def test_second_caller_after_a_cancelled_one(client, sandbox):
    """A second caller finds what the first one bought, although that was cancelled."""
    sandbox.fail("POST", ORDER, "hang", when="after")
    first = asyncio.create_task(client.orders.create([OrderItem(PLAIN)], reference_id="r"))
    await sandbox.arrived(SENT)
    second = asyncio.create_task(client.orders.create([OrderItem(PLAIN)], reference_id="r"))
    await asyncio.sleep(0)
    first.cancel()
    assert (await second).id == under(sandbox)[0]["id"]
    assert (len(under(sandbox)), client.doubts()) == (1, ())


# ---------------------------------------------------------------- cut off


def reported(error: BaseException | None, caplog: pytest.LogCaptureFixture) -> str:
    """Return the note that reports reference ``r``, from an error or what caused it; it is logged as well."""
    while error is not None and getattr(error, "reference_id", None) != "r":
        error = error.__cause__ or error.__context__
    assert error is not None
    (note,) = error.__notes__
    assert "r" in note.split()
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert note in warnings
    return note


async def timeout(call: Any, arrived: Any) -> BaseException:
    """Cut a call off by ``asyncio.timeout``."""

    async def within() -> None:
        async with asyncio.timeout(None) as scope:
            cutting.append(asyncio.create_task(_after(arrived, lambda: scope.reschedule(0))))
            await call

    cutting: list[Any] = []
    with pytest.raises(TimeoutError) as caught:
        await within()
    await cutting[0]
    return caught.value


async def fail_after(call: Any, arrived: Any) -> BaseException:
    """Cut a call off by ``anyio.fail_after``."""

    async def within() -> None:
        with anyio.fail_after(60) as scope:
            cutting.append(asyncio.create_task(_after(arrived, lambda: setattr(scope, "deadline", 0))))
            await call

    cutting: list[Any] = []
    with pytest.raises(TimeoutError) as caught:
        await within()
    await cutting[0]
    return caught.value


async def cancel(call: Any, arrived: Any) -> BaseException:
    """Cancel the task of a call."""
    task = asyncio.ensure_future(call)
    await arrived
    task.cancel()
    with pytest.raises(asyncio.CancelledError) as caught:
        await task
    return caught.value


async def _after(arrived: Any, action: Any) -> None:
    await arrived
    action()


@pytest.mark.parametrize("cut", [timeout, fail_after, cancel], ids=name)
async def test_buy_is_cut_off_while_the_profile_is_made(client, sandbox, caplog, cut):
    """Whoever cuts a paid purchase off learns its reference, and continues by it without buying again."""
    sandbox.fail("POST", APPLY, "hang", when="after")
    error = await cut(client.esims.buy(PLAIN, reference_id="r"), sandbox.arrived(f"POST {APPLY}"))
    note = reported(error, caplog)
    assert "booked and paid" in note
    assert "reference_id='r'" in note
    (esim,) = await client.esims.buy(PLAIN, reference_id="r")
    assert esim.is_installable
    assert (len(under(sandbox)), came(sandbox, f"POST {APPLY}")) == (1, 1)


@pytest.mark.parametrize("cut", [timeout, fail_after, cancel], ids=name)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_order_is_cut_off_while_it_is_sent(client, sandbox, caplog, cut, when):
    """Whoever cuts a purchase off learns that it may have been booked; ``doubts()`` holds it until it is found."""
    sandbox.fail("POST", ORDER, "hang", when=when)
    error = await cut(client.orders.create([OrderItem(PLAIN)], reference_id="r"), sandbox.arrived(SENT))
    assert "may have been booked: look it up with orders.reconcile('r')" in reported(error, caplog)
    (doubt,) = client.doubts()
    assert (doubt.reference_id, doubt.reason) == ("r", None)
    assert doubt.request == CreateOrder([OrderItem(PLAIN)], reference_id="r")
    if when == "after":
        assert (await client.orders.create([OrderItem(PLAIN)], reference_id="r")).was_found
        assert client.doubts() == ()
    else:
        with pytest.raises(PurchaseInDoubtError):
            await client.orders.create([OrderItem(PLAIN)], reference_id="r")
    assert came(sandbox, SENT) == 1


async def test_order_that_is_cut_off_before_it_is_sent(client, sandbox, caplog):
    """Control: a purchase that is cut off while it is looked up was not sent, and leaves no doubt."""
    sandbox.fail("GET", "/api/esim/orders", "hang")
    error = await cancel(client.orders.create([OrderItem(PLAIN)], reference_id="r"), sandbox.arrived(LISTED))
    assert "before it was sent" in reported(error, caplog)
    assert (client.doubts(), came(sandbox, SENT)) == ((), 0)


async def test_new_reference_is_reported(client, sandbox, caplog):
    """The reference that the client made is reported with a cancellation, for it is in nobody's books yet."""
    sandbox.fail("POST", ORDER, "hang", when="after")
    error = await cancel(client.orders.create([OrderItem(PLAIN)]), sandbox.arrived(SENT))
    (order,) = sandbox.state()["orders"]
    assert getattr(error, "reference_id", None) == order["referenceId"]
    assert any(order["referenceId"] in note for note in error.__notes__)
    assert (await client.orders.reconcile(order["referenceId"])).id == order["id"]
    assert client.doubts() == ()


@pytest.mark.parametrize(("path", "words"), [(APPLY, "booked and paid"), (ORDER, "may have been booked")])
def test_ctrl_c(caplog, path, words):
    """Ctrl-C during a blocking purchase carries its reference, and the purchase is continued by it."""
    with Sandbox(packages=300) as sandbox:
        sandbox.fail("POST", path, "hang", when="after")

        def interrupt() -> None:
            sandbox.wait_for(f"POST {path}", timeout=HANG)
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

        with Roamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
            thread = threading.Thread(target=interrupt)
            thread.start()
            with pytest.raises(KeyboardInterrupt) as caught:
                roamify.esims.buy(PLAIN, reference_id="r")
            thread.join()
            assert words in reported(caught.value, caplog)
            assert roamify.esims.buy(PLAIN, reference_id="r")[0].is_installable
        assert len(under(sandbox)) == 1


@pytest.mark.parametrize("call", ["create", "buy"])
def test_ctrl_c_when_the_purchase_is_complete(caplog, monkeypatch, call):
    """Ctrl-C in the moment between a purchase and the return of its result carries the reference all the same."""
    run = CallbackQueue.run_until_closed

    def interrupted(self: CallbackQueue) -> None:
        run(self)
        raise KeyboardInterrupt

    with (
        Sandbox(packages=300) as sandbox,
        Roamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify,
        monkeypatch.context() as patch,
    ):
        patch.setattr(CallbackQueue, "run_until_closed", interrupted)
        buying = {
            "buy": lambda: roamify.esims.buy(PLAIN, reference_id="r"),
            "create": lambda: roamify.orders.create([OrderItem(PLAIN)], reference_id="r"),
        }
        with pytest.raises(KeyboardInterrupt) as caught:
            buying[call]()
        assert "was made before the call was interrupted" in reported(caught.value, caplog)
        with pytest.raises(KeyboardInterrupt) as caught:  # Control: a call that buys nothing reports nothing.
            roamify.account.balance()
        assert not hasattr(caught.value, "__notes__")


async def test_repetition_that_is_cut_off(client, sandbox, caplog):
    """Whoever cuts ``orders.repeat`` off learns that it may have ordered again."""
    await client.orders.create_instant([OrderItem(PLAIN)], reference_id="r")
    sandbox.fail("POST", ORDER, "hang")
    error = await cancel(client.orders.repeat("r"), sandbox.arrived(SENT))
    assert "may have ordered again" in reported(error, caplog)


# ---------------------------------------------------------------- eSIMs of an instant order


async def test_instant_order_whose_esims_are_listed_later(either, sandbox):
    """An instant order that was found has all of its eSIMs, also if they are listed later than the order."""
    sandbox.fail("POST", INSTANT, "drop", when="after")
    sandbox.fail("GET", "/api/esims", "stale", seconds=60)
    order = await either.orders.create_instant([OrderItem(PLAIN, 2)], reference_id="r")
    assert (len(order.esims), len(under(sandbox))) == (2, 1)


async def test_instant_order_whose_esims_are_never_listed(client, sandbox):
    """Its order is paid and known if the eSIMs are not listed within the window; a later call returns them."""
    sandbox.fail("POST", INSTANT, "drop", when="after")
    sandbox.fail("GET", "/api/esims", "stale", seconds=60)
    with pytest.raises(EsimsNotReadyError, match="0 of 2 eSIMs of the order") as caught:
        await client.with_settings(reconcile_window=0).orders.create_instant([OrderItem(PLAIN, 2)], reference_id="r")
    assert (caught.value.reference_id, caught.value.order.id) == ("r", under(sandbox)[0]["id"])
    assert client.doubts() == ()
    order = await client.orders.create_instant([OrderItem(PLAIN, 2)], reference_id="r")
    assert (order.was_found, len(order.esims), len(under(sandbox))) == (True, 2, 1)


# ---------------------------------------------------------------- packages


async def test_500_after_booking(either, sandbox):
    """A 500 after booking is not taken for an unknown package: the order is found."""
    sandbox.fail("POST", ORDER, "500", when="after")
    order = await either.orders.create([OrderItem(PLAIN)], reference_id="r")
    assert [order.id] == [one["id"] for one in under(sandbox)]


async def test_500_with_the_package_gone_meanwhile(shopper, shop):
    """An order that was booked although its answer was a 500 is found, with its package gone from the catalogue."""

    def gone(shop: Shop, body: dict[str, Any]) -> bytes:
        shop.book(body)
        shop.is_sold = False
        return failure(500, "Internal server error")

    shop.faults = [gone]
    assert (await shopper.orders.create(PAIR, reference_id="r")).id == "order-0"
    assert await shopper.orders.create(PAIR, reference_id="r") == (await shopper.orders.list(reference_id="r"))[0]
    assert (shop.posts, len(shop.orders)) == (1, 1)


async def test_500_before_booking_with_the_package_gone_meanwhile(shopper, shop):
    """Control: not booked, it is in doubt, and not a package that does not exist."""

    def gone(shop: Shop, _: dict[str, Any]) -> bytes:
        shop.is_sold = False
        return failure(500, "Internal server error")

    shop.faults = [gone]
    with pytest.raises(PurchaseInDoubtError) as caught:
        await shopper.orders.create(PAIR, reference_id="r")
    assert isinstance(caught.value.reason, ServerError)


TYPO = "esim-greece-30days-1gb-al"


async def mistype(client: Any, way: Any, iccid: str) -> None:
    """Buy a package whose id is mistyped."""
    if way is create:
        await client.orders.create([OrderItem(TYPO)], reference_id="r")
    elif way is create_instant:
        await client.orders.create_instant([OrderItem(TYPO)], reference_id="r")
    elif way is top_up:
        await client.topups.create(iccid, TYPO, reference_id="r")
    elif way is buy:
        await client.esims.buy(TYPO, reference_id="r")
    elif way is mint:
        await client.vouchers.create(TYPO, reference_id="r")
    elif way is insure:
        await client.insurance.order([OrderItem(INSURANCE[:-1])], reference_id="r")
    else:
        report = await client.orders.bulk([CreateOrder([OrderItem(TYPO)], reference_id="r")])
        assert report.counts["refused"] == 1
        raise report.lines[0].error


@pytest.mark.parametrize("way", WAYS, ids=name)
async def test_mistyped_package(either, sandbox, iccid, way):
    """A mistyped package is refused by every call before anything is sent, with the nearest ids."""
    with pytest.raises(PackageNotFoundError, match="nothing was sent") as caught:
        await mistype(either, way, iccid)
    error = caught.value
    assert (error.sent, error.status, error.reference_id) == ("no", 404, "r")
    assert error.package_ids == (INSURANCE[:-1] if way is insure else TYPO,)
    assert (INSURANCE if way is insure else PLAIN) in error.nearest
    assert came(sandbox, f"POST {WAYS[way]}") == 0


@pytest.mark.parametrize("way", [create, create_instant, buy, mint], ids=name)
async def test_mistyped_package_without_the_check(either, sandbox, iccid, way):
    """Control: without the check a mistyped package is sent, and the server's 500 leaves it in doubt."""
    with pytest.raises((PurchaseInDoubtError, APIStatusError)) as caught:
        await mistype(either.with_settings(check_packages=False), way, iccid)
    assert not isinstance(caught.value, PackageNotFoundError)
    assert came(sandbox, f"POST {WAYS[way]}") == 1


@pytest.mark.parametrize("status", [403, 404, 500, 503])
async def test_check_that_fails(either, sandbox, status):
    """A check that fails proves nothing: the order is sent unchecked."""
    fault = {403: "403_html", 404: "500_html", 500: "500", 503: "503"}[status]
    sandbox.fail("GET", "/api/esim/packages", fault, times=None)
    await either.orders.create([OrderItem(PLAIN)], reference_id="r")
    assert len(under(sandbox)) == 1


# ---------------------------------------------------------------- look-ups


def later(shop: Shop, seconds: float) -> None:
    """Show all orders after some seconds."""
    asyncio.get_running_loop().call_later(seconds, shop.hidden.clear)


async def test_conflict_while_the_list_lags(shopper, shop):
    """After a 409 our order is found within the window, although the list lags behind."""

    def conflict(shop: Shop, body: dict[str, Any]) -> bytes:
        shop.hidden.add(shop.book(body)["id"])
        later(shop, 0.1)
        return failure(409, "Order with the same referenceId already exists")

    shop.faults = [conflict]
    order = await shopper.with_settings(reconcile_window=HANG).orders.create(PAIR, reference_id="r")
    assert (order.id, shop.posts) == ("order-0", 1)


async def test_conflict_without_an_order(shopper, shop):
    """Control: a 409 whose order never shows up is raised as it is."""
    shop.faults = [vain(failure(409, "Order with the same referenceId already exists"))]
    with pytest.raises(ConflictError) as caught:
        await shopper.orders.create(PAIR, reference_id="r")
    assert caught.value.sent == "answered"
    assert shop.posts == 1


def closing(shop: Shop, *, ever: bool = True) -> None:
    """Make look-ups find nothing during the window, fail at its end, and answer again after that."""

    def fault(shop: Shop, body: dict[str, Any]) -> bytes:
        shop.hidden.add(shop.book(body)["id"])
        loop = asyncio.get_running_loop()
        start = loop.time()

        def look_up() -> bytes | None:
            passed = loop.time() - start
            if passed >= 0.15:
                shop.hidden.clear()
            return failure(503) if passed >= 0.05 and (passed < 0.15 or not ever) else None

        shop.look_up = look_up
        return b""

    shop.faults = [fault]


@pytest.mark.parametrize("policy", ["look_up", "look_up_then_resend"])
async def test_look_up_that_closes_the_window_fails(shopper, shop, policy):
    """The search goes on until a look-up succeeds at the end of the window or later, and finds the order."""
    closing(shop)
    patient = shopper.with_settings(reconcile_window=0.1, on_doubt=policy)
    order = await patient.orders.create(PAIR, reference_id="r")
    assert (order.id, shop.posts, len(shop.orders)) == ("order-0", 1, 1)


async def test_look_ups_that_fail_to_the_end(shopper, shop):
    """Control: if none succeeds, nothing is sent again, and the doubt tells why it could not be looked up."""
    closing(shop, ever=False)
    patient = shopper.with_settings(reconcile_window=0.1, on_doubt="look_up_then_resend")
    with pytest.raises(PurchaseInDoubtError, match="could not be looked up") as caught:
        await patient.orders.create(PAIR, reference_id="r")
    assert isinstance(caught.value.look_up_error, ServerError)
    assert (shop.posts, len(shop.orders)) == (1, 1)


async def test_404_of_the_api_is_absence(shopper, shop):
    """A look-up that answers with the API's own 404 says that there is no order, and it is sent."""
    shop.look_up = lambda: failure(404, "Order not found")
    await shopper.orders.create(PAIR, reference_id="r")
    assert shop.posts == 1


async def test_404_of_a_gateway_is_a_failed_look_up(shopper, shop):
    """A look-up that answers with a gateway's 404 proves nothing: nothing is sent."""
    shop.look_up = lambda: page(404)
    with pytest.raises(NotFoundError, match=r"nothing was sent.*look_first=False") as caught:
        await shopper.orders.create(PAIR, reference_id="r")
    assert (caught.value.sent, shop.posts) == ("no", 0)


async def test_404_of_a_gateway_after_sending(shopper, shop):
    """After a lost answer, gateway's 404s are no absence: nothing is sent again, whatever the policy."""

    def lost(shop: Shop, body: dict[str, Any]) -> bytes:
        shop.book(body)
        shop.look_up = lambda: page(404)
        return b""

    shop.faults = [lost]
    with pytest.raises(PurchaseInDoubtError) as caught:
        await shopper.with_settings(on_doubt="look_up_then_resend").orders.create(PAIR, reference_id="r")
    assert isinstance(caught.value.look_up_error, NotFoundError)
    assert (shop.posts, len(shop.orders)) == (1, 1)


async def test_404_of_the_api_after_sending(shopper, shop):
    """Control: after the API's own 404s the policy sends it again."""

    def lost(shop: Shop, _: dict[str, Any]) -> bytes:
        shop.look_up = lambda: failure(404, "Order not found")
        return b""

    shop.faults = [lost]
    with pytest.raises(PurchaseInDoubtError):  # The latest orders cannot be listed either.
        await shopper.with_settings(on_doubt="look_up_then_resend").orders.create(PAIR, reference_id="r")
    shop.look_up = lambda: None
    await shopper.with_settings(on_doubt="look_up_then_resend").orders.create(PAIR, reference_id="r")
    assert shop.posts == 2


async def test_list_that_is_full(shopper, shop):
    """A list that is full without the order proves nothing: the single order is asked for, and found."""
    others = [{"id": f"other-{n}", "referenceId": f"other-{n}", "total": 1, "items": []} for n in range(50)]
    mine = shop.book({"referenceId": "r", "items": [{"packageId": PLAIN, "quantity": 2}]})
    replies = [envelope({"orders": others}), envelope(mine)]
    shop.look_up = lambda: replies.pop(0) if replies else None
    assert (await shopper.orders.create(PAIR, reference_id="r")).id == "order-0"
    assert shop.posts == 0


# ---------------------------------------------------------------- answers that mislead


async def test_refusal_after_a_doubt(shopper, shop):
    """Booked late, then refused when it was sent again: it stays in doubt, and is found later."""
    shop.faults = [booked(is_hidden=True), vain(failure(402, "Payment required"))]
    resending = shopper.with_settings(on_doubt="look_up_then_resend")
    with pytest.raises(PurchaseInDoubtError) as caught:
        await resending.orders.create(PAIR, reference_id="r")
    assert caught.value.reference_id == "r"
    assert getattr(caught.value.reason, "status", None) != 402
    shop.hidden.clear()
    assert (await resending.orders.create(PAIR, reference_id="r")).id == "order-0"
    assert (shop.posts, len(shop.orders)) == (2, 1)


async def test_refusal_without_a_doubt(shopper, shop):
    """Control: without an earlier doubt the same refusal is raised as it is."""
    shop.faults = [vain(failure(402, "Payment required"))]
    with pytest.raises(APIStatusError) as caught:
        await shopper.orders.create(PAIR, reference_id="r")
    assert (caught.value.status, shop.posts) == (402, 1)


@pytest.mark.parametrize("status", [301, 307, 308])
async def test_permanent_redirect(shopper, shop, status):
    """A permanent redirect is refused at once; the error names where it leads and says to correct the base URL."""
    shop.faults = [vain(failure(status, "Moved", Location="https://new.example/api/esim/order"))]
    with pytest.raises(APIStatusError, match=r"https://new\.example/api/esim/order.*correct the base URL") as caught:
        await shopper.orders.create(PAIR, reference_id="r")
    assert (caught.value.status, shop.posts, shop.looks) == (status, 1, 1)


async def test_temporary_redirect(shopper, shop):
    """Control: after a temporary redirect it may have been booked, and is looked up."""
    shop.faults = [booked(failure(302, "Found", Location="https://new.example/"))]
    assert (await shopper.orders.create(PAIR, reference_id="r")).id == "order-0"
    assert shop.looks > 1


DIFFERENT = {
    "short": {"items": [{"packageId": PLAIN, "esimId": "e-1"}]},
    "foreign": {"items": [{"packageId": OTHER, "esimId": "e-1"}, {"packageId": OTHER, "esimId": "e-2"}]},
    "another reference": {"referenceId": "another"},
}
IN_RESPONSE = DIFFERENT | {"no id": {"id": ""}}


@pytest.mark.parametrize("change", DIFFERENT.values(), ids=[*DIFFERENT])
@pytest.mark.parametrize("policy", ["raise", "look_up", "look_up_then_resend"])
async def test_success_that_differs(shopper, shop, change, policy):
    """A success that holds something else is in doubt, with what came; nothing is sent again."""
    shop.faults = [told(**change)]
    client = shopper.with_settings(on_doubt=policy)
    for _ in range(2):
        with pytest.raises(PurchaseInDoubtError) as caught:
            await client.orders.create(PAIR, reference_id="r")
        assert caught.value.found
    assert (shop.posts, len(shop.orders)) == (1, 1)


@pytest.mark.parametrize("change", IN_RESPONSE.values(), ids=[*IN_RESPONSE])
async def test_success_that_differs_in_the_response_only(shopper, shop, change):
    """Control: our order, which the look-up shows, is returned after a response that differed."""
    shop.faults = [told(response=change)]
    order = await shopper.orders.create(PAIR, reference_id="r")
    assert (order.id, len(order.items)) == ("order-0", 2)


async def test_failed_envelope(shopper, shop):
    """A 2xx response whose envelope says ``failed`` is looked up, and the order is found."""
    reply = json_envelope("failed")
    shop.faults = [booked(reply)]
    assert (await shopper.orders.create(PAIR, reference_id="r")).id == "order-0"
    assert shop.posts == 1


async def test_failed_envelope_without_an_order(shopper, shop):
    """Control: without an order it is in doubt, and no order is made of the envelope."""
    shop.faults = [vain(json_envelope("failed"))]
    with pytest.raises(PurchaseInDoubtError, match="says that it failed"):
        await shopper.orders.create(PAIR, reference_id="r")


def json_envelope(status: str) -> bytes:
    """Write a 2xx response with another status in its envelope."""
    return envelope({"id": "x", "total": 1, "items": []}).replace(b'"success"', f'"{status}" '.encode())


@pytest.mark.parametrize("status", ["CANCELLED", "REFUNDED", "FAILED"])
async def test_order_that_is_not_kept(shopper, shop, status):
    """An order that is not kept fails for good, in the response and whenever it is bought again."""
    shop.faults = [told(status=status)]
    client = shopper.with_settings(on_doubt="look_up_then_resend")
    for _ in range(2):
        with pytest.raises(PurchaseFailedError) as caught:
            await client.orders.create(PAIR, reference_id="r")
        assert caught.value.order.id == "order-0"
        assert caught.value.reference_id == "r"
    assert shop.posts == 1


async def test_order_that_is_not_kept_while_the_list_lags(shopper, shop):
    """Nothing is bought under the reference of an order that was not kept, although the list lags behind."""
    shop.faults = [told(status="CANCELLED", is_hidden=True)]
    with pytest.raises(PurchaseFailedError):
        await shopper.orders.create(PAIR, reference_id="r")
    with pytest.raises(PurchaseInDoubtError):
        await shopper.orders.create(PAIR, reference_id="r")
    assert (shop.posts, len(shop.orders)) == (1, 1)


async def test_order_that_is_not_kept_in_bulk(shopper, shop):
    """In bulk such a line is refused, with its order, and costs nothing."""
    shop.faults = [told(status="CANCELLED")]
    report = await shopper.orders.bulk([CreateOrder(PAIR, reference_id="r")])
    (line,) = report.lines
    assert (line.status, line.order.id, report.spent) == ("refused", "order-0", 0)
    assert isinstance(line.error, PurchaseFailedError)


async def test_order_whose_doubt_ends_as_not_kept(shop):
    """A doubt is over when its order turns out not to be kept."""
    async with AsyncRoamify("secret-token", base_url=shop.url, settings=QUICK) as client:
        shop.faults = [booked(is_hidden=True, status="REFUNDED")]
        with pytest.raises(PurchaseInDoubtError):
            await client.orders.create(PAIR, reference_id="r")
        assert len(client.doubts()) == 1
        shop.hidden.clear()
        with pytest.raises(PurchaseFailedError):
            await client.orders.create(PAIR, reference_id="r")
        assert client.doubts() == ()


async def test_429_after_booking(shopper, shop):
    """An order that was booked in spite of its 429 is found after the wait, and not sent again."""
    shop.faults = [booked(failure(429, "Too many requests", Retry_After="0"))]
    assert (await shopper.orders.create(PAIR, reference_id="r")).id == "order-0"
    assert (shop.posts, len(shop.orders)) == (1, 1)


async def test_429_before_booking(shopper, shop):
    """Control: one that was not booked is sent again."""
    shop.faults = [vain(failure(429, "Too many requests", Retry_After="0"))]
    assert (await shopper.orders.create(PAIR, reference_id="r")).id == "order-0"
    assert (shop.posts, len(shop.orders)) == (2, 1)


async def test_429_to_the_end(shopper, shop):
    """A server that is busy to the end is an error that leaves no doubt."""
    shop.faults = [vain(failure(429, "Too many requests"))] * 5
    with pytest.raises(RateLimitError):
        await shopper.orders.create(PAIR, reference_id="r")
    assert (shop.posts, len(shop.orders)) == (5, 0)


@pytest.mark.parametrize("changed", ["CUSTOMER-77-ORDER-2024-11-25-0001-EU", "customer-77-order-2024-11-25-0001"])
async def test_reference_that_the_server_changes(shopper, shop, changed):
    """An order under a changed reference is seen among the latest ones, and nothing is sent again."""
    reference = "customer-77-order-2024-11-25-0001-eu"
    shop.faults = [booked(referenceId=changed)]
    with pytest.raises(PurchaseInDoubtError) as caught:
        await shopper.with_settings(on_doubt="look_up_then_resend").orders.create(PAIR, reference_id=reference)
    assert [order.id for order in caught.value.found] == ["order-0"]
    assert (shop.posts, len(shop.orders)) == (1, 1)


async def test_reference_that_nobody_changed(shopper, shop):
    """Control: a lost order under the right reference is found, and one under a different one is no match."""
    shop.faults = [booked(referenceId="customer-77-order-2024-11-25-0002-eu")]
    resending = shopper.with_settings(on_doubt="look_up_then_resend")
    order = await resending.orders.create(PAIR, reference_id="customer-77-order-2024-11-25-0001-eu")
    assert (order.id, shop.posts) == ("order-1", 2)


async def test_order_that_grows(shopper, shop):
    """A pending order with items missing is read until it is complete."""

    def growing(shop: Shop, body: dict[str, Any]) -> bytes:
        order = shop.book(body, status="PENDING")
        items = order["items"]
        order["items"] = items[:1]
        reply = envelope(order)
        asyncio.get_running_loop().call_later(0.05, lambda: order.update(items=items, status="COMPLETED"))
        return reply

    shop.faults = [growing]
    order = await shopper.with_settings(reconcile_window=HANG).orders.create(PAIR, reference_id="r")
    assert (len(order.items), order.status, shop.posts) == (2, "COMPLETED", 1)


async def test_order_that_does_not_grow(shopper, shop):
    """Control: one that stays incomplete is in doubt, with the order."""
    shop.faults = [told(status="PENDING", items=[{"packageId": PLAIN, "esimId": "e-1"}])]
    with pytest.raises(PurchaseInDoubtError, match="items are missing") as caught:
        await shopper.orders.create(PAIR, reference_id="r")
    assert [order.id for order in caught.value.found] == ["order-0"]


async def test_booked_twice_by_a_late_first_send(shopper, shop):
    """Where the first order shows up as the second comes back, both are named, although the list lags behind."""

    def second(shop: Shop, body: dict[str, Any]) -> bytes:
        order = shop.book(body)
        shop.hidden = {order["id"]}
        return envelope(order)

    shop.faults = [booked(is_hidden=True), second]
    with pytest.raises(PurchaseInDoubtError, match="booked 2 times") as caught:
        await shopper.with_settings(on_doubt="look_up_then_resend").orders.create(PAIR, reference_id="r")
    assert {order.id for order in caught.value.found} == {"order-0", "order-1"}


# ---------------------------------------------------------------- clocks, and look-ups that say little


@pytest.mark.parametrize("hours", [-1, 1, -24])
@pytest.mark.parametrize("reference", [None, "r"])
async def test_clock_of_the_server_is_off(shopper, shop, hours, reference):
    """A lost order is found whatever the server's clock says, under a new reference and under the caller's."""
    shop.faults = [booked(createdAt=int(time.time()) + hours * 3600)]
    order = await shopper.orders.create(PAIR, reference_id=reference)
    assert (order.id, shop.posts, len(shop.orders)) == ("order-0", 1, 1)


async def test_clock_without_looking(shopper, shop):
    """Control: where nobody looked before sending, an order that is an hour older is not taken for the purchase."""
    shop.faults = [booked(createdAt=int(time.time()) - 3600)]
    with pytest.raises(PurchaseInDoubtError) as caught:
        await shopper.with_settings(look_first=False).orders.create(PAIR, reference_id="r")
    assert [order.id for order in caught.value.found] == ["order-0"]


async def test_dates_in_milliseconds(shopper, shop):
    """An order whose dates are in milliseconds is found, and is as old as it is."""
    now = int(time.time())
    shop.faults = [booked(createdAt=now * 1000)]
    order = await shopper.with_settings(look_first=False).orders.create(PAIR, reference_id="r")
    assert (order.id, order.created_at) == ("order-0", datetime.fromtimestamp(now, UTC))
    assert shop.posts == 1


async def test_look_up_that_is_refused(shopper, shop):
    """A look-up that is refused before sending is raised with its reason, and nothing is sent."""
    shop.look_up = lambda: failure(403, "Orders cannot be listed with this key")
    with pytest.raises(PermissionDeniedError, match=r"Orders cannot be listed.*look_first=False") as caught:
        await shopper.orders.create(PAIR, reference_id="r")
    assert (caught.value.sent, shop.posts) == ("no", 0)


@pytest.mark.parametrize("policy", ["look_up", "look_up_then_resend"])
async def test_look_up_that_is_refused_after_sending(shopper, shop, policy):
    """A refused look-up after a lost answer is no absence, and its reason is in the doubt."""

    def lost(shop: Shop, body: dict[str, Any]) -> bytes:
        shop.look_up = lambda: failure(403, "Orders cannot be listed with this key")
        shop.book(body)
        return b""

    shop.faults = [lost]
    with pytest.raises(PurchaseInDoubtError, match="Orders cannot be listed") as caught:
        await shopper.with_settings(on_doubt=policy).orders.create(PAIR, reference_id="r")
    assert isinstance(caught.value.look_up_error, PermissionDeniedError)
    assert (shop.posts, len(shop.orders)) == (1, 1)


async def test_top_up_whose_offer_shrinks(opened):
    """A top-up that was booked although its answer was a 500 is found, with its package no longer offered."""
    async with Sandbox(packages=300, topup_offers="unused") as sandbox:
        client = await opened(sandbox.url, sandbox.token)
        (esim,) = await client.esims.buy(PLAIN)
        offered = [package.package_id for package in await client.topups.packages(esim.iccid)]
        sandbox.fail("POST", TOP_UP, "500", when="after")
        order = await client.topups.create(esim.iccid, offered[0], reference_id="r")
        assert offered[0] not in [package.package_id for package in await client.topups.packages(esim.iccid)]
        again = await client.topups.create(esim.iccid, offered[0], reference_id="r")
        assert [one["id"] for one in under(sandbox)] == [order.id] == [again.id]
        assert came(sandbox, f"POST {TOP_UP}") == 1


async def test_top_up_that_is_not_offered(opened):
    """Control: a top-up with a package that the eSIM is no longer offered is refused, and nothing is sent."""
    async with Sandbox(packages=300, topup_offers="unused") as sandbox:
        client = await opened(sandbox.url, sandbox.token)
        (esim,) = await client.esims.buy(PLAIN)
        offered = [package.package_id for package in await client.topups.packages(esim.iccid)]
        await client.topups.create(esim.iccid, offered[0])
        with pytest.raises(PackageNotFoundError):
            await client.topups.create(esim.iccid, offered[0], reference_id="r")
        assert came(sandbox, f"POST {TOP_UP}") == 1


async def test_move_on_after(client, sandbox, caplog):
    """A scope that swallows the cancellation leaves the reference in the log and in ``doubts()``."""
    sandbox.fail("POST", ORDER, "hang", when="after")
    with anyio.move_on_after(60) as scope:
        cutting = asyncio.create_task(_after(sandbox.arrived(SENT), lambda: setattr(scope, "deadline", 0)))
        await client.orders.create([OrderItem(PLAIN)], reference_id="r")
    await cutting
    assert scope.cancelled_caught
    assert [doubt.reference_id for doubt in client.doubts()] == ["r"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert any("reference r " in warning for warning in warnings)


# ---------------------------------------------------------------- what is remembered


async def test_doubts(client, sandbox):
    """``doubts()`` lists what is in doubt, the oldest first, until it is found; other outcomes leave none."""
    sandbox.fail("POST", ORDER, "drop", times=2)
    sandbox.fail("POST", ORDER, "drop", when="after")
    sandbox.fail("POST", ORDER, "401")
    once = client.with_settings(on_doubt="raise")
    for reference in ("a", "b", "c"):
        with pytest.raises(PurchaseInDoubtError):
            await once.orders.create([OrderItem(PLAIN)], reference_id=reference)
    with pytest.raises(APIStatusError):
        await client.orders.create([OrderItem(PLAIN)], reference_id="d")
    await client.orders.create([OrderItem(PLAIN)], reference_id="e")
    assert [doubt.reference_id for doubt in client.doubts()] == ["a", "b", "c"]
    assert all(doubt.reason is not None and doubt.first_sent_at.tzinfo for doubt in client.doubts())
    await client.orders.create([OrderItem(PLAIN)], reference_id="c")
    await client.with_settings(on_doubt="look_up_then_resend").orders.create([OrderItem(PLAIN)], reference_id="b")
    assert [doubt.reference_id for doubt in client.doubts()] == ["a"]
    assert [len(under(sandbox, reference)) for reference in "abcde"] == [0, 1, 1, 0, 1]


async def test_doubts_are_bounded(sandbox, monkeypatch, caplog):
    """The oldest doubts are forgotten first, with a warning that names them."""
    monkeypatch.setattr(memory, "MAX_DOUBTS", 3)
    sandbox.fail("POST", ORDER, "drop", times=5)
    settings = QUICK.changed(on_doubt="raise")
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=settings) as client:
        for number in range(5):
            with pytest.raises(PurchaseInDoubtError):
                await client.orders.create([OrderItem(PLAIN)], reference_id=f"r-{number}")
        assert [doubt.reference_id for doubt in client.doubts()] == ["r-2", "r-3", "r-4"]
    warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    assert [warning for warning in warnings if "no longer remembered" in warning] == [
        f"too many purchases in doubt: r-{number} is no longer remembered" for number in range(2)
    ]


def test_doubts_of_the_blocking_client(tmp_path: Path):
    """The blocking client remembers doubts too, and shares them with its views."""
    with Sandbox(packages=300) as sandbox:
        sandbox.fail("POST", ORDER, "drop", when="after")
        with Roamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
            with pytest.raises(PurchaseInDoubtError):
                roamify.with_settings(on_doubt="raise").orders.create([OrderItem(PLAIN)], reference_id="r")
            assert [doubt.reference_id for doubt in roamify.doubts()] == ["r"]
            assert roamify.orders.reconcile("r").reference_id == "r"
            assert roamify.doubts() == ()
