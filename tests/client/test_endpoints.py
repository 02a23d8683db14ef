"""Every endpoint sends the documented request and returns the documented response, with both clients.

``tests/samples`` has a file for each endpoint: the request and the response of the documentation.
"""

import datetime as dt
import json
import re
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import parse_qsl, unquote

import pytest
from support.described import Description, anonymous
from support.endpoints import ENDPOINTS, SAMPLES, sample
from support.servers import Raw, answer, answering

from roamify_async import (
    Balance,
    Country,
    Device,
    Esim,
    EsimStatus,
    EventStatus,
    InsuranceOrder,
    InsuranceProduct,
    Insurer,
    Order,
    OrderItem,
    OrderStatus,
    Policy,
    PolicyStatus,
    RefundStatus,
    Usage,
    Voucher,
    VoucherStatus,
)
from roamify_async._core.endpoint import PURCHASE, READ

GERMANY = "esim-germany-30days-1gb-all"
GREECE = "esim-greece-7days-1gb-all"
ICCID = "8940000000000012345"
ESIM_ID = "27d1aaaa-49ed-4ce4-a262-1f127b3b0000"
ORDER_ID = "0f7c0e5e-1c52-4b0e-9d0b-6a1f8f6a1111"
INSURANCE = "insurance-saudi-arabia-individual-7days"
INSURANCE_ORDER_ID = "4e2d0000-1c52-4b0e-9d0b-6a1f8f6a3333"
POLICY_ID = "3d1c0000-1c52-4b0e-9d0b-6a1f8f6a2222"
VOUCHER_ID = "6a0f3f0e-5a0c-4f5e-9a57-0a1b2c3d4e5f"
REFUND_ID = "5f3c0000-1c52-4b0e-9d0b-6a1f8f6a1111"

Call = Callable[..., Awaitable[Any]]


@pytest.fixture
def call(opened) -> Call:
    """Return a function that calls an endpoint of a server with the documented response.

    It checks that the documented request was sent, and nothing else.
    """

    async def call(name: str, *args: object, **kwargs: object) -> Any:
        documented = sample(name)
        response = answer(json.dumps(documented["answer"]), documented["status"])
        async with Raw(answering(response)) as server:
            resource, method = name.split(".")
            # A purchase is sent at once, so that it is the only request.
            client = (await opened(server.url)).with_settings(look_first=False, check_packages=False)
            value = await getattr(getattr(client, resource), method)(*args, **kwargs)
            # A search with a country reads the list of countries first.
            (request,) = [one for one in server.requests if "countries" in name or "/countries" not in one.line]
        method, target, _ = request.line.split(" ")
        path, _, query = target.partition("?")
        wanted = documented["request"]
        assert (method, unquote(path)) == (wanted["method"], unquote(wanted["path"]))
        assert dict(parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))) == wanted["query"]
        assert (json.loads(request.body) if request.body else None) == wanted["body"]
        assert request.get("Authorization") == "Bearer secret-token"
        return value

    return call


# ---------------------------------------------------------------- all endpoints


def test_every_endpoint_is_tested():
    """Each endpoint has a sample and a test in this module."""
    assert {path.stem for path in SAMPLES.glob("*.json")} == ENDPOINTS.keys()
    assert {f"test_{name.replace('.', '_')}" for name in ENDPOINTS} <= globals().keys()


def test_endpoints_match_the_description():
    """The endpoints are the operations of the OpenAPI document, without deprecated ones."""
    operations = Description().operations.items()
    described = {anonymous(f"{method} {path}") for (method, path), it in operations if not it.get("deprecated")}
    assert {anonymous(f"{endpoint.method} {endpoint.path}") for endpoint in ENDPOINTS.values()} == described
    assert len(described) > 30


