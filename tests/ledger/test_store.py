"""The operations of a ledger, with both databases."""

import asyncio
import os
import shutil
import sqlite3
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.ledgers import HOST, expire, wanted

from roamify_async import BudgetError, ConflictError, LedgerError
from roamify_async.ledger import (
    LeaseLostError,
    Outcome,
    SharedLimits,
    SqliteLedger,
    Start,
    Verdict,
    database,
    lease as leases,
    store,
)
from roamify_async.ledger.statements import VERSION

BOUGHT = Outcome(status="ordered", order_id="o1", total=Decimal("1.55"))
ROOT = Path(__file__).parents[2]
ONE = Decimal(1)
FREE_STATES = ["not_sent", "refused"]


async def take(ledger, reference: str = "r", **changes: Any):
    """Claim a reference, which is free."""
    claim = await ledger.claim(wanted(reference, **changes))
    assert claim.lease is not None
    return claim.lease


async def until_true(condition: Callable[[], object]) -> None:
    """Wait until a thread has done its work."""
    while not condition():  # noqa: ASYNC110 -- another thread's, which tells nobody
        await asyncio.sleep(0.01)


# ---------------------------------------------------------------- claims


async def test_one_claims_and_the_others_wait(open_ledger):
    """Of many that ask for a new reference at once, in one process or in several, one claims it."""
    ledgers = [open_ledger() for _ in range(3)]
    claims = await asyncio.gather(*(ledger.claim(wanted()) for ledger in ledgers for _ in range(5)))
    verdicts = sorted(claim.verdict.name for claim in claims)
    assert verdicts == ["FREE"] + ["WAIT"] * 14
    assert sum(claim.lease is not None for claim in claims) == 1


async def test_bought_is_told_to_whoever_asks(open_ledger):
    """What was bought is told with its id, to the same request only."""
    first, second = open_ledger(), open_ledger()
    lease = await take(first)
    await first.start(lease, wanted(), Start())
    assert await first.settle(lease, BOUGHT)
    claim = await second.claim(wanted())
    assert (claim.verdict, claim.lease, claim.row.order_id, claim.row.total) == (Verdict.BOUGHT, None, "o1", "1.55")
    assert (await second.claim(wanted(packages={"b": 1}))).verdict is Verdict.OTHER
    assert (await second.claim(wanted(kind="top-up"))).verdict is Verdict.OTHER


@pytest.mark.parametrize("status", FREE_STATES)
async def test_refused_is_free_at_once(open_ledger, status):
    """A reference under which nothing was bought is free at once, for other packages too."""
    first, second = open_ledger(), open_ledger()
    lease = await take(first)
    await first.start(lease, wanted(), Start())
    await first.settle(lease, Outcome(status=status))
    claim = await second.claim(wanted(packages={"b": 1}))
    assert (claim.verdict, claim.row.status) == (Verdict.FREE, status)
    row = second.get("r")
    assert (row.quantities(), row.sent_ago, row.tries) == ({"b": 1}, None, 2)


async def test_take_over_after_the_lease(open_ledger):
    """A purchase whose process is gone is taken over by one, who learns when it was sent."""
    first, second = open_ledger(), open_ledger()
    lease = await take(first)
    await first.start(lease, wanted(), Start(looked_first=False, resent=True))
    assert (await second.claim(wanted())).verdict is Verdict.WAIT
    await expire(first)
    claims = await asyncio.gather(*(second.claim(wanted()) for _ in range(5)))
    assert sorted(claim.verdict.name for claim in claims) == ["TAKE_OVER"] + ["WAIT"] * 4
    row = next(claim.row for claim in claims if claim.lease)
    assert (row.looked_first, row.resent) == (False, True)
    assert 0 <= row.sent_ago < 60


async def test_take_over_of_what_was_not_started(open_ledger):
    """A claim that did not come to sending is free after its lease."""
    first, second = open_ledger(), open_ledger()
    await take(first)
    await expire(first)
    assert (await second.claim(wanted())).verdict is Verdict.FREE


