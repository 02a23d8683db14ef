"""Workers in processes of their own, killed and stopped at every point. Orders are counted at the server."""

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import pytest
from support.processes import Started
from support.programs import ROOT
from support.purchases import LISTED, ORDER, PLAIN, came

from roamify_async import AsyncRoamify, CreateOrder, LedgerError, OrderItem, Settings
from roamify_async.durable import Batch, DurableOrders

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(os.name != "posix", reason="processes are killed and stopped as POSIX does it"),
]

SENT = f"POST {ORDER}"
LATENCY = 0.5
LEASE = 1.0
WINDOW = 0.3

Start = Callable[..., Awaitable[Started]]
Submit = Callable[..., Awaitable[Batch]]


@pytest.fixture(params=["awaiting", "blocking"])
async def worker(request, open_ledger, sandbox) -> AsyncIterator[Start]:
    """Start workers of the sandbox with the same ledger."""
    async with AsyncExitStack() as stack:

        async def start(*waits: str, **changes: Any) -> Started:
            plan = {
                "url": sandbox.url, "token": sandbox.token, "client": request.param, "waits": waits, "veto": True,
                "ledger": {**open_ledger.place, "lease": LEASE}, "concurrency": 4, **changes,
            }  # fmt: skip
            process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "tests.durable.worker", json.dumps(plan), cwd=ROOT,
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
            )  # fmt: skip
            started = Started(process)
            stack.push_async_callback(started.kill)
            return started

        yield start


@pytest.fixture
async def submit(open_ledger, sandbox) -> AsyncIterator[Submit]:
    """Submit batches, whose lines have references of their own, with the client of the test."""
    async with AsyncExitStack() as stack:

        async def submitted(count: int = 1, policy: Any = "look_up", *, apply: bool = False) -> Batch:
            settings = Settings(reconcile_window=WINDOW, on_doubt=policy)
            client = AsyncRoamify(sandbox.token, base_url=sandbox.url, ledger=open_ledger(), settings=settings)
            await stack.enter_async_context(client)
            requests = [CreateOrder([OrderItem(PLAIN)], reference_id=f"r-{number}") for number in range(count)]
            return await DurableOrders(client).submit("night", requests, apply=apply)

        yield submitted


async def finish(batch: Batch) -> dict[str, int]:
    """Wait until the workers have nothing left to do, and return the number of lines by status, without zeros."""
    with await batch.report(wait=True) as report:
        return {status: count for status, count in report.counts.items() if count}


async def stop(one: Started, open_ledger: Callable[..., Any]) -> None:
    """Stop a worker while it writes nothing: in SQLite, everybody waits for a process that is stopped in a commit."""
    probe = open_ledger(timeout=1)
    while True:
        one.send(signal.SIGSTOP)
        try:
            await probe.run(lambda session: session.rows("SELECT 1"))
        except LedgerError:
            one.send(signal.SIGCONT)
        else:
            return


def books(sandbox: Any) -> tuple[int, int]:
    """Return how many orders were booked, and how many purchases came."""
    return len(sandbox.state()["orders"]), came(sandbox, SENT)


# ---------------------------------------------------------------- at once


