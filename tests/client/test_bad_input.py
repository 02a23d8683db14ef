"""What a caller gets wrong is said clearly, in both clients, before anything is sent where that can be known."""

from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from support.clients import WrongCall, check_refused

from roamify_async import AsyncRoamify, AuthenticationError, NotFoundError, OrderItem, PackageNotFoundError

PACKAGE = "esim-greece-30days-1gb-all"

WRONG: dict[str, WrongCall] = {
    "no items": (lambda c: c.orders.create([]), ValueError, "at least one OrderItem"),
    "items that are text": (lambda c: c.orders.create(PACKAGE), TypeError, "list of OrderItem"),
    "items of the wrong kind": (lambda c: c.orders.create([PACKAGE]), TypeError, "OrderItem"),
    "one item, no list": (lambda c: c.orders.create(OrderItem(PACKAGE)), TypeError, "list of OrderItem"),
    "an empty reference": (
        lambda c: c.orders.create([OrderItem(PACKAGE)], reference_id=" "),
        ValueError,
        "reference_id",
    ),
    "no iccid": (lambda c: c.esims.usage(None), TypeError, "iccid must be text, not None"),
    "an empty iccid": (lambda c: c.esims.usage(""), ValueError, "iccid must not be empty"),
    "a number for an iccid": (lambda c: c.topups.packages(8940000000000012345), TypeError, "iccid must be text"),
    "no iccid to top up": (lambda c: c.topups.create(None, PACKAGE), TypeError, "iccid"),
    "no package to top up": (lambda c: c.topups.create("89", None), TypeError, "package_id"),
    "a page of nothing": (lambda c: c.packages.page(page_size=0), ValueError, "page_size must be at least 1"),
    "page 0": (lambda c: c.packages.page(page=0), ValueError, "page must be at least 1"),
    "a list of pages of nothing": (lambda c: c.packages.list(page_size=0), ValueError, "page_size must be at least 1"),
    "half a page": (lambda c: c.packages.page(page=1.5), TypeError, "page must be a whole number"),
    "a flag that is text": (lambda c: c.packages.page(is_unlimited="yes"), TypeError, "True or False"),
    "no data": (lambda c: c.packages.page(gbs=0), ValueError, "gbs must be more than 0"),
    "endless data": (lambda c: c.packages.page(gbs=float("inf")), ValueError, "gbs"),
    "a planet": (lambda c: c.packages.page(geography="planet"), ValueError, "local, regional, global"),
    "a planet of countries": (lambda c: c.countries.list(geography="planet"), ValueError, "local, regional, global"),
    "a package of no id": (lambda c: c.packages.get(None), TypeError, "package_id must be text"),
    "a date that is none": (lambda c: c.esims.apply("e", start_date="2027-02-30"), ValueError, "2027-02-30"),
    "a date in words": (lambda c: c.esims.apply("e", start_date="tomorrow"), ValueError, "a date like"),
    "a date with a time": (
        lambda c: c.esims.apply("e", start_date=datetime(2027, 7, 1, 12, tzinfo=UTC)),
        TypeError,
        "not a datetime",
    ),
    "a date that is a number": (lambda c: c.esims.apply_order("r", start_date=20270701), TypeError, "ISO text"),
    "neither id of an order": (
        lambda c: c.orders.get(),
        ValueError,
        "exactly one of order_id, reference_id; none given",
    ),
    "both ids of an order": (
        lambda c: c.orders.get(order_id="o", reference_id="r"),
        ValueError,
        "order_id and reference_id given",
    ),
    "both ids of an eSIM": (lambda c: c.esims.get(iccid="1", esim_id="e"), ValueError, "exactly one of iccid, esim_id"),
    "an id that is empty": (lambda c: c.orders.get(order_id=""), ValueError, "order_id must not be empty"),
    "no orders": (lambda c: c.orders.list(limit=0), ValueError, "limit must be at least 1"),
    "a typo in a keyword": (lambda c: c.orders.create([OrderItem(PACKAGE)], refrence_id="r"), TypeError, "refrence_id"),
    "a typo in a filter": (lambda c: c.packages.list(contry="Greece"), TypeError, "contry"),
}