async def test_lost_lease(open_ledger):
    """Who lost a purchase to another process can neither send nor settle it."""
    first, second = open_ledger(), open_ledger()
    lease = await take(first)
    await expire(first)
    await take(second)
    with pytest.raises(LeaseLostError, match="another process took over"):
        await first.start(lease, wanted(), Start())
    with pytest.raises(LeaseLostError, match="another process took over"):
        await first.renew(lease)
    assert not await first.settle(lease, BOUGHT)
    assert second.get("r").status == "not_sent"


async def test_veto(ledger, monkeypatch):
    """After its time a lease allows no send, until it is renewed; nor does one of the parent process."""
    lease = await take(ledger)
    lease.check()
    now = leases.clock()
    monkeypatch.setattr(leases, "clock", lambda: now + ledger.lease + 1)
    with pytest.raises(LeaseLostError, match="is over"):
        lease.check()
    monkeypatch.undo()
    await ledger.renew(lease)
    lease.check()
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(LeaseLostError, match="before a fork"):
        lease.check()


async def test_renewal(open_ledger):
    """The thread of the renewal keeps leases alive, and only those."""
    first = open_ledger(lease=0.4)
    lease, other = await take(first), await take(first, "s")
    await first.settle(other, Outcome(status="not_sent"))
    until, row = lease.until, first.get("r")
    await until_true(lambda: lease.until >= until + 0.4)
    assert row.is_live
    assert (first.get("r").is_live, first.get("s").is_live) == (True, False)
    lease.check()


async def test_renewal_ends(open_ledger):
    """Control: without a renewal the lease is over, and the purchase is another's."""
    first, second = open_ledger(lease=0.2), open_ledger()
    first._handle.renewal.close()
    await take(first)
    while not (claim := await second.claim(wanted())).lease:
        assert claim.verdict is Verdict.WAIT
        await asyncio.sleep(0.05)
    assert claim.verdict is Verdict.FREE


async def test_clock_is_that_of_the_database(open_ledger, monkeypatch):
    """A process whose clock is wrong judges leases as the others do."""
    first, second = open_ledger(), open_ledger()
    await take(first)
    monkeypatch.setattr("time.time", lambda: 9e9)
    assert (await second.claim(wanted())).verdict is Verdict.WAIT


async def test_cancelled_claim_is_given_back(open_ledger):
    """A claim whose caller left before it was made holds nothing once the ledger is closed."""
    ledger = open_ledger()
    await take(ledger, "warm-up")
    for number in range(20):
        task = asyncio.create_task(ledger.claim(wanted(f"r{number}")))
        for _ in range(number % 5):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():  # The database was faster.
            await ledger.settle(task.result().lease, Outcome(status="not_sent"))
    await asyncio.to_thread(ledger.close)
    for number in range(20):
        assert (await ledger.claim(wanted(f"r{number}"))).verdict is Verdict.FREE


def gated(monkeypatch, name: str) -> tuple[threading.Event, threading.Event]:
    """Stop work of a ledger before it is committed. Return events: it is there, and it may go on."""
    entered, gate, inner = threading.Event(), threading.Event(), getattr(store, name)

    def work(*args: Any, **facts: Any) -> Any:
        result = inner(*args, **facts)
        entered.set()
        assert gate.wait(30)
        return result

    monkeypatch.setattr(store, name, work)
    return entered, gate


@pytest.mark.parametrize("name", ["claim_row", "start_row"])
async def test_left_while_it_is_closed(open_ledger, monkeypatch, name):
    """What a caller claimed or started, and left while the database worked, is given back before the ledger closes."""
    ledger = open_ledger(limits=SharedLimits(max_spend=5))
    await take(ledger, "warm-up")
    entered, gate = gated(monkeypatch, name)
    is_claim = name == "claim_row"
    call = ledger.claim(wanted()) if is_claim else ledger.start(ledger.promise(wanted()), wanted(), Start(price=ONE))
    task = asyncio.create_task(call)
    await asyncio.to_thread(entered.wait, 30)
    task.cancel()
    await asyncio.wait([task])
    closing = asyncio.create_task(asyncio.to_thread(ledger.close))
    await until_true(lambda: ledger._opened is None)
    gate.set()
    await closing
    other = open_ledger()
    assert (other.get("r").status, other.get("r").owner) == ("not_sent", None)
    assert sum(other.spent().values()) == 0


