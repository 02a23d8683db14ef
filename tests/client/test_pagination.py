"""The whole catalogue, whatever the server's pages mean: complete, in order, and never silently partial."""

import asyncio
import contextlib
import gc
from contextlib import aclosing
from typing import Any

import pytest
from hypothesis import given, strategies as st
from support.clients import QUICK, InThread, collect

from roamify_async import (
    AsyncRoamify,
    BadRequestError,
    ConfigurationError,
    DecodeError,
    RateLimitError,
    Roamify,
    ServerError,
)
from roamify_async._core import pagination
from roamify_async._core.pagination import PagePrefetcher, PrefetchWindow, SeenIds
from roamify_async.api import packages
from roamify_async.models.packages import Destination, DestinationGroup, Package, PackagePage
from roamify_async.sandbox import Sandbox

pytestmark = pytest.mark.usefixtures("frozen_heap")

PATH = "/api/esim/packages"


def served_ids(sandbox: Sandbox) -> list[str]:
    """Return the ids of the sandbox's catalogue, in its order."""
    return [package["packageId"] for group in sandbox.catalogue for package in group["packages"]]


def page_of(*ids: str, **facts: Any) -> PackagePage:
    """Return a page."""
    packages = tuple(Package(package_id=one, price=1) for one in ids)
    return PackagePage(groups=(DestinationGroup(destination=Destination(id="d"), packages=packages),), **facts)


# ---------------------------------------------------------------- the prefetch window


def observed(window: PrefetchWindow, *pages: PackagePage) -> range:
    """Consume pages, and return the pages to request next."""
    for page in pages:
        window.next()
        window.observe(page)
    return window.next()


FULL = [f"{n}" for n in range(50)]


def test_first_page_alone():
    """The first page is requested alone, since a search may have only one."""
    assert list(PrefetchWindow(size=16, page_size=50).next()) == [1]


def test_after_a_full_page():
    """After a full page the whole window is requested, each page once."""
    window = PrefetchWindow(size=4, page_size=50)
    assert list(observed(window, page_of(*FULL))) == [2, 3, 4, 5]
    assert list(window.next()) == []
    window.observe(page_of(*FULL))
    assert list(window.next()) == [6]


def test_after_a_short_page():
    """After a page that is short by every meaning of its size, only the next page is requested."""
    assert list(observed(PrefetchWindow(size=4, page_size=50), page_of("a"))) == [2]


@pytest.mark.parametrize("facts", [{"total_pages": 3}, {"total": 101}, {"total": 150, "total_pages": 3}])
def test_with_totals(facts):
    """A total limits how many pages are requested ahead."""
    window = PrefetchWindow(size=16, page_size=50)
    assert list(observed(window, page_of(*FULL, **facts))) == [2, 3]
    window.observe(page_of(*FULL, **facts))
    window.observe(page_of(*FULL, **facts))
    assert list(window.next()) == [4]


def test_with_a_total_that_is_too_low():
    """A total is ignored once a full page comes from beyond it."""
    window = PrefetchWindow(size=4, page_size=50)
    assert list(observed(window, page_of(*FULL, total_pages=1))) == [2]
    window.observe(page_of(*FULL, total_pages=1))
    assert list(window.next()) == [3, 4, 5, 6]


@given(st.lists(st.tuples(st.integers(0, 60), st.integers(0, 30), st.integers(0, 2000))), st.integers(1, 20))
def test_window_is_kept(pages, size):
    """Each page is requested once, the next one always, and none beyond the window."""
    window, requested = PrefetchWindow(size=size, page_size=50), []
    for number, (count, total_pages, total) in enumerate(pages, 1):
        requested += window.next()
        assert number in requested
        assert len(requested) - (number - 1) <= size
        window.observe(page_of(*map(str, range(count)), total_pages=total_pages or None, total=total or None))
    assert requested == list(range(1, len(requested) + 1))


@given(st.lists(st.lists(st.sampled_from("abcdefgh"), max_size=4), max_size=12), st.integers(1, 4), st.integers(0, 3))
def test_seen_ids(pages, most, least):
    """An id is new if no page had it. Those of pages that are long past are known once an id is repeated."""
    seen, known = SeenIds(most, least), set()
    for number, ids in enumerate(pages):
        recent = {one for page in pages[max(0, number - most) : number] for one in page}
        was_exact = seen.is_exact
        new = seen.add(tuple(ids))
        if was_exact or recent & set(ids):
            assert seen.is_exact
            assert new == set(ids) - known
        else:
            assert new >= set(ids) - known
        known |= set(ids)


def test_seen_ids_recalls():
    """After ``recall`` all ids are known, however long ago they were read."""
    seen = SeenIds(1, least=0)
    for number in range(1000):
        assert len(seen.add(tuple(f"{number}-{one}" for one in range(10)))) == 10
    assert not seen.is_exact
    seen.recall()
    assert seen.add(("0-0", "500-3", "999-9", "new")) == {"new"}


