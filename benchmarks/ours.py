"""The ways that are measured: the clients as their users write them."""

import sys
from typing import Any

from roamify_async import AsyncRoamify, OrderItem, Roamify


async def listed(url: str, *, times: int = 1, **_: object) -> int:
    """Read the whole catalogue, once or more often; return how many packages were read."""
    async with AsyncRoamify("token", base_url=url) as roamify:
        return sum([len(await roamify.packages.list()) for _ in range(times)])


async def refreshed(url: str, *, times: int = 4, **_: object) -> int:
    """Read the whole catalogue, and refresh it some times; return how many packages it has."""
    async with AsyncRoamify("token", base_url=url) as roamify:
        catalogue = await roamify.packages.list()
        for _ in range(times):
            catalogue = await roamify.packages.refresh(catalogue)
        return len(catalogue)


async def iterated(url: str) -> int:
    """Go over the whole catalogue; return its length."""
    async with AsyncRoamify("token", base_url=url) as roamify:
        count = 0
        async for _ in roamify.packages.iter():
            count += 1
        return count


def iterated_blocking(url: str, *, uvloop: bool = False) -> int:
    """Iterate over the whole catalogue without an event loop of the caller, in uvloop or not; return its length."""
    if not uvloop:
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


async def ordered(url: str, calls: int, *, own: bool = False) -> int:
    """Order one eSIM, again and again, with references of the caller's own or without."""
    async with AsyncRoamify("token", base_url=url) as roamify:
        for number in range(calls):
            reference = f"customer-{number:08}" if own else None
            await roamify.orders.create([OrderItem("package-0")], reference_id=reference)
    return calls
