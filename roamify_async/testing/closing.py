"""Closes an asynchronous client whatever runs its event loop: pytest-asyncio, anyio's plugin, or ``asyncio.run``."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress

from roamify_async.client import AsyncRoamify


class Closer:
    """Closes a client in its event loop when that shuts down, or at the end of the test if that comes first.

    A fixture that is not a coroutine cannot await ``aclose()``, and its loop may have ended before the fixture does. An
    event loop closes its asynchronous generators before it ends, so one of them closes the client.
    """

    def __init__(self, client: AsyncRoamify) -> None:
        self._client = client
        self._loop: asyncio.AbstractEventLoop | None = None
        self._generator: AsyncGenerator[None, None] | None = None
        transport = client._engine.transport  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]
        self._open = transport.open
        vars(transport)["open"] = self._open_and_watch

    def _open_and_watch(self) -> None:
        self._open()
        if self._generator is None:
            self._loop = asyncio.get_running_loop()
            self._generator = self._close_at_end()
            with suppress(StopIteration):  # It stops at its yield, and waits for nothing before.
                self._generator.__anext__().__await__().send(None)

    async def _close_at_end(self) -> AsyncGenerator[None, None]:
        try:
            yield
        finally:
            await self._client.aclose()

    def close(self) -> None:
        """Close the client, unless its event loop has closed it or is still running."""
        if self._generator and self._loop and not self._loop.is_closed() and not self._loop.is_running():
            self._loop.run_until_complete(self._generator.aclose())
