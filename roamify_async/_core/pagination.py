"""Pagination of a list whose end is not known: several pages are requested at once and returned in order.

The API documents neither a total nor what the size of a page counts. The list ends at an empty page, at one that is
refused while the next is refused or empty too, or at one that is identical to its predecessor. A total in a response
only decides how many pages are requested ahead.

Items that are added while the list is read move others to later pages. If pages are received out of order, an item may
then be on none of them. In that case an item is on two pages, or the last page or the one after it differs when it is
read once more: the list has moved, and is read again. Items that are removed move others to earlier pages, which leaves
no trace. Only a second reading shows it.
"""

import asyncio
import math
from array import array
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from typing import Any, Final, Generic, Protocol, TypeVar

import attrs
from anyio import CancelScope, current_effective_deadline

from roamify_async.errors import (
    BadRequestError,
    CatalogueChangedError,
    ConfigurationError,
    DecodeError,
    NotFoundError,
    RoamifyError,
    UnprocessableError,
)

MAX_PAGES: Final = 10_000
"""Maximum number of pages. A longer list is taken as one that never ends."""
MAX_STALE: Final = 16
"""Maximum number of pages without new items, apart from two for each page with new ones."""
MAX_ROUNDS: Final = 3
"""Maximum number of times that a list is read again until two readings agree."""
MIN_RECENT: Final = 20_000
"""Minimum number of ids that must be read before repeated ones are recognized."""
PAST_THE_END: Final = (BadRequestError, NotFoundError, UnprocessableError)
"""Errors with which a server may refuse a page after the last one."""


class Page(Protocol):
    """A page, as pagination uses it."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of the items."""
        ...

    @property
    def counts(self) -> tuple[int, ...]:
        """All numbers to which the page size may refer."""
        ...

    @property
    def total(self) -> int | None:
        """Number of items on all pages, if the server reports it."""
        ...

    @property
    def total_pages(self) -> int | None:
        """Number of pages, if the server reports it."""
        ...


PageT = TypeVar("PageT", bound=Page)


@attrs.define
class PrefetchWindow:
    """Decides which pages to request next. It affects only the speed, not where the list ends."""

    size: int
    """Maximum number of pages that are requested and not yet consumed."""
    page_size: int
    """Number of results on a full page."""
    requested: int = 0
    """Number of the last requested page."""
    consumed: int = 0
    """Number of the last consumed page."""
    last: int = 0
    """Number of the last page that probably exists."""
    expected: int = 0
    """Number of pages of an earlier reading."""

    def next(self) -> range:
        """Return the pages to request now: the next one, and all others in the window that probably exist."""
        until = max(self.consumed + 1, min(self.consumed + self.size, self.last))
        pages = range(self.requested + 1, until + 1)
        self.requested = max(self.requested, until)
        return pages

    def observe(self, page: Page) -> None:
        """Count a page as consumed, and estimate how many follow."""
        self.consumed += 1
        if self.consumed <= self.expected:
            self.last = self.expected + 1
            return
        if page.total_pages:
            reported = page.total_pages
        elif page.total:
            reported = math.ceil(page.total / self.page_size)
        else:
            reported = 0
        if reported > self.consumed:
            self.last = reported
        elif any(count >= self.page_size for count in page.counts):
            # The page is full and there is no total, or a wrong one: assume that the whole window exists.
            self.last = reported if reported == self.consumed else self.consumed + self.size
        else:
            self.last = self.consumed