async def test_wrong_arguments(either, sandbox):
    """A wrong argument raises ``TypeError`` or ``ValueError`` that names it, and nothing is sent."""
    await check_refused(either, sandbox, WRONG)


@pytest.mark.parametrize(
    ("quantity", "kind"), [(0, ValueError), (-1, ValueError), (1.0, TypeError), (True, TypeError), ("2", TypeError)]
)
def test_quantity(quantity, kind):
    """A quantity is a whole number from 1 up; a float or a flag is none."""
    with pytest.raises(kind, match="quantity"):
        OrderItem(PACKAGE, quantity)


async def test_dates_go_out_alike(either, sandbox):
    """A date and its ISO text are the same request."""
    package = sandbox.kinds["travel_date"][0]
    order = await either.orders.create([OrderItem(package, 2)])
    for line, day in zip(order.items, (date(2030, 7, 1), "2030-07-01"), strict=True):
        assert (await either.esims.apply(line.esim_id, start_date=day)).is_installable


async def test_wrong_token(sandbox):
    """A wrong token is an ``AuthenticationError`` that says what to check, and not what the token was."""
    async with AsyncRoamify("not-the-right-token", base_url=sandbox.url) as roamify:
        with pytest.raises(AuthenticationError, match="partner portal") as caught:
            await roamify.account.balance()
    assert caught.value.status == 401
    assert "not-the-right-token" not in str(caught.value) + caught.value.body


UNKNOWN_COUNTRIES = [
    ({"country": "Grece"}, r"country='Grece'.*nearest: Greece \(GR\)"),
    ({"country": "GR"}, r"country='GR'.*nearest: Greece \(GR\)"),
    ({"country_code": "Greece"}, r"country_code='Greece'.*nearest: Greece \(GR\)"),
    ({"country": "Xqzzkj"}, r"not in countries\.list\(\)$"),
]


async def test_unknown_country(either):
    """A country that the API does not know raises a ``ValueError`` with the nearest names."""
    for filters, message in UNKNOWN_COUNTRIES:
        for call in (either.packages.page, either.packages.list):
            with pytest.raises(ValueError, match=message):
                await call(**filters)


async def test_known_country_without_packages(either, sandbox):
    """A known country for which nothing matches is an empty answer, not an error."""
    assert len(await either.packages.list(country="Greece", days=9999)) == 0
    assert sandbox.state()["requests"]["GET /api/esim/countries"] == 1


async def test_typo_in_a_package_id(either, sandbox):
    """A package id that does not exist is refused before anything is sent, with the nearest ids of its destination."""
    with pytest.raises(PackageNotFoundError, match="there is no package 'esim-gr-30days-1gb-all'") as caught:
        await either.orders.create([OrderItem(PACKAGE), OrderItem("esim-gr-30days-1gb-all")])
    assert caught.value.package_ids == ("esim-gr-30days-1gb-all",)
    assert PACKAGE in caught.value.nearest
    assert caught.value.sent == "no"
    assert "POST /api/esim/order" not in sandbox.state()["requests"]


async def test_unknown_package(either):
    """``packages.get`` of an unknown id is a ``NotFoundError`` that names it."""
    with pytest.raises(NotFoundError, match="esim-nowhere") as caught:
        await either.packages.get("esim-nowhere")
    assert caught.value.package_ids == ("esim-nowhere",)
    assert (await either.packages.get(PACKAGE)).package_id == PACKAGE


async def test_invalid_amounts(either):
    """An amount of data must be a finite number above 0."""
    for gbs in (Decimal("NaN"), Decimal("sNaN"), Decimal("Infinity"), float("nan"), float("inf"), 0, -1):
        with pytest.raises(ValueError, match="gbs must be more than 0"):
            await either.packages.page(gbs=gbs)


async def test_countries_that_cannot_be_had(either, sandbox):
    """An empty page is given where the countries cannot be asked for: the page itself came."""
    sandbox.fail("GET", "/api/esim/countries", "403_html")
    assert len(await either.packages.page(country="Greece", days=999)) == 0
