"""Both clients behind one interface, and settings for tests."""

import asyncio
import inspect
import re
from collections.abc import Callable, Mapping
from types import SimpleNamespace
from typing import Any

import aiohttp

from roamify_async import Retries, Settings
from roamify_async.sandbox import Sandbox

QUICK = Settings(retries=Retries(wait=0.001, longest_wait=0.001), reconcile_window=0.05)
"""Settings with short waits for retries and look-ups."""

HANG = 120
"""Seconds after which a program that should have ended, or a request that should have come, is taken to hang."""


class MockedResponse(aiohttp.ClientResponse):
    """A response that aioresponses can create: it does not pass an argument that aiohttp 3.14 requires."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Pass a replacement of the stream writer."""
        parameters = inspect.signature(aiohttp.ClientResponse.__init__).parameters
        if "stream_writer" in parameters:
            kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


class InThread:
    """A synchronous client whose calls are awaited in a worker thread, so that one test serves both clients."""

    def __init__(self, target: Any) -> None:
        """Wrap a client or one of its resources."""
        self._target = target

    def __getattr__(self, name: str) -> Any:
        """Return a resource wrapped, and a call as a coroutine function."""
        value = getattr(self._target, name)
        if name == "with_settings":
            return lambda **changes: InThread(value(**changes))
        if not callable(value):
            return InThread(value)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(value, *args, **kwargs)

        return call


async def collect(client: Any, **filters: Any) -> list[Any]:
    """Return all items of ``packages.iter``, with either client."""
    if isinstance(client, InThread):
        packages = client._target.packages
        return await asyncio.to_thread(lambda: list(packages.iter(**filters)))
    return [package async for package in client.packages.iter(**filters)]


WrongCall = tuple[Callable[[Any], Any], type[Exception], str]
"""A call with wrong arguments, the error that it raises, and a pattern of its message."""


async def check_refused(client: Any, sandbox: Sandbox, calls: Mapping[str, WrongCall]) -> None:
    """Check that wrong arguments are refused, with the right error, before anything is sent."""
    for name, (call, kind, message) in calls.items():
        try:
            await call(client)
        except Exception as error:  # noqa: BLE001 -- compared with what it should be
            assert isinstance(error, kind), f"{name}: {error!r}"  # noqa: PT017
            assert re.search(message, str(error)), f"{name}: {error}"  # noqa: PT017
        else:
            raise AssertionError(f"{name}: nothing was raised")
        assert sandbox.state()["requests"] == {}, name
