"""A PostgreSQL server that is restarted, killed and out of reach while replicas buy."""

import asyncio
import itertools

import pytest
from support.clients import QUICK
from support.ledgers import Wrapped, wanted
from support.postgres import cluster
from support.purchases import ORDER, PLAIN, came, under

from roamify_async import AsyncRoamify, LedgerError, OrderItem
from roamify_async.ledger import Outcome, Start, Verdict

pytestmark = pytest.mark.long

SENT = f"POST {ORDER}"
_numbers = itertools.count()


@pytest.fixture(scope="module")
def own_cluster():
    """Run a server that the tests of this module kill."""
    with cluster() as running:
        yield running


@pytest.fixture
def open_postgres(own_cluster):
    """Open the same ledger again and again."""
    from roamify_async.ledger import PostgresLedger

    schema, opened = f"test_{next(_numbers)}", []

    def open_it(**options: object) -> PostgresLedger:
        opened.append(PostgresLedger(own_cluster.url, schema, **options))
        return opened[-1]

    yield open_it
    for ledger in opened:
        ledger.close()


async def buy(client: AsyncRoamify):
    """Order under the reference of the tests."""
    return await client.orders.create([OrderItem(PLAIN)], reference_id="r")


async def test_restarted(open_postgres, own_cluster):
    """A ledger reconnects after its server was killed, and all that was committed is there."""
    ledger = open_postgres()
    lease = (await ledger.claim(wanted())).lease
    await asyncio.gather(*(ledger.claim(wanted(f"s{number}")) for number in range(20)))  # All connections are open.
    own_cluster.kill()
    own_cluster.start()
    await ledger.start(lease, wanted(), Start())
    assert await ledger.settle(lease, Outcome(status="ordered", order_id="o1"))
    assert (await open_postgres().claim(wanted())).verdict is Verdict.BOUGHT


async def test_connection_that_is_cut(open_postgres):
    """A connection that is cut in the middle of a transaction is opened again, and the work done once."""
    ledger, cut = open_postgres(), iter([True])
    await ledger.claim(wanted("warm-up"))

    def work(session):
        rows = session.rows(
            "INSERT INTO {table}limits (account, spent) VALUES ('a', 1) "
            "ON CONFLICT (account) DO UPDATE SET spent = limits.spent + 1 RETURNING spent"
        )
        if next(cut, False):
            session.rows("SELECT pg_terminate_backend(pg_backend_pid())")
        return rows[0][0]

    assert await ledger._ask(work) == 1


async def test_server_that_is_away(open_postgres, own_cluster, sandbox):
    """Nothing is sent while the server is away."""
    ledger = open_postgres(timeout=3)
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, ledger=ledger, settings=QUICK) as one:
        own_cluster.stop()
        try:
            with pytest.raises(LedgerError) as caught:
                await buy(one)
        finally:
            own_cluster.start()
        assert (caught.value.sent, caught.value.reference_id, came(sandbox, SENT)) == ("no", "r", 0)
        assert not (await buy(one)).was_found


async def test_server_that_is_lost_in_the_middle(open_postgres, own_cluster, sandbox):
    """A purchase goes to its end while the server is away; its row is settled by who asks next."""

    async def start(ledger, *facts: object) -> None:
        await ledger.start(*facts)
        await asyncio.to_thread(own_cluster.kill)

    inner = open_postgres(timeout=1, lease=2)
    async with AsyncRoamify(
        sandbox.token, base_url=sandbox.url, ledger=Wrapped(inner, start=start), settings=QUICK
    ) as one:
        try:
            order = await buy(one)
        finally:
            own_cluster.start()
    assert not order.was_found
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, ledger=open_postgres(), settings=QUICK) as other:
        again = await buy(other)
    assert (again.id, again.was_found, came(sandbox, SENT), len(under(sandbox))) == (order.id, True, 1, 1)
    assert inner.get("r").status == "ordered"


async def test_migration_is_a_step_of_its_own(open_postgres):
    """With ``migrate=False`` the tables are not made, until ``migrate`` is called."""
    ledger = open_postgres(migrate=False)
    with pytest.raises(LedgerError, match=r"python -m roamify_async\.ledger migrate"):
        await ledger.claim(wanted())
    ledger.migrate()
    assert (await ledger.claim(wanted())).verdict is Verdict.FREE


def test_repr(open_postgres):
    """The ``repr`` shows neither user nor password."""
    from roamify_async.ledger import PostgresLedger

    shown = repr(PostgresLedger("postgresql://shop:secret@db.example:5432/sales"))
    assert shown == "PostgresLedger(db.example/sales, schema roamify)"
    with pytest.raises(ValueError, match="schema must be a plain name"):
        PostgresLedger("postgresql:///x", "no; drop")
