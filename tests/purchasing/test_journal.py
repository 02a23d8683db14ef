"""The journal: written ahead, whole after every crash, one runner at a time, and read back exactly."""

import asyncio
import itertools
import os
import shutil
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.clients import HANG, QUICK

from roamify_async import (
    APIStatusError,
    AsyncRoamify,
    AuthenticationError,
    BadRequestError,
    BudgetError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    ConnectionLostError,
    CreateOrder,
    DecodeError,
    EsimsNotReadyError,
    JournalError,
    NotFoundError,
    OrderItem,
    PermissionDeniedError,
    PurchaseInDoubtError,
    RateLimitError,
    RequestTimeoutError,
    RoamifyError,
    ServerError,
    TransportError,
    UnprocessableError,
)
from roamify_async._core import concurrency
from roamify_async.purchasing import Journal
from roamify_async.purchasing.journal import JournalFile
from roamify_async.purchasing.journal_rows import COLUMNS, FLAGS, Entry, checksum as checksum_of
from roamify_async.purchasing.report import write_error
from roamify_async.sandbox import Sandbox

PLAIN = "esim-greece-30days-1gb-all"
OTHER = "esim-germany-30days-1gb-all"
PRICE = Decimal("1.55")
"""Of the plain one."""
ORDER = "/api/esim/order"
POST = f"POST {ORDER}"


BLIND = QUICK.changed(look_first=False)
"""Settings of a client that buys again under a reference that has an order."""


def one(package_id: str = PLAIN, reference: str | None = None) -> CreateOrder:
    """Ask for an eSIM."""
    return CreateOrder([OrderItem(package_id)], reference_id=reference)


def several(count: int) -> list[CreateOrder]:
    """Ask for one eSIM in each of so many lines, under references that a test knows."""
    return [one(reference=f"r-{place}") for place in range(count)]


def posts(sandbox: Sandbox) -> int:
    """Count the orders that were sent."""
    return int(sandbox.state()["requests"].get(POST, 0))


def booked(sandbox: Sandbox) -> list[str]:
    """Return the references of the orders in the server's books, sorted."""
    return sorted(order["referenceId"] for order in sandbox.state()["orders"])


def statuses(report: Any) -> list[str]:
    """Return the status of each line."""
    return [line.status for line in report.lines]


def endpoints(path: Path, *columns: str) -> list[tuple[Any, ...]]:
    """Read a journal's lines by hand."""
    with sqlite3.connect(path) as connection:
        found = connection.execute(f"SELECT {', '.join(columns)} FROM lines ORDER BY position").fetchall()
    connection.close()
    return found


def sql(path: Path, text: str) -> None:
    """Change the journal as no runner would, with the checksums that belong to it."""
    with sqlite3.connect(path) as connection:
        connection.execute(text)
        for row in connection.execute(f"SELECT {', '.join(COLUMNS)} FROM lines").fetchall():
            values = dict(zip(COLUMNS, row, strict=True))
            checksum = checksum_of(tuple({**values, **{name: bool(values[name]) for name in FLAGS}}.values()))
            connection.execute("UPDATE lines SET checksum = ? WHERE position = ?", (checksum, row[0]))
    connection.close()


@pytest.fixture
def path(tmp_path) -> Path:
    """Name the journal."""
    return tmp_path / "orders.db"


@pytest.fixture
def served() -> Iterator[Sandbox]:
    """Run a sandbox in a thread of its own, for tests whose own thread blocks."""
    with Sandbox(packages=300) as sandbox:
        yield sandbox


@pytest.fixture
async def patient(client) -> AsyncRoamify:
    """Return a client that sends again what is provably absent."""
    return client.with_settings(on_doubt="look_up_then_resend")


# ---------------------------------------------------------------- the file


async def test_nobody_else_may_read_it(client, path):
    """The journal is readable and writable by its owner only, and so is what SQLite writes beside it."""
    modes = []

    def look(_: object) -> None:
        modes.extend(stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir())

    old = os.umask(0)
    try:
        await client.orders.bulk(several(3), journal=path, on_progress=look)
    finally:
        os.umask(old)
    assert len(modes) > 3
    assert set(modes) == {0o600}


async def test_path_as_text(client, path):
    """The journal is named by a path or by its text."""
    await client.orders.bulk(several(1), journal=str(path))
    with Journal.open(str(path)) as journal:
        assert statuses(journal) == ["ordered"]


def test_every_commit_is_on_the_disk(path):
    """A commit waits for the disk, the folder's entry included, and needs no memory shared with other processes."""
    ledger = JournalFile(path)
    pragmas = {name: ledger._rows(f"PRAGMA {name}")[0][0] for name in ("synchronous", "journal_mode", "locking_mode")}
    ledger.close()
    assert pragmas == {"synchronous": 3, "journal_mode": "truncate", "locking_mode": "normal"}


async def test_written_ahead(client, sandbox, path):
    """A line is on the disk as about to be sent, with its reference, before the server hears of it."""
    sandbox.fail("POST", ORDER, "slow", seconds=60, times=None)
    task = asyncio.create_task(client.orders.bulk([one(), one(OTHER)], journal=path, concurrency=2))
    await sandbox.arrived(POST, 2)
    with sqlite3.connect(f"file:{path}?immutable=1", uri=True) as connection:
        written = connection.execute("SELECT status, reference, first_sent FROM lines ORDER BY position").fetchall()
    connection.close()
    assert [status for status, *_ in written] == ["sending", "sending"]
    assert len({reference for _, reference, _ in written}) == 2
    assert all(first_sent for *_, first_sent in written)
    task.cancel()
    await asyncio.wait([task])


