"""The journal's file: bound to a host, one runner at a time, readable at any time, and true or refused."""

import asyncio
import logging
import os
import shutil
import sqlite3
import stat
import sys
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.clients import QUICK

from roamify_async import AsyncRoamify, CreateOrder, JournalError, OrderItem
from roamify_async.purchasing import Journal, journal, journal_storage
from roamify_async.purchasing.journal import JournalFile
from roamify_async.purchasing.journal_rows import Entry
from roamify_async.sandbox import Sandbox

PLAIN = "esim-greece-30days-1gb-all"
POST = "POST /api/esim/order"


def lines(count: int, reference: str | None = None) -> list[CreateOrder]:
    """Return requests of a bulk order."""
    return [
        CreateOrder([OrderItem(PLAIN)], reference_id=reference and f"{reference}-{number}") for number in range(count)
    ]


def booked(sandbox: Sandbox) -> int:
    """Count the orders at the server."""
    return len(sandbox.state()["orders"])


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Return the path of the journal."""
    return tmp_path / "orders.db"


# ---------------------------------------------------------------- what it belongs to


async def test_journal_of_another_host(client, sandbox, path):
    """A journal that was run against one host is refused for another one, before anything is sent."""
    await client.orders.bulk(lines(3), journal=path)
    async with (
        Sandbox(packages=300) as other,
        AsyncRoamify(other.token, base_url=other.url, settings=QUICK) as elsewhere,
    ):
        with pytest.raises(JournalError, match=r"belongs to http://127.*, not to http://127"):
            await elsewhere.orders.bulk(lines(3), journal=path)
        assert booked(other) == 0
        assert not any(name.startswith("POST") for name in other.state()["requests"])
    assert booked(sandbox) == 3


async def test_journal_of_another_token(sandbox, path, caplog):
    """A journal that was run with another token is a warning, for tokens are rotated; the token is not in the file."""
    for token in (sandbox.token, sandbox.token, f"{sandbox.token}-new"):
        sandbox_token = sandbox.token
        async with AsyncRoamify(token, base_url=sandbox.url, settings=QUICK) as client:
            caplog.clear()
            with suppress(JournalError):
                await client.orders.bulk(lines(1), journal=path)
        warned = [record for record in caplog.records if "another token" in record.message]
        assert bool(warned) == (token != sandbox_token)
        assert sandbox_token.encode() not in path.read_bytes()


async def test_older_copy_of_a_journal(client, sandbox, path, tmp_path):
    """A journal that was restored from an older copy buys nothing again, also for lines without a reference."""
    copy = tmp_path / "copy.db"
    await client.orders.bulk(lines(2), journal=path)
    shutil.copy(path, copy)
    await client.orders.bulk(lines(5), journal=path)
    report = await client.orders.bulk(lines(5), journal=copy)
    assert report.counts["ordered"] == 5
    assert booked(sandbox) == 5


# ---------------------------------------------------------------- one runner at a time


async def test_copying_does_not_unlock(client, sandbox, path, tmp_path):
    """A copy of the journal while it is run lets no second runner in."""
    errors: list[str] = []

    async def backed_up(_: object) -> None: ...

    def back_up(_: object) -> None:
        shutil.copy(path, tmp_path / "backup.db")
        try:
            JournalFile(path).close()
        except JournalError as error:
            errors.append(str(error))

    report = await client.orders.bulk(lines(4), journal=path, on_progress=back_up, concurrency=1)
    assert report.counts["ordered"] == 4
    assert len(errors) == 4
    assert all("one runner at a time" in error for error in errors)
    assert booked(sandbox) == 4
    assert sorted(file.name for file in tmp_path.iterdir()) == ["backup.db", "orders.db", "orders.db-journal"]


def test_lock_of_a_forked_child(path):
    """A child that is forked while a journal is open does not keep it locked after the parent has closed it."""
    file = JournalFile(path)
    ready, done = os.pipe(), os.pipe()
    pid = os.fork()
    if pid == 0:
        os.write(ready[1], b"x")
        os.read(done[0], 1)
        os._exit(0)
    os.read(ready[0], 1)
    file.close()
    JournalFile(path).close()
    os.write(done[1], b"x")
    os.waitpid(pid, 0)
    for descriptor in (*ready, *done):
        os.close(descriptor)


async def test_reading_while_it_runs(client, sandbox, path):
    """Anybody may look how far a journal is while it is run, and does not disturb its runner."""
    seen: list[tuple[int, int]] = []

    def look(progress: Any) -> None:
        with Journal.open(path) as opened:
            seen.append((opened.counts["ordered"], len([*opened.lines])))
        connection = sqlite3.connect(path)
        assert connection.execute("SELECT count(*) FROM lines").fetchone()[0] >= progress.done
        connection.close()

    report = await client.orders.bulk(lines(4), journal=path, on_progress=look, concurrency=1)
    assert report.counts["ordered"] == 4
    assert [ordered for ordered, _ in seen] == [1, 2, 3, 4]
    assert booked(sandbox) == 4


WATCHING = """
import shutil, sys
from pathlib import Path
from roamify_async.purchasing import Journal, journal
path, seen, copies = Path(sys.argv[1]), [], 0
print("ready", flush=True)
while not path.exists():
    pass