# ---------------------------------------------------------------- against the sandbox


@pytest.mark.parametrize("totals", [False, True, 3, 100_000])
@pytest.mark.parametrize("past_end", ["empty", "last", "not_found"])
@pytest.mark.parametrize("page_counts", ["packages", "destinations"])
async def test_complete(page_counts, past_end, totals):
    """The catalogue is complete and in order for every reading of the contract, with both clients."""
    async with Sandbox(packages=150, page_counts=page_counts, past_end=past_end, totals=totals) as sandbox:
        wanted, size = served_ids(sandbox), 20 if page_counts == "packages" else 3
        async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
            catalogue = await roamify.packages.list(page_size=size)
            assert [package.package_id for package in catalogue] == wanted
            assert [destination.id for destination in catalogue.destinations] == [
                group["id"] for group in sandbox.catalogue
            ]
            packages_of = {group["id"]: {p["packageId"] for p in group["packages"]} for group in sandbox.catalogue}
            assert all(package.package_id in packages_of[package.destination.id] for package in catalogue)
            assert [package.package_id for package in await collect(roamify, page_size=size)] == wanted
        blocking = Roamify(sandbox.token, base_url=sandbox.url, settings=QUICK)
        assert [package.package_id for package in await collect(InThread(blocking), page_size=size)] == wanted
        await asyncio.to_thread(blocking.close)


async def test_split_destinations_are_one(sandbox, client):
    """A destination that is split over pages is one object for all its packages."""
    catalogue = await client.packages.list(page_size=3)
    assert len({id(package.destination) for package in catalogue}) == len(catalogue.destinations)


async def test_small_search(sandbox, client):
    """A search that fits on one page takes two requests: the page and the empty one after it."""
    await client.packages.list(country="Greece")
    assert sandbox.state()["requests"][f"GET {PATH}"] == 2


@pytest.mark.parametrize("page", [1, 2, 5])
async def test_missing_page(page, either, sandbox):
    """A page that cannot be fetched fails the whole call, and is named in the error."""
    sandbox.fail("GET", PATH, "503", query={"page": str(page)}, times=10)
    with pytest.raises(ServerError, match=f"page {page}") as caught:
        await either.packages.list(page_size=50)
    assert (caught.value.page, caught.value.status) == (page, 503)
    with pytest.raises(ServerError, match=f"page {page}"):
        await collect(either, page_size=50)
    assert sandbox.state()["requests"][f"GET {PATH}"] >= 10


@pytest.mark.parametrize("fault", ["drop", "503", "429", "502_html", "500_empty", "truncated", "garbled", "reset"])
async def test_page_that_fails_four_times(fault, client, sandbox):
    """A page that is returned by the fifth attempt is not lost."""
    sandbox.fail("GET", PATH, fault, query={"page": "3"}, times=4)
    assert [package.package_id for package in await client.packages.list()] == served_ids(sandbox)


@pytest.mark.parametrize("fault", ["404", "400", "422"])
async def test_refused_page_in_the_middle(fault):
    """A refused page ends the list only if the page after it is refused or empty too."""
    whole = [page_of(*(f"{n}-{m}" for m in range(50))) for n in range(1, 6)]

    async def fetch(number: int) -> PackagePage:
        if number == 3 or number > 5:
            raise BadRequestError("no such page", status=int(fault), page=number)
        return whole[number - 1]

    taken = []

    async def take() -> None:
        async with aclosing(read(fetch)) as pages:
            async for page in pages:
                taken.append(page)  # noqa: PERF401 -- what came before the error is the point

    with pytest.raises(BadRequestError) as caught:
        await take()
    assert caught.value.page == 3
    assert taken == whole[:2]


async def read(fetch, window: int = 4, size: int = 50):
    """Read pages ahead in the test's own loop."""
    async with aclosing(prefetcher(fetch, window, size)) as pages:
        while (page := await pages.next()) is not None:
            yield page


def prefetcher(fetch, window: int = 4, size: int = 50) -> PagePrefetcher[PackagePage]:
    """Return a reading in the test's own loop."""
    return PagePrefetcher(
        lambda number, _: fetch(number),
        PrefetchWindow(size=window, page_size=size),
        asyncio.get_running_loop().create_task,
    )


async def test_refused_after_the_end():
    """A refusal of the first page is an error; after the last page it is the end."""

    async def fetch(number: int) -> PackagePage:
        if number > pages:
            raise BadRequestError("no such page", status=400, page=number)
        return page_of(*(f"{number}-{m}" for m in range(50)))

    pages = 3
    assert [page async for page in read(fetch)] == [await fetch(n) for n in (1, 2, 3)]
    pages = 0
    with pytest.raises(BadRequestError):
        await anext(read(fetch))