async def test_temporary_file(client, tmp_path, monkeypatch):
    """Without a journal the lines lie in an own temporary file, for its owner only, which goes with the report."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    report = await client.orders.bulk(several(2))
    (folder,) = tmp_path.iterdir()
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert [stat.S_IMODE(file.stat().st_mode) for file in folder.iterdir()] == [0o600]
    assert statuses(report) == ["ordered"] * 2
    del report
    assert list(tmp_path.iterdir()) == []


async def test_temporary_file_of_a_failure(client, sandbox, tmp_path, monkeypatch):
    """An order that ends with an error leaves no temporary file."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    with pytest.raises(BudgetError):
        await client.orders.bulk(several(2), max_spend=1)
    assert list(tmp_path.iterdir()) == []
    with await client.orders.bulk(several(1)) as report:
        assert statuses(report) == ["ordered"]
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(JournalError, match="closed"):
        list(report.lines)
    assert (repr(report), repr(report.lines)) == ("<BulkReport closed>", "<lines of a closed report>")


async def test_commits_are_grouped(path, monkeypatch):
    """Lines that come at once, or while the disk is busy, are written together."""
    batches: list[int] = []
    commit = JournalFile._commit

    def counting(ledger: JournalFile, batch: list[Any]) -> None:
        batches.append(len(batch))
        commit(ledger, batch)

    monkeypatch.setattr(JournalFile, "_commit", counting)
    ledger = JournalFile(path)
    async with anyio.create_task_group() as group:
        for position in range(64):
            group.start_soon(ledger.put, entry(position))
    assert ledger.count() == sum(batches) == 64
    assert len(batches) <= 2
    ledger.close()


async def test_put_returns_when_it_is_written(path, monkeypatch):
    """Whoever puts a line goes on once it is on the disk, also where another wrote it."""
    ledger = JournalFile(path)
    early = []

    async def put(position: int) -> None:
        await ledger.put(entry(position))
        with sqlite3.connect(f"file:{path}?immutable=1", uri=True) as connection:
            if not connection.execute("SELECT 1 FROM lines WHERE position = ?", (position,)).fetchone():
                early.append(position)
        connection.close()

    async with anyio.create_task_group() as group:
        for position in range(20):
            group.start_soon(put, position)
    ledger.close()
    assert early == []


async def test_failed_group_commit(path, monkeypatch):
    """Where a group cannot be written, nobody of the group goes on as if it had been."""
    commit, fails = JournalFile._commit, itertools.count()

    def failing(ledger: JournalFile, batch: list[Any]) -> None:
        if next(fails) == 0:
            assert len(batch) > 1
            raise JournalError("the disk is full")
        commit(ledger, batch)

    monkeypatch.setattr(JournalFile, "_commit", failing)
    ledger = JournalFile(path)
    outcomes = await asyncio.gather(*(ledger.put(entry(position)) for position in range(8)), return_exceptions=True)
    written = {line.position for line in ledger.entries()}
    ledger.close()
    assert {position for position, outcome in enumerate(outcomes) if outcome is None} == written
    assert sum(isinstance(outcome, JournalError) for outcome in outcomes) == 1


async def test_disk_that_fails(client, sandbox, path, monkeypatch):
    """Nothing is sent that could not be written down first."""
    commit = JournalFile._commit

    def failing(ledger: JournalFile, batch: list[Any]) -> None:
        if len(batch) > 1:
            raise JournalError("the disk is full")
        commit(ledger, batch)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "_commit", failing)
        with pytest.raises(JournalError, match="the disk is full"):
            await client.orders.bulk(several(8), journal=path, concurrency=8)
    with Journal.open(path) as journal:
        assert set(booked(sandbox)) <= {line.reference_id for line in journal.lines}
    report = await client.orders.bulk(several(8), journal=path)
    assert len(booked(sandbox)) == len(set(booked(sandbox))) == report.counts["ordered"]
    assert report.counts["ordered"] + report.counts["in_doubt"] == 8


# ---------------------------------------------------------------- going on


async def test_finished_lines_are_not_sent_again(either, sandbox, path):
    """Called again with the same lines, finished ones are left alone, bought or refused, and more lines go on."""
    requests = [one(reference="a"), one("esim-nowhere"), one(), one()]
    first = await either.orders.bulk(requests, journal=path)
    assert first.counts == {"ordered": 3, "refused": 1, "in_doubt": 0, "not_sent": 0}
    before = list(first.lines)
    told: list[Any] = []
    requests += [one(reference="b"), one("esim-gone")]
    second = await either.orders.bulk(requests, journal=path, on_progress=told.append)
    assert second.counts == {"ordered": 4, "refused": 2, "in_doubt": 0, "not_sent": 0}
    assert (posts(sandbox), len(booked(sandbox))) == (4, 4)
    after = list(second.lines)[:4]
    assert [(line.request, line.status, line.order) for line in after] == [
        (line.request, line.status, line.order) for line in before
    ]
    assert [(step.done, step.total) for step in told] == [(5, 6), (6, 6)]
    assert told[-1].spent == second.spent == PRICE * 4


async def test_report_and_next_run(client, sandbox, path):
    """A report that is still held keeps nobody from running its journal again, and shows what that did."""
    first = await client.orders.bulk(several(2), journal=path)
    second = await client.orders.bulk(several(3), journal=path)
    assert statuses(first) == statuses(second) == ["ordered"] * 3