async def test_workers_that_are_the_same(worker, submit, sandbox):
    """Four workers that were started with the same command, and so have one name, buy each line once."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=LATENCY, times=None)
    batch = await submit(24)
    workers = [await worker() for _ in range(4)]
    assert await finish(batch) == {"ordered": 24}
    for one in workers:
        assert await one.read() == {"ended": None}
    assert books(sandbox) == (24, 24)


async def test_worker_that_never_comes_back(worker, submit, sandbox):
    """Lines of a worker that was killed in the middle are finished by another one, all of them once."""
    sandbox.fail("POST", ORDER, "slow", when="after", seconds=LATENCY, times=None)
    batch = await submit(12)
    killed = await worker()
    await sandbox.arrived(SENT, 6)
    await killed.kill()
    await worker()
    assert await finish(batch) == {"ordered": 12}
    assert books(sandbox) == (12, 12)


# ---------------------------------------------------------------- killed


@pytest.mark.parametrize("point", ["claim", "settle", "put"])
async def test_killed(worker, submit, sandbox, point):
    """A worker that is killed before its claim, or before it writes what it bought, leaves one order."""
    batch = await submit()
    killed = await worker(point)
    await killed.reach({"claim": "before the claim", "settle": "answered", "put": "settled"}[point])
    await killed.kill()
    await worker()
    assert await finish(batch) == {"ordered": 1}
    assert books(sandbox) == (1, 1)


async def test_killed_after_the_claim(worker, submit, sandbox):
    """What a worker claimed and did not send is bought by another one."""
    sandbox.fail("GET", "/api/esim/orders", "hang")
    batch = await submit()
    killed = await worker()
    await sandbox.arrived(LISTED)
    await killed.kill()
    await worker()
    assert await finish(batch) == {"ordered": 1}
    assert books(sandbox) == (1, 1)


async def test_killed_with_bytes_out(worker, submit, sandbox):
    """What a worker may have sent is in doubt, and is not sent again unless the batch allows it."""
    sandbox.fail("POST", ORDER, "hang", when="before")
    batch = await submit()
    killed = await worker()
    await sandbox.arrived(SENT)
    await killed.kill()
    await worker()
    assert await finish(batch) == {"in_doubt": 1}
    assert await batch.retry("not_sent") == 0
    assert await batch.retry("in_doubt") == 1
    await worker()
    assert await finish(batch) == {"in_doubt": 1}
    assert books(sandbox) == (0, 1)


async def test_killed_with_bytes_out_and_sent_again(worker, submit, sandbox):
    """What a worker may have sent is sent again if it is not found and the batch allows it."""
    sandbox.fail("POST", ORDER, "hang", when="before")
    batch = await submit(policy="look_up_then_resend")
    killed = await worker()
    await sandbox.arrived(SENT)
    await killed.kill()
    await worker()
    assert await finish(batch) == {"ordered": 1}
    assert books(sandbox) == (1, 2)


@pytest.mark.parametrize("policy", ["look_up", "look_up_then_resend"])
async def test_killed_when_booked(worker, submit, sandbox, policy):
    """What was booked for a worker that was killed before the answer came is found, and not sent again."""
    sandbox.fail("POST", ORDER, "hang", when="after")
    batch = await submit(policy=policy)
    killed = await worker()
    await sandbox.arrived(SENT)
    await killed.kill()
    await worker()
    assert await finish(batch) == {"ordered": 1}
    assert books(sandbox) == (1, 1)


async def test_killed_while_it_applies(worker, submit, sandbox):
    """The profile of an order whose worker was killed is made by another one, and the order is not bought again."""
    sandbox.fail("POST", "/api/esim/apply", "hang", when="before")
    batch = await submit(apply=True)
    killed = await worker()
    await sandbox.arrived("POST /api/esim/apply")
    await killed.kill()
    await worker()
    assert await finish(batch) == {"ordered": 1}
    with await batch.report() as report:
        assert report.lines[0].error is None
    assert [esim["iccid"] is not None for esim in sandbox.state()["esims"]] == [True]
    assert books(sandbox) == (1, 1)


# ---------------------------------------------------------------- stopped for longer than the lease


@pytest.mark.parametrize("point", ["claim", "start", "settle", "put"])
async def test_stopped(worker, submit, open_ledger, sandbox, point):
    """A worker that is stopped for longer than its lease, at any point, neither sends nor changes the outcome."""
    batch = await submit(policy="look_up_then_resend")
    stopped = await worker(point)
    await stopped.reach(
        {"claim": "before the claim", "start": "before the first byte", "settle": "answered", "put": "settled"}[point]
    )
    await stop(stopped, open_ledger)
    other = await worker()
    assert await finish(batch) == {"ordered": 1}
    assert await other.read() == {"ended": None}
    stopped.send(signal.SIGCONT)
    stopped.go_on()
    outcome = await stopped.read()
    while outcome != {"ended": None}:  # It may ask for the reference once more.
        stopped.go_on()
        outcome = await stopped.read()
    assert await finish(batch) == {"ordered": 1}
    assert books(sandbox) == (1, 1)


async def test_stopped_without_a_veto(worker, submit, open_ledger, sandbox):
    """Control: a worker without the veto sends when it goes on, and the line is bought twice."""
    batch = await submit(policy="look_up_then_resend")
    stopped = await worker("start", veto=False)
    await stopped.reach("before the first byte")
    await stop(stopped, open_ledger)
    await worker()
    assert await finish(batch) == {"ordered": 1}
    stopped.send(signal.SIGCONT)
    stopped.go_on()
    assert await stopped.read() == {"ended": None}
    assert books(sandbox) == (2, 2)


async def test_cancelled_while_it_is_stopped(worker, submit, open_ledger, sandbox):
    """A worker that was stopped before it recorded that it sends does not send if the batch was cancelled meanwhile."""
    batch = await submit()
    stopped = await worker("claim")
    await stopped.reach("before the claim")
    await stop(stopped, open_ledger)
    await batch.cancel()
    assert await finish(batch) == {"not_sent": 1}
    stopped.send(signal.SIGCONT)
    stopped.go_on()
    assert await stopped.read() == {"ended": None}
    assert await finish(batch) == {"not_sent": 1}
    assert books(sandbox) == (0, 0)