while not seen or seen[-1] < 30:
    with Journal.open(path) as journal:
        counts = journal.counts
        assert len([line.order for line in journal.lines]) >= sum(counts.values())
        seen.append(counts["ordered"])
    if copies < 20:
        shutil.copy(path, f"{path}.copy-{copies}")
        copies += 1
assert seen == sorted(seen)
print(len(seen) > 1)
"""


@pytest.mark.long
async def test_reading_from_another_process(client, sandbox, path, tmp_path):
    """Another process may read and copy the journal all the time; the run and its lock are not disturbed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", WATCHING, str(path),
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"ready\n"
    report = await client.orders.bulk(lines(30), journal=path, concurrency=2)
    out, err = await process.communicate()
    assert (process.returncode, out) == (0, b"True\n"), err.decode()
    assert report.counts["ordered"] == 30 == booked(sandbox)
    copies = sorted(tmp_path.glob("*.copy-*"))
    assert len(copies) >= 1
    resumed = 0
    for copy in copies:
        # A copy that was made during a commit may be torn: it is refused, or finds what was bought.
        with suppress(JournalError):
            report = await client.orders.bulk(lines(30), journal=copy)
            assert report.counts["ordered"] == 30
            resumed += 1
    assert resumed >= 1
    assert booked(sandbox) == 30


async def test_reader_that_takes_long(client, sandbox, path, monkeypatch):
    """The runner waits for a query in another program that takes longer than readers wait."""
    monkeypatch.setattr(journal_storage, "BUSY_TIMEOUT", 0.05)
    readers: list[sqlite3.Connection] = []

    def read(progress: Any) -> None:
        if progress.done == 2:
            reader = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM lines").fetchall()
            readers.append(reader)
            asyncio.get_running_loop().call_later(0.4, reader.close)

    report = await client.orders.bulk(lines(5), journal=path, on_progress=read, concurrency=1)
    assert report.counts["ordered"] == 5 == booked(sandbox)
    assert len(readers) == 1


async def test_reader_that_takes_too_long(client, sandbox, path, monkeypatch):
    """Control: a runner that waits as short as readers do is ended by it, and says what locked its journal."""
    monkeypatch.setattr(journal, "RUNNER_TIMEOUT", 0.05)
    readers: list[sqlite3.Connection] = []

    def read(progress: Any) -> None:
        if progress.done == 2 and not readers:
            readers.append(sqlite3.connect(path, isolation_level=None))
            readers[0].execute("BEGIN")
            readers[0].execute("SELECT count(*) FROM lines").fetchall()

    with pytest.raises(JournalError, match="locked by another program for too long"):
        await client.orders.bulk(lines(5), journal=path, on_progress=read, concurrency=1)
    readers[0].close()
    report = await client.orders.bulk(lines(5), journal=path)
    assert report.counts["ordered"] == 5 == booked(sandbox)