@pytest.mark.parametrize(
    "others",
    [
        several(2),
        [],
        [one(reference="r-0"), one(reference="r-1"), one(OTHER, reference="r-2")],
        [one(reference="r-0"), one(reference="r-1"), one()],
        [one(reference="r-0"), one(reference="r-1"), one(reference="r-3")],
        [one(reference="r-1"), one(reference="r-0"), one(reference="r-2")],
        [one(reference="r-0"), one(reference="r-1"), CreateOrder([OrderItem(PLAIN, 2)], reference_id="r-2")],
        [one(reference="r-9"), *several(4)[1:]],
    ],
    ids=["fewer", "none", "package", "no reference", "reference", "order", "quantity", "first"],
)
@pytest.mark.parametrize("listed", [True, False])
async def test_other_lines(client, sandbox, path, others, listed):
    """Fewer lines than the journal knows, or others, are refused before anything is sent."""
    sandbox.fail("POST", ORDER, "drop")
    await client.orders.bulk(several(3), journal=path, concurrency=1)
    before = sandbox.state()["requests"]
    with pytest.raises(JournalError, match="belongs to other requests"):
        await client.orders.bulk(others if listed else iter(others), journal=path)
    assert sandbox.state()["requests"] == before
    assert statuses(await client.orders.bulk(several(3), journal=path)) == ["in_doubt", "ordered", "ordered"]


async def test_iterable_that_raises_while_it_is_compared(client, sandbox, path):
    """What the iterable raises before the known lines have come is raised, and nothing is sent."""
    await client.orders.bulk(several(3), journal=path)

    def breaking() -> Iterator[CreateOrder]:
        yield from several(2)
        raise LookupError("the file is gone")

    with pytest.raises(LookupError, match="the file is gone"):
        await client.orders.bulk(breaking(), journal=path)
    assert posts(sandbox) == 3


async def test_not_sent_lines_are_sent_later(client, sandbox, path):
    """Lines for which the money did not suffice are sent by a run with more, which counts what was spent before."""
    first = await client.orders.bulk(iter(several(5)), journal=path, max_spend=PRICE * 2, concurrency=1)
    assert statuses(first) == ["ordered", "ordered", "not_sent", "not_sent", "not_sent"]
    second = await client.orders.bulk(iter(several(5)), journal=path, max_spend=PRICE * 4, concurrency=1)
    assert statuses(second) == ["ordered", "ordered", "ordered", "ordered", "not_sent"]
    third = await client.orders.bulk(several(5), journal=path, max_spend=PRICE * 5)
    assert statuses(third) == ["ordered"] * 5
    assert booked(sandbox) == [f"r-{place}" for place in range(5)]


async def test_list_that_was_bought_costs_nothing(client, sandbox, path):
    """What a list costs is what is left to buy: neither finished lines nor refused ones are counted again."""
    requests = [*several(3), one(OTHER, reference="r-0")]
    report = await client.orders.bulk(requests, journal=path, max_spend=7)
    assert statuses(report) == ["ordered", "ordered", "ordered", "refused"]
    again = await client.orders.bulk([*requests, one()], journal=path, max_spend="6.20")
    assert again.counts == {"ordered": 4, "refused": 1, "in_doubt": 0, "not_sent": 0}


@pytest.mark.parametrize("fault", ["drop", "503"])
async def test_doubt_is_settled_by_the_next_run(either, sandbox, path, fault):
    """A line in doubt that was booked is found by the next run, and not bought again."""
    sandbox.fail("POST", ORDER, fault, when="after")
    first = await either.with_settings(on_doubt="raise").orders.bulk(several(1), journal=path)
    assert statuses(first) == ["in_doubt"]
    second = await either.orders.bulk(several(1), journal=path)
    assert statuses(second) == ["ordered"]
    assert (posts(sandbox), booked(sandbox)) == (1, ["r-0"])
    assert second.lines[0].error is None


async def test_doubt_that_was_never_booked(client, patient, sandbox, path):
    """A line in doubt that was not booked stays in doubt, as often as it is run, until sending again is allowed."""
    sandbox.fail("POST", ORDER, "drop")
    for _ in range(3):
        report = await client.orders.bulk(several(1), journal=path)
        assert statuses(report) == ["in_doubt"]
    assert posts(sandbox) == 1
    report = await patient.orders.bulk(several(1), journal=path)
    assert statuses(report) == ["ordered"]
    assert (posts(sandbox), booked(sandbox)) == (2, ["r-0"])


@pytest.mark.parametrize("trouble", ["price", "gone", "budget", "balance"])
async def test_doubt_is_looked_for_whatever_else_is_wrong(client, patient, sandbox, path, trouble):
    """A line that may have been booked is looked for first, whatever its price, its package or the budget say now."""
    sandbox.fail("POST", ORDER, "drop", when="after")
    hasty = client.with_settings(on_doubt="raise")
    assert statuses(await hasty.orders.bulk(several(1), journal=path)) == ["in_doubt"]
    limit = None
    if trouble == "price":
        sandbox.fail("GET", "/api/esim/packages", "503", times=5)
    elif trouble == "gone":
        sandbox.change_catalogue(remove=[PLAIN])
    elif trouble == "budget":
        limit = 0
    else:
        left = int(Decimal(sandbox.state()["balance"]) / Decimal("1.50"))
        await client.orders.create([OrderItem(OTHER, left)])
    report = await patient.orders.bulk(iter(several(1)), journal=path, max_spend=limit)
    assert statuses(report) == ["ordered"]
    assert booked(sandbox).count("r-0") == 1
    assert statuses(await patient.orders.bulk(several(1), journal=path)) == ["ordered"]
    assert posts(sandbox) == 1 + (trouble == "balance")