def test_safety():
    """Only GET is a read, and what spends money can be looked up."""
    for name, endpoint in ENDPOINTS.items():
        assert (endpoint.method == "GET") == (endpoint.safety is READ), name
        assert (endpoint.reconciliation is not None) == (endpoint.safety is PURCHASE), name
    assert {name for name, endpoint in ENDPOINTS.items() if endpoint.safety is PURCHASE} == {
        "orders.create",
        "orders.create_instant",
        "topups.create",
        "vouchers.create",
        "insurance.order",
    }


def test_slow_endpoints_allow_more_time():
    """What takes up to 90 seconds by the documentation is not cut off before that."""
    allowed = {name: endpoint.timeout or 30 for name, endpoint in ENDPOINTS.items()}
    assert min(allowed[name] for name in ("esims.apply", "esims.apply_order", "insurance.apply")) >= 90
    assert all(allowed[name] >= 60 for name, endpoint in ENDPOINTS.items() if endpoint.safety is PURCHASE)


def test_endpoints_are_documented():
    """The docstring of each call names the page of the API's documentation."""
    for name, endpoint in ENDPOINTS.items():
        assert re.search(r"``/|https://", endpoint.__doc__ or ""), name


# ---------------------------------------------------------------- account, catalogue and service


async def test_account_balance(call: Call) -> None:
    """``account.balance`` returns the exact amount."""
    assert await call("account.balance") == Balance(balance=Decimal("3723.35"), currency="USD")


async def test_affiliates_packages(call: Call) -> None:
    """``affiliates.packages`` returns destinations with their packages."""
    (destination,) = await call("affiliates.packages", "trips & more")
    assert (destination.country_code, destination.region) == ("GR", "local")
    first, second = destination.packages
    assert (first.price, second.price) == (Decimal("1.18"), 9)
    assert (first.validity, second.validity) == (7, 15)
    assert (first.data_amount, second.data_amount) == (1024, None)
    assert (first.data, first.sms_amount, first.sms_label) == ("1 GB", None, None)
    assert first.signals[0].carriers == ("Cosmote",)
    assert first.with_top_up
    assert first.is_activated
    assert first.link == "https://example.com/r/trips"


async def test_countries_list(call: Call) -> None:
    """``countries.list`` returns countries, some without a geography."""
    countries = await call("countries.list", geography="regional")
    assert countries[0] == Country(code="GR", name="Greece", geography="local")
    assert (countries[2].name, countries[2].geography) == ("Åland Islands", None)


async def test_devices_list(call: Call) -> None:
    """``devices.list`` returns devices."""
    assert await call("devices.list") == (
        Device(
            model="Pixel 8 / Pixel 8 Pro", device_type="smartphone", os="android", brand="Google", name="Pixel 8 series"
        ),
    )


async def test_packages_page(call: Call) -> None:
    """``packages.page`` returns packages that know their destination, with sentinels as ``None``."""
    page = await call(
        "packages.page",
        page=2,
        page_size=20,
        country="Côte d’Ivoire",  # noqa: RUF001
        country_code="CI",
        geography="local",
        days=15,
        gbs=1.5,
        is_unlimited=True,
        package_id="esim-greece-15days-un2gb-all",
    )
    unlimited, plain = page.packages
    assert len(page) == 2
    assert unlimited.price == Decimal("1.32")
    assert unlimited.is_unlimited
    assert (unlimited.data_amount, unlimited.call_amount, unlimited.call_unit) == (None, None, None)
    assert unlimited.throttle.throttle_speed == 128
    assert unlimited.destination.country_name == "Greece"
    assert plain.destination is page.destinations[0]
    assert plain.requirements.travel_date
    assert plain.with_sms
    assert not plain.is_apn_automatic
    assert plain.data_amount == 1024
    assert plain.with_usage_check
    assert page.destinations[0].min_price == Decimal("1.1")
    assert page.destinations[0].signals[0].networks == ("4G", "5G")
    assert (page.total, page.total_pages) == (None, None)


