"""What a commit of the journal costs: statements, queries, and who waits for whom."""

import threading
from pathlib import Path
from typing import Any

import anyio
import pytest

from roamify_async.purchasing.journal import Entry, JournalFile

COUNT = 64


def entry(position: int, **changes: Any) -> Entry:
    """Return a line that is about to be sent."""
    facts: dict[str, Any] = {"status": "sending", **changes}
    return Entry(position=position, digest="0" * 32, request="{}", reference=f"order-{position}", **facts)


async def put_all(file: JournalFile, entries: list[Entry]) -> None:
    """Write lines that come at the same time."""
    async with anyio.create_task_group() as group:
        for one in entries:
            group.start_soon(file.put, one)


@pytest.fixture
def file(tmp_path: Path):
    """Return the journal of a runner."""
    file = JournalFile(tmp_path / "orders.db")
    yield file
    file.close()


async def test_a_group_is_one_statement(file):
    """Lines that come at the same time are one statement, which is one transaction: not one for each line."""
    executed: list[str] = []
    file._connection.set_trace_callback(executed.append)
    await put_all(file, [entry(position) for position in range(COUNT)])
    assert len(executed) <= 2
    file._connection.set_trace_callback(None)
    assert [one.position for one in file.entries()] == [*range(COUNT)]


async def test_more_lines_than_a_statement_holds(file):
    """A statement holds a limited number of values: what does not fit is written by the next one."""
    file._max_batch = 5
    await put_all(file, [entry(position) for position in range(COUNT)])
    assert file.count() == COUNT


async def test_an_outcome_replaces_the_line(file):
    """The last state that was put is what the journal says, also if both states are written together."""
    outcomes = [entry(position, status="ordered", final=True, total="1.55") for position in range(COUNT)]
    await put_all(file, [one for position in range(COUNT) for one in (entry(position), outcomes[position])])
    assert [*file.entries()] == outcomes


async def test_all_of_a_group_go_on_at_once(file, monkeypatch):
    """Who waited for a commit goes on when it has ended, while the next one is under way."""
    commit, entered, may_end = JournalFile._commit, threading.Event(), threading.Event()
    written: list[int] = []

    def slow(file: JournalFile, batch: list[Any]) -> None:
        if any(change.row[0] == COUNT for change in batch):
            entered.set()
            assert may_end.wait(30)
        commit(file, batch)

    async def put(position: int) -> None:
        await file.put(entry(position))
        written.append(position)

    monkeypatch.setattr(JournalFile, "_commit", slow)
    try:
        async with anyio.create_task_group() as group:
            for position in range(COUNT):
                group.start_soon(put, position)
            await anyio.wait_all_tasks_blocked()
            group.start_soon(put, COUNT)
            await anyio.to_thread.run_sync(entered.wait, 30)
            await anyio.wait_all_tasks_blocked()
            assert sorted(written) == [*range(COUNT)]
            may_end.set()
    finally:
        may_end.set()


async def test_a_new_reference_needs_no_query(file, monkeypatch):
    """A new reference is not searched for in the file, which is locked while a commit is under way."""
    await put_all(file, [entry(position) for position in range(COUNT)])
    queries: list[str] = []
    rows = file._rows
    monkeypatch.setattr(file, "_rows", lambda query, *values: queries.append(query) or rows(query, *values))
    assert file.holder("order-new") is None
    assert queries == []
    assert [file.holder(f"order-{position}") for position in range(COUNT)] == [*range(COUNT)]
    assert len(queries) == COUNT


async def test_references_of_an_earlier_run_are_known(file):
    """A run that goes on knows the references of all lines that are in the file."""
    await put_all(file, [entry(position) for position in range(COUNT)])
    file.close()
    again = JournalFile(file.path)
    assert [again.holder(f"order-{position}") for position in range(COUNT)] == [*range(COUNT)]
    again.close()


async def test_a_line_that_fails_alone(file, monkeypatch):
    """A commit that fails is the failure of one line: the others of the group are written by the next."""
    commit, failures = JournalFile._commit, [OSError("no space")]

    def failing(file: JournalFile, batch: list[Any]) -> None:
        if failures:
            raise failures.pop()
        commit(file, batch)

    monkeypatch.setattr(JournalFile, "_commit", failing)
    outcomes: list[Exception | None] = []

    async def put(position: int) -> None:
        try:
            await file.put(entry(position))
        except OSError as error:
            outcomes.append(error)
        else:
            outcomes.append(None)

    async with anyio.create_task_group() as group:
        for position in range(COUNT):
            group.start_soon(put, position)
    assert outcomes.count(None) == file.count() == COUNT - 1
