"""The walk with ``Roamify``."""

from datetime import UTC, datetime, timedelta
from operator import attrgetter

from roamify_async import OrderItem, Roamify

from .bill import Bill
from .phone import use_data
from .show import Show


def walk(url: str, token: str, show: Show) -> Bill:
    """Go from the list of countries to a topped-up eSIM; each call blocks."""
    with Roamify(token, base_url=url) as roamify:
        with show.step("read the balance"):
            before = roamify.account.balance().balance
            show.balance(before)
        with show.step("list the countries"):
            show.countries(roamify.countries.list())
        with show.step("read the whole catalogue"), show.counting() as counted:
            catalogue = [counted(package) for package in roamify.packages.iter()]
            show.catalogue(catalogue)

        with show.step("find the cheapest for Greece"):
            greek = roamify.packages.list(country="Greece")
            simple = [p for p in greek if p.with_usage_check and not p.requirements.travel_date]
            cheapest = min(simple, key=attrgetter("price"))
            show.package(cheapest)
        with show.step("order two eSIMs of it"):
            order = roamify.orders.create([OrderItem(cheapest.package_id, 2)])
            show.order(order)
        with show.step("apply both eSIMs"):
            ids = [line.esim_id for line in order.items]
            esims = [roamify.esims.apply(id) for id in ids]
            show.esims(esims)

        with show.step("find one that needs a date"):
            dated = min((p for p in catalogue if p.requirements.travel_date), key=attrgetter("price"))
            show.package(dated)
        with show.step("order one eSIM of it"):
            journey = roamify.orders.create([OrderItem(dated.package_id)])
            show.order(journey)
        with show.step("apply it for a date"):
            day = datetime.now(UTC).date() + timedelta(days=30)
            ids = [line.esim_id for line in journey.items]
            show.esims([roamify.esims.apply(id, start_date=day) for id in ids], start=day)

        with show.step("read the first one's usage"):
            iccid = esims[0].iccid or ""
            show.usage(roamify.esims.usage(iccid))
        with show.step("use 300 MB of it"):
            use_data(url, iccid, 300)
            show.usage(roamify.esims.usage(iccid))
        with show.step("list its top-ups"):
            offered = roamify.topups.packages(iccid)
            show.offers(offered)
        bought = [order, journey]
        if offered:
            with show.step("top it up"):
                bought.append(roamify.topups.create(iccid, offered[0].package_id))
                show.usage(roamify.esims.usage(iccid))

        with show.step("check the balance"):
            bill = Bill(before, roamify.account.balance().balance, [order.total for order in bought])
            show.bill(bill)
        return bill
