"""Fixtures of several modules of this folder."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from support.shop import Shop


@pytest.fixture
async def shop() -> AsyncIterator[Shop]:
    """Run a server that misbehaves as the test says."""
    async with Shop() as running:
        yield running


@pytest.fixture
async def shopper(shop, opened) -> Any:
    """Open one client of the shop, then the other."""
    return await opened(shop.url)
