"""What many tests need: a sandbox, both clients under one set of calls, and aioresponses for this aiohttp."""

import asyncio
import inspect
import logging
from collections.abc import AsyncIterator, Iterator
from types import SimpleNamespace
from typing import Any

import aiohttp
import aioresponses.core
import pytest
from leaks import TOKENS, Watch
from partner import Partner, partner_of

from roamify_async import AsyncRoamify, Retries, Roamify, Settings
from roamify_async.sandbox import Sandbox

QUICK = Settings(retries=Retries(wait=0.001, longest_wait=0.001), settle_window=0.05)
"""Settings under which no test waits long: for a retry, or for an order to be seen."""


class MockedResponse(aiohttp.ClientResponse):
    """A response that aioresponses can make: it does not know the argument that aiohttp 3.14 asks for."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Stand in for the stream that a sent request has."""
        parameters = inspect.signature(aiohttp.ClientResponse.__init__).parameters
        if "stream_writer" in parameters:
            kwargs.setdefault("stream_writer", SimpleNamespace(output_size=0))
        super().__init__(*args, **kwargs)


@pytest.fixture
def mocked(monkeypatch: pytest.MonkeyPatch) -> Iterator[aioresponses.aioresponses]:
    """Answer requests without a server."""
    monkeypatch.setattr(aioresponses.core, "ClientResponse", MockedResponse)
    with aioresponses.aioresponses() as mock:
        yield mock


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


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a small sandbox in the test's own loop."""
    async with Sandbox(packages=300) as running:
        yield running


@pytest.fixture
async def partner() -> AsyncIterator[Partner]:
    """Run a small sandbox with a plain HTTP client."""
    async with partner_of() as made:
        yield made


@pytest.fixture
async def client(sandbox: Sandbox) -> AsyncIterator[AsyncRoamify]:
    """Open an awaiting client of the sandbox."""
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
        yield roamify


@pytest.fixture(params=["awaiting", "blocking"])
async def either(request: pytest.FixtureRequest, sandbox: Sandbox) -> AsyncIterator[Any]:
    """Open one client, then the other; the calls of both are awaited."""
    if request.param == "awaiting":
        async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
            yield roamify
    else:
        blocking = Roamify(sandbox.token, base_url=sandbox.url, settings=QUICK)
        yield InThread(blocking)
        await asyncio.to_thread(blocking.close)


@pytest.fixture(autouse=True)
def no_token_shows(monkeypatch: pytest.MonkeyPatch) -> Iterator[Watch]:
    """Search all that a test logs, raises and warns of for the token, and fail where it stands."""
    watch = Watch(monkeypatch)
    root, level = logging.getLogger(), logging.getLogger().level
    root.addHandler(watch)
    root.setLevel(logging.DEBUG)
    yield watch
    root.removeHandler(watch)
    root.setLevel(level)
    leaks = [text for text in watch.shown() if any(token in text for token in TOKENS)]
    assert not leaks
