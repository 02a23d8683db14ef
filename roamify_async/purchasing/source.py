"""The caller's requests, taken in the caller's own thread."""

import itertools
from collections import Counter, deque
from collections.abc import AsyncIterable, AsyncIterator, Container, Iterable, Iterator, Sized
from time import perf_counter
from typing import Any, Final

import anyio
from anyio import CancelScope

from roamify_async._engine.caller import in_caller

HANDFUL: Final = 64
"""The most requests that are taken from the caller at a time."""
PATIENCE: Final = 0.002
"""Seconds after which a handful is enough: a slow source is not waited for while lines could go out."""


class Source:
    """The caller's requests, taken in the caller's own thread, a handful at a time."""

    def __init__(self, requests: Iterable[Any] | AsyncIterable[Any], kind: type[Any]) -> None:
        if not isinstance(requests, Iterable | AsyncIterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"requests must be an iterable of {kind.__name__} values, not {requests!r}")
        self._requests = requests
        self._kind = kind
        self._plain: Iterator[Any] | None = None
        self._async: AsyncIterator[Any] | None = None
        self._ready: deque[Any] = deque()
        self._turn = anyio.Lock()
        self._taking = CancelScope()
        self._count = itertools.count()
        self._is_over = False
        self.is_stopped: bool = False
        """Whether no more are to be taken."""
        self.error: BaseException | None = None

    async def total(self) -> int | None:
        """Count them, where that can be told before they are taken."""
        requests = self._requests
        return await in_caller(lambda: len(requests)) if isinstance(requests, Sized) else None

    async def packages(self, but: Container[int]) -> Counter[str]:
        """Count the packages of all but some positions, where requests can be looked at before they are taken."""
        requests, wanted = self._requests, Counter[str]()

        def count(requests: Iterable[Any]) -> None:
            for position, request in enumerate(requests):
                if position not in but:
                    wanted.update(self._checked(request).packages())

        if isinstance(requests, Sized) and isinstance(requests, Iterable) and not isinstance(requests, Iterator):
            await in_caller(lambda: count(requests))
        return wanted

    async def next(self) -> tuple[int, Any] | None:
        """Give the next request and its position, or None when there are no more, or none are to be taken."""
        async with self._turn:
            if not self._ready and not self._is_over:
                await self._take()
            if self.is_stopped or not self._ready:
                return None
            return next(self._count), self._ready.popleft()

    def stop(self, error: BaseException | None = None) -> None:
        """Take no more, and do not wait for those that are being taken."""
        self._is_over = self.is_stopped = True
        self.error = self.error or error
        self._taking.cancel()

    async def _take(self) -> None:
        with CancelScope() as self._taking:
            try:
                if isinstance(self._requests, AsyncIterable):
                    self._async = self._async or aiter(self._requests)
                    self._ready.append(self._checked(await anext(self._async)))
                else:
                    await in_caller(self._grab)
            except StopAsyncIteration:
                self._is_over = True
            except Exception as error:  # noqa: BLE001 -- the caller's own; it is raised at the end
                self._is_over = True
                self.error = self.error or error

    def _grab(self) -> None:
        assert isinstance(self._requests, Iterable)  # noqa: S101
        begun = perf_counter()
        self._plain = iter(self._requests) if self._plain is None else self._plain
        for request in self._plain:
            self._ready.append(self._checked(request))
            if len(self._ready) >= HANDFUL or perf_counter() - begun > PATIENCE:
                return
        self._is_over = True

    def _checked(self, request: Any) -> Any:
        if not isinstance(request, self._kind):
            raise TypeError(f"requests must hold {self._kind.__name__} values, not {request!r}")
        return request
