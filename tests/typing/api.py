"""Type-checked and never run: the types of both clients."""

from collections.abc import AsyncIterator, Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, assert_type

from roamify_async import (
    AffiliateDestination,
    AsyncRoamify,
    Balance,
    BulkReport,
    Catalogue,
    CatalogueDiff,
    Country,
    CreateOrder,
    Device,
    Esim,
    EsimEvents,
    EsimLink,
    Health,
    HistoryItem,
    InstantOrder,
    InsuranceCountry,
    InsuranceOrder,
    InsuranceProduct,
    Insurer,
    Order,
    OrderItem,
    Package,
    PackagePage,
    Policy,
    PriceChange,
    QrCode,
    RawResponse,
    ReadyEsim,
    Refund,
    Roamify,
    Settings,
    SmsReceipt,
    Timeouts,
    TopUpPackage,
    Usage,
    UsageDetails,
    Voucher,
    VoucherBatch,
    VoucherRevocation,
    capture_responses,
    lpa,
)


async def asynchronous(roamify: AsyncRoamify) -> None:  # noqa: PLR0915 -- one line for each call
    """Every call is awaited."""
    assert_type(await roamify.countries.list(geography="local"), tuple[Country, ...])
    assert_type(await roamify.packages.page(page=2, country="Greece"), PackagePage)
    assert_type(await roamify.packages.get("esim-x"), Package)
    assert_type(await roamify.packages.list(days=7, gbs=1.5), Catalogue)
    assert_type(roamify.packages.iter(country_code="GR", page_size=20), AsyncIterator[Package])
    assert_type(await roamify.orders.create([OrderItem("p", 2)], reference_id="r"), Order)
    assert_type(await roamify.orders.create_instant([OrderItem("p")]), InstantOrder)
    assert_type(await roamify.orders.get(reference_id="r"), Order)
    assert_type(await roamify.orders.list(limit=3), tuple[Order, ...])
    assert_type(await roamify.esims.apply("e", start_date="2027-07-01"), ReadyEsim)
    assert_type(await roamify.esims.apply_order("r", start_date=date(2027, 7, 1)), tuple[ReadyEsim, ...])
    assert_type(await roamify.esims.get(iccid="1"), Esim)
    assert_type(await roamify.esims.list(reference_id="r"), tuple[Esim, ...])
    assert_type(await roamify.esims.usage("1"), Usage)
    assert_type(await roamify.esims.history("1"), tuple[HistoryItem, ...])
    assert_type(await roamify.esims.usage_details("1"), UsageDetails)
    assert_type(await roamify.esims.events(esim_id="e"), EsimEvents)
    assert_type(await roamify.esims.link(iccid="1"), EsimLink)
    assert_type(await roamify.esims.send_sms("1", "hello"), SmsReceipt)
    assert_type(await roamify.refunds.get("r"), Refund)
    assert_type(await roamify.rates.currencies(), Any)
    assert_type(await roamify.rates.get(source="USD", start=datetime.now(UTC), end=datetime.now(UTC)), Any)
    assert_type(await roamify.affiliates.packages("trips"), tuple[AffiliateDestination, ...])
    assert_type(await roamify.request("GET", "/api/balance", params={"a": None, "b": 1}), dict[str, Any])
    assert_type(await roamify.request("POST", "/api/x", json=[1], response_type=dict), dict[str, Any])
    assert_type(await roamify.request("GET", "/api/balance", response_type=Balance), Balance)
    assert_type(await roamify.request("GET", "/api/x", response_type=tuple[Order, ...]), tuple[Order, ...])
    assert_type(await roamify.request("GET", "/api/x", response_type=object), object)
    assert_type(await roamify.esims.buy("p", 2, start_date="2027-07-01", reference_id="r"), tuple[ReadyEsim, ...])
    assert_type(await roamify.orders.reconcile("r"), Order)
    report = await roamify.orders.bulk([CreateOrder([OrderItem("p")])], journal="j.db", max_spend=Decimal(5))
    assert_type(report, BulkReport)
    assert_type(await roamify.topups.packages("1", days=7), tuple[TopUpPackage, ...])
    assert_type(await roamify.topups.create("1", "p", reference_id="r"), Order)
    assert_type(await roamify.vouchers.create("p", quantity=2, reference_id="r", notes="n"), VoucherBatch)
    assert_type(await roamify.vouchers.list(reference_id="r", limit=3), tuple[Voucher, ...])
    assert_type(await roamify.vouchers.get("v"), Voucher)
    assert_type(await roamify.vouchers.get_by_code("c"), Voucher)
    assert_type(await roamify.vouchers.revoke("v"), VoucherRevocation)
    assert_type(await roamify.insurance.countries(), tuple[InsuranceCountry, ...])
    assert_type(await roamify.insurance.packages(country_code="SA", day=7), tuple[InsuranceProduct, ...])
    assert_type(await roamify.insurance.package("insurance-p"), InsuranceProduct)
    assert_type(await roamify.insurance.order([OrderItem("insurance-p")], reference_id="r"), InsuranceOrder)
    assert_type(await roamify.insurance.get_order(reference_id="r"), InsuranceOrder)
    assert_type(await roamify.insurance.list_orders(status="COMPLETED"), tuple[InsuranceOrder, ...])
    traveller = Insurer("First", "Last", "Saudi Arabian", date_of_birth="1990-07-01", id_number="12345")
    policy = await roamify.insurance.apply(
        "p", start_date=date(2027, 7, 1), end_date="2027-07-07", mobile="966501234567", email="a@b.c", insurer=traveller
    )
    assert_type(policy, Policy)
    assert_type(policy.start_date, date | None)
    assert_type(await roamify.insurance.policy("p"), Policy)
    assert_type(await roamify.insurance.policies(order_id="o"), tuple[Policy, ...])
    assert_type(await roamify.account.balance(), Balance)
    assert_type(await roamify.service.health(), Health)
    assert_type(await roamify.devices.list(), tuple[Device, ...])
    assert_type(roamify.with_settings(timeouts=Timeouts(total=timedelta(seconds=5))), AsyncRoamify)