async def test_left_while_its_cost_is_reserved(open_ledger, monkeypatch):
    """A caller that leaves while the cost of its purchase is reserved, and settles it, has the cost given back."""
    ledger = open_ledger(limits=SharedLimits(max_spend=5))
    lease = await take(ledger)
    entered, gate = gated(monkeypatch, "start_row")
    task = asyncio.create_task(ledger.start(lease, wanted(), Start(price=ONE)))
    await asyncio.to_thread(entered.wait, 30)
    task.cancel()
    await asyncio.wait([task])
    settling = asyncio.create_task(ledger.settle(lease, Outcome(status="not_sent")))
    await asyncio.sleep(0)
    gate.set()
    assert await settling
    assert (ledger.get("r").status, ledger.spent()) == ("not_sent", {"main": 0})


async def test_work_after_the_end(ledger):
    """Work for a database that was closed meanwhile is a ``LedgerError``."""
    await take(ledger)
    database = ledger._handle.database
    ledger.close()
    with pytest.raises(LedgerError, match="the ledger was closed"):
        database.submit(lambda session: session.rows("SELECT 1"))


async def test_new_reference_is_written_when_it_is_sent(open_ledger):
    """The row of a reference that was just created is written once, when it may be sent."""
    first, second = open_ledger(), open_ledger()
    lease = first.promise(wanted())
    assert first.get("r") is None
    await first.start(lease, wanted(), Start(price=Decimal("1.5")))
    assert (second.get("r").status, second.get("r").is_live) == ("sending", True)
    await first.start(lease, wanted(), Start(resent=True))
    assert second.get("r").resent
    twin = second.promise(wanted())
    with pytest.raises(ConflictError, match="another purchase has the reference") as caught:
        await second.start(twin, wanted(), Start())
    assert caught.value.sent == "no"


async def test_sent_by_an_earlier_run(open_ledger):
    """What a journal knows of earlier sends is known to the ledger from the claim on."""
    first, second = open_ledger(), open_ledger()
    await take(first, sent_ago=100.0)
    await expire(first)
    claim = await second.claim(wanted())
    assert claim.verdict is Verdict.TAKE_OVER
    assert 100 <= claim.row.sent_ago < 160


async def test_hold(open_ledger):
    """A reference can be held beyond its purchase, by who bought it and by who continues it."""
    first, second = open_ledger(), open_ledger()
    lease = await take(first)
    await first.start(lease, wanted(), Start())
    await first.settle(lease, BOUGHT, keeps=True)
    assert (await second.claim(wanted(holds=True))).verdict is Verdict.WAIT
    await first.release(lease)
    claim = await second.claim(wanted(holds=True))
    assert (claim.verdict, claim.row.order_id) == (Verdict.BOUGHT, "o1")
    assert (await first.claim(wanted())).verdict is Verdict.WAIT


# ---------------------------------------------------------------- doubts


async def test_doubts(open_ledger):
    """In doubt is what is said to be so, and what was left while it was sent; not what somebody works on."""
    first, second = open_ledger(), open_ledger()
    for reference in ("doubt", "left", "working", "bought", "claimed"):
        lease = await take(first, reference)
        if reference != "claimed":
            await first.start(lease, wanted(reference), Start())
        if reference == "doubt":
            await first.settle(lease, Outcome(status="in_doubt", error="ServerError 503"))
        elif reference == "bought":
            await first.settle(lease, BOUGHT)
    await expire(first, "left")
    await expire(first, "claimed")
    assert [row.reference for row in second.doubts()] == ["doubt", "left"]
    assert second.doubts()[0].error == "ServerError 503"
    assert await second.resolve("doubt", "o2", None)
    assert not await second.resolve("working", "o3", None)
    assert [row.reference for row in second.doubts()] == ["left"]
    assert second.get("doubt").order_id == "o2"


async def test_refusal_does_not_erase_a_doubt_of_another(open_ledger):
    """Other items under a reference in doubt are refused."""
    first = open_ledger()
    lease = await take(first)
    await first.start(lease, wanted(), Start())
    await first.settle(lease, Outcome(status="in_doubt"))
    assert (await first.claim(wanted(packages={"b": 1}))).verdict is Verdict.OTHER


