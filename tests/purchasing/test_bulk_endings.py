"""What ends a bulk order early, or one line of it: no purchase is lost from sight, and none is made twice."""

import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest
from support.purchases import ORDER, OTHER, PLAIN

from roamify_async import BadRequestError, CreateOrder, JournalError, OrderItem, PurchaseInDoubtError
from roamify_async.purchasing import Journal
from roamify_async.purchasing.line import LineProcessor, _Purchase
from roamify_async.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
COUNT = 6


def one(package_id: str = PLAIN, reference: str | None = None) -> CreateOrder:
    """Ask for an eSIM, by default under a reference that the library creates."""
    return CreateOrder([OrderItem(package_id)], reference_id=reference)


def booked(sandbox: Sandbox) -> int:
    """Count the orders at the server."""
    return len(sandbox.state()["orders"])


def statuses(report: Any) -> list[str]:
    """Return the status of each line."""
    return [line.status for line in report.lines]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which temporary files are created."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


# ---------------------------------------------------------------- the caller's own exceptions


class Broken(Exception):  # noqa: N818 -- it is the caller's own
    """What the caller's own code raises."""


@attrs.frozen
class Frozen(Exception):  # noqa: N818
    """An exception of the caller's that takes no attributes."""


Ending = Callable[[type[Exception]], dict[str, Any]]


def plain(error: type[Exception]) -> dict[str, Any]:
    """Return requests whose generator raises after three."""

    def requests() -> Iterator[CreateOrder]:
        yield from [one()] * 3
        raise error

    return {"requests": requests()}


def asynchronous(error: type[Exception]) -> dict[str, Any]:
    """Return requests whose asynchronous generator raises after three."""

    async def requests() -> AsyncIterator[CreateOrder]:
        for _ in range(3):
            yield one()
        raise error

    return {"requests": requests()}


def progress(error: type[Exception]) -> dict[str, Any]:
    """Return requests, and a callback that raises after three."""

    def tell(state: Any) -> None:
        if state.done == 3:
            raise error

    return {"requests": [one()] * COUNT, "on_progress": tell}


@pytest.mark.parametrize("ending", [plain, asynchronous, progress])
async def test_callers_exception_without_a_journal(either, sandbox, temporary, ending):
    """An exception of the caller's own code names the file with all lines, from which the order continues."""
    with pytest.raises(Broken) as caught:
        await either.orders.bulk(**ending(Broken), concurrency=1)
    path = caught.value.journal
    assert path.parent.parent == temporary
    (note,) = caught.value.__notes__
    assert note.startswith("the bulk order was interrupted after 3 lines; no line is in doubt; its lines are kept: ")
    assert f"journal={str(path)!r}" in note
    with Journal.open(path) as journal:
        assert sorted(line.order.id for line in journal.ordered) == sorted(
            order["id"] for order in sandbox.state()["orders"]
        )
    report = await either.orders.bulk([one()] * COUNT, journal=path)
    assert statuses(report) == ["ordered"] * COUNT
    assert booked(sandbox) == COUNT


async def test_callers_exception_and_the_file_is_gone(client, sandbox, temporary):
    """Control: without the file, under references that nobody knows, the same lines are bought once more."""
    with pytest.raises(Broken) as caught:
        await client.orders.bulk(**plain(Broken))
    caught.value.journal.unlink()
    await client.orders.bulk([one()] * COUNT)
    assert booked(sandbox) == COUNT + 3


async def test_callers_exception_with_doubts(either, sandbox, temporary):
    """The note names references in doubt, also those that the library created."""
    sandbox.fail("POST", ORDER, "drop", when="before")
    with pytest.raises(Broken) as caught:
        await either.orders.bulk(**plain(Broken), concurrency=1)
    with Journal.open(caught.value.journal) as journal:
        (doubt,) = journal.in_doubt
    assert f"; in doubt: {doubt.reference_id}; " in caught.value.__notes__[0]