def synchronous(roamify: Roamify) -> None:
    """Every call blocks, and returns the same type."""
    assert_type(roamify.countries.list(geography="local"), tuple[Country, ...])
    assert_type(roamify.packages.page(page=2, country="Greece"), PackagePage)
    assert_type(roamify.packages.get("esim-x"), Package)
    assert_type(roamify.packages.list(days=7, gbs=1.5), Catalogue)
    assert_type(roamify.packages.iter(country_code="GR", page_size=20), Iterator[Package])
    assert_type(roamify.orders.create([OrderItem("p", 2)], reference_id="r"), Order)
    assert_type(roamify.orders.create_instant([OrderItem("p")]), InstantOrder)
    assert_type(roamify.orders.get(reference_id="r"), Order)
    assert_type(roamify.orders.list(limit=3), tuple[Order, ...])
    assert_type(roamify.esims.apply("e", start_date="2027-07-01"), ReadyEsim)
    assert_type(roamify.esims.apply_order("r", start_date=date(2027, 7, 1)), tuple[ReadyEsim, ...])
    assert_type(roamify.esims.get(iccid="1"), Esim)
    assert_type(roamify.esims.list(reference_id="r"), tuple[Esim, ...])
    assert_type(roamify.esims.usage("1"), Usage)
    assert_type(roamify.esims.history("1"), tuple[HistoryItem, ...])
    assert_type(roamify.esims.usage_details("1"), UsageDetails)
    assert_type(roamify.esims.events(esim_id="e"), EsimEvents)
    assert_type(roamify.esims.link(iccid="1"), EsimLink)
    assert_type(roamify.esims.send_sms("1", "hello"), SmsReceipt)
    assert_type(roamify.refunds.get("r"), Refund)
    assert_type(roamify.rates.currencies(), Any)
    assert_type(roamify.rates.get(source="USD", start=datetime.now(UTC), end=datetime.now(UTC)), Any)
    assert_type(roamify.affiliates.packages("trips"), tuple[AffiliateDestination, ...])
    assert_type(roamify.request("GET", "/api/balance", params={"a": None, "b": 1}), dict[str, Any])
    assert_type(roamify.request("POST", "/api/x", json=[1], response_type=dict), dict[str, Any])
    assert_type(roamify.request("GET", "/api/balance", response_type=Balance), Balance)
    assert_type(roamify.request("GET", "/api/x", response_type=tuple[Order, ...]), tuple[Order, ...])
    assert_type(roamify.request("GET", "/api/x", response_type=object), object)
    assert_type(roamify.esims.buy("p", 2, start_date="2027-07-01", reference_id="r"), tuple[ReadyEsim, ...])
    assert_type(roamify.orders.reconcile("r"), Order)
    report = roamify.orders.bulk((CreateOrder([OrderItem("p")]) for _ in range(3)), on_progress=print)
    assert_type(report, BulkReport)
    assert_type(report.lines[0].order, Order | None)
    assert_type(report.spent, Decimal)
    assert_type(roamify.topups.packages("1", days=7), tuple[TopUpPackage, ...])
    assert_type(roamify.topups.create("1", "p", reference_id="r"), Order)
    assert_type(roamify.vouchers.create("p"), VoucherBatch)
    assert_type(roamify.vouchers.list(), tuple[Voucher, ...])
    assert_type(roamify.insurance.order([OrderItem("insurance-p")]), InsuranceOrder)
    assert_type(roamify.insurance.policy("p"), Policy)
    assert_type(roamify.account.balance(), Balance)
    assert_type(roamify.service.health(), Health)
    assert_type(roamify.devices.list(), tuple[Device, ...])
    assert_type(roamify.with_settings(reconcile_window=5), Roamify)


