"""The ways that are measured: the clients as their users write them."""

import asyncio
import sys
from typing import Any

from roamify_async import AsyncRoamify, Roamify


async def listed(url: str, *, times: int = 1, **_: object) -> int:
    """Read the whole catalogue, once or more often; give how many packages were read."""
    async with AsyncRoamify("token", base_url=url) as roamify:
        return sum([len(await roamify.packages.list()) for _ in range(times)])


async def iterated(url: str) -> int:
    """Go over the whole catalogue; give its length."""
    async with AsyncRoamify("token", base_url=url) as roamify:
        count = 0
        async for _ in roamify.packages.iter():
            count += 1
        return count


def iterated_blocking(url: str, *, uvloop: bool | None = None) -> int:
    """Go over the whole catalogue without a loop of one's own; give its length.

    True: in uvloop, False: as if it were not installed, None: as it comes.
    """
    if uvloop:
        import uvloop as loops

        asyncio.set_event_loop_policy(loops.EventLoopPolicy())
    elif uvloop is False:
        modules: dict[str, Any] = sys.modules
        modules["uvloop"] = None
    with Roamify("token", base_url=url) as roamify:
        count = 0
        for _ in roamify.packages.iter():
            count += 1
        return count


async def balances(url: str, calls: int) -> int:
    """Ask for the balance, again and again."""
    async with AsyncRoamify("token", base_url=url) as roamify:
        for _ in range(calls):
            await roamify.account.balance()
    return calls