async def test_error_after_the_end():
    """A page after the end that was requested ahead and failed has no effect."""

    async def fetch(number: int) -> PackagePage:
        if number > 4:
            raise ServerError("broken", status=503, page=number)
        return page_of(*(f"{number}-{m}" for m in range(50))) if number < 4 else PackagePage(groups=())

    assert len([page async for page in read(fetch, window=8)]) == 3


async def test_is_ready():
    """A page is ready once it has arrived without an error."""
    came = asyncio.Event()

    async def fetch(number: int) -> PackagePage:
        if number == 3:
            await came.wait()
        if number == 4:
            raise ServerError("broken", status=500)
        return page_of(*(f"{number}-{n}" for n in range(50)))

    pages = prefetcher(fetch)
    assert not pages.is_ready
    ready = []
    for number in (1, 2, 3):
        if number == 3:
            came.set()
        await pages.next()
        for _ in range(5):
            await asyncio.sleep(0)
        ready.append(pages.is_ready)
    await pages.aclose()
    assert ready == [True, False, False]


async def test_iterator_batches(sandbox, client, monkeypatch):
    """An iterator passes on pages that are ready in batches, each package once and in order."""
    monkeypatch.setattr(PagePrefetcher, "is_ready", property(lambda pages: pages._window.consumed % 4))
    sizes = [len(batch) async for batch in client.packages.iter(page_size=20)._batches]
    assert [package.package_id async for package in client.packages.iter(page_size=20)] == served_ids(sandbox)
    assert (max(sizes), sum(sizes)) == (80, 300)
    monkeypatch.setattr(packages, "MAX_BATCH", 30)
    assert max([len(batch) async for batch in client.packages.iter(page_size=20)._batches]) == 40


async def test_endless_list(monkeypatch):
    """A list that does not end raises an error after ``MAX_PAGES`` pages."""
    monkeypatch.setattr(pagination, "MAX_PAGES", 50)

    async def fetch(number: int) -> PackagePage:
        return page_of(str(number))

    taken: list[PackagePage] = []

    async def take() -> None:
        async for page in read(fetch, size=1):
            taken.append(page)  # noqa: PERF401 -- what came before the error is the point

    with pytest.raises(DecodeError, match="does not end: 50 pages"):
        await take()
    assert len(taken) == 50


async def test_window_slides():
    """A page is requested as soon as one is consumed, however slow others are."""
    started: list[int] = []
    gates = {number: asyncio.Event() for number in range(1, 40)}

    async def fetch(number: int) -> PackagePage:
        started.append(number)
        await gates[number].wait()
        return page_of(*(f"{number}-{m}" for m in range(50)))

    pages = read(fetch, window=4)
    gates[1].set()
    await anext(pages)
    gates[2].set()
    await anext(pages)
    assert started == [1, 2, 3, 4, 5]
    gates[3].set()
    await anext(pages)
    assert started == [1, 2, 3, 4, 5, 6]
    await pages.aclose()
    assert len(asyncio.all_tasks()) == 1


async def test_slow_consumer():
    """No more than the window is fetched while no page is consumed."""
    started: list[int] = []

    async def fetch(number: int) -> PackagePage:
        started.append(number)
        return page_of(*(f"{number}-{m}" for m in range(50)))

    pages = read(fetch, window=3)
    for taken in range(1, 6):
        await anext(pages)
        for _ in range(20):
            await asyncio.sleep(0)
        assert max(started) <= taken + 3
    await pages.aclose()


# ---------------------------------------------------------------- how an iteration ends


async def under_way(client: AsyncRoamify) -> int:
    """Return the number of pages that the client is fetching."""
    await asyncio.sleep(0)
    return len(client._engine.transport._tasks)


@pytest.fixture
async def slow():
    """Run a sandbox that never sends the fifth page, so that requests are under way."""
    async with Sandbox(packages=300) as sandbox:
        sandbox.fail("GET", PATH, "slow", query={"page": "5"}, seconds=600)
        yield sandbox


async def leave_by_break(items, server):
    """Leave the loop."""
    taken = 0
    async for _ in items:
        taken += 1
        if taken == 25:
            await server.arrived(f"GET {PATH}", 10)
            break


async def leave_by_error(items, server):
    """Raise in the loop."""
    taken = 0
    with contextlib.suppress(LookupError):
        async for _ in items:
            taken += 1
            if taken == 25:
                await server.arrived(f"GET {PATH}", 10)
                raise LookupError


async def leave_by_closing(items, server):
    """Close the iterator."""
    for _ in range(25):
        await anext(items)
    await server.arrived(f"GET {PATH}", 10)
    await items.aclose()