async def test_rates_currencies(call: Call) -> None:
    """``rates.currencies`` returns the response as parsed."""
    assert await call("rates.currencies") == {
        "status": "success",
        "data": [{"code": "USD", "name": "United States dollar"}, {"code": "EUR", "name": "Euro"}],
    }


async def test_rates_get(call: Call) -> None:
    """``rates.get`` returns the response as parsed, with exact numbers."""
    start, end = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, 12, 30, tzinfo=UTC)
    rates = await call("rates.get", source="USD", target="EUR", start=start, end=end, interval="day")
    assert (rates[0]["rate"], rates[0]["time"]) == (Decimal("0.85149"), "2026-01-01T00:00:00+0000")


async def test_refunds_get(call: Call) -> None:
    """``refunds.get`` returns a refund and keeps what is not documented."""
    refund = await call("refunds.get", REFUND_ID)
    assert (refund.refund_id, refund.status, refund.iccid) == (REFUND_ID, RefundStatus.REJECTED, None)
    assert refund.rejection_reason == "The eSIM was used."
    assert refund.raw["amount"] == Decimal("1.18")
    assert refund.created_at == datetime(2026, 11, 9, tzinfo=UTC)


async def test_service_health(call: Call) -> None:
    """``service.health`` returns any response."""
    assert (await call("service.health")).raw == {"status": "up"}


# ---------------------------------------------------------------- orders and top-ups


def check_order(order: Order, reference_id: str) -> None:
    """Check the order of the documentation."""
    assert (order.id, order.reference_id, order.total) == (ORDER_ID, reference_id, Decimal("1.18"))
    assert order.status == OrderStatus.COMPLETED
    assert str(order.status) == "COMPLETED"
    assert order.created_at == datetime(2025, 6, 24, 21, 38, 25, tzinfo=UTC)
    assert (order.items[0].esim_id, order.items[0].price) == (ESIM_ID, Decimal("1.18"))


async def test_orders_create(call: Call) -> None:
    """``orders.create`` returns the order."""
    check_order(await call("orders.create", [OrderItem(GERMANY)], reference_id="my-ref-1"), "my-ref-1")


async def test_orders_create_instant(call: Call) -> None:
    """``orders.create_instant`` returns the order with eSIMs that can be installed."""
    order = await call("orders.create_instant", [OrderItem(GERMANY)], reference_id="my-ref-1")
    assert (order.total, order.reference_id) == (5, "my-ref-1")
    check_esim(order.esims[0])


async def test_orders_get(call: Call) -> None:
    """``orders.get`` returns the order of a reference."""
    check_order(await call("orders.get", reference_id="my-ref-1"), "my-ref-1")


async def test_orders_list(call: Call) -> None:
    """``orders.list`` returns orders, also without a reference or with an unknown status."""
    first, second = await call("orders.list", status="COMPLETED", limit=10, reference_id="my-ref-1")
    assert first.total == Decimal("1.18")
    assert (second.reference_id, str(second.status)) == (None, "SOMETHING_NEW")


async def test_topups_create(call: Call) -> None:
    """``topups.create`` returns the order."""
    check_order(await call("topups.create", ICCID, GREECE, reference_id="my-ref-2"), "my-ref-2")


async def test_topups_packages(call: Call) -> None:
    """``topups.packages`` returns packages with nested allowances."""
    package, *_ = await call("topups.packages", ICCID, days=7, gbs=1, is_unlimited=False, package_id=GREECE)
    assert (package.package_id, package.price) == (GREECE, 5)
    assert package.data.data_amount == 1024
    assert package.call.call_amount is None
    assert package.apn.apn_name == "globaldata"
    assert package.sms.with_sms is False


# ---------------------------------------------------------------- eSIMs