@pytest.mark.parametrize("trouble", ["price", "gone", "budget"])
async def test_doubt_stays_a_doubt_whatever_else_is_wrong(client, patient, sandbox, path, monkeypatch, trouble):
    """A line in doubt that is not found and cannot be sent again now is never taken for one that was not sent."""
    monkeypatch.setattr(concurrency, "FIRST_PAUSE", 0.02)
    sandbox.fail("POST", ORDER, "book_but_hide", seconds=0.6)
    assert statuses(await client.orders.bulk(several(1), journal=path)) == ["in_doubt"]
    limit = None
    if trouble == "price":
        sandbox.fail("GET", "/api/esim/packages", "503", times=5)
    elif trouble == "gone":
        sandbox.change_catalogue(remove=[PLAIN])
    else:
        limit = 1
    report = await patient.orders.bulk(iter(several(1)), journal=path, max_spend=limit)
    assert statuses(report) == ["in_doubt"]
    assert posts(sandbox) == 1
    later = patient.with_settings(reconcile_window=3)
    assert statuses(await later.orders.bulk(several(1), journal=path)) == ["ordered"]
    assert (posts(sandbox), booked(sandbox)) == (1, ["r-0"])


async def test_doubt_of_an_earlier_run_holds_its_money(client, sandbox, path):
    """What a line of an earlier run may have cost counts against the limit before it is settled."""
    sandbox.fail("POST", ORDER, "drop")
    await client.orders.bulk(several(1), journal=path)
    report = await client.orders.bulk(iter(several(2)), journal=path, max_spend=PRICE)
    assert statuses(report) == ["in_doubt", "not_sent"]


async def test_lines_that_were_taken_and_not_written(client, sandbox, path):
    """A journal in which lines are missing, because a crash came before they were written, is gone on with."""
    await client.orders.bulk([one(), one(reference="a"), one(), one(reference="b")], journal=path)
    sql(path, "DELETE FROM lines WHERE position IN (0, 1)")
    requests = [one(), one(reference="c"), one(), one(reference="b"), one(reference="c")]
    with pytest.raises(JournalError, match="line 3 differs from the journal's"):
        await client.orders.bulk([*requests[:3], one(reference="x")], journal=path)
    told: list[Any] = []
    report = await client.orders.bulk(requests, journal=path, on_progress=told.append, concurrency=1)
    assert statuses(report) == ["ordered"] * 4 + ["refused"]
    assert [(step.done, step.spent) for step in told] == [(3, PRICE * 3), (4, PRICE * 4), (5, PRICE * 4)]
    assert len(booked(sandbox)) == 5  # The first line is found again: its reference follows from the journal.


# ---------------------------------------------------------------- crashes

HEAD = f"""
    import os, signal, sys, threading
    from roamify_async import *
    from roamify_async.purchasing import Journal
    from roamify_async.purchasing.journal import JournalFile
    settings = Settings(reconcile_window=0.05, retries=Retries(wait=0.001))
    roamify = Roamify(sys.argv[1], base_url=sys.argv[2], settings=settings)
    journal = sys.argv[3]
    requests = [CreateOrder([OrderItem("{PLAIN}")], reference_id=f"r-{{n}}") for n in range(6)]
"""


