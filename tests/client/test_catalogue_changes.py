"""A catalogue that changes while it is read: complete, or an error that says so."""

import asyncio
import pickle
from collections.abc import Callable, Iterator

import attrs
import pytest
from hypothesis import given, settings, strategies as st
from support.clients import QUICK, collect
from support.servers import Raw, answer, answering

from roamify_async import (
    AsyncRoamify,
    BadRequestError,
    Catalogue,
    CatalogueChangedError,
    DecodeError,
    Roamify,
    ServerError,
    capture_responses,
)
from roamify_async._core import pagination
from roamify_async.models.packages import Destination, DestinationGroup, Package, PackagePage
from roamify_async.sandbox import Sandbox, app
from roamify_async.sandbox.http.errors import failed

PATH = "/api/esim/packages"
COUNT = f"GET {PATH}"
SIZE = 5


@attrs.frozen
class Move:
    """A change of the catalogue, just before the server responds to a request of a page."""

    request: int
    """Number of the request of a page, from 1."""
    place: int
    """Position among the destinations."""
    size: int = 0
    """Number of packages of a country that is added; 0: a destination is removed."""


class Moving:
    """A sandbox whose catalogue moves at given requests of pages."""

    def __init__(self, sandbox: Sandbox) -> None:
        """Take a running sandbox."""
        self.sandbox = sandbox
        self.moves: list[Move] = []
        self.failing: frozenset[int] = frozenset()
        """Requests that are answered with a 503."""
        self.count = 0

    def start(self, moves: list[Move], failing: frozenset[int] = frozenset()) -> None:
        """Restore the catalogue, and plan what happens."""
        self.sandbox.reset()
        self.moves, self.failing, self.count = moves, failing, 0

    def ids(self) -> list[str]:
        """Return all ids, in order."""
        return [package["packageId"] for group in self.sandbox.catalogue for package in group["packages"]]

    def serve(self, real: Callable, *args: object):
        """Move the catalogue where it is planned, and serve."""
        if args[:3] == (self.sandbox._context, "GET", PATH):
            self.count += 1
            for move in self.moves:
                if move.request == self.count:
                    self.move(move)
            if self.count in self.failing:
                return failed(503, "Service temporarily unavailable")
        return real(*args)

    def move(self, move: Move) -> None:
        """Add a country, or remove a destination."""
        groups = self.sandbox.catalogue
        if move.size:
            name = f"Land {self.count} {self.moves.index(move)}"
            self.sandbox.add_destination(name, packages=move.size, position=min(move.place, len(groups)))
        elif len(groups) > 1:
            group = groups[move.place % len(groups)]
            self.sandbox.change_catalogue(remove=[package["packageId"] for package in group["packages"]])


@pytest.fixture(scope="module", params=["packages", "destinations"])
def moving(request: pytest.FixtureRequest) -> Iterator[Moving]:
    """Run a small sandbox whose catalogue moves."""
    real = app.serve
    with Sandbox(packages=60, page_counts=request.param) as sandbox, pytest.MonkeyPatch.context() as patch:
        made = Moving(sandbox)
        patch.setattr(app, "serve", lambda *args: made.serve(real, *args))
        yield made


def size_of(moving: Moving) -> int:
    """Return a page size with which the catalogue has a dozen pages."""
    return SIZE if moving.sandbox._options.page_counts == "packages" else 2


def read(sandbox: Sandbox, kind: str, call: str, **options: object) -> tuple[list[str], bool]:
    """Read the catalogue with one of the clients; return the ids, and whether it was read to its end."""
    found: list[Package] = []

    async def awaiting() -> None:
        async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
            if call == "list":
                found.extend(await roamify.packages.list(**options))
            else:
                async for package in roamify.packages.iter(**options):
                    found.append(package)  # noqa: PERF401 -- what came before an error counts

    def blocking() -> None:
        with Roamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
            if call == "list":
                found.extend(roamify.packages.list(**options))
            else:
                for package in roamify.packages.iter(**options):
                    found.append(package)  # noqa: PERF402 -- the same

    try:
        asyncio.run(awaiting()) if kind == "awaiting" else blocking()
    except CatalogueChangedError:
        return [package.package_id for package in found], False
    return [package.package_id for package in found], True


def check(found: list[str], *, is_whole: bool, always: set[str], moves: list[Move]) -> None:
    """Check that each package that was there throughout came once, or that an error said that it may not have."""
    assert len(found) == len(set(found))
    if is_whole:
        assert always <= set(found)
    else:
        # A move during a reading makes it differ from the one before it and from the one after it.
        assert len({move.request for move in moves}) > pagination.MAX_ROUNDS / 2