@pytest.mark.parametrize("how", ["renamed", "removed", "replaced"])
async def test_file_that_vanishes(client, sandbox, path, how):
    """What cannot be journaled is not sent: a journal that is moved or removed in its run ends the run."""

    def vanish(progress: Any) -> None:
        if progress.done == 2:
            if how == "renamed":
                path.rename(path.with_name("moved.db"))
            else:
                path.unlink()
            if how == "replaced":
                path.write_bytes(b"")

    with pytest.raises(JournalError, match="moved, replaced or removed"):
        await client.orders.bulk(lines(20), journal=path, on_progress=vanish, concurrency=1)
    assert booked(sandbox) <= 3
    if how == "renamed":
        report = await client.orders.bulk(lines(20), journal=path.with_name("moved.db"))
        assert report.counts["ordered"] == 20
        assert booked(sandbox) == 20


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("content", [b"", b"x"])
async def test_file_of_no_bytes(client, sandbox, path, content):
    """A file that is empty is damaged: only a file that does not exist is new."""
    path.write_bytes(content)
    with pytest.raises(JournalError):
        await client.orders.bulk(lines(1), journal=path)
    assert path.stat().st_size == len(content)
    assert booked(sandbox) == 0


def damage(content: bytes, random: Random) -> bytes:
    """Return a damaged copy of a file."""
    data, page = bytearray(content), 4096
    pages = len(data) // page
    match random.randrange(6):
        case 0:
            data[random.randrange(len(data))] ^= 1 << random.randrange(8)
        case 1:
            place = random.randrange(pages) * page
            data[place : place + page] = bytes(page)
        case 2:
            one, other = (random.randrange(pages) * page for _ in range(2))
            data[one : one + page], data[other : other + page] = data[other : other + page], data[one : one + page]
        case 3:
            place, count = random.randrange(len(data)), random.randrange(1, 200)
            data[place : place + count] = random.randbytes(min(count, len(data) - place))
        case 4:
            del data[random.randrange(len(data)) :]
        case _:
            place = random.randrange(len(data))
            data[place : place + 4] = b"9e99"
    return bytes(data)


def entry(position: int) -> Entry:
    """Return a line that was ordered."""
    return Entry(
        position=position,
        digest="0" * 32,
        request="{}",
        reference=f"order-{position}",
        status="ordered",
        final=True,
        first_sent="2027-01-01T00:00:00+00:00",
        total="1.55",
        answer="{}",
    )


async def journal_of(path: Path, count: int) -> bytes:
    """Return the bytes of a journal with so many ordered lines."""
    file = JournalFile(path)
    for position in range(count):
        await file.put(entry(position))
    file.close()
    return path.read_bytes()  # noqa: ASYNC240


async def test_damage_is_told(path, tmp_path):
    """A damaged journal is refused as a whole, or says what it said before: no other exception, and nothing hangs."""
    content = await journal_of(path, 120)
    refused = 0
    for seed in range(200):
        damaged = tmp_path / f"{seed}.db"
        damaged.write_bytes(damage(content, Random(seed)))
        try:
            file = JournalFile(damaged)
        except JournalError:
            refused += 1
        else:
            assert [one.status for one in file.entries()] == ["ordered"] * 120
            assert [one.reference for one in file.entries()] == [f"order-{number}" for number in range(120)]
            file.close()
        damaged.unlink()
    assert refused > 100


async def test_checksums_are_what_finds_changed_lines(path, monkeypatch):
    """Without the checksums a changed status would be believed: the control of the test above."""
    await journal_of(path, 3)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE lines SET status = 'not_sent', final = 0, first_sent = NULL WHERE position = 1")
    connection.close()
    with pytest.raises(JournalError, match="damaged at line 1"):
        JournalFile(path)
    monkeypatch.setattr(JournalFile, "_verify", lambda _: None)
    monkeypatch.setattr("roamify_async.purchasing.journal.checksum", lambda _: 0)
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE lines SET checksum = 0")
    connection.close()
    file = JournalFile(path)
    assert [one.status for one in file.entries()] == ["ordered", "not_sent", "ordered"]
    file.close()