def check_esim(esim: Esim) -> None:
    """Check the eSIM of the documentation, which can be installed."""
    assert (esim.iccid, esim.status) == (ICCID, EsimStatus.READY)
    assert esim.is_installable
    assert esim.esim.lpa_code == "LPA:1$smdp.example.com$CODE"
    assert esim.esim.pin is None
    assert (esim.esim.ios_quick_install or "").endswith("carddata=LPA:1$smdp.example.com$CODE")
    assert (esim.apn.apn_automatic, esim.apn.apn_name) == (True, None)
    assert esim.with_top_up
    assert esim.sms.sms_type == "all"
    assert esim.expired_at == datetime(2025, 11, 17, 10, 6, 25, tzinfo=UTC)


async def test_esims_apply(call: Call) -> None:
    """``esims.apply`` sends a date that was given as text, and returns the eSIM."""
    check_esim(await call("esims.apply", ESIM_ID, start_date="2027-07-01"))


async def test_esims_apply_order(call: Call) -> None:
    """``esims.apply_order`` sends a date, and returns the eSIMs of the order."""
    (esim,) = await call("esims.apply_order", "my-ref-1", start_date=dt.date(2027, 7, 1))
    check_esim(esim)


async def test_esims_events(call: Call) -> None:
    """``esims.events`` returns the events with their times."""
    events = await call("esims.events", iccid=ICCID)
    assert (events.iccid, events.esim_id, events.reference_id) == (ICCID, ESIM_ID, None)
    downloaded, activated = events.events
    assert (downloaded.status, downloaded.eid) == (EventStatus.DOWNLOADED, None)
    assert (activated.status, activated.eid) == (EventStatus.ACTIVATED, "89049032000000000000000000000001")
    assert activated.time_stamp == activated.date_time == datetime(2025, 8, 30, 4, 30, 8, tzinfo=UTC)
    assert events.locations == ()


async def test_esims_get(call: Call) -> None:
    """``esims.get`` returns one eSIM."""
    check_esim(await call("esims.get", iccid=ICCID))


async def test_esims_history(call: Call) -> None:
    """``esims.history`` returns the packages of an eSIM."""
    item, *_ = await call("esims.history", ICCID)
    assert (item.esim_id, item.price) == (ESIM_ID, Decimal("1.18"))
    assert item.created_at == datetime(2025, 6, 24, 21, 38, 25, tzinfo=UTC)


async def test_esims_link(call: Call) -> None:
    """``esims.link`` returns a link whose access code keeps its zeros and stays out of the ``repr``."""
    link = await call("esims.link", esim_id=ESIM_ID)
    assert (link.link, link.access_code) == ("https://esims.link/partner/KEY12", "0412")
    assert link.whatsapp_link.startswith("https://api.whatsapp.com/")
    assert (link.key, link.iccid, link.esim_id) == ("KEY12", ICCID, ESIM_ID)
    assert link.created_at == datetime(2026, 1, 7, 19, 3, 1, tzinfo=UTC)
    assert "0412" not in repr(link)


async def test_esims_list(call: Call) -> None:
    """``esims.list`` returns eSIMs, also those that are not ready."""
    ready, new = await call("esims.list", status="READY", reference_id="my-ref-1")
    check_esim(ready)
    assert (new.iccid, new.is_installable) == (None, False)


async def test_esims_send_sms(call: Call) -> None:
    """``esims.send_sms`` returns a receipt with the whole response."""
    receipt = await call("esims.send_sms", ICCID, "Welcome to Greece ☀")
    assert (receipt.status, receipt.message) == ("success", "SMS sent")
    assert receipt.raw == {"status": "success", "message": "SMS sent", "data": {"segments": Decimal("1.5")}}


async def test_esims_usage(call: Call) -> None:
    """``esims.usage`` returns what is allowed and what is left."""
    usage = await call("esims.usage", ICCID)
    assert (usage.allowed_data, usage.remaining_data, usage.remaining_sms) == (1024, 924, 0)
    assert usage.started_at == datetime(2024, 11, 24, 10, 6, 34, tzinfo=UTC)
    assert usage.status == EsimStatus.INSTALLED