async def leave_by_dropping(items, server):
    """Take some items and drop the iterator."""
    for _ in range(25):
        await anext(items)
    await server.arrived(f"GET {PATH}", 10)


async def leave_by_cancelling(items, server):
    """Cancel the task that waits for the fifth page."""
    task = asyncio.ensure_future(collected(items))
    await server.arrived(f"GET {PATH}", 10)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def collected(items):
    """Return all items."""
    return [item async for item in items]


@pytest.mark.parametrize(
    "leave", [leave_by_break, leave_by_error, leave_by_closing, leave_by_dropping, leave_by_cancelling]
)
async def test_stopping_early(leave, slow):
    """However an iteration is left, its requests are cancelled and the client stays usable."""
    async with AsyncRoamify(slow.token, base_url=slow.url, settings=QUICK) as roamify:
        await leave(roamify.packages.iter(page_size=20), slow)
        assert slow.state()["requests"][f"GET {PATH}"] >= 10
        gc.collect()
        while await under_way(roamify):
            gc.collect()
        assert (await roamify.account.balance()).balance == 1000


async def test_aclose_of_an_iterator(slow):
    """``aclose`` of an iterator cancels its requests; no items follow, not even those that had arrived."""
    async with AsyncRoamify(slow.token, base_url=slow.url, settings=QUICK) as roamify:
        items = roamify.packages.iter(page_size=20)
        await anext(items)
        await slow.arrived(f"GET {PATH}", 10)
        assert await under_way(roamify) > 0
        await items.aclose()
        assert await under_way(roamify) == 0
        with pytest.raises(StopAsyncIteration):
            await anext(items)
        await items.aclose()
        assert (await roamify.account.balance()).balance == 1000


async def test_client_closed_during_an_iteration(slow):
    """Closing the client ends an iteration with a ``ConfigurationError``, and leaves no task behind."""
    roamify = AsyncRoamify(slow.token, base_url=slow.url, settings=QUICK)
    items = roamify.packages.iter(page_size=20)
    await anext(items)
    await roamify.aclose()
    assert await under_way(roamify) == 0
    with pytest.raises(ConfigurationError, match="closed"):
        [item async for item in items]
    assert len([task for task in asyncio.all_tasks() if "fetched" in str(task)]) == 0


async def test_list_is_cancelled(slow):
    """Cancelling ``list`` cancels its requests."""
    async with AsyncRoamify(slow.token, base_url=slow.url, settings=QUICK) as roamify:
        task = asyncio.create_task(roamify.packages.list(page_size=20))
        await slow.arrived(f"GET {PATH}", 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert await under_way(roamify) == 0


async def test_callers_deadline(client, sandbox):
    """A ``Retry-After`` beyond the caller's deadline raises at once, also for pages that are fetched ahead."""
    import anyio

    sandbox.fail("GET", PATH, "429", seconds=3000, query={"page": "3"})
    with pytest.raises(RateLimitError, match="page 3"), anyio.fail_after(30):
        await client.packages.list()


@pytest.mark.parametrize("concurrency", [0, -1, 1.5, True, "4"])
async def test_invalid_concurrency(concurrency, client, sandbox):
    """A concurrency that is not an integer from 1 is refused before anything is sent."""
    with pytest.raises((TypeError, ValueError), match="concurrency must be"):
        await client.packages.list(concurrency=concurrency)
    with pytest.raises((TypeError, ValueError), match="concurrency must be"):
        await anext(client.packages.iter(concurrency=concurrency))
    assert sandbox.state()["requests"] == {}


async def test_concurrency_limits(slow):
    """No more pages are fetched at the same time than ``concurrency`` allows."""
    async with AsyncRoamify(slow.token, base_url=slow.url, settings=QUICK) as roamify:
        items = roamify.packages.iter(page_size=20, concurrency=3)
        for _ in range(80):
            await anext(items)
        fifth = asyncio.ensure_future(anext(items))
        await slow.arrived(f"GET {PATH}", 7)
        assert await under_way(roamify) <= 3
        assert slow.state()["requests"][f"GET {PATH}"] == 7
        fifth.cancel()
        await asyncio.wait([fifth])


@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_faulty_pages(seed):
    """The catalogue is complete although one response in twenty is faulty."""
    async with Sandbox(packages=600, seed=seed) as sandbox:
        for fault in ("drop", "503", "502_html", "truncated", "garbled", "reset", "429", "500_empty"):
            sandbox.fail("GET", PATH, fault, probability=0.05 / 8, times=None)
        async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
            catalogue = await roamify.packages.list(page_size=3)
            assert [package.package_id for package in catalogue] == served_ids(sandbox)
        assert sandbox.state()["requests"][f"GET {PATH}"] > 202