def script(body: str, served: Sandbox, *arguments: object) -> subprocess.Popen[str]:
    """Run a program of its own against the sandbox."""
    program = textwrap.dedent(HEAD) + textwrap.dedent(body)
    return subprocess.Popen(
        [sys.executable, "-c", program, served.token, served.url, *map(str, arguments)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[1],
        env={**os.environ, "PYTHONWARNINGS": "error", "PYTHONUNBUFFERED": "1"},
    )


def ended(process: subprocess.Popen[str]) -> int:
    """Wait for a program's end."""
    process.communicate(timeout=HANG)
    return process.returncode


async def killed(sandbox: Sandbox, process: subprocess.Popen[str], count: int = 1) -> None:
    """Kill a program once it has sent so many orders."""
    end = asyncio.create_task(asyncio.to_thread(process.wait))
    coming = asyncio.create_task(sandbox.arrived(POST, count))
    await asyncio.wait([end, coming], return_when=asyncio.FIRST_COMPLETED)
    if not coming.done():
        pytest.fail(process.communicate()[1])
    process.kill()
    assert await end == -signal.SIGKILL
    process.communicate()


@pytest.mark.long
@pytest.mark.parametrize("when", ["before", "after"])
async def test_killed_in_mid_run(client, patient, sandbox, path, when):
    """A run that is killed leaves its lines as being sent; the next ones settle them and buy nothing twice."""
    sandbox.fail("POST", ORDER, "slow", when=when, seconds=60, times=2)
    process = script("roamify.orders.bulk(requests, journal=journal, concurrency=2)", sandbox, path)
    await killed(sandbox, process, 2)
    with Journal.open(path) as journal:
        begun = len(journal.lines)
        assert statuses(journal) == ["sending"] * begun
        assert journal.counts == {"ordered": 0, "refused": 0, "in_doubt": begun, "not_sent": 0}
    assert 2 <= begun < 6
    assert len(booked(sandbox)) == (2 if when == "after" else 0)
    known = len(booked(sandbox))
    report = await client.orders.bulk(several(6), journal=path)
    assert report.counts == {"ordered": 6 - begun + known, "refused": 0, "in_doubt": begun - known, "not_sent": 0}
    assert posts(sandbox) == 2 + 6 - begun
    assert statuses(await patient.orders.bulk(several(6), journal=path)) == ["ordered"] * 6
    assert booked(sandbox) == [f"r-{place}" for place in range(6)]


@pytest.mark.long
async def test_killed_while_a_line_waits_for_its_price(patient, sandbox, path):
    """A line that was taken and not written when its run was killed is sent by the next one, with all the others."""
    sandbox.fail("GET", "/api/esim/packages", "slow", query={"packageId": OTHER}, seconds=60)
    sandbox.fail("POST", ORDER, "slow", when="after", seconds=60)
    body = f"""
        requests[0] = CreateOrder([OrderItem("{OTHER}")])
        roamify.orders.bulk(iter(requests), journal=journal, concurrency=2)
    """
    process = script(body, sandbox, path)
    await killed(sandbox, process)
    assert endpoints(path, "position", "status")[0] == (1, "sending")
    report = await patient.orders.bulk([one(OTHER), *several(6)[1:]], journal=path)
    assert statuses(report) == ["ordered"] * 6
    assert len(booked(sandbox)) == 6
    assert [line.request.items[0].package_id for line in report.lines] == [OTHER] + [PLAIN] * 5


CRASHING = """
    crash, moment = int(sys.argv[4]), sys.argv[5]
    put, count = JournalFile.put, 0
    async def crashing(ledger, entry):
        global count
        count += 1
        if count == crash and moment == "before":
            os._exit(9)
        await put(ledger, entry)
        if count == crash and moment == "after":
            os._exit(9)
    JournalFile.put = crashing
    roamify.orders.bulk(requests[:1], journal=journal)
"""
STEPS = [(1, "before"), (1, "after"), (2, "before"), (2, "after")]
"""Which of the two entries of a line, and when the crash comes."""


@pytest.mark.long
async def test_crash_at_every_step(tmp_path):
    """Wherever a crash comes, before or after a line is written, the next runs buy it once."""

    async def crash(entry: int, moment: str) -> None:
        path = tmp_path / f"{entry}-{moment}.db"
        async with Sandbox(packages=300) as sandbox:
            assert await asyncio.to_thread(ended, script(CRASHING, sandbox, path, entry, moment)) == 9
            assert posts(sandbox) == entry - 1
            async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
                report = await roamify.orders.bulk(several(2), journal=path)
                # Written down and never sent, or sent and late: nobody can tell, so it is left in doubt.
                is_unknown = (entry, moment) == (1, "after")
                assert statuses(report) == ["in_doubt" if is_unknown else "ordered", "ordered"]
                assert booked(sandbox) == ["r-0", "r-1"][is_unknown:]
                patient = roamify.with_settings(on_doubt="look_up_then_resend")
                assert statuses(await patient.orders.bulk(several(2), journal=path)) == ["ordered"] * 2
                assert booked(sandbox) == ["r-0", "r-1"]

    await asyncio.gather(*(crash(*step) for step in STEPS))


async def hot(path: Path) -> Path:
    """Make a journal as a crash in the middle of a commit leaves it."""
    ledger = JournalFile(path)
    for position in range(300):
        await ledger.put(entry(position))
    ledger.close()
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA cache_size = 1")
    connection.execute("BEGIN")
    connection.execute("UPDATE lines SET error = hex(randomblob(2000)), status = 'refused'")
    crashed = path.with_name("crashed.db")
    shutil.copy(path, crashed)
    shutil.copy(f"{path}-journal", f"{crashed}-journal")
    connection.close()
    return crashed


@pytest.mark.long
async def test_crash_in_the_middle_of_a_commit(path):
    """After a crash in the middle of a commit the journal is whole, also for those who only look."""
    crashed = await hot(path)
    with Journal.open(crashed) as journal:
        assert journal.counts["ordered"] == 300
        assert len(list(journal.lines)) == 300


# ---------------------------------------------------------------- one runner at a time


async def test_in_use_by_the_same_process(client, sandbox, path):
    """While it is run, nobody else runs it, and everybody may look into it; afterwards both work."""
    sandbox.fail("POST", ORDER, "slow", when="after", seconds=0.3)
    task = asyncio.create_task(client.orders.bulk(several(3), journal=path, concurrency=1))
    await sandbox.arrived(POST)
    for _ in range(2):
        with pytest.raises(JournalError, match="is in use: one runner at a time"):
            await client.orders.bulk(several(3), journal=path)
        with Journal.open(path) as journal:
            assert journal.counts["ordered"] < 3
    assert statuses(await task) == ["ordered"] * 3
    assert statuses(await client.orders.bulk(several(3), journal=path)) == ["ordered"] * 3
    assert posts(sandbox) == 3


RUNNING = """
    try:
        roamify.orders.bulk(requests[:3], journal=journal)
    except JournalError as error:
        print(error)
    print(Journal.open(journal).counts["ordered"])
    roamify.close()
"""


@pytest.mark.long
async def test_in_use_by_another_process(client, sandbox, path):
    """While one process runs it, another cannot, also where the first has tried to run it twice."""
    sandbox.fail("POST", ORDER, "hang", times=None)
    task = asyncio.create_task(client.orders.bulk(several(3), journal=path, concurrency=1))
    await sandbox.arrived(POST)
    for again in (False, True):
        if again:
            with pytest.raises(JournalError, match="in use"):
                await client.orders.bulk(several(3), journal=path)
        process = script(RUNNING, sandbox, path)
        out, err = await asyncio.to_thread(process.communicate, timeout=HANG)
        assert [line.rsplit("' ")[-1] for line in out.splitlines()] == ["is in use: one runner at a time", "0"], err
    assert posts(sandbox) == 1
    task.cancel()
    await asyncio.wait([task])


# ---------------------------------------------------------------- what is no journal


def text(path: Path) -> Path:
    """Make a file that is no database."""
    path.write_text("my notes, which are longer than the header of a database is " * 20)
    return path


def foreign(path: Path) -> Path:
    """Make somebody else's database."""
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE customers (name TEXT)")
    connection.close()
    return path


def later(path: Path) -> Path:
    """Make a journal of a later version."""
    JournalFile(path).close()
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()
    return path


def cut(path: Path) -> Path:
    """Make a journal of which the end is missing."""

    async def fill() -> None:
        ledger = JournalFile(path)
        for position in range(100):
            await ledger.put(entry(position))
        ledger.close()

    asyncio.run(fill())
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 8)
    return path