async def test_purge(ledger):
    """Only what ended long ago is deleted, and nothing in doubt."""
    for reference, status in (("a", "ordered"), ("b", "in_doubt"), ("c", "refused")):
        lease = await take(ledger, reference)
        await ledger.start(lease, wanted(reference), Start())
        await ledger.settle(lease, Outcome(status=status))
    await take(ledger, "d")
    assert ledger.purge(3600) == 0
    assert ledger.counts() == {"ordered": 1, "in_doubt": 1, "refused": 1, "not_sent": 1}
    assert ledger.purge(-1) == 2
    assert ledger.counts() == {"in_doubt": 1, "not_sent": 1}


# ---------------------------------------------------------------- shared limits


async def test_budget(open_ledger):
    """What all processes together reserve stays within ``max_spend``, and what is not bought is given back."""
    limits = SharedLimits(max_spend="3")
    ledgers = [open_ledger(limits=limits) for _ in range(3)]

    async def start(number: int):
        ledger = ledgers[number % 3]
        lease = await take(ledger, f"r{number}")
        await ledger.start(lease, wanted(f"r{number}"), Start(price=Decimal(1)))
        return ledger, lease

    outcomes = await asyncio.gather(*(start(number) for number in range(9)), return_exceptions=True)
    started = [outcome for outcome in outcomes if not isinstance(outcome, BaseException)]
    refused = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
    assert (len(started), len(refused)) == (3, 6)
    assert all(isinstance(error, BudgetError) and "shared max_spend" in str(error) for error in refused)
    assert ledgers[0].spent() == {"main": 3}
    outcomes = [BOUGHT, Outcome(status="refused"), Outcome(status="in_doubt")]
    for (ledger, lease), outcome in zip(started, outcomes, strict=True):
        await ledger.settle(lease, outcome)
    assert ledgers[0].spent() == {"main": Decimal("2.55")}  # 1.55 were paid, and 1 may have been.


async def test_budget_is_reserved_once(open_ledger):
    """Who takes over a purchase or sends it again reserves its cost no second time."""
    first, second = (open_ledger(limits=SharedLimits(max_spend=10)) for _ in range(2))
    lease = await take(first)
    await first.start(lease, wanted(), Start(price=Decimal(1)))
    await first.start(lease, wanted(), Start(price=Decimal(1), resent=True))
    await expire(first)
    lease = (await second.claim(wanted())).lease
    await second.start(lease, wanted(), Start(price=Decimal("1.5")))
    assert first.spent() == {"main": Decimal("1.5")}
    await second.settle(lease, Outcome(status="refused"))
    assert first.spent() == {"main": 0}


async def test_turns(open_ledger):
    """All processes take turns, evenly spaced by the shared rate."""
    ledgers = [open_ledger(limits=SharedLimits(rate=2)) for _ in range(3)]
    turns = sorted(await asyncio.gather(*(ledgers[number % 3].turn() for number in range(9))))
    # A turn is relative to the moment at which it is taken; all are taken at about the same time.
    assert turns[0] < 0.5
    assert turns[-1] == pytest.approx(4, abs=1)
    assert max(later - sooner for sooner, later in pairwise(turns)) < 1.5


async def test_pause(open_ledger):
    """A pause after a 429 holds for all processes and no other account."""
    first, second, third = (open_ledger(limits=SharedLimits(account=name)) for name in ("a", "a", "b"))
    assert await first.turn() == 0
    await second.pause(60)
    assert 50 < await first.turn() <= 60
    assert await third.turn() == 0
    assert await open_ledger().turn() == 0


