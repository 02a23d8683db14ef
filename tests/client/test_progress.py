"""``progress=True``: a bar of tqdm in the terminal, right after a resume and at an interruption too."""

import io
import re
import signal
import sys
import threading
from types import SimpleNamespace

import pytest

from roamify_async import CreateOrder, OrderItem, Roamify
from roamify_async._core import progress_bar
from roamify_async.sandbox import Sandbox

pytest.importorskip("tqdm")

PLAIN = "esim-greece-30days-1gb-all"


@pytest.fixture
def screen(monkeypatch):
    """Collect what is written to stderr in a text."""
    stream = io.StringIO()
    monkeypatch.setattr(progress_bar, "sys", SimpleNamespace(stderr=stream))
    return stream


def last(screen) -> str:
    """Return the last state of the bar."""
    return screen.getvalue().rstrip("\n").rpartition("\r")[2]


def lines(count: int) -> list[CreateOrder]:
    """Return orders with references."""
    return [CreateOrder([OrderItem(PLAIN)], reference_id=f"r{number}") for number in range(count)]


async def test_bulk(either, screen):
    """The bar counts lines, and shows what was spent and what became of the lines."""
    report = await either.orders.bulk([*lines(20), CreateOrder([OrderItem("esim-nowhere")])], progress=True)
    assert "100%" in last(screen)
    assert "21/21" in last(screen)
    assert f"spent {report.spent:.2f} USD, 20 ordered, 1 refused" in last(screen)


async def test_bulk_of_a_generator(either, screen):
    """A total that is not known beforehand is known at the end."""
    await either.orders.bulk(iter(lines(7)), progress=True, on_progress=lambda _: None)
    assert "7/7" in last(screen)


async def test_resume(either, screen, tmp_path):
    """Lines of an earlier run are done: all of all, and not those of this run."""
    await either.orders.bulk(lines(12), journal=tmp_path / "j.db")
    await either.orders.bulk(lines(15), journal=tmp_path / "j.db", progress=True)
    states = re.findall(r"(\d+)/(\d+)", screen.getvalue())
    assert (states[0], states[-1]) == (("12", "15"), ("15", "15"))
    await either.orders.bulk(lines(15), journal=tmp_path / "j.db", progress=True)
    assert "15/15" in last(screen)


def test_interrupted(screen, tmp_path):
    """Ctrl-C leaves a line that says how to go on, and no thread of tqdm."""

    def interrupt(progress) -> None:
        if progress.done == 5:
            signal.raise_signal(signal.SIGINT)

    with Sandbox(packages=300) as sandbox:
        with Roamify(sandbox.token, base_url=sandbox.url) as roamify:
            with pytest.raises(KeyboardInterrupt):
                roamify.orders.bulk(
                    lines(40), journal=tmp_path / "j.db", progress=True, on_progress=interrupt, concurrency=1
                )
            *_, bar, text = screen.getvalue().replace("\r", "\n").rstrip("\n").split("\n")
            assert re.search(r"[56]/40", bar)
            assert re.match(
                r"the bulk order was interrupted after [56] lines; .* call again with the same journal", text
            )
            roamify.orders.bulk(lines(40), journal=tmp_path / "j.db", progress=True)
            assert "40/40" in last(screen)
        assert len(sandbox.orders) == 40
    assert not {type(thread).__name__ for thread in threading.enumerate()} & {"TMonitor"}


async def test_screen_that_is_gone(client, sandbox, screen, monkeypatch, caplog):
    """Where the bar cannot be drawn any more, all lines are ordered, and the report is returned."""
    show, shown = progress_bar.ProgressBar._show, []

    def fail_later(bar: progress_bar.ProgressBar, done: int, *rest: object) -> None:
        shown.append(done)
        if done == 3:
            raise BrokenPipeError
        show(bar, done, *rest)

    monkeypatch.setattr(progress_bar.ProgressBar, "_show", fail_later)
    with await client.orders.bulk(lines(8), progress=True, concurrency=1) as report:
        assert report.counts["ordered"] == 8 == len(sandbox.orders)
    assert shown == [0, 1, 2, 3]
    assert "the progress bar cannot be drawn" in caplog.text


async def test_packages(either, screen):
    """The bar of a catalogue counts its pages, and shows how many packages came."""
    catalogue = await either.packages.list(page_size=10, progress=True)
    pages = re.findall(r"(\d+)/(\d+)", last(screen))[0]
    assert pages[0] == pages[1] != "1"
    assert f"{len(catalogue)} packages" in last(screen)


def test_packages_one_by_one(screen):
    """An iterator has one too, whether it is consumed or left."""
    with Sandbox(packages=300) as sandbox, Roamify(sandbox.token, base_url=sandbox.url) as roamify:
        count = len(list(roamify.packages.iter(page_size=10, progress=True)))
        assert f"{count} packages" in last(screen)
        for _ in roamify.packages.iter(page_size=10, progress=True):
            break


async def test_failed_reading(client, sandbox, screen):
    """A page that cannot be read leaves the bar, with a line that says how to go on."""
    sandbox.fail("GET", "/api/esim/packages", "403", query={"page": "3"}, times=None)
    with pytest.raises(Exception, match="page"):
        await client.packages.list(page_size=10, concurrency=1, progress=True)
    assert screen.getvalue().rstrip().endswith("nothing is kept: call again to read it")


async def test_without_tqdm(either, sandbox, monkeypatch):
    """Where tqdm is not installed, an error names the extra, before anything is sent."""
    monkeypatch.setitem(sys.modules, "tqdm.auto", None)
    monkeypatch.setitem(sys.modules, "tqdm", None)
    for call in (either.packages.list(progress=True), either.orders.bulk(lines(1), progress=True)):
        with pytest.raises(ImportError, match=r"pip install 'roamify-async\[notebook\]'"):
            await call
    assert sandbox.state()["requests"] == {}
