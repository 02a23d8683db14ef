"""The walk with ``AsyncRoamify``."""

import asyncio
from datetime import UTC, datetime, timedelta
from operator import attrgetter

from roamify_async import AsyncRoamify, OrderItem

from .bill import Bill
from .phone import use_data
from .show import Show


async def walk(url: str, token: str, show: Show) -> Bill:
    """Go from the list of countries to a topped-up eSIM, awaiting each call."""
    async with AsyncRoamify(token, base_url=url) as roamify:
        with show.step("read the balance"):
            before = (await roamify.account.balance()).balance
            show.balance(before)
        with show.step("list the countries"):
            show.countries(await roamify.countries.list())
        with show.step("read the whole catalogue"), show.counting() as counted:
            catalogue = [counted(package) async for package in roamify.packages.iter()]
            show.catalogue(catalogue)

        with show.step("find the cheapest for Greece"):
            greek = await roamify.packages.list(country="Greece")
            simple = [p for p in greek if p.with_usage_check and not p.requirements.travel_date]
            cheapest = min(simple, key=attrgetter("price"))
            show.package(cheapest)
        with show.step("order two eSIMs of it"):
            order = await roamify.orders.create([OrderItem(cheapest.package_id, 2)])
            show.order(order)
        with show.step("apply both eSIMs"):
            ids = [line.esim_id for line in order.items]
            esims = await asyncio.gather(*(roamify.esims.apply(id) for id in ids))
            show.esims(esims)
            show.qr_code(esims[0])

        with show.step("find one that needs a date"):
            dated = min((p for p in catalogue if p.requirements.travel_date), key=attrgetter("price"))
            show.package(dated)
        with show.step("order one eSIM of it"):
            journey = await roamify.orders.create([OrderItem(dated.package_id)])
            show.order(journey)
        with show.step("apply it for a date"):
            day = datetime.now(UTC).date() + timedelta(days=30)
            ids = [line.esim_id for line in journey.items]
            show.esims([await roamify.esims.apply(id, start_date=day) for id in ids], start=day)

        with show.step("read the first one's usage"):
            iccid = esims[0].iccid or ""
            show.usage(await roamify.esims.usage(iccid))
        with show.step("use 300 MB of it"):
            await asyncio.to_thread(use_data, url, iccid, 300)
            show.usage(await roamify.esims.usage(iccid))
        with show.step("list its top-ups"):
            offered = await roamify.topups.packages(iccid)
            show.offers(offered)
        bought = [order, journey]
        if offered:
            with show.step("top it up"):
                bought.append(await roamify.topups.create(iccid, offered[0].package_id))
                show.usage(await roamify.esims.usage(iccid))

        with show.step("check the balance"):
            bill = Bill(before, (await roamify.account.balance()).balance, [order.total for order in bought])
            show.bill(bill)
        return bill