def test_limits_are_checked():
    """Limits that make no sense are refused."""
    for wrong in ({"rate": 0}, {"max_spend": -1}, {"max_spend": "much"}, {"account": ""}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            SharedLimits(**wrong)
    with pytest.raises(TypeError, match="floats are not exact"):
        SharedLimits(max_spend=1.5)


# ---------------------------------------------------------------- what it belongs to


async def test_other_host(open_ledger):
    """A ledger belongs to the host of its first purchase."""
    await take(open_ledger())
    for attempt in (lambda it: it.claim(wanted("s", base_url="https://other")), _start_elsewhere):
        with pytest.raises(LedgerError, match=f"belongs to {HOST}, not to https://other"):
            await attempt(open_ledger())


async def _start_elsewhere(ledger):
    elsewhere = wanted("s", base_url="https://other")
    await ledger.start(ledger.promise(elsewhere), elsewhere, Start())


async def test_newer_version(open_ledger):
    """A ledger of a later version is refused and not changed."""
    ledger = open_ledger()
    await take(ledger)
    await ledger._ask(
        lambda session: session.rows(f"UPDATE {{table}}facts SET value = '{VERSION + 1}' WHERE name = 'version'")
    )
    with pytest.raises(LedgerError, match="upgrade it"):
        await open_ledger().claim(wanted("s"))


async def test_worker_of_the_last_version(open_ledger, monkeypatch):
    """A worker that opened the ledger before it was migrated goes on beside those of this version."""
    with monkeypatch.context() as patch:  # What a worker of the last version knows.
        patch.setattr(database, "MIGRATIONS", database.MIGRATIONS[: VERSION - 1])
        for module in (database, sys.modules[type(open_ledger()).__module__]):
            patch.setattr(module, "VERSION", VERSION - 1)
        old = open_ledger()
        old.migrate()
        for reference in ("bought", "held"):
            lease = await take(old, reference)
            await old.start(lease, wanted(reference), Start())
            if reference == "bought":
                await old.settle(lease, BOUGHT)
    assert version(old) == VERSION - 1
    new = open_ledger()
    assert (await new.claim(wanted("bought"))).verdict is Verdict.BOUGHT
    assert (await new.claim(wanted("held"))).verdict is Verdict.WAIT
    assert version(old) == VERSION
    assert await old.settle(lease, BOUGHT)
    await take(old, "later")
    verdicts = [(await new.claim(wanted(reference))).verdict for reference in ("held", "later")]
    assert verdicts == [Verdict.BOUGHT, Verdict.WAIT]
    await take(new, "s")
    assert (await old.claim(wanted("s"))).verdict is Verdict.WAIT


def version(ledger) -> int:
    """Return the version of the tables."""
    ((value,),) = ledger.read(lambda session: session.rows("SELECT value FROM {table}facts WHERE name = 'version'"))
    return int(value)


async def test_opening_at_once(open_ledger):
    """Processes that open a new ledger at the same time create its tables once."""
    claims = await asyncio.gather(*(open_ledger().claim(wanted(f"r{number}")) for number in range(4)))
    assert [claim.verdict for claim in claims] == [Verdict.FREE] * 4


async def test_closed_ledger_opens_anew(ledger):
    """A ledger that was closed opens anew at its next use, and has lost nothing."""
    await take(ledger)
    ledger.close()
    assert ledger.get("r") is not None


async def test_no_personal_data(ledger):
    """A row holds no more than what its class names, none of which is about the traveller."""
    await take(ledger)
    assert {field.name for field in attrs.fields(type(ledger.get("r")))} == {
        "reference", "action", "kind", "digest", "packages", "status", "owner", "is_live", "sent_ago", "looked_first",
        "resent", "order_id", "total", "account", "reserved", "error", "tries",
    }  # fmt: skip


# ---------------------------------------------------------------- files


@pytest.mark.skipif(os.name != "posix", reason="file modes are POSIX's")
async def test_file_mode(tmp_path):
    """All files of a ledger can be read by their owner only."""
    with SqliteLedger(tmp_path / "purchases.db") as ledger:
        await take(ledger)
        files = [*tmp_path.iterdir()]
        assert {file.name for file in files} == {"purchases.db", "purchases.db-wal", "purchases.db-shm"}
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}


async def test_other_file(tmp_path):
    """What is not a ledger is refused and left as it is."""
    path = tmp_path / "other.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE precious (value)")
    connection.close()
    before = path.read_bytes()
    with SqliteLedger(path) as ledger, pytest.raises(LedgerError, match="is not a ledger"):
        await ledger.claim(wanted())
    assert path.read_bytes() == before
    path.write_bytes(b"no database at all" * 100)
    with SqliteLedger(path) as ledger, pytest.raises(LedgerError, match="cannot be used"):
        await ledger.claim(wanted())


async def test_vanished_file(tmp_path):
    """Nothing is claimed in a file that was removed: others would not see it."""
    path = tmp_path / "purchases.db"
    with SqliteLedger(path) as ledger:
        await take(ledger)
        path.unlink()
        for _ in range(2):
            with pytest.raises(LedgerError, match="moved, replaced or removed"):
                await ledger.claim(wanted("s"))
        assert not path.exists()