# ---------------------------------------------------------------- the file's surroundings


async def test_file_that_others_can_read(client, path, caplog):
    """A new journal is readable by its owner only; one that others can read is a warning."""
    await client.orders.bulk(lines(1), journal=path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert not any("can be read by others" in record.message for record in caplog.records)
    path.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        await client.orders.bulk(lines(1), journal=path)
    assert any("can be read by others" in record.message for record in caplog.records)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's file")
async def test_link_to_another_users_file(client, sandbox, path, tmp_path):
    """A symbolic link to another user's file is refused; one to an own file is followed."""
    theirs, own = tmp_path / "theirs.db", tmp_path / "own.db"
    theirs.write_bytes(b"")
    os.chown(theirs, 12345, 12345)
    path.symlink_to(theirs)
    with pytest.raises(JournalError, match="another user's file"):
        await client.orders.bulk(lines(1), journal=path)
    path.unlink()
    await client.orders.bulk(lines(1), journal=own)
    path.symlink_to(own)
    await client.orders.bulk(lines(1), journal=path)
    assert booked(sandbox) == 1


OLD = """
CREATE TABLE lines (position INTEGER PRIMARY KEY, digest TEXT NOT NULL, request TEXT NOT NULL, reference TEXT NOT NULL,
    status TEXT NOT NULL, final INTEGER NOT NULL DEFAULT 0, first_sent TEXT, resent INTEGER NOT NULL DEFAULT 0,
    total TEXT, answer TEXT, esims TEXT, error TEXT);
CREATE INDEX by_reference ON lines (reference);
CREATE INDEX by_status ON lines (status);
PRAGMA application_id = 1383031149;
PRAGMA user_version = 2;
"""


async def test_file_of_an_older_version(client, sandbox, path, tmp_path):
    """A journal of version 2 is led to the current one, with all its lines, for runners and readers."""
    new = tmp_path / "new.db"
    await client.orders.bulk(lines(3), journal=new)
    columns = "position, digest, request, reference, status, final, first_sent, resent, total, answer, esims, error"
    with sqlite3.connect(new) as connection:
        rows = connection.execute(f"SELECT {columns} FROM lines").fetchall()
    connection.close()
    with sqlite3.connect(path) as connection:
        connection.executescript(OLD)
        connection.executemany(f"INSERT INTO lines ({columns}) VALUES ({', '.join('?' * 12)})", rows)
    connection.close()
    shutil.copy(path, tmp_path / "read.db")
    with Journal.open(tmp_path / "read.db") as opened:
        assert opened.counts["ordered"] == 3
        assert all(line.order is not None for line in opened.lines)
    report = await client.orders.bulk(lines(4), journal=path)
    assert report.counts["ordered"] == 4
    assert booked(sandbox) == 4


async def test_power_loss_at_every_write(client, sandbox, path, tmp_path, monkeypatch):
    """A copy of the file after every write, run on its own, buys nothing twice and loses nothing."""
    copies: list[Path] = []
    write = JournalFile._write

    def copied(self: JournalFile, *arguments: Any) -> None:
        write(self, *arguments)
        copies.append(tmp_path / f"copy-{len(copies)}.db")
        shutil.copy(path, copies[-1])

    monkeypatch.setattr(JournalFile, "_write", copied)
    await client.orders.bulk(lines(6), journal=path, concurrency=2)
    monkeypatch.undo()
    assert len(copies) > 6
    for copy in copies:
        report = await client.orders.bulk(lines(6), journal=copy)
        assert report.counts == {"ordered": 6, "refused": 0, "in_doubt": 0, "not_sent": 0}
    assert booked(sandbox) == 6
    await asyncio.sleep(0)