async def test_callers_exception_with_a_journal(either, tmp_path):
    """With a journal the exception has the same note, and the journal's path."""
    with pytest.raises(Broken) as caught:
        await either.orders.bulk(**plain(Broken), journal=tmp_path / "orders.db")
    assert caught.value.journal == tmp_path / "orders.db"
    assert "call again with the same journal and requests" in caught.value.__notes__[0]


async def test_exception_that_is_frozen(either, temporary, caplog):
    """An exception that takes no attributes is raised all the same; the log names the file."""
    with caplog.at_level(logging.WARNING), pytest.raises(Frozen):
        await either.orders.bulk(**plain(Frozen))
    (folder,) = temporary.iterdir()
    assert str(folder / "lines.db") in caplog.text


async def test_exception_before_the_first_line(either, temporary):
    """Nothing is kept if there were no lines."""

    def requests() -> Iterator[CreateOrder]:
        raise Broken
        yield one()

    with pytest.raises(Broken) as caught:
        await either.orders.bulk(requests())
    assert not hasattr(caught.value, "journal")
    assert list(temporary.iterdir()) == []


def test_ctrl_c_without_a_journal(temporary):
    """Ctrl-C names the file with all lines too, from which the order continues."""
    program = """
        import signal, sys
        from roamify_async import *
        roamify = Roamify(sys.argv[1], base_url=sys.argv[2])
        requests = [CreateOrder([OrderItem(sys.argv[3])])] * 6
        def tell(progress):
            if progress.done == 3:
                signal.raise_signal(signal.SIGINT)
        try:
            roamify.orders.bulk(requests, concurrency=1, on_progress=tell)
        except KeyboardInterrupt as interrupt:
            assert f"journal={str(interrupt.journal)!r}" in interrupt.__notes__[0]
            print(roamify.orders.bulk(requests, journal=interrupt.journal).counts["ordered"])
        roamify.close()
    """
    with Sandbox(packages=300) as sandbox:
        process = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program), sandbox.token, sandbox.url, PLAIN],
            env={**os.environ, "TMPDIR": str(temporary), "PYTHONWARNINGS": "error"},
            cwd=ROOT, capture_output=True, text=True, check=False, timeout=30,
        )  # fmt: skip
        assert (process.returncode, process.stdout) == (0, "6\n"), process.stderr
        assert booked(sandbox) == 6


# ---------------------------------------------------------------- values that are not requests


async def test_wrong_item_is_a_line(either, sandbox, temporary):
    """A value of a generator that is not a request is a refused line; the lines after it are bought."""
    report = await either.orders.bulk(iter([one(), {"packageId": PLAIN}, one(), None]))
    assert statuses(report) == ["ordered", "refused", "ordered", "refused"]
    wrong = report.lines[1]
    assert isinstance(wrong.error, BadRequestError)
    assert wrong.error.sent == "no"
    assert "requests must hold CreateOrder values, not {'packageId': 'esim-" in str(wrong.error)
    assert (wrong.request.items, wrong.order) == ((), None)
    assert "refused" in report._repr_html_()
    assert booked(sandbox) == 2


async def test_wrong_item_that_is_put_right(either, sandbox, tmp_path):
    """A later run may have a request in its place, which is bought; one that is still wrong stays refused."""
    path = tmp_path / "orders.db"
    await either.orders.bulk(iter([one(), "esim-1", 5]), journal=path)
    report = await either.orders.bulk(iter([one(), one(OTHER), 6]), journal=path)
    assert statuses(report) == ["ordered", "ordered", "refused"]
    assert report.lines[1].request.items[0].package_id == OTHER
    assert "not 6" in str(report.lines[2].error)
    with pytest.raises(JournalError, match="line 1 differs"):
        await either.orders.bulk(iter([one(), "esim-1", 6]), journal=path)
    assert booked(sandbox) == 2


# ---------------------------------------------------------------- exceptions that nobody expects