def folder(path: Path) -> Path:
    """Make a folder."""
    path.mkdir()
    return path


def nowhere(path: Path) -> Path:
    """Name a file in a folder that is not there."""
    return path / "orders.db"


def under_a_file(path: Path) -> Path:
    """Name a file under another file."""
    path.write_text("")
    return path / "orders.db"


@pytest.mark.parametrize("made", [text, foreign, later, cut, folder, nowhere, under_a_file])
def test_what_is_no_journal(served, path, made):
    """What is no journal, or is damaged, is refused before anything is sent, and is left as it was."""
    file = made(path)
    before = file.read_bytes() if file.is_file() else None

    async def run() -> None:
        async with AsyncRoamify(served.token, base_url=served.url, settings=QUICK) as roamify:
            with pytest.raises(JournalError):
                await roamify.orders.bulk(several(1), journal=file)

    asyncio.run(run())
    with pytest.raises(JournalError), Journal.open(file) as journal:
        list(journal.lines)
    assert posts(served) == 0
    assert (file.read_bytes() if file.is_file() else None) == before


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is unwritable to root")
def test_unwritable(path):
    """A file that may not be written can be looked into, and not be run."""
    JournalFile(path).close()
    path.chmod(0o400)
    with pytest.raises(JournalError):
        JournalFile(path)
    with Journal.open(path) as journal:
        assert len(journal.lines) == 0


def test_no_journal_there(path):
    """There is nothing to open where no journal is, and opening makes none."""
    with pytest.raises(JournalError, match="there is no journal at"):
        Journal.open(path)
    assert not path.exists()


# ---------------------------------------------------------------- looking into it


async def test_open(client, sandbox, path):
    """An opened journal shows its lines, counts and money, in words and as a table in which nothing is markup."""
    sandbox.fail("POST", ORDER, "drop")
    requests = [one(reference="<b>doubt</b>"), one(), one("esim-<nowhere>")]
    report = await client.orders.bulk(requests, journal=path, concurrency=1)
    with Journal.open(path) as journal:
        assert statuses(journal) == statuses(report) == ["in_doubt", "ordered", "refused"]
        assert journal.counts == report.counts == {"ordered": 1, "refused": 1, "in_doubt": 1, "not_sent": 0}
        assert journal.spent == report.spent == PRICE
        assert repr(journal) == "<Journal 1 ordered, 1 refused, 1 in doubt, spent 1.55>"
        shown = journal._repr_html_()
        assert shown == report._repr_html_().replace("BulkReport", "Journal")
        assert repr(journal.lines) == "<3 lines>"
        with pytest.raises(IndexError):
            journal.lines[3]
    assert "&lt;b&gt;doubt&lt;/b&gt;" in shown
    assert "esim-&lt;nowhere&gt;" in shown
    assert "<b>" not in shown
    assert "<nowhere>" not in shown
    assert shown.index("in doubt</td>") < shown.index("refused</td>") < shown.index("ordered</td>")


async def test_html_shows_what_needs_attention(client):
    """The table has a few lines only: those that went wrong before the others."""
    requests = [*several(30), one("esim-nowhere")]
    shown = (await client.orders.bulk(requests))._repr_html_()
    assert shown.count("<tr>") == 21
    assert "esim-nowhere" in shown


async def test_lines_come_back_as_they_were(client, path):
    """Requests, orders and eSIMs of a journal equal those that were sent and came."""
    requests = [CreateOrder([OrderItem(PLAIN, 2), OrderItem(OTHER)], reference_id="mine"), one()]
    await client.orders.bulk(requests, journal=path, apply=True)
    with Journal.open(path) as journal:
        first, second = journal.lines
    assert first.request == requests[0]
    assert second.request == one(reference=second.reference_id)
    for line in (first, second):
        assert line.order == await client.orders.get(reference_id=line.reference_id)
        assert type(line.order.total) is Decimal
        known = [await client.esims.get(esim_id=item.esim_id) for item in line.order.items]
        assert list(line.esims) == known
    assert len(first.esims) == 3


# ---------------------------------------------------------------- errors, written and read back


def entry(position: int, error: RoamifyError | None = None) -> Entry:
    """Make an entry by hand."""
    return Entry(
        position=position,
        digest="-",
        request='{"items": [{"packageId": "esim-a", "quantity": 1}]}',
        reference=f"r-{position}",
        status="ordered" if error is None else "in_doubt",
        final=error is None,
        total="1.55" if error is None else None,
        error=None if error is None else write_error(error),
    )


