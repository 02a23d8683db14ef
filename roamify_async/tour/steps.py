"""The steps of the tour, written once for both clients.

``await value(call)`` means ``await call`` with ``AsyncRoamify`` and ``call`` with ``Roamify``. Code that uses only one
client does not need the two helpers at the end of this module::

    balance = await roamify.account.balance()                     # AsyncRoamify
    catalogue = [package async for package in roamify.packages.iter()]

    balance = roamify.account.balance()                           # Roamify
    catalogue = [package for package in roamify.packages.iter()]
"""

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection, HTTPException
from operator import attrgetter
from typing import TypeVar, cast
from urllib.parse import urlsplit

from roamify_async import AsyncRoamify, OrderItem, Roamify

from .screen import Screen, Spending

T = TypeVar("T")


async def run_steps(roamify: AsyncRoamify | Roamify, sandbox_url: str, screen: Screen) -> Spending:
    """Go from the list of countries to a topped-up eSIM, with either client; raises ``StepError`` if a step fails."""
    with screen.step("read the balance"):
        before = (await value(roamify.account.balance())).balance
        screen.balance(before)
    with screen.step("list the countries"):
        screen.countries(await value(roamify.countries.list()))
    with screen.step("read the whole catalogue"), screen.counter() as count:
        catalogue = await collect(roamify.packages.iter(), count)
        screen.catalogue(catalogue)

    with screen.step("find the cheapest for Greece"):
        greek = await value(roamify.packages.list(country="Greece"))
        simple = [p for p in greek if p.with_usage_check and not p.requirements.travel_date]
        cheapest = min(simple, key=attrgetter("price"))
        screen.package(cheapest)
    with screen.step("order two eSIMs of it"):
        order = await value(roamify.orders.create([OrderItem(cheapest.package_id, 2)]))
        screen.order(order)
    with screen.step("apply both eSIMs"):
        esims = await value(roamify.esims.apply_order(order.reference_id or ""))
        screen.esims(esims)
        screen.qr_code(esims[0])

    with screen.step("find one that needs a date"):
        dated = min((p for p in catalogue if p.requirements.travel_date), key=attrgetter("price"))
        screen.package(dated)
    with screen.step("order one eSIM of it"):
        dated_order = await value(roamify.orders.create([OrderItem(dated.package_id)]))
        screen.order(dated_order)
    with screen.step("apply it for a date"):
        day = datetime.now(UTC).date() + timedelta(days=30)
        dated_esims = await value(roamify.esims.apply_order(dated_order.reference_id or "", start_date=day))
        screen.esims(dated_esims, start=day)

    with screen.step("read the first one's usage"):
        iccid = esims[0].iccid or ""
        screen.usage(await value(roamify.esims.usage(iccid)))
    with screen.step("use 300 MB of it"):
        use_data(sandbox_url, iccid, 300)
        screen.usage(await value(roamify.esims.usage(iccid)))
    with screen.step("list its top-ups"):
        topups = await value(roamify.topups.packages(iccid))
        screen.topups(topups)
    orders = [order, dated_order]
    if topups:
        with screen.step("top it up"):
            orders.append(await value(roamify.topups.create(iccid, topups[0].package_id)))
            screen.usage(await value(roamify.esims.usage(iccid)))

    with screen.step("check the balance"):
        after = (await value(roamify.account.balance())).balance
        spending = Spending(before, after, [order.total for order in orders])
        screen.spending(spending)
    return spending


def use_data(sandbox_url: str, iccid: str, megabytes: int) -> None:
    """Make the sandbox install an eSIM and use data; raises ``OSError`` if the sandbox refuses."""
    connection = HTTPConnection(urlsplit(sandbox_url).netloc, timeout=10)
    try:
        connection.request("POST", "/_sandbox/esims", json.dumps({"iccid": iccid, "usedData": megabytes}))
        response = connection.getresponse()
        text = response.read().decode()
    except HTTPException as error:
        raise OSError(f"no response from the sandbox: {error!r}") from error
    finally:
        connection.close()
    if response.status != 200:  # noqa: PLR2004
        raise OSError(f"the sandbox refused: {text}")


# ---------------------------------------------------------------- either client


async def value(call: Awaitable[T] | T) -> T:
    """Return the result of a call of either client."""
    if isinstance(call, Awaitable):
        return await cast("Awaitable[T]", call)
    return call


async def collect(iterator: AsyncIterator[T] | Iterator[T], count: Callable[[T], T]) -> list[T]:
    """Return the items of an iterator of either client, after passing each through *count*."""
    if isinstance(iterator, AsyncIterator):
        return [count(item) async for item in iterator]
    return [count(item) for item in iterator]
