"""The journal on a disk that fails: what is not on it was not sent, and what is lost on it is looked up."""

import itertools
import shutil
import sqlite3
import sys
import types
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from support.purchases import PLAIN

from roamify_async import CreateOrder, JournalError, OrderItem
from roamify_async.purchasing import Journal, journal_storage
from roamify_async.purchasing.journal import JournalFile
from roamify_async.sandbox import Sandbox

PAGE = 4096
COUNT = 8


def lines() -> list[CreateOrder]:
    """Return requests of a bulk order, whose references the library creates."""
    return [CreateOrder([OrderItem(PLAIN)]) for _ in range(COUNT)]


def booked(sandbox: Sandbox) -> list[str]:
    """Return the references of the orders at the server."""
    return [order["referenceId"] for order in sandbox.state()["orders"]]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the journal."""
    return tmp_path / "orders.db"


# ---------------------------------------------------------------- a disk that is full, or read-only


def full(connection: sqlite3.Connection) -> None:
    """Keep the file from growing any more, as on a full disk or beyond a quota."""
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count = {pages}")


def read_only(connection: sqlite3.Connection) -> None:
    """Refuse all writes, as on a disk that was mounted again for reading."""
    connection.execute("PRAGMA query_only = ON")


def at_write(monkeypatch: pytest.MonkeyPatch, number: int, fail: Any) -> None:
    """Make the disk fail at a write of the journal."""
    write, count = JournalFile._write, itertools.count()

    def written(file: JournalFile, *arguments: Any) -> None:
        if next(count) == number:
            fail(file._connection)
        write(file, *arguments)

    monkeypatch.setattr(JournalFile, "_write", written)


@pytest.mark.parametrize("number", [4, 6, 7])
@pytest.mark.parametrize("fail", [full, read_only])
async def test_disk_that_fails_in_the_middle(either, sandbox, path, monkeypatch, fail, number):
    """The run ends with the cause; what was sent is in the journal, and the next run buys the rest, once each."""
    padded = [CreateOrder([OrderItem(PLAIN)] * 40) for _ in range(COUNT)]  # So that the file has to grow.
    with monkeypatch.context() as patch:
        at_write(patch, number, fail)
        with pytest.raises(JournalError, match=r"full|readonly") as caught:
            await either.orders.bulk(padded, journal=path, concurrency=2)
    assert "call again with the same journal" in caught.value.__notes__[0]
    assert len(booked(sandbox)) < COUNT
    with Journal.open(path) as opened:
        assert set(booked(sandbox)) <= {line.reference_id for line in opened.lines}
    report = await either.with_settings(on_doubt="look_up_then_resend").orders.bulk(padded, journal=path)
    assert report.counts["ordered"] == COUNT
    assert sorted(booked(sandbox)) == sorted(line.reference_id for line in report.lines)


async def test_disk_that_fails_and_nobody_minds(client, sandbox, path, monkeypatch):
    """Control: without the refusal to send what is not on the disk, orders are lost from sight."""
    put = JournalFile.put

    async def careless(file: JournalFile, entry: Any) -> None:
        with suppress(JournalError):
            await put(file, entry)

    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "put", careless)
        at_write(patch, 9, read_only)
        await client.orders.bulk(lines(), journal=path, concurrency=1)
    with Journal.open(path) as opened:
        assert set(booked(sandbox)) - {line.reference_id for line in opened.lines}


async def test_temporary_file_on_a_full_disk(client, sandbox, tmp_path, monkeypatch):
    """Without a journal too the order ends with the cause, and its lines are kept; nothing is lost from sight."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    padded = [CreateOrder([OrderItem(PLAIN)] * 40) for _ in range(COUNT)]
    with monkeypatch.context() as patch:
        at_write(patch, 10, full)
        with pytest.raises(JournalError, match="full") as caught:
            await client.orders.bulk(padded, concurrency=2)
    report = await client.with_settings(on_doubt="look_up_then_resend").orders.bulk(
        padded, journal=caught.value.journal
    )
    assert report.counts["ordered"] == COUNT == len(booked(sandbox))


# ---------------------------------------------------------------- power loss


