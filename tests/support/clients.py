"""Both clients under one set of calls, the settings of tests, and aioresponses for this aiohttp."""

import asyncio
import inspect
from types import SimpleNamespace
from typing import Any

import aiohttp

from roamify_async import Retries, Settings

QUICK = Settings(retries=Retries(wait=0.001, longest_wait=0.001), reconcile_window=0.05)
"""Settings under which no test waits long: for a retry, or for an order to be seen."""


class MockedResponse(aiohttp.ClientResponse):
    """A response that aioresponses can make: it does not know the argument that aiohttp 3.14 asks for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Stand in for the stream that a sent request has."""
        parameters = inspect.signature(aiohttp.ClientResponse.__init__).parameters
        if "stream_writer" in parameters:
            kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


class InThread:
    """A blocking client whose calls are awaited in a worker thread, so that one test body serves both clients."""

    def __init__(self, target: Any) -> None:
        """Wrap a client or one of its rooms."""
        self._target = target

    def __getattr__(self, name: str) -> Any:
        """Give a room wrapped, and a call as a coroutine function."""
        value = getattr(self._target, name)
        if name == "with_settings":
            return lambda **changes: InThread(value(**changes))
        if not callable(value):
            return InThread(value)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(value, *args, **kwargs)

        return call


async def collect(client: Any, **filters: Any) -> list[Any]:
    """Take everything that ``packages.iter`` gives, with either client."""
    if isinstance(client, InThread):
        packages = client._target.packages
        return await asyncio.to_thread(lambda: list(packages.iter(**filters)))
    return [package async for package in client.packages.iter(**filters)]