async def test_esims_usage_details(call: Call) -> None:
    """``esims.usage_details`` returns the usage of each day."""
    details = await call("esims.usage_details", ICCID)
    assert isinstance(details, Usage)
    assert (details.remaining_data, details.status) == (924, EsimStatus.ACTIVE)
    assert [day.date for day in details.data_usages] == [dt.date(2025, 1, 2), dt.date(2025, 1, 3), None]
    assert [day.usage for day in details.data_usages] == [10000, Decimal("20000.5"), 1]
    assert [day.location for day in details.data_usages] == ["Greece", None, None]


# ---------------------------------------------------------------- insurance


def check_product(product: InsuranceProduct) -> None:
    """Check the insurance product of the documentation."""
    package, *_ = product.packages
    assert (package.package_id, package.day) == (INSURANCE, 7)
    assert (package.price, package.charge) == (Decimal("9.5"), Decimal("0.5"))
    assert (package.requirements.id_number, package.requirements.passport_number) == (True, False)
    assert (product.eligible_nation_codes, product.max_price) == (("SA",), 20)


def check_insurance_order(order: InsuranceOrder) -> None:
    """Check the insurance order of the documentation."""
    assert (order.id, order.total, order.status) == (INSURANCE_ORDER_ID, 19, OrderStatus.COMPLETED)
    assert order.items[0].policy_id == POLICY_ID
    assert [line.price for line in order.items] == [Decimal("9.5")] * 2


def check_issued(policy: Policy) -> None:
    """Check the policy of the documentation that was issued."""
    assert policy.status == PolicyStatus.ISSUED
    assert policy.is_issued
    assert (policy.start_date, policy.end_date) == (dt.date(2026, 12, 31), dt.date(2027, 1, 6))
    assert policy.policy is not None
    assert (policy.policy.policy_issuance_date, policy.policy.policy_no) == (dt.date(2026, 12, 1), "P-1")
    assert (policy.policy.policy_link or "").endswith(".pdf")
    assert policy.insurer_name == "Layla Saleh"
    assert "Layla" not in repr(policy)
    assert policy.expired_at == datetime(2027, 1, 6, tzinfo=UTC)


def check_new(policy: Policy) -> None:
    """Check the policy of the documentation that was not issued yet."""
    assert (policy.policy_id, policy.order_id) == (POLICY_ID, INSURANCE_ORDER_ID)
    assert (policy.start_date, policy.end_date, policy.insurer_name, policy.policy) == (None, None, None, None)
    assert policy.expired_at is None
    assert not policy.is_issued
    assert (policy.requirements.date_of_birth, policy.requirements.passport_number) == (True, False)
    coverage = policy.coverage
    assert (coverage.insured_type, coverage.day, coverage.benefits) == ("individual", 7, ("Hospital",))


async def test_insurance_apply(call: Call) -> None:
    """``insurance.apply`` sends dates like 31/12/2026, and returns the policy."""
    insurer = Insurer("Layla", "Saleh", "Saudi Arabian", date_of_birth=dt.date(1990, 7, 1), id_number="1023456789")
    policy = await call(
        "insurance.apply",
        POLICY_ID,
        start_date="2026-12-31",
        end_date=dt.date(2027, 1, 6),
        mobile="966501234567",
        email="layla@example.com",
        insurer=insurer,
    )
    check_issued(policy)


async def test_insurance_countries(call: Call) -> None:
    """``insurance.countries`` returns countries."""
    (country,) = await call("insurance.countries", geography="local")
    assert (country.code, country.name) == ("SA", "Saudi Arabia")
    assert (country.slug, country.geography) == ("saudi-arabia", "local")


async def test_insurance_get_order(call: Call) -> None:
    """``insurance.get_order`` returns the order of a reference."""
    order = await call("insurance.get_order", reference_id="trip-1")
    check_insurance_order(order)
    assert order.reference_id == "trip-1"


