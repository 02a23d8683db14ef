"""Pagination of a list whose end is not known: several pages are requested at once and returned in order.

The API documents neither a total nor what the size of a page counts. The list ends at an empty page, or at one without
new items. A total in a response only decides how many pages are requested ahead.
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
"""Maximum number of pages. A longer list is taken as one that never ends."""
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

    def next(self) -> range:
        """Return the pages to request now: the next one, and all others in the window that probably exist."""
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
            # The page is full and there is no total, or a wrong one: assume that the whole window exists.
            self.last = reported if reported == self.consumed else self.consumed + self.size
        else:
            self.last = self.consumed


class PagePrefetcher(Generic[PageT]):
    """The pages of a list, requested ahead of their consumer.

    It is not a generator, since an event loop closes all generators when it ends, and would close a nested one twice.
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
        """Return the next page, or ``None`` after the last one. Raises the error of a page that cannot be read."""
        page = await self._consume()
        return page if page is not None and page.ids else None

    @property
    def is_ready(self) -> bool:
        """Whether the next page was received without an error."""
        task = self._tasks.get(self._window.consumed + 1)
        return task is not None and task.done() and not task.cancelled() and not isinstance(task.result(), RoamifyError)

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
        """Request a page. Errors are returned, not raised, since the page may never be consumed."""
        with CancelScope(deadline=deadline):
            try:
                return await self._fetch(number)
            except RoamifyError as error:
                return error
        raise asyncio.CancelledError

    async def aclose(self) -> None:
        """Cancel the requests in progress, and wait until they have ended."""
        tasks = [*self._tasks.values()]
        self._tasks.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            with CancelScope(shield=True):
                await asyncio.wait(tasks)


class RecentIds:
    """The ids of the latest pages, which distinguish repeated items from new ones in constant memory."""

    def __init__(self, pages: int | None) -> None:
        self._pages: deque[tuple[str, ...]] = deque()
        self._max_pages = pages
        self._ids: dict[str, int] = {}

    def add(self, ids: tuple[str, ...]) -> set[str]:
        """Remember the ids of a page, and return those that are new."""
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