FACTS: dict[str, Any] = {
    "method": "POST",
    "path": ORDER,
    "reference_id": "r-0",
    "package_ids": ("esim-a", "esim-b"),
    "request_id": "ray-1",
}
ANSWER: dict[str, Any] = {"code": "E7", "body": '{"a": "\u00e4\x00"}', "retry_after": 1.5, **FACTS}
ERRORS = [
    RoamifyError("unheard of", sent="maybe", page=9),
    ConfigurationError("closed"),
    ConnectError("refused", **FACTS),
    ConnectionLostError("reset", sent="maybe", **FACTS),
    RequestTimeoutError("late", sent="maybe", **FACTS).with_facts(sent="answered"),
    TransportError("broken", sent="no"),
    APIStatusError("moved", status=302, **ANSWER),
    BadRequestError("bad", status=400, **ANSWER),
    AuthenticationError("who?", status=401, **ANSWER),
    PermissionDeniedError("no", status=403, **ANSWER),
    NotFoundError("where?", status=404, sent="no"),
    ConflictError("taken", status=409, **ANSWER),
    UnprocessableError("hm", status=422, **ANSWER),
    RateLimitError("slow down", status=429, **ANSWER),
    ServerError("oops", status=503, **ANSWER),
    DecodeError("what?", body="<html>", problems=("$.data: missing",), ids=("id-1", "id-2"), garbled=True, **FACTS),
    BudgetError("too much"),
    JournalError("full"),
    PurchaseInDoubtError("", **FACTS),
]


async def read_back(path: Path, error: RoamifyError) -> Any:
    """Write an error into a journal and give what is read from it."""
    ledger = JournalFile(path)
    await ledger.put(entry(0, error))
    ledger.close()
    with Journal.open(path) as journal:
        return journal.lines[0].error


def assert_same(found: Any, error: RoamifyError) -> None:
    """Compare two errors in all that they tell."""
    assert type(found) is type(error)
    assert (found.args, str(found), repr(found)) == (error.args, str(error), repr(error))
    for name, value in vars(error).items():
        if isinstance(value, RoamifyError):
            assert_same(getattr(found, name), value)
        elif name == "failures":
            assert found.failures.keys() == value.keys()
            for key, failure in value.items():
                assert_same(found.failures[key], failure)
        elif name != "request":
            assert getattr(found, name) == value
            assert type(getattr(found, name)) is type(value)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
async def test_errors_come_back(path, error):
    """An error comes back from the journal as the class it was, with all that it told."""
    error.reference_id = "r-0"
    assert_same(await read_back(path, error), error)


async def test_doubts_come_back(client, sandbox, path):
    """A doubt comes back with its request, with its reason, and with the orders that were seen."""
    await client.orders.create([OrderItem(PLAIN)], reference_id="r-0")
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=BLIND) as other:
        await other.orders.create([OrderItem(OTHER, 2)], reference_id="r-0")
    found = await client.orders.list(reference_id="r-0")
    reason = DecodeError("cut off", body="{", garbled=True, problems=("$: cut",), ids=("id-1",), **FACTS)
    error = PurchaseInDoubtError("which?", reason=reason, found=found, sent="answered", **FACTS)
    back = await read_back(path, error)
    assert_same(back, error)
    assert len(back.found) == 2
    assert back.request == CreateOrder([OrderItem("esim-a")], reference_id="r-0")


async def test_partial_failures_come_back(client, path):
    """An error of eSIMs that are not ready comes back with its order, its eSIMs, and what went wrong with each."""
    (esim,) = await client.esims.buy(PLAIN, reference_id="r-0")
    order = await client.orders.get(reference_id="r-0")
    failures = {
        "esim-2": PermissionDeniedError("no", status=403, **ANSWER),
        "kind": ConnectionLostError("reset", sent="maybe"),
        "total": ServerError("oops", status=500),
    }
    error = EsimsNotReadyError("1 of 4", order=order, esims=(esim,), failures=failures, **FACTS)
    assert_same(await read_back(path, error), error)


async def test_real_doubt_comes_back(client, sandbox, path):
    """The doubt of a real line has the error that caused it as its reason."""
    sandbox.fail("POST", ORDER, "garbled")
    report = await client.orders.bulk(several(1), journal=path)
    (line,) = report.lines
    assert isinstance(line.error, PurchaseInDoubtError)
    assert isinstance(line.error.reason, DecodeError)
    assert line.error.reason.body == "\x1f<<<this is not JSON>>>"
    assert line.error.request == line.request == several(1)[0]
    assert "orders.reconcile('r-0')" in str(line.error)


# ---------------------------------------------------------------- what turns up twice after all


async def second(sandbox: Sandbox, reference: str) -> None:
    """Book what was sent first, late: one more order under a reference."""
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=BLIND) as other:
        await other.orders.create([OrderItem(PLAIN)], reference_id=reference)


def of_reference(sandbox: Sandbox, reference: str) -> set[str]:
    """Return the ids of the orders under a reference."""
    return {order["id"] for order in sandbox.state()["orders"] if order["referenceId"] == reference}


async def test_late_twin_in_the_same_run(patient, sandbox, path):
    """What was sent again is looked at once more at the end; booked twice by then, it is in doubt with both orders."""
    sandbox.fail("POST", ORDER, "drop")
    late = asyncio.Event()

    async def requests() -> AsyncIterator[CreateOrder]:
        yield one(reference="r-0")
        await late.wait()
        await second(sandbox, "r-0")
        yield one(reference="r-1")

    report = await patient.orders.bulk(requests(), journal=path, on_progress=lambda _: late.set())
    assert statuses(report) == ["in_doubt", "ordered"]
    error = report.lines[0].error
    assert isinstance(error, PurchaseInDoubtError)
    assert {order.id for order in error.found} == of_reference(sandbox, "r-0")
    assert len(error.found) == 2
    assert report.counts["in_doubt"] == 1