async def test_insurance_list_orders(call: Call) -> None:
    """``insurance.list_orders`` returns orders, also without a reference."""
    (order,) = await call("insurance.list_orders", status="COMPLETED", limit=3)
    check_insurance_order(order)
    assert order.reference_id is None


async def test_insurance_order(call: Call) -> None:
    """``insurance.order`` returns the order with a policy for each traveller."""
    order = await call("insurance.order", [OrderItem(INSURANCE, 2)], reference_id="trip-1")
    check_insurance_order(order)
    assert order.reference_id == "trip-1"


async def test_insurance_package(call: Call) -> None:
    """``insurance.package`` returns the product of a package."""
    check_product(await call("insurance.package", INSURANCE))


async def test_insurance_packages(call: Call) -> None:
    """``insurance.packages`` returns products."""
    filters = {"geography": "local", "country": "Saudi Arabia", "country_code": "SA", "package_id": INSURANCE, "day": 7}
    (product,) = await call("insurance.packages", **filters)
    check_product(product)


async def test_insurance_policies(call: Call) -> None:
    """``insurance.policies`` returns policies, also with an unknown status."""
    issued, other = await call("insurance.policies", order_id=INSURANCE_ORDER_ID, status="ISSUED", limit=2)
    check_issued(issued)
    check_new(other)
    assert str(other.status) == "SOMETHING_NEW"


async def test_insurance_policy(call: Call) -> None:
    """``insurance.policy`` returns a policy, whose empty fields are ``None`` until it is issued."""
    check_new(await call("insurance.policy", POLICY_ID))


# ---------------------------------------------------------------- vouchers


async def test_vouchers_create(call: Call) -> None:
    """``vouchers.create`` returns a batch that shows how many vouchers are missing."""
    batch = await call("vouchers.create", GREECE, quantity=3, reference_id="batch-1", notes="")
    assert batch.reference_id == "batch-1"
    assert (batch.requested_quantity, batch.quantity, batch.missing) == (3, 2, 1)
    assert "1 missing" in repr(batch)
    assert [voucher.code for voucher in batch.vouchers] == ["A1B2C3D4E5F6", "G7H8I9J0K1L2"]
    first, *_ = batch.vouchers
    assert (first.price, first.notes, first.redeemed_at) == (Decimal("1.1"), None, None)
    assert batch.created_at == datetime(2026, 8, 31, 22, 40, tzinfo=UTC)


def check_voucher(voucher: Voucher) -> None:
    """Check the voucher of the documentation."""
    assert (voucher.id, voucher.esim_id, voucher.order_id) == (VOUCHER_ID, ESIM_ID, ORDER_ID)
    assert (voucher.redeem_url or "").endswith(voucher.code)
    assert voucher.status == VoucherStatus.ACTIVE


async def test_vouchers_get(call: Call) -> None:
    """``vouchers.get`` returns a voucher."""
    check_voucher(await call("vouchers.get", VOUCHER_ID))


async def test_vouchers_get_by_code(call: Call) -> None:
    """``vouchers.get_by_code`` returns a voucher, however its code was typed."""
    check_voucher(await call("vouchers.get_by_code", "a1b2 c3d4-e5f6"))


async def test_vouchers_list(call: Call) -> None:
    """``vouchers.list`` returns vouchers, also without a reference or with an unknown status."""
    first, second = await call("vouchers.list", reference_id="batch-1", status="ACTIVE", package_id=GREECE, limit=5)
    assert (first.status, first.notes) == (VoucherStatus.REDEEMED, "lobby")
    assert first.redeemed_at == datetime(2026, 8, 31, 23, 40, tzinfo=UTC)
    assert (second.reference_id, str(second.status)) == (None, "SOMETHING_NEW")


async def test_vouchers_revoke(call: Call) -> None:
    """``vouchers.revoke`` returns the voucher's new status."""
    revocation = await call("vouchers.revoke", VOUCHER_ID)
    assert (revocation.id, revocation.status) == (VOUCHER_ID, VoucherStatus.CANCELLED)