def once(monkeypatch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    """Make a method raise an exception that nobody expects, at its first call."""
    real, left = getattr(owner, name), [ZeroDivisionError("a defect")]

    def method(*args: Any) -> Any:
        if left:
            raise left.pop()
        return real(*args)

    monkeypatch.setattr(owner, name, method)


@pytest.mark.parametrize(
    ("owner", "name", "status"),
    [
        (LineProcessor, "claim", "not_sent"),
        (_Purchase, "_record_order", "in_doubt"),
        (_Purchase, "_limit_policy", "not_sent"),
        (LineProcessor, "_finish", "ordered"),
    ],
)
async def test_defect_in_one_line(either, sandbox, tmp_path, monkeypatch, caplog, owner, name, status):
    """An exception that nobody expects is logged and ends its own line only; the next run settles that one."""
    path = tmp_path / "orders.db"
    requests = [one(reference=f"r-{number}") for number in range(COUNT)]
    with monkeypatch.context() as patch:
        once(patch, owner, name)
        report = await either.orders.bulk(requests, journal=path, concurrency=1, apply=True)
    assert statuses(report) == [status] + ["ordered"] * (COUNT - 1)
    error = report.lines[0].error
    assert "unexpected ZeroDivisionError ended the line; see the log" in str(error)
    assert isinstance(error, PurchaseInDoubtError) == (status == "in_doubt")
    (record,) = [record for record in caplog.records if record.exc_info is not None]
    assert "r-0" in record.getMessage()
    assert record.levelno == logging.ERROR
    report = await either.orders.bulk(requests, journal=path, apply=True)
    assert statuses(report) == ["ordered"] * COUNT
    assert [(len(line.esims), line.error) for line in report.lines] == [(1, None)] * COUNT
    assert booked(sandbox) == COUNT


# ---------------------------------------------------------------- files that cannot be


@pytest.mark.parametrize("name", ["\ud800.db", "a\0b.db"])
async def test_path_that_cannot_be_written(either, sandbox, tmp_path, name):
    """A path that the system cannot write is a ``JournalError``."""
    with pytest.raises(JournalError, match="cannot be written in the encoding"):
        await either.orders.bulk([one()], journal=f"{tmp_path}/{name}")
    with pytest.raises(JournalError, match="cannot be written in the encoding"):
        Journal.open(f"{tmp_path}/{name}")
    assert booked(sandbox) == 0


@pytest.mark.skipif(os.name != "posix", reason="the encoding of paths does not depend on the locale")
def test_path_that_the_locale_cannot_write(tmp_path):
    """So is one that the locale cannot write; the error says what helps."""
    program = """
        import sys
        from pathlib import Path
        from roamify_async import *
        with Roamify("a-token", base_url="http://127.0.0.1:1") as roamify:
            try:
                roamify.orders.bulk([CreateOrder([OrderItem("esim-1")])], journal=Path("caf\\u00e9.db"))
            except JournalError as error:
                print(ascii(str(error)))
    """
    process = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, check=False, capture_output=True, timeout=30,
        env={"PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    )  # fmt: skip
    assert b"set PYTHONUTF8=1" in process.stdout, process.stderr


async def test_no_temporary_folder(either, sandbox, tmp_path, monkeypatch):
    """Without a journal and without a folder for temporary files nothing is sent, and the error says what helps."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "nowhere"))
    with pytest.raises(JournalError, match=r"no temporary file can be created .*TMPDIR"):
        await either.orders.bulk([one()])
    assert booked(sandbox) == 0


async def test_full_temporary_folder(client, temporary, monkeypatch):
    """A temporary file that cannot be created leaves no folder behind."""
    monkeypatch.setattr("roamify_async.purchasing.journal.create", lambda _: 1 / 0)
    with pytest.raises(JournalError):
        await client.orders.bulk([one()])
    assert list(temporary.iterdir()) == []
