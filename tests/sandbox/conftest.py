"""Fixtures of the sandbox's tests."""

from collections.abc import AsyncIterator

import aiohttp
import pytest

from roamify_async.sandbox import Sandbox


@pytest.fixture
async def sandbox() -> AsyncIterator[Sandbox]:
    """Run a sandbox with few packages."""
    async with Sandbox(packages=100) as running:
        yield running


@pytest.fixture
async def session(sandbox: Sandbox) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a plain HTTP client with the sandbox's token.

    It never reuses a connection, on which aiohttp would repeat a request.
    """
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    connector = aiohttp.TCPConnector(force_close=True)
    async with aiohttp.ClientSession(sandbox.url, headers=headers, connector=connector) as opened:
        yield opened