REQUESTS = st.integers(1, 40)
ADDED = st.builds(Move, REQUESTS, st.integers(0, 12), st.integers(1, 25))
REMOVED = st.builds(Move, REQUESTS, st.integers(0, 12))
FAILING = st.frozensets(REQUESTS, max_size=4)
BOTH = pytest.mark.parametrize("kind", ["awaiting", "blocking"])
BOTH_AT_LENGTH = pytest.mark.parametrize("kind", ["awaiting", pytest.param("blocking", marks=pytest.mark.long)])
CALLS = pytest.mark.parametrize("call", ["list", "iter"])


@BOTH_AT_LENGTH
@CALLS
@given(moves=st.lists(ADDED | REMOVED, max_size=4), failing=FAILING, concurrency=st.integers(1, 5))
def test_consistent(moving, kind, call, moves, failing, concurrency):
    """With ``consistent``, every package that was there throughout comes out, once, whatever else comes and goes."""
    moving.start(moves, failing)
    before = set(moving.ids())
    found, is_whole = read(
        moving.sandbox, kind, call, page_size=size_of(moving), concurrency=concurrency, consistent=True
    )
    check(found, is_whole=is_whole, always=before & set(moving.ids()), moves=moves)


@BOTH_AT_LENGTH
@CALLS
@given(moves=st.lists(ADDED, max_size=4), failing=FAILING, concurrency=st.integers(1, 5))
def test_added(moving, kind, call, moves, failing, concurrency):
    """Without ``consistent`` too, no package is missing since others were added, in whatever order pages come."""
    moving.start(moves, failing)
    before = set(moving.ids())
    found, is_whole = read(moving.sandbox, kind, call, page_size=size_of(moving), concurrency=concurrency)
    check(found, is_whole=is_whole, always=before, moves=moves)


def read_until_nothing_is_new(sandbox: Sandbox, size: int) -> list[str]:
    """Read pages until one has no new packages: the rule that is cut short."""
    found: dict[str, None] = {}
    with Roamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
        for number in range(1, 1000):
            before = len(found)
            found.update(dict.fromkeys(roamify.packages.page(page=number, page_size=size).ids))
            if len(found) == before:
                break
    return [*found]


def test_control(moving):
    """The rule that a page without new packages is the last one loses most of the catalogue."""
    size = size_of(moving)
    moves = [Move(4, place, 1 if size == 2 else 20) for place in range(4)]
    moving.start(moves)
    before = set(moving.ids())
    assert len(before - set(read_until_nothing_is_new(moving.sandbox, size))) >= 8
    moving.start(moves)
    found, is_whole = read(moving.sandbox, "awaiting", "list", page_size=size)
    assert is_whole
    assert before <= set(found)


@CALLS
def test_control_without_consistent(moving, call):
    """A removal leaves no trace in one reading: without ``consistent`` packages are missing, with it none is."""
    moves, size = [Move(3, 0)], size_of(moving)
    lost = {}
    for consistent in (False, True):
        moving.start(moves)
        before = set(moving.ids())
        found, is_whole = read(moving.sandbox, "awaiting", call, page_size=size, concurrency=1, consistent=consistent)
        assert is_whole
        lost[consistent] = before & set(moving.ids()) - set(found)
    assert lost[False]
    assert not lost[True]


@CALLS
def test_a_page_that_a_whole_page_precedes(moving, call):
    """A country of exactly one page makes the next page equal to its predecessor, which is not the end."""
    size = size_of(moving)
    moving.start([Move(2, 0, size) if size == SIZE else Move(2, place, 1) for place in range(1 if size == SIZE else 2)])
    before = moving.ids()
    found, is_whole = read(moving.sandbox, "awaiting", call, page_size=size, concurrency=1)
    assert is_whole
    assert set(before) <= set(found)
    assert len(found) == len(set(found))


@BOTH
@CALLS
def test_never_the_same(moving, kind, call):
    """A catalogue that changes during each reading is an error, and ``iter`` has returned what it read."""
    moving.start([Move(request, 0, 1) for request in range(3, 400, 8)])
    before = set(moving.ids())
    found, is_whole = read(moving.sandbox, kind, call, page_size=size_of(moving), consistent=True)
    assert not is_whole
    assert before <= set(found) if call == "iter" else not found


