"""Fetching a list of pages whose end is not known, several pages at once and in order.

The server reports no reliable total, and what a page's size counts is not documented. The list ends at an empty page or
at one that brings nothing new. Totals, where a response carries them, only decide how many pages are requested ahead.
"""

import asyncio
import math
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, Generic, Protocol, TypeVar

import attrs
from anyio import CancelScope, current_effective_deadline

from roamify_async.errors import (
    BadRequestError,
    ConfigurationError,
    DecodeError,
    NotFoundError,
    RoamifyError,
    UnprocessableError,
)

MAX_PAGES: Final = 10_000
"""A list with more pages than this is taken for a server that never ends it."""
PAST_THE_END: Final = (BadRequestError, NotFoundError, UnprocessableError)
"""How a server may refuse a page after the last one."""


class Page(Protocol):
    """What pagination needs to know of a page."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its items."""
        ...

    @property
    def counts(self) -> tuple[int, ...]:
        """All numbers that the page size might refer to."""
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
    """Decides which pages to request next. It affects speed only, never where the list ends."""

    size: int
    """Number of pages that may be requested and not yet consumed."""
    page_size: int
    """Number of results that a full page has."""
    requested: int = 0
    """The last page that was requested."""
    consumed: int = 0
    """The last page that was consumed."""
    last: int = 0
    """The last page that probably exists."""

    def next(self) -> range:
        """Return the pages to request now: all probable ones within the window, and always the next one."""
        until = max(self.consumed + 1, min(self.consumed + self.size, self.last))
        pages = range(self.requested + 1, until + 1)
        self.requested = max(self.requested, until)
        return pages

    def observe(self, page: Page) -> None:
        """Count a page as consumed, and estimate how many follow."""
        self.consumed += 1
        if page.total_pages:
            reported = page.total_pages
        elif page.total:
            reported = math.ceil(page.total / self.page_size)
        else:
            reported = 0
        if reported > self.consumed:
            self.last = reported
        elif any(count >= self.page_size for count in page.counts):
            # A full page, and no total or a wrong one: the whole window is probable.
            self.last = reported if reported == self.consumed else self.consumed + self.size
        else:
            self.last = self.consumed


class PagePrefetcher(Generic[PageT]):
    """The pages of a list, fetched ahead of their consumer.

    It is no generator: an event loop that ends closes all generators at once, and one inside another would be closed
    twice.
    """

    def __init__(
        self,
        fetch: Callable[[int], Awaitable[PageT]],
        window: PrefetchWindow,
        spawn: Callable[[Coroutine[Any, Any, PageT | RoamifyError]], asyncio.Task[PageT | RoamifyError]],
    ) -> None:
        self._fetch = fetch
        self._window = window
        self._spawn = spawn
        self._tasks: dict[int, asyncio.Task[PageT | RoamifyError]] = {}

    async def next(self) -> PageT | None:
        """Return the next page, or ``None`` after the last one. Raises the error of a page that failed."""
        page = await self._consume()
        return page if page is not None and page.ids else None

    @property
    def is_ready(self) -> bool:
        """Whether the next page has arrived without an error."""
        task = self._tasks.get(self._window.consumed + 1)
        return task is not None and task.done() and not task.cancelled() and not isinstance(task.result(), RoamifyError)

    async def _consume(self) -> PageT | None:
        """Return the next page, or ``None`` if it is refused and the one after it is refused or empty."""
        window = self._window
        number = window.consumed + 1
        if number > MAX_PAGES:
            raise DecodeError(f"the list does not end: {MAX_PAGES} pages were read")
        self._request_ahead()
        outcome = await self._outcome_of(number)
        if not isinstance(outcome, RoamifyError):
            window.observe(outcome)
            if outcome.ids:  # Further pages are fetched while the caller uses this one.
                self._request_ahead()
            return outcome
        if number == 1 or not isinstance(outcome, PAST_THE_END):
            raise outcome
        if number + 1 not in self._tasks:
            self._request(number + 1)
        after = await self._outcome_of(number + 1)
        if isinstance(after, PAST_THE_END) or (not isinstance(after, RoamifyError) and not after.ids):
            return None
        raise outcome

    def _request_ahead(self) -> None:
        for number in self._window.next():
            self._request(number)

    def _request(self, number: int) -> None:
        self._tasks[number] = self._spawn(self._fetched(number, current_effective_deadline()))

    async def _outcome_of(self, number: int) -> PageT | RoamifyError:
        task = self._tasks[number]
        if not task.done():
            await asyncio.wait([task])
        del self._tasks[number]
        if task.cancelled():
            raise ConfigurationError("the client was closed while its pages were read")
        return task.result()

    async def _fetched(self, number: int, deadline: float) -> PageT | RoamifyError:
        """Fetch a page. Errors are returned, not raised, since the page may never be consumed."""
        with CancelScope(deadline=deadline):
            try:
                return await self._fetch(number)
            except RoamifyError as error:
                return error
        raise asyncio.CancelledError

    async def aclose(self) -> None:
        """Cancel the requests under way and wait for their end."""
        tasks = [*self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            with CancelScope(shield=True):
                await asyncio.wait(tasks)


class RecentIds:
    """The ids of the last pages, which tell repeated items from new ones in constant memory."""

    def __init__(self, pages: int | None) -> None:
        self._pages: deque[tuple[str, ...]] = deque()
        self._max_pages = pages
        self._ids: dict[str, int] = {}

    def add(self, ids: tuple[str, ...]) -> set[str]:
        """Remember the ids of a page, and return those that were not known before."""
        new = {item for item in ids if item not in self._ids}
        self._pages.append(tuple(set(ids)))
        for item in self._pages[-1]:
            self._ids[item] = self._ids.get(item, 0) + 1
        if self._max_pages is not None and len(self._pages) > self._max_pages:
            for item in self._pages.popleft():
                self._ids[item] -= 1
                if not self._ids[item]:
                    del self._ids[item]
        return new
