"""The caller's requests, taken in the caller's own thread."""

import itertools
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from time import perf_counter
from typing import Any, Final

import anyio

from roamify_async._engine.caller import in_caller

HANDFUL: Final = 64
"""The most requests that are taken from the caller at a time."""
PATIENCE: Final = 0.002
"""Seconds after which a handful is enough: a slow source is not waited for while lines could go out."""


class Source:
    """The caller's requests, taken in the caller's own thread, a handful at a time."""

    def __init__(self, requests: Iterable[Any] | AsyncIterable[Any], kind: type[Any]) -> None:
        self._kind = kind
        self._plain: Iterator[Any] | None = None if isinstance(requests, AsyncIterable) else iter(requests)
        self._async: AsyncIterator[Any] | None = aiter(requests) if isinstance(requests, AsyncIterable) else None
        self._ready: deque[Any] = deque()
        self._turn = anyio.Lock()
        self._count = itertools.count()
        self.is_over = False
        """Whether there are no more."""
        self.is_stopped = False
        """Whether no more are to be taken."""
        self.error: BaseException | None = None

    async def next(self) -> tuple[int, Any] | None:
        """Give the next request and its position, or None when there are no more, or none are to be taken."""
        async with self._turn:
            if not self._ready and not self.is_over:
                await self._take()
            if self.is_over and not self._ready:
                return None
            return next(self._count), self._ready.popleft()

    def stop(self, error: BaseException | None = None) -> None:
        """Take no more."""
        self.is_over = self.is_stopped = True
        self._ready.clear()
        self.error = self.error or error

    async def _take(self) -> None:
        try:
            if self._async is not None:
                self._ready.append(self._checked(await anext(self._async)))
            else:
                await in_caller(self._grab)
        except (StopAsyncIteration, StopIteration):
            self.is_over = True
        except Exception as error:  # noqa: BLE001 -- the caller's own; it is raised at the end
            self.stop(error)

    def _grab(self) -> None:
        assert self._plain is not None  # noqa: S101
        begun = perf_counter()
        for request in self._plain:
            self._ready.append(self._checked(request))
            if len(self._ready) >= HANDFUL or perf_counter() - begun > PATIENCE:
                return
        self.is_over = True

    def _checked(self, request: Any) -> Any:
        if not isinstance(request, self._kind):
            raise TypeError(f"requests must hold {self._kind.__name__} values, not {request!r}")
        return request