def rollback_journal(before: bytes, changed: list[int]) -> bytes:
    """Return SQLite's rollback journal of some pages, as it is on the disk when the first of them is overwritten."""
    nonce = 0x526F616D
    header = bytes.fromhex("d9d505f920a163d7") + b"".join(
        number.to_bytes(4, "big") for number in (len(changed), nonce, len(before) // PAGE, 512, PAGE)
    )
    records = b""
    for page in changed:
        content = before[page * PAGE : (page + 1) * PAGE]
        checksum = (nonce + sum(content[place] for place in range(PAGE - 200, 0, -200))) % 2**32
        records += (page + 1).to_bytes(4, "big") + content + checksum.to_bytes(4, "big")
    return header.ljust(512, b"\0") + records


def states(before: bytes, after: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield the file after each page that a commit writes, in either order, and the rollback journal beside it."""
    pages = [
        page for page in range(len(after) // PAGE)
        if before[page * PAGE : (page + 1) * PAGE] != after[page * PAGE : (page + 1) * PAGE]
    ]  # fmt: skip
    rollback = rollback_journal(before, [page for page in pages if page < len(before) // PAGE])
    for order in (pages, pages[::-1]):
        data = bytearray(before.ljust(len(after), b"\0"))
        for page in order:
            data[page * PAGE : (page + 1) * PAGE] = after[page * PAGE : (page + 1) * PAGE]
            yield bytes(data), rollback


@pytest.fixture
async def commits(client, path, monkeypatch) -> list[bytes]:
    """Run a bulk order to its end, and return the bytes of its journal after each commit."""
    copies, write = list[bytes](), JournalFile._write

    def written(file: JournalFile, *arguments: Any) -> None:
        if not copies:
            copies.append(path.read_bytes())
        write(file, *arguments)
        copies.append(path.read_bytes())

    with monkeypatch.context() as patch:
        patch.setattr(JournalFile, "_write", written)
        await client.orders.bulk(lines(), journal=path, concurrency=3)
    return copies


def files(tmp_path: Path, commits: list[bytes], *, is_rolled_back: bool) -> Iterator[Path]:
    """Yield the journal as a loss of power leaves it, at each write of each commit."""
    for before, after in itertools.pairwise(commits):
        for number, (data, rollback) in enumerate(states(before, after)):
            folder = tmp_path / f"{number}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            crashed = folder / "orders.db"
            crashed.touch(0o600)
            crashed.write_bytes(data)
            if is_rolled_back:
                (folder / "orders.db-journal").write_bytes(rollback)
            yield crashed


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_power_loss_within_a_commit(client, sandbox, commits, tmp_path):
    """Whichever page was written last, the next run buys nothing twice and loses nothing."""
    before = Counter(booked(sandbox))
    assert len(before) == COUNT
    resumed = 0
    for crashed in files(tmp_path, commits, is_rolled_back=True):
        report = await client.orders.bulk(lines(), journal=crashed)
        assert report.counts == {"ordered": COUNT, "refused": 0, "in_doubt": 0, "not_sent": 0}
        assert Counter(line.reference_id for line in report.lines) == before
        resumed += 1
    assert resumed > 3 * COUNT
    assert Counter(booked(sandbox)) == before


@pytest.mark.long
@pytest.mark.timeout(180)
async def test_power_loss_and_no_rollback_journal(client, sandbox, commits, tmp_path):
    """If the rollback journal is lost too, the file is refused, or resumed without loss; nothing is bought twice."""
    before = Counter(booked(sandbox))
    outcomes = Counter[str]()
    for crashed in files(tmp_path, commits, is_rolled_back=False):
        try:
            report = await client.orders.bulk(lines(), journal=crashed)
        except JournalError:
            outcomes["refused"] += 1
        else:
            assert Counter(line.reference_id for line in report.lines) == before
            assert report.counts["ordered"] == COUNT
            outcomes["resumed"] += 1
    assert outcomes["refused"] > 0
    assert outcomes["resumed"] > 0
    assert Counter(booked(sandbox)) == before


async def test_power_loss_without_looking(client, sandbox, commits, tmp_path, monkeypatch):
    """Control: if an older journal's lines were not looked up before they are sent, they are bought twice."""
    verify = JournalFile._verify

    def forgotten(file: JournalFile) -> None:
        verify(file)
        file.is_new = True

    monkeypatch.setattr(JournalFile, "_verify", forgotten)
    await client.orders.bulk(lines(), journal=next(files(tmp_path, commits[3:], is_rolled_back=True)))
    assert len(booked(sandbox)) > COUNT


# ---------------------------------------------------------------- Windows


def test_lock_on_windows(path, monkeypatch):
    """On Windows one byte of the file beside the journal is locked, without waiting; a lock held elsewhere is told."""
    locked = list[tuple[int, int, int]]()

    def locking(file: int, mode: int, size: int) -> None:
        if locked:
            raise OSError(36, "Resource deadlock avoided")
        locked.append((file, mode, size))

    windows = types.SimpleNamespace(LK_NBLCK=2, locking=locking)
    monkeypatch.setitem(sys.modules, "msvcrt", windows)
    monkeypatch.setattr(sys, "platform", "win32")
    module = types.ModuleType("storage_on_windows")
    module.__package__ = journal_storage.__package__
    source = Path(journal_storage.__file__).read_text("utf-8")
    exec(compile(source, journal_storage.__file__, "exec"), module.__dict__)
    lock = module.RunnerLock(path)
    assert [(mode, size) for _, mode, size in locked] == [(2, 1)]
    with pytest.raises(JournalError, match="one runner at a time"):
        module.RunnerLock(path)
    lock.release()
    locked.clear()
    module.RunnerLock(path).release()