def values(package: Package, order: Order, esim: Esim) -> None:
    """Money is ``Decimal``, times are ``datetime``, and optional values say so."""
    with capture_responses() as responses:
        assert_type(responses, list[RawResponse])
    assert_type(responses[0].text, str)
    assert_type(package.price, Decimal)
    assert_type(package.data_amount, Decimal | None)
    assert_type(package.destination.country_name, str)
    assert_type(order.total, Decimal)
    assert_type(order.created_at, datetime | None)
    assert_type(order.items[0].esim_id, str)
    assert_type(esim.esim.lpa_code, str | None)
    assert_type(CreateOrder([OrderItem("p")]).items, tuple[OrderItem, ...])
    Settings(
        timeouts=Timeouts(connect=1, total=timedelta(seconds=90)), reconcile_window=timedelta(seconds=5), ssl="ca.pem"
    )


def mistakes(roamify: Roamify) -> None:
    """Mistakes are found by type checkers."""
    roamify.orders.create()  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    roamify.orders.create([OrderItem("p")], refrence_id="r")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    roamify.orders.list(3)  # type: ignore[call-arg,arg-type]  # pyright: ignore[reportCallIssue]
    roamify.packages.list(contry="Greece")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    roamify.with_settings(concurrency=3)  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
    roamify.esims.usage(1)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
    roamify.request("GET", "/api/x", body=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
    roamify.request("GET", "/api/x", response_type=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue,reportArgumentType]
    roamify.packages.teleport()  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


def catalogues(catalogue: Catalogue, esim: Esim) -> None:
    """Each part of a catalogue has its type, and so has each code."""
    assert_type(catalogue[0], Package)
    assert_type(catalogue[1:3], Catalogue)
    assert_type(list(catalogue), list[Package])
    assert_type(max(catalogue, key=lambda package: package.price), Package)
    assert_type(catalogue.filter(country="gr", max_price=Decimal(5), gbs=0.5, unlimited=False), Catalogue)
    assert_type(catalogue.cheapest(by="country"), Catalogue)
    assert_type(Catalogue.load("catalogue.roamify"), Catalogue)
    assert_type(catalogue.diff(catalogue), CatalogueDiff)
    assert_type(catalogue.diff(catalogue).repriced, tuple[PriceChange, ...])
    assert_type(esim.qr(), QrCode)
    assert_type(esim.qr().svg(), str)
    assert_type(lpa.parse("LPA:1$smdp.example.com$CODE"), lpa.ActivationCode)
    assert_type(lpa.install_links("LPA:1$smdp.example.com$CODE").apple, str)
    assert_type(lpa.luhn_ok("8944500102198304826"), bool)