class PagePrefetcher(Generic[PageT]):
    """The pages of a list, requested ahead of their consumer.

    It is not a generator, since an event loop closes all generators when it ends, and would close a nested one twice.

    Args:
        fetch: Requests a page by its number. It also gets that page of an earlier reading, if there is one, and returns
            it if the page has not changed.
        window: Decides how many pages are requested ahead.
        spawn: Starts a task.
        known: The pages of an earlier reading.
    """

    def __init__(
        self,
        fetch: Callable[[int, PageT | None], Awaitable[PageT]],
        window: PrefetchWindow,
        spawn: Callable[[Coroutine[Any, Any, PageT | RoamifyError]], asyncio.Task[PageT | RoamifyError]],
        known: Sequence[PageT] = (),
    ) -> None:
        self.has_moved: bool = False
        """Whether the end of the list differed when it was read once more."""
        self.ids: tuple[str, ...] = ()
        """The ids of the page that was returned last."""
        self.watch: Callable[[int, PageT], Awaitable[None]] | None = None
        """Called with the number of each page, and the page, before it is returned."""
        self._fetch = fetch
        self._window = window
        self._spawn = spawn
        self._known = known
        self._tasks: dict[int, asyncio.Task[PageT | RoamifyError]] = {}
        self._last: PageT | None = None

    async def next(self) -> PageT | None:
        """Return the next page, or ``None`` after the last one. Raises the error of a page that cannot be read."""
        page, last = await self._consume(), self._last
        is_repeated = False
        if page is not None and any(page.counts):
            ids = page.ids
            is_repeated = last is not None and ids == self.ids
            if not is_repeated:
                self._last, self.ids = page, ids
                if self.watch is not None:
                    await self.watch(self._window.consumed, page)
                return page
        if last is None:
            return None
        # A list that ends with its first page cannot have moved unnoticed: the second page was requested after it.
        if (self._window.consumed > 2 or is_repeated) and not await self._ends_after(last):  # noqa: PLR2004
            self.has_moved = True
            if is_repeated:
                return page
        return None

    @property
    def is_ready(self) -> bool:
        """Whether the next page was received without an error."""
        task = self._tasks.get(self._window.consumed + 1)
        return task is not None and task.done() and not task.cancelled() and not isinstance(task.result(), RoamifyError)

    async def _ends_after(self, last: PageT) -> bool:
        """Read the last page and the one after it once more, and return whether the list still ends there."""
        end = self._window.consumed
        for number in (end - 1, end):
            self._request(number, last)
        again, after = await self._outcome_of(end - 1), await self._outcome_of(end)
        for outcome in (again, after):
            if isinstance(outcome, RoamifyError) and not isinstance(outcome, PAST_THE_END):
                raise outcome
        is_end = isinstance(after, RoamifyError) or not any(after.counts) or after.ids == last.ids
        return is_end and not isinstance(again, RoamifyError) and again.ids == last.ids

    async def _consume(self) -> PageT | None:
        """Return the next page, or ``None`` if it is refused and the page after it is refused or empty."""
        window = self._window
        number = window.consumed + 1
        if number > MAX_PAGES:
            raise DecodeError(f"the list does not end: {MAX_PAGES} pages were read")
        self._request_ahead()
        outcome = await self._outcome_of(number)
        if not isinstance(outcome, RoamifyError):
            window.observe(outcome)
            if any(outcome.counts):  # Further pages are fetched while the caller uses this one.
                self._request_ahead()
            return outcome
        if number == 1 or not isinstance(outcome, PAST_THE_END):
            raise outcome
        if number + 1 not in self._tasks:
            self._request(number + 1)
        after = await self._outcome_of(number + 1)
        if isinstance(after, PAST_THE_END) or (not isinstance(after, RoamifyError) and not any(after.counts)):
            window.consumed = number
            return None
        raise outcome

    def _request_ahead(self) -> None:
        for number in self._window.next():
            self._request(number)

    def _request(self, number: int, known: PageT | None = None) -> None:
        if known is None and number <= len(self._known):
            known = self._known[number - 1]
        self._tasks[number] = self._spawn(self._fetched(number, known, current_effective_deadline()))

    async def _outcome_of(self, number: int) -> PageT | RoamifyError:
        task = self._tasks[number]
        if task.get_loop() is not asyncio.get_running_loop():
            raise ConfigurationError("the pages are being read in another event loop, or in the process before a fork")
        if not task.done():
            await asyncio.wait([task])
        del self._tasks[number]
        if task.cancelled():
            raise ConfigurationError("the client was closed while its pages were read")
        return task.result()

    async def _fetched(self, number: int, known: PageT | None, deadline: float) -> PageT | RoamifyError:
        """Request a page. Errors are returned, not raised, since the page may never be consumed."""
        with CancelScope(deadline=deadline):
            try:
                return await self._fetch(number, known)
            except RoamifyError as error:
                return error
        raise asyncio.CancelledError

    async def aclose(self) -> None:
        """Cancel the requests in progress, and wait until they have ended."""
        if not self._tasks:
            return
        loop = asyncio.get_running_loop()
        tasks = [task for task in self._tasks.values() if task.get_loop() is loop]  # Another loop may have ended.
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            with CancelScope(shield=True):
                await asyncio.wait(tasks)


