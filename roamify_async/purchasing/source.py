"""The caller's requests, read in the caller's thread."""

import itertools
import reprlib
from collections import Counter, deque
from collections.abc import AsyncIterable, AsyncIterator, Container, Iterable, Iterator, Sized
from time import perf_counter
from typing import Any, Final

import anyio
import attrs
from anyio import CancelScope

from roamify_async._core.callbacks import run_in_caller

BATCH_SIZE: Final = 64
"""Maximum number of requests that are read at a time."""
BATCH_TIMEOUT: Final = 0.002
"""Seconds after which a batch ends, so that a slow iterable does not delay lines that are ready."""


@attrs.frozen
class WrongItem:
    """A value that is not a request, in its place among the requests."""

    message: str


class Source:
    """The caller's requests, read in the caller's thread, in batches."""

    def __init__(self, requests: Iterable[Any] | AsyncIterable[Any], kind: type[Any]) -> None:
        if not isinstance(requests, Iterable | AsyncIterable):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"requests must be an iterable of {kind.__name__} values, not {requests!r}")
        self._requests = requests
        self._kind = kind
        self._plain: Iterator[Any] | None = None
        self._async: AsyncIterator[Any] | None = None
        self._ready: deque[Any] = deque()
        self._turn = anyio.Lock()
        self._reading = CancelScope()
        self._count = itertools.count()
        self._is_over = False
        self.is_stopped: bool = False
        """Whether no more requests are read."""
        self.error: BaseException | None = None

    async def total(self) -> int | None:
        """Return their number, if it is known before they are read."""
        requests = self._requests
        return await run_in_caller(lambda: len(requests)) if isinstance(requests, Sized) else None

    async def packages(self, but: Container[int]) -> Counter[str]:
        """Count the packages of all but some positions, if the requests can be read twice.

        Raises ``TypeError`` if one of them is not a request.
        """
        requests, wanted = self._requests, Counter[str]()

        def count(requests: Iterable[Any]) -> None:
            for position, request in enumerate(requests):
                if position in but:
                    continue
                checked = self._checked(request)
                if isinstance(checked, WrongItem):
                    raise TypeError(checked.message)
                wanted.update(checked.packages())

        if isinstance(requests, Sized) and isinstance(requests, Iterable) and not isinstance(requests, Iterator):
            await run_in_caller(lambda: count(requests))
        return wanted

    async def next(self) -> tuple[int, Any] | None:
        """Return the next position and request, or ``WrongItem``; ``None`` at the end."""
        if not self._ready:
            async with self._turn:
                if not self._ready and not self._is_over:
                    await self._read_batch()
        if self.is_stopped or not self._ready:
            return None
        return next(self._count), self._ready.popleft()

    def stop(self, error: BaseException | None = None) -> None:
        """Read no more, and do not wait for the batch that is being read."""
        self._is_over = self.is_stopped = True
        self.error = self.error or error
        self._reading.cancel()

    async def _read_batch(self) -> None:
        with CancelScope() as self._reading:
            try:
                if isinstance(self._requests, AsyncIterable):
                    self._async = self._async or aiter(self._requests)
                    self._ready.append(self._checked(await anext(self._async)))
                else:
                    await run_in_caller(self._read_plain)
            except StopAsyncIteration:
                self._is_over = True
            except Exception as error:  # noqa: BLE001 -- the caller's own, raised at the end
                self._is_over = True
                self.error = self.error or error

    def _read_plain(self) -> None:
        assert isinstance(self._requests, Iterable)  # noqa: S101
        begun = perf_counter()
        self._plain = iter(self._requests) if self._plain is None else self._plain
        for request in self._plain:
            self._ready.append(self._checked(request))
            if len(self._ready) >= BATCH_SIZE or perf_counter() - begun > BATCH_TIMEOUT:
                return
        self._is_over = True

    def _checked(self, request: Any) -> Any:
        if isinstance(request, self._kind):
            return request
        return WrongItem(f"requests must hold {self._kind.__name__} values, not {reprlib.repr(request)}")