async def test_late_twin_between_runs(patient, sandbox, path):
    """What was sent again is looked at by each later run; one that was sent once is left alone."""
    sandbox.fail("POST", ORDER, "drop")
    report = await patient.orders.bulk(several(2), journal=path, concurrency=1)
    assert statuses(report) == ["ordered", "ordered"]
    assert endpoints(path, "resent", "final") == [(1, 0), (0, 1)]
    assert statuses(await patient.orders.bulk(several(2), journal=path)) == ["ordered", "ordered"]
    sent, looked = posts(sandbox), sandbox.state()["requests"]["GET /api/esim/orders"]
    await second(sandbox, "r-0")
    await second(sandbox, "r-1")
    for _ in range(2):
        report = await patient.orders.bulk(several(2), journal=path)
        assert statuses(report) == ["in_doubt", "ordered"]
        error = report.lines[0].error
        assert {order.id for order in error.found} == of_reference(sandbox, "r-0")
    assert posts(sandbox) == sent + 2
    assert sandbox.state()["requests"]["GET /api/esim/orders"] > looked


async def test_late_twin_of_what_was_cut_off(patient, sandbox, path):
    """A line that a crash left under way under the policy that sends again may have been sent twice before it."""
    await patient.orders.bulk(several(1), journal=path)
    sql(path, "UPDATE lines SET status = 'sending', final = 0, resent = 1, answer = NULL")
    assert statuses(await patient.orders.bulk(several(1), journal=path)) == ["ordered"]
    assert endpoints(path, "resent", "final") == [(1, 0)]
    await second(sandbox, "r-0")
    assert statuses(await patient.orders.bulk(several(1), journal=path)) == ["in_doubt"]


@pytest.mark.parametrize("policy", ["raise", "look_up"])
async def test_what_is_sent_once_is_not_looked_at_again(client, sandbox, path, policy):
    """Without the policy that sends again, a line that was bought is done."""
    sandbox.fail("POST", ORDER, "drop", when="after")
    for _ in range(3):
        await client.with_settings(on_doubt=policy).orders.bulk(several(2), journal=path)
    assert endpoints(path, "resent", "final") == [(0, 1), (0, 1)]
    looked = sandbox.state()["requests"].get("GET /api/esim/orders", 0)
    await client.with_settings(on_doubt=policy).orders.bulk(several(2), journal=path)
    assert sandbox.state()["requests"].get("GET /api/esim/orders", 0) == looked


async def test_refusal_after_sending_again(patient, sandbox, path):
    """A line that was sent, not found and then refused stays in doubt: it is looked up by the next run."""
    sandbox.fail("POST", ORDER, "drop")
    sandbox.fail("POST", ORDER, "409")
    report = await patient.orders.bulk(several(1), journal=path)
    assert statuses(report) == ["in_doubt"]
    await second(sandbox, "r-0")
    sent = posts(sandbox)
    report = await patient.orders.bulk(several(1), journal=path)
    assert statuses(report) == ["ordered"]
    assert posts(sandbox) == sent


async def test_esims_of_lines_that_were_bought_without(client, sandbox, path):
    """A run with apply makes the eSIMs of lines that an earlier run bought without it, and buys nothing."""
    await client.orders.bulk(several(3), journal=path)
    report = await client.orders.bulk(several(3), journal=path, apply=True)
    assert [[esim.status for esim in line.esims] for line in report.lines] == [["READY"]] * 3
    assert posts(sandbox) == 3
    applied = sandbox.state()["requests"]["POST /api/esim/apply"]
    await client.orders.bulk(several(3), journal=path, apply=True)
    assert sandbox.state()["requests"]["POST /api/esim/apply"] == applied == 3


def test_commit_that_fails(path, monkeypatch):
    """A commit that fails is taken back: the journal is as it was before, and the next one is whole."""
    ledger = JournalFile(path)
    entries = [
        Entry(position=position, digest="d", request="{}", reference=f"r-{position}", status="sending")
        for position in range(2)
    ]
    entries[0].answer = "x" * 100_000
    (pages,) = ledger._connection.execute("PRAGMA page_count").fetchone()
    ledger._connection.execute(f"PRAGMA max_page_count = {pages + 1}")
    with pytest.raises(JournalError, match="full"):
        anyio.run(ledger.put, entries[0])
    assert not ledger._connection.in_transaction
    anyio.run(ledger.put, entries[1])
    ledger.close()
    assert endpoints(path, "reference") == [("r-1",)]


async def test_second_look_comes_a_window_later(patient, sandbox, path):
    """What was sent again is looked at once more when another settle window has passed."""
    sandbox.fail("POST", ORDER, "drop")
    begun = anyio.current_time()
    await patient.with_settings(reconcile_window=0.2).orders.bulk(several(1), journal=path)
    assert anyio.current_time() - begun >= 0.4


async def test_esims_of_what_was_sent_again(patient, sandbox, path):
    """A line that was sent again stays open for later looks, also when its eSIMs are made."""
    sandbox.fail("POST", ORDER, "drop")
    report = await patient.orders.bulk(several(1), journal=path, apply=True)
    assert [len(line.esims) for line in report.lines] == [1]
    assert endpoints(path, "resent", "final") == [(1, 0)]


@pytest.mark.parametrize(("policy", "flag"), [("raise", False), ("look_up", False), ("look_up_then_resend", True)])
async def test_what_may_be_sent_again_is_written_ahead(client, path, monkeypatch, policy, flag):
    """Before it is sent, a line is marked as one that may be sent again, where the policy allows that."""
    put, written = JournalFile.put, list[tuple[str, bool]]()

    async def noted(ledger: JournalFile, entry: Entry) -> None:
        written.append((entry.status, entry.resent))
        await put(ledger, entry)

    monkeypatch.setattr(JournalFile, "put", noted)
    await client.with_settings(on_doubt=policy).orders.bulk(several(1), journal=path)
    assert written == [("sending", flag), ("ordered", False)]