class SeenIds:
    """The ids of all pages that were read, which distinguish repeated items from new ones.

    As long as no item is repeated, ids are remembered in seven bytes each. Repeated ones are recognized among those of
    the latest pages. As soon as one is, all are known exactly.

    Args:
        pages: Minimum number of pages in which repeated ids are recognized.
        least: Minimum number of ids in which they are.
    """

    def __init__(self, pages: int, least: int = MIN_RECENT) -> None:
        self._pages: deque[tuple[str, ...]] = deque()
        self._most = pages
        self._least = least
        self._recent: set[str] = set()
        self._packed = bytearray()
        self._all: set[bytes] | None = None

    @property
    def is_exact(self) -> bool:
        """Whether all ids are recognized, since one of them was on two pages."""
        return self._all is not None

    def recall(self) -> None:
        """Recognize all ids from now on."""
        if self._all is None:
            self._all = set(_pieces(self._packed))
            self._recent.clear()
            self._pages.clear()

    def add(self, ids: tuple[str, ...]) -> set[str]:
        """Remember the ids of a page, and return those that are new."""
        page = set(ids)
        if not self._recent.isdisjoint(page):
            self.recall()
        if self._all is not None:
            keys = dict(zip(_pieces(_pack(ids)), ids, strict=True))
            new = {item for key, item in keys.items() if key not in self._all}
            self._all.update(keys)
            return new
        self._packed += _pack(tuple(page))
        self._recent |= page
        self._pages.append(tuple(page))
        while len(self._pages) > self._most and len(self._recent) - len(self._pages[0]) >= self._least:
            self._recent.difference_update(self._pages.popleft())
        return page


_KEY: Final = 7
"""Length of a key in bytes. Two of a million ids have the same key with a probability of 1 : 100,000."""


def _pack(ids: tuple[str, ...]) -> bytearray:
    packed = bytearray(array("q", map(hash, ids)).tobytes())
    del packed[_KEY :: _KEY + 1]
    return packed


def _pieces(packed: bytearray) -> list[bytes]:
    return [bytes(packed[at : at + _KEY]) for at in range(0, len(packed), _KEY)]


class StaleGuard:
    """Raises ``CatalogueChangedError`` if a list goes on, but only with items that were on earlier pages.

    Args:
        fresh: Number of pages of an earlier reading.
    """

    def __init__(self, fresh: int = 0) -> None:
        self._fresh = fresh
        self._stale = 0

    def count(self, *, is_new: bool) -> None:
        """Count a page, with new items or without."""
        self._fresh += is_new
        self._stale += not is_new
        if self._stale > MAX_STALE + 2 * self._fresh:
            raise CatalogueChangedError(
                f"the list goes on after {self._fresh} pages, but {self._stale} further pages have only items"
                " of earlier ones",
                sent="answered",
            )


async def read_pages(
    prefetch: Callable[[Sequence[PageT]], PagePrefetcher[PageT]], known: Sequence[PageT] = (), *, consistent: bool
) -> tuple[PageT, ...]:
    """Read all pages of a list. If it moves meanwhile, read it again until two readings agree.

    *known* are the pages of an earlier reading. With *consistent*, two readings agree in any case. Raises
    ``CatalogueChangedError`` if ``MAX_ROUNDS`` further readings are not enough.
    """
    pages, has_moved = await _read_once(prefetch(known))
    if not (has_moved or consistent):
        return pages
    for _ in range(MAX_ROUNDS):
        before = pages
        pages, _ = await _read_once(prefetch(before))
        if pages == before:
            return pages
    raise changed()


def changed() -> CatalogueChangedError:
    """Return the error for a list that does not stay the same while it is read."""
    return CatalogueChangedError(
        f"the catalogue changed each time that it was read, {MAX_ROUNDS + 1} times in a row: read it again later",
        sent="answered",
    )


async def _read_once(pages: PagePrefetcher[PageT]) -> tuple[tuple[PageT, ...], bool]:
    """Return all pages, and whether the list moved while they were read."""
    read: list[PageT] = []
    guard, seen, has_moved = StaleGuard(), set[str](), False
    async with aclosing(pages):
        while (page := await pages.next()) is not None:
            ids, before = set(pages.ids), len(seen)
            seen |= ids
            new = len(seen) - before
            has_moved = has_moved or new < len(ids)
            guard.count(is_new=new > 0)
            read.append(page)
    return tuple(read), has_moved or pages.has_moved
