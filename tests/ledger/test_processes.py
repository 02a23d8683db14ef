"""Replicas in processes of their own, which are killed and stopped at every point. Orders are counted at the server."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from support.clients import QUICK
from support.processes import Started
from support.purchases import ORDER, PLAIN, came, under

from roamify_async import AsyncRoamify, OrderItem, PurchaseInDoubtError, Settings
from roamify_async.sandbox import Sandbox

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.name != "posix", reason="processes are killed and stopped as POSIX does it"),
]

ROOT = Path(__file__).parents[2]
SENT = f"POST {ORDER}"
LOOKED = "GET /api/esim/orders"
LATENCY = 0.5
LEASE = 1.0
WINDOW = 0.3
PATIENT = Settings(reconcile_window=WINDOW)
RESENDING = Settings(reconcile_window=WINDOW, on_doubt="look_up_then_resend")


Start = Callable[..., Awaitable[Started]]


@pytest.fixture(params=["awaiting", "blocking"])
async def worker(request, open_ledger, sandbox) -> AsyncIterator[Start]:
    """Start replicas of the sandbox with the same ledger."""
    async with AsyncExitStack() as stack:

        async def start(*, has_ledger: bool = True, **changes: Any) -> Started:
            place = {**open_ledger.place, "lease": changes.pop("lease", 30.0)} if has_ledger else None
            plan = {
                "url": sandbox.url, "token": sandbox.token, "client": request.param, "ledger": place,
                "references": ["r"], "window": WINDOW, **changes,
            }  # fmt: skip
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.ledger.worker", json.dumps(plan), cwd=ROOT,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            started = Started(process)
            stack.push_async_callback(started.kill)
            return started

        yield start


@pytest.fixture
async def other(open_ledger, sandbox) -> AsyncIterator[AsyncRoamify]:
    """Open another replica, in the process of the test."""
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, ledger=open_ledger(), settings=PATIENT) as roamify:
        yield roamify


async def is_over(open_ledger: Callable[..., Any]) -> None:
    """Wait until the lease of the purchase is over."""
    ledger = open_ledger()
    while True:
        row = await asyncio.to_thread(ledger.get, "r")
        if row is not None and not row.is_live:
            return
        await asyncio.sleep(0.02)


async def buy(client: AsyncRoamify) -> Any:
    """Order under the reference of the tests."""
    return await client.orders.create([OrderItem(PLAIN)], reference_id="r")


# ---------------------------------------------------------------- at once

REFERENCES = [f"r-{number}" for number in range(20)]


async def _race(worker: Start, sandbox: Sandbox, **options: Any) -> list[dict[str, Any]]:
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=LATENCY, times=None)
    workers = [await worker(references=REFERENCES, waits_at_start=True, **options) for _ in range(4)]
    for one in workers:
        await one.reach("ready")
    for one in workers:
        one.go_on()
    return [await one.read() for one in workers for _ in REFERENCES]


async def test_four_processes(worker, sandbox):
    """Four processes that ask for the same 20 references make 20 orders, and all get each of them."""
    outcomes = await _race(worker, sandbox)
    assert (len(sandbox.state()["orders"]), came(sandbox, SENT)) == (20, 20)
    orders = [outcome["order"] for outcome in outcomes]
    assert {orders.count(order) for order in orders} == {4}
    assert sum(not outcome["was_found"] for outcome in outcomes) == 20


async def test_four_processes_without_a_ledger(worker, sandbox):
    """Control: without a ledger they make more."""
    await _race(worker, sandbox, has_ledger=False)
    assert len(sandbox.state()["orders"]) > 20


# ---------------------------------------------------------------- the shared rate

RATE = 4


async def _busiest(worker: Start, sandbox: Sandbox, rate: float | None) -> int:
    """Let three processes buy as fast as they may; return the greatest number of orders received in any second."""
    workers = [
        await worker(references=[f"r-{number}-{place}" for place in range(5)], waits_at_start=True, rate=rate)
        for number in range(3)
    ]
    for one in workers:
        await one.reach("ready")
    for one in workers:
        one.go_on()
    for one in workers:
        for _ in range(5):
            assert "order" in await one.read()
    times = [entry.at for entry in sandbox._running().requests.recent if (entry.method, entry.path) == ("POST", ORDER)]
    assert len(times) == 15
    return max(sum(start <= at < start + 1 for at in times) for start in times)


async def test_shared_rate(worker, sandbox):
    """Three processes send at most one purchase more than the rate in any second, counted at the server."""
    assert await _busiest(worker, sandbox, RATE) <= RATE + 1


async def test_without_a_shared_rate(worker, sandbox):
    """Control: without the limit they send more."""
    assert await _busiest(worker, sandbox, None) > RATE + 1


# ---------------------------------------------------------------- killed


async def test_killed_before_the_claim(worker, other, sandbox):
    """A process that is killed before its claim leaves nothing."""
    killed = await worker(waits=["claim"])
    await killed.reach("before the claim")
    await killed.kill()
    assert not (await buy(other)).was_found
    assert (len(under(sandbox)), came(sandbox, SENT)) == (1, 1)


async def test_killed_after_the_claim(worker, other, sandbox):
    """What a process claimed and did not send is bought after its lease, without a doubt."""
    sandbox.fail("GET", "/api/esim/orders", "hang")
    killed = await worker(lease=LEASE)
    await sandbox.arrived(LOOKED)
    await killed.kill()
    assert not (await buy(other)).was_found
    assert (len(under(sandbox)), came(sandbox, SENT)) == (1, 1)


async def test_killed_with_bytes_out(worker, other, sandbox, open_ledger):
    """What a process may have sent is looked for after its lease, and sent again only if the settings say so."""
    sandbox.fail("POST", ORDER, "hang", when="before")
    killed = await worker(lease=LEASE)
    await sandbox.arrived(SENT)
    await killed.kill()
    with pytest.raises(PurchaseInDoubtError) as caught:
        await buy(other)
    assert (caught.value.reference_id, came(sandbox, SENT)) == ("r", 1)
    assert [doubt.reference_id for doubt in other.doubts()] == ["r"]
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, ledger=open_ledger(), settings=RESENDING) as resending:
        order = await buy(resending)
    assert (under(sandbox)[0]["id"], len(under(sandbox)), came(sandbox, SENT)) == (order.id, 1, 2)
    assert other.doubts() == ()


@pytest.mark.parametrize("settings", [PATIENT, RESENDING], ids=["look_up", "resend"])
async def test_killed_when_booked(worker, sandbox, open_ledger, settings):
    """What was booked for a process that was killed before the answer came is found, and not sent again."""
    sandbox.fail("POST", ORDER, "hang", when="after")
    killed = await worker(lease=LEASE)
    await sandbox.arrived(SENT)
    await killed.kill()
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, ledger=open_ledger(), settings=settings) as other:
        order = await buy(other)
    assert (order.was_found, len(under(sandbox)), came(sandbox, SENT)) == (True, 1, 1)


async def test_killed_when_answered(worker, other, sandbox):
    """What was bought and not written is found."""
    killed = await worker(lease=LEASE, waits=["settle"])
    await killed.reach("answered")
    await killed.kill()
    order = await buy(other)
    assert (order.was_found, len(under(sandbox)), came(sandbox, SENT)) == (True, 1, 1)


# ---------------------------------------------------------------- stopped for longer than the lease


async def test_stopped_before_the_claim(worker, other, sandbox):
    """A process that is stopped before its claim gets what another one bought meanwhile."""
    stopped = await worker(waits=["claim"], lease=LEASE)
    await stopped.reach("before the claim")
    stopped.send(signal.SIGSTOP)
    order = await buy(other)
    stopped.send(signal.SIGCONT)
    stopped.go_on()
    assert await stopped.read() == {"order": order.id, "was_found": True}
    assert (len(under(sandbox)), came(sandbox, SENT)) == (1, 1)


async def test_stopped_after_the_claim(worker, other, sandbox):
    """A process that is stopped while it looks up gets what another one bought meanwhile."""
    sandbox.fail("GET", "/api/esim/orders", "slow", seconds=LATENCY)
    stopped = await worker(lease=LEASE)
    await sandbox.arrived(LOOKED)
    stopped.send(signal.SIGSTOP)
    order = await buy(other)
    stopped.send(signal.SIGCONT)
    assert await stopped.read() == {"order": order.id, "was_found": True}
    assert (len(under(sandbox)), came(sandbox, SENT)) == (1, 1)


async def test_stopped_before_the_first_byte(worker, sandbox, open_ledger):
    """A process that is stopped right before its first byte sends nothing when it goes on."""
    stopped = await worker(lease=LEASE, waits=["start"])
    await stopped.reach("before the first byte")
    stopped.send(signal.SIGSTOP)
    await is_over(open_ledger)
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, ledger=open_ledger(), settings=RESENDING) as resending:
        order = await buy(resending)
    stopped.send(signal.SIGCONT)
    stopped.go_on()
    assert await stopped.read() == {"order": order.id, "was_found": True}
    assert (len(under(sandbox)), came(sandbox, SENT)) == (1, 1)


async def test_stopped_before_the_first_byte_without_a_veto(worker, sandbox, open_ledger):
    """Control: without the veto it sends, and the reference is bought twice."""
    stopped = await worker(lease=LEASE, waits=["start"], veto=False)
    await stopped.reach("before the first byte")
    stopped.send(signal.SIGSTOP)
    await is_over(open_ledger)
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, ledger=open_ledger(), settings=RESENDING) as resending:
        await buy(resending)
    stopped.send(signal.SIGCONT)
    stopped.go_on()
    assert "order" in await stopped.read()
    assert len(under(sandbox)) == 2


@pytest.mark.parametrize("when", ["before", "after"])
async def test_stopped_with_bytes_out(worker, other, sandbox, when, open_ledger):
    """While a process is stopped with bytes out, another one finds its order, and both return it."""
    sandbox.fail("POST", ORDER, "slow", when=when, seconds=LATENCY)
    stopped = await worker(lease=LEASE)
    await sandbox.arrived(SENT)
    stopped.send(signal.SIGSTOP)
    await is_over(open_ledger)
    order = await buy(other)
    stopped.send(signal.SIGCONT)
    assert (await stopped.read())["order"] == order.id
    assert (len(under(sandbox)), came(sandbox, SENT)) == (1, 1)


async def test_stopped_when_answered(worker, other, sandbox, open_ledger):
    """A process that is stopped before it writes its outcome changes nothing afterwards."""
    stopped = await worker(lease=LEASE, waits=["settle"])
    await stopped.reach("answered")
    stopped.send(signal.SIGSTOP)
    order = await buy(other)
    tries = open_ledger().get("r").tries
    stopped.send(signal.SIGCONT)
    stopped.go_on()
    assert (await stopped.read())["order"] == order.id
    row = open_ledger().get("r")
    assert (row.status, row.order_id, row.tries) == ("ordered", order.id, tries)
    assert (len(under(sandbox)), came(sandbox, SENT)) == (1, 1)


async def test_server_that_is_slower_than_the_lease(worker, other, sandbox):
    """A lease is renewed while its process waits for a slow server; the others wait for its order."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=2 * LEASE)
    slow = await worker(lease=LEASE)
    await sandbox.arrived(SENT)
    order = await other.with_settings(reconcile_window=QUICK.reconcile_window).orders.create(
        [OrderItem(PLAIN)], reference_id="r"
    )
    assert (await slow.read())["order"] == order.id
    assert (len(under(sandbox)), came(sandbox, SENT)) == (1, 1)