async def test_replaced_file(tmp_path):
    """A file that takes the place of the ledger, such as a backup, is not used in the same run."""
    path = tmp_path / "purchases.db"
    with SqliteLedger(path) as ledger:
        await take(ledger)
        path.rename(tmp_path / "moved.db")
        with SqliteLedger(path) as other:
            await take(other)
        for _ in range(2):
            with pytest.raises(LedgerError, match="moved, replaced or removed"):
                await ledger.claim(wanted("s"))


def close_elsewhere(path: Path) -> None:
    """Read the ledger in another process, which ends."""
    program = """
import sys
from roamify_async.ledger import SqliteLedger
with SqliteLedger(sys.argv[1]) as ledger:
    ledger.counts()
"""
    subprocess.run([sys.executable, "-c", program, path], check=True, cwd=ROOT)


async def test_second_opening_in_a_process(tmp_path):
    """A second ledger on the same file in one process does not separate the first one from other processes."""
    path = tmp_path / "purchases.db"
    with SqliteLedger(path) as first, SqliteLedger(path) as second:
        await take(first, "a")
        await take(second, "b")
        await asyncio.to_thread(close_elsewhere, path)
        assert (tmp_path / "purchases.db-wal").exists()
        await take(first, "c")
        with sqlite3.connect(path) as other:
            assert other.execute("SELECT reference FROM purchases ORDER BY 1").fetchall() == [("a",), ("b",), ("c",)]
        other.close()


async def test_copy_in_a_process(tmp_path):
    """A process that copied its ledger, and so lost its locks, still records where others see it."""
    path = tmp_path / "purchases.db"
    with SqliteLedger(path) as ledger:
        await take(ledger, "a")
        shutil.copy(path, tmp_path / "copy.db")
        await asyncio.to_thread(close_elsewhere, path)
        await take(ledger, "b")
        with SqliteLedger(path) as other:
            assert (await other.claim(wanted("b"))).verdict is Verdict.WAIT


@pytest.mark.parametrize("suffix", ["wal", "shm"])
async def test_log_removed_during_a_commit(tmp_path, suffix):
    """What was committed to a log that was removed meanwhile counts as not written."""
    path = tmp_path / "purchases.db"
    with SqliteLedger(path) as ledger:
        await take(ledger, "a")

        def work(session):
            session.rows("UPDATE purchases SET error = 'lost'")
            (tmp_path / f"purchases.db-{suffix}").unlink()

        with pytest.raises(LedgerError, match="was removed while it was written"):
            await ledger._ask(work)


async def test_unreachable(tmp_path):
    """A file that cannot be opened is a ``LedgerError``."""
    with SqliteLedger(tmp_path / "none" / "purchases.db") as ledger, pytest.raises(LedgerError, match="cannot be used"):
        await ledger.claim(wanted())


async def test_locked(tmp_path):
    """A database that another process keeps locked is a ``LedgerError`` after the timeout."""
    with SqliteLedger(tmp_path / "purchases.db", timeout=0.2) as ledger:
        await take(ledger)
        other = sqlite3.connect(tmp_path / "purchases.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(LedgerError, match=r"locked|did not respond"):
            await ledger.claim(wanted("s"))
        other.execute("ROLLBACK")
        other.close()
        # Given back, if it was claimed after all.
        await until_true(lambda: (row := ledger.get("s")) is None or not row.is_live)
        await take(ledger, "s")


async def test_opening_in_the_middle_of_another_opening(tmp_path, monkeypatch):
    """A file whose tables another process makes at that moment is a ledger."""
    path, others = tmp_path / "purchases.db", iter([False, True])

    class Connection(sqlite3.Connection):
        """A connection between whose first reads another process makes the tables."""

        def execute(self, statement: str, *parameters: Any) -> sqlite3.Cursor:
            """Execute a statement."""
            if statement.startswith(("SELECT count", "PRAGMA application_id")) and next(others, False):
                with SqliteLedger(path) as other:
                    other.migrate()
            return super().execute(statement, *parameters)

    connect = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda *args, **options: connect(*args, **{"factory": Connection, **options})
    )
    with SqliteLedger(path) as ledger:
        assert (await ledger.claim(wanted())).verdict is Verdict.FREE