# ---------------------------------------------------------------- one client, one catalogue


def ids_of(pages: list[PackagePage]) -> list[str]:
    """Return the ids of pages."""
    return [one for page in pages for one in page.ids]


def answers(responses: list) -> list[tuple[int, int]]:
    """Return how often each status was received."""
    statuses = [response.status for response in responses]
    return sorted((status, statuses.count(status)) for status in set(statuses))


async def test_consistent_costs_a_304_a_page(sandbox, client):
    """Pages that have not changed are not transferred again."""
    with capture_responses() as responses:
        catalogue = await client.packages.list(page_size=20, concurrency=1)
    once = len(responses)
    assert answers(responses) == [(200, 17), (304, 1)]  # the last page and the empty one are looked at again
    with capture_responses() as responses:
        again = await client.packages.list(page_size=20, concurrency=1, consistent=True)
    assert answers(responses) == [(200, 17 + 2), (304, 1 + 15 + 1)]
    assert again == catalogue
    assert once == 18
    with capture_responses() as responses:
        found = await collect(client, page_size=20, concurrency=1, consistent=True)
    assert tuple(found) == catalogue.packages
    assert dict(answers(responses))[304] == 17


async def test_consistent_without_etags():
    """Without ETags pages are transferred again, and compared."""
    async with (
        Sandbox(packages=100, etags=False) as sandbox,
        AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify,
    ):
        with capture_responses() as responses:
            catalogue = await roamify.packages.list(page_size=20, consistent=True)
        assert dict(answers(responses)).keys() == {200}
        assert len(catalogue) == 100
        assert len(await roamify.packages.refresh(catalogue)) == 100


async def test_new_prices_are_read_again(sandbox, client):
    """A consistent catalogue has the prices of one moment."""
    first, last = sandbox.catalogue[0]["packages"][0]["packageId"], sandbox.catalogue[-1]["packages"][-1]["packageId"]
    sandbox.fail("GET", PATH, "slow", query={"page": "3"}, seconds=0.2)
    reading = asyncio.create_task(client.packages.list(consistent=True))
    await sandbox.arrived(COUNT, 3)
    sandbox.change_catalogue(reprice={first: "77.70", last: "88.80"})
    catalogue = await reading
    prices = {package.package_id: package.price for package in catalogue}
    assert (str(prices[first]), str(prices[last])) == ("77.7", "88.8")


@pytest.mark.parametrize("past_end", ["empty", "last", "not_found"])
async def test_refresh(past_end):
    """Only pages that changed are transferred; packages of the others are the same objects."""
    async with (
        Sandbox(packages=300, past_end=past_end) as sandbox,
        AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify,
    ):
        catalogue = await roamify.packages.list(geography="local")
        with capture_responses() as responses:
            same = await roamify.packages.refresh(catalogue)
        assert sum(response.status == 200 for response in responses) <= 2  # pages after the last one have no version
        assert same == catalogue
        assert all(one is other for one, other in zip(same, catalogue, strict=True))
        (*_, last) = catalogue
        sandbox.change_catalogue(remove=[last.package_id])
        newer = await roamify.packages.refresh(same)
        assert newer.packages == tuple(package for package in catalogue if package is not last)
        assert newer.packages[0] is catalogue.packages[0]
        sandbox.add_destination("Atlantis", packages=7)
        newest = await roamify.packages.refresh(newer, consistent=True)
        assert [package.destination.country_name for package in newest.packages[:7]] == ["Atlantis"] * 7
        assert newest.packages[7:] == newer.packages


async def test_json_without_pages(client):
    """The pages and ETags that a refresh needs are not part of a catalogue's JSON, or of what it is compared by."""
    catalogue = await client.packages.list(country="Greece")
    assert catalogue.to_dict().keys() == {"packages"}
    loaded = Catalogue.from_json(catalogue.to_json())
    assert (loaded == catalogue, loaded.source) == (True, None)
    page = catalogue.source.pages[0]
    assert page.etag
    assert "etag" not in page.to_dict()
    twin = pickle.loads(pickle.dumps(catalogue))
    assert twin == catalogue
    assert await client.packages.refresh(twin) == catalogue


def size_on_the_wire(responses: list) -> int:
    """Return the size of responses that were not compressed, with their headers."""
    heads = sum(len(f"{name}: {value}\r\n") for response in responses for name, value in response.headers.items())
    return heads + sum(len(response.body) + len("HTTP/1.1 304 Not Modified\r\n\r\n") for response in responses)


