"""A ledger in PostgreSQL behind pgbouncer in transaction mode: nothing of it depends on a session."""

import asyncio
import itertools
from collections.abc import Iterator
from decimal import Decimal

import pytest
from support.clients import QUICK
from support.ledgers import expire, wanted
from support.postgres import bouncer
from support.purchases import ORDER, PLAIN, came

from roamify_async import AsyncRoamify, CreateOrder, OrderItem
from roamify_async.ledger import LeaseLostError, Outcome, SharedLimits, Start, Verdict

pytestmark = pytest.mark.long

SENT = f"POST {ORDER}"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def bouncer_url(running_cluster) -> Iterator[str]:
    """Run pgbouncer, whose two connections all clients share."""
    with bouncer(running_cluster) as url:
        yield url


@pytest.fixture
def open_postgres(bouncer_url):
    """Open the same ledger again and again, through pgbouncer."""
    from roamify_async.ledger import PostgresLedger

    schema, opened = f"bounced_{next(_numbers)}", []

    def open_it(**options: object) -> PostgresLedger:
        opened.append(PostgresLedger(bouncer_url, schema, **options))
        return opened[-1]

    yield open_it
    for ledger in opened:
        ledger.close()


def test_sessions_are_shared(bouncer_url):
    """Control: behind pgbouncer, statements of one connection run in different sessions, whose settings get lost."""
    import psycopg

    with psycopg.connect(bouncer_url, autocommit=True) as one, psycopg.connect(bouncer_url) as other:

        def shown() -> object:
            return one.execute("SELECT pg_backend_pid(), current_setting('work_mem')").fetchone()

        one.execute("SET work_mem = '77MB'")
        before = shown()
        other.execute("SELECT 1")  # Its transaction holds the session that was used last.
        assert before != shown()


async def test_operations(open_postgres):
    """Ledgers that open at once make the tables once; claims, leases, shared limits and take-overs work."""
    limits = SharedLimits(max_spend=2, rate=1_000)
    ledgers = [open_postgres(limits=limits) for _ in range(3)]
    claims = await asyncio.gather(*(ledger.claim(wanted()) for ledger in ledgers for _ in range(5)))
    assert sorted(claim.verdict.name for claim in claims) == ["FREE"] + ["WAIT"] * 14
    lease = next(claim.lease for claim in claims if claim.lease)
    await asyncio.gather(*(ledger.turn() for ledger in ledgers for _ in range(5)))
    await ledgers[0].start(lease, wanted(), Start(price=Decimal(1)))
    await ledgers[0].renew(lease)
    await expire(ledgers[1])
    taken = await ledgers[2].claim(wanted())
    assert (taken.verdict, ledgers[1].spent()) == (Verdict.TAKE_OVER, {"main": 1})
    with pytest.raises(LeaseLostError):
        await ledgers[0].renew(lease)
    await ledgers[2].settle(taken.lease, Outcome(status="ordered", order_id="o1", total=Decimal("1.5")))
    assert (await ledgers[0].claim(wanted())).verdict is Verdict.BOUGHT


async def test_schema_that_is_created_meanwhile(open_postgres, bouncer_url, running_cluster):
    """A process that waits for another one's migration finds the schema that it created."""
    import psycopg

    from roamify_async.ledger.postgres import MIGRATION_LOCK, PostgresLedger

    for number in range(2):  # So that the sessions have cached what they need for it.
        await asyncio.to_thread(PostgresLedger(bouncer_url, f"warm_up_{number}").migrate)
    ledger, url = open_postgres(), running_cluster.url
    with psycopg.connect(url) as other, psycopg.connect(url, autocommit=True) as watching:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (MIGRATION_LOCK,))
        task = asyncio.create_task(ledger.claim(wanted()))
        while not watching.execute("SELECT 1 FROM pg_locks WHERE NOT granted").fetchall():  # noqa: ASYNC110 -- another session's
            await asyncio.sleep(0.01)
        other.execute(f"CREATE SCHEMA {ledger._schema}".encode())
        other.commit()
        assert (await task).verdict is Verdict.FREE


async def test_renewal(open_postgres):
    """The thread of the renewal keeps leases alive."""
    ledger, other = open_postgres(lease=0.4), open_postgres()
    lease = (await ledger.claim(wanted())).lease
    until = lease.until
    while lease.until < until + 0.8:  # noqa: ASYNC110 -- another thread's
        await asyncio.sleep(0.02)
    assert (await other.claim(wanted())).verdict is Verdict.WAIT


async def test_replicas(open_postgres, sandbox):
    """Replicas that ask for the same references at once, and share a batch, buy each once."""
    sandbox.fail("POST", ORDER, "slow", when="before", seconds=0.1, times=None)
    replicas = [
        AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK, ledger=open_postgres()) for _ in range(3)
    ]
    requests = [CreateOrder([OrderItem(PLAIN)]) for _ in range(20)]

    async def buy(one: AsyncRoamify, number: int) -> str:
        return (await one.orders.create([OrderItem(PLAIN)], reference_id=f"r-{number}")).id

    async def share(one: AsyncRoamify) -> list[str]:
        with await one.orders.bulk(requests, batch="night", concurrency=8) as report:
            return [line.order.id for line in report.lines]

    try:
        orders = await asyncio.gather(*(buy(one, number) for number in range(10) for one in replicas))
        shared = await asyncio.gather(*(share(one) for one in replicas))
    finally:
        await asyncio.gather(*(one.aclose() for one in replicas))
    assert (len(set(orders)), came(sandbox, SENT)) == (10, 30)
    assert shared[0] == shared[1] == shared[2]
