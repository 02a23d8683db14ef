"""Reading a list of pages whose end is not told, several pages at once and in order.

The server tells no total that could be relied on, and what a page's size counts is not documented. So the reading ends
at an empty page or at one that brings nothing new; totals, where an answer carries them, only decide how many pages
are asked for ahead.
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

MOST_PAGES: Final = 10_000
"""A list of more pages than this is taken for a server that never ends."""
PAST_THE_END: Final = (BadRequestError, NotFoundError, UnprocessableError)
"""How a server may refuse a page behind the last one."""


class Page(Protocol):
    """What the reading has to know of a page."""

    @property
    def ids(self) -> tuple[str, ...]:
        """The ids of its items."""
        ...

    @property
    def counts(self) -> tuple[int, ...]:
        """All numbers that the page's size might have meant."""
        ...

    @property
    def total(self) -> int | None:
        """Items on all pages, as the server says."""
        ...

    @property
    def total_pages(self) -> int | None:
        """Pages, as the server says."""
        ...


PageT = TypeVar("PageT", bound=Page)


@attrs.define
class Plan:
    """Which pages to ask for next. It decides on speed only, never on where the list ends."""

    window: int
    """Pages that may be asked for and not yet taken."""
    size: int
    """Results that a page should have."""
    asked: int = 0
    """The last page that was asked for."""
    taken: int = 0
    """The last page that was taken."""
    last: int = 0
    """The last page of which it is likely that it exists."""

    def next(self) -> range:
        """Give the pages to ask for now: all likely ones within the window, and always the one that is needed."""
        until = max(self.taken + 1, min(self.taken + self.window, self.last))
        pages = range(self.asked + 1, until + 1)
        self.asked = max(self.asked, until)
        return pages

    def learn(self, page: Page) -> None:
        """Take a page, and learn how many more there may be."""
        self.taken += 1
        if page.total_pages:
            told = page.total_pages
        elif page.total:
            told = math.ceil(page.total / self.size)
        else:
            told = 0
        if told > self.taken:
            self.last = told
        elif any(count >= self.size for count in page.counts):
            # A full page where no total speaks, or where it was wrong: all of the window is likely.
            self.last = told if told == self.taken else self.taken + self.window
        else:
            self.last = self.taken


class Reading(Generic[PageT]):
    """The pages of one list, fetched ahead of the one who takes them.

    No generator: the event loop closes all generators at its end at once, and one inside another would be closed twice.
    """

    def __init__(
        self,
        fetch: Callable[[int], Awaitable[PageT]],
        plan: Plan,
        spawn: Callable[[Coroutine[Any, Any, PageT | RoamifyError]], asyncio.Task[PageT | RoamifyError]],
    ) -> None:
        self._fetch = fetch
        self._plan = plan
        self._spawn = spawn
        self._under_way: dict[int, asyncio.Task[PageT | RoamifyError]] = {}

    async def next(self) -> PageT | None:
        """Give the next page, or None behind the last one; raise the error of a page that cannot be had."""
        page = await self._take()
        return page if page is not None and page.ids else None

    @property
    def is_ready(self) -> bool:
        """Whether the next page is there already, and no error."""
        task = self._under_way.get(self._plan.taken + 1)
        return task is not None and task.done() and not task.cancelled() and not isinstance(task.result(), RoamifyError)

    async def _take(self) -> PageT | None:
        """Give the next page, or None where it is refused and the one behind it is refused or empty as well."""
        plan = self._plan
        number = plan.taken + 1
        if number > MOST_PAGES:
            raise DecodeError(f"the list does not end: {MOST_PAGES} pages were read")
        self._ask_ahead()
        outcome = await self._outcome_of(number)
        if not isinstance(outcome, RoamifyError):
            plan.learn(outcome)
            if outcome.ids:  # The next ones are under way while the caller looks at this one.
                self._ask_ahead()
            return outcome
        if number == 1 or not isinstance(outcome, PAST_THE_END):
            raise outcome
        if number + 1 not in self._under_way:
            self._ask(number + 1)
        behind = await self._outcome_of(number + 1)
        if isinstance(behind, PAST_THE_END) or (not isinstance(behind, RoamifyError) and not behind.ids):
            return None
        raise outcome

    def _ask_ahead(self) -> None:
        for number in self._plan.next():
            self._ask(number)

    def _ask(self, number: int) -> None:
        self._under_way[number] = self._spawn(self._fetched(number, current_effective_deadline()))

    async def _outcome_of(self, number: int) -> PageT | RoamifyError:
        task = self._under_way[number]
        if not task.done():
            await asyncio.wait([task])
        del self._under_way[number]
        if task.cancelled():
            raise ConfigurationError("the client was closed while its pages were read")
        return task.result()

    async def _fetched(self, number: int, deadline: float) -> PageT | RoamifyError:
        """Give a page, or its error as a value: nobody may come to fetch it."""
        with CancelScope(deadline=deadline):
            try:
                return await self._fetch(number)
            except RoamifyError as error:
                return error
        raise asyncio.CancelledError

    async def aclose(self) -> None:
        """End what is under way, and wait until it has ended."""
        tasks = [*self._under_way.values()]
        self._under_way.clear()
        for task in tasks:
            task.cancel()
        if tasks:
            with CancelScope(shield=True):
                await asyncio.wait(tasks)


class Recent:
    """The ids of the last pages, so that what is seen twice can be told from what is new in a flat memory."""

    def __init__(self, pages: int | None) -> None:
        self._pages: deque[tuple[str, ...]] = deque()
        self._most = pages
        self._ids: dict[str, int] = {}

    def new(self, ids: tuple[str, ...]) -> set[str]:
        """Remember a page's ids, and give those not remembered before."""
        fresh = {item for item in ids if item not in self._ids}
        self._pages.append(tuple(set(ids)))
        for item in self._pages[-1]:
            self._ids[item] = self._ids.get(item, 0) + 1
        if self._most is not None and len(self._pages) > self._most:
            for item in self._pages.popleft():
                self._ids[item] -= 1
                if not self._ids[item]:
                    del self._ids[item]
        return fresh