async def test_refresh_costs_little():
    """If nothing has changed, a refresh transfers less than 2 % of the first reading, headers included."""
    async with (
        Sandbox(packages=2_000, compress=False) as sandbox,
        AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify,
    ):
        with capture_responses() as first:
            catalogue = await roamify.packages.list()
        with capture_responses() as second:
            again = await roamify.packages.refresh(catalogue)
        assert again == catalogue
        assert size_on_the_wire(second) <= 0.02 * size_on_the_wire(first)


async def test_refresh_of_what_was_not_read(client):
    """A catalogue that no client read has no search to repeat."""
    with pytest.raises(ValueError, match=r"not read by packages\.list"):
        await client.packages.refresh(Catalogue())


async def test_invalid_consistent(either, sandbox):
    """``consistent`` is ``True`` or ``False``."""
    with pytest.raises(TypeError, match="consistent must be"):
        await either.packages.list(consistent="yes")
    assert sandbox.state()["requests"] == {}


async def test_unrequested_304(client, sandbox, monkeypatch):
    """A 304 that nobody asked for is an error, not a page."""
    real = app.serve

    def serve(*args: object):
        return attrs.evolve(real(*args), status=304, text="") if args[2] == PATH else real(*args)

    monkeypatch.setattr(app, "serve", serve)
    with pytest.raises(Exception, match="304"):
        await client.packages.list()


@pytest.mark.parametrize("data", ["{}", '{"packages": null}', '{"packages": [{"countryName": "Greece"}]}'])
async def test_page_without_packages(data):
    """A page that lacks its list of packages is an error. It is not the end of the catalogue."""
    play = answering(answer(f'{{"status": "success", "data": {data}}}'))
    async with Raw(play) as server, AsyncRoamify("secret-token", base_url=server.url) as client:
        with pytest.raises(DecodeError, match=r"packages: missing"):
            await client.packages.list()


# ---------------------------------------------------------------- readings of scripted pages


def prefetch(fetch: Callable):
    """Return a factory of readings in the test's own loop."""

    def made(known):
        async def call(number: int, _: object) -> PackagePage:
            return await fetch(number)

        window = pagination.PrefetchWindow(size=4, page_size=2, expected=len(known))
        return pagination.PagePrefetcher(call, window, asyncio.get_running_loop().create_task, known)

    return made


def page_of(*ids: str) -> PackagePage:
    """Return a page."""
    group = DestinationGroup(
        destination=Destination(id="d"), packages=tuple(Package(package_id=one, price=1) for one in ids)
    )
    return PackagePage(groups=(group,) if ids else ())


async def test_a_list_that_starts_again():
    """A server that serves the first pages again after the last one is an error, and not read for ever."""

    async def fetch(number: int) -> PackagePage:
        return page_of(f"{number % 3}-a", f"{number % 3}-b")

    with pytest.raises(CatalogueChangedError, match="goes on after 3 pages"):
        await pagination.read_pages(prefetch(fetch), consistent=False)


async def test_the_last_page_cannot_be_read_again():
    """If the end of a list cannot be verified, its error is raised; after a refusal, the list is read again."""
    asked: list[int] = []
    refusal = BadRequestError("no", status=400)

    async def fetch(number: int) -> PackagePage:
        asked.append(number)
        if number == 2 and asked.count(2) == 2:
            raise refusal
        return page_of(f"{number}-a", f"{number}-b") if number < 3 else page_of()

    pages = await pagination.read_pages(prefetch(fetch), consistent=False)
    assert (ids_of(list(pages)), asked.count(1)) == (["1-a", "1-b", "2-a", "2-b"], 2)
    asked.clear()
    refusal = ServerError("no", status=500)
    with pytest.raises(ServerError):
        await pagination.read_pages(prefetch(fetch), consistent=False)


@settings(max_examples=50)
@given(st.lists(st.sampled_from("abc"), min_size=1, max_size=4, unique=True), st.sampled_from(["empty", "last"]))
async def test_a_page_at_a_time(ids, past_end):
    """A list of any length that stays the same is read completely."""

    async def fetch(number: int) -> PackagePage:
        pages = [page_of(one) for one in ids]
        return pages[number - 1] if number <= len(pages) else pages[-1] if past_end == "last" else page_of()

    assert ids_of(list(await pagination.read_pages(prefetch(fetch), consistent=True))) == ids
