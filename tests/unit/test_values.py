"""Values are compared and hashed by their fields, and become JSON and back without loss."""

import json
import pickle
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Annotated

import attrs
import fastapi
import httpx
import pydantic
import pytest
from hypothesis import given, strategies as st
from support.endpoints import ENDPOINTS, decoded, sample

from roamify_async import (
    ApplyPolicy,
    Balance,
    Catalogue,
    CreateOrder,
    Esim,
    EsimStatus,
    Insurer,
    Order,
    OrderItem,
    Package,
    PackagePage,
    ReadyEsim,
    ReadyProfile,
    Roamify,
    Usage,
)
from roamify_async._http.messages import HttpResponse
from roamify_async._serde.fields import State
from roamify_async.models._value import Value


def documented() -> Iterator[tuple[str, Value]]:
    """Yield the values of all documented responses."""
    for name, endpoint in ENDPOINTS.items():
        answer = sample(name)["answer"]
        value = decoded(endpoint, HttpResponse(200, {}, json.dumps(answer).encode()))
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, Value):
                yield name, item


VALUES = [pytest.param(value, id=f"{name}-{number}") for number, (name, value) in enumerate(documented())]


@pytest.mark.parametrize("value", VALUES)
def test_round_trip(value):
    """A value becomes JSON and back without loss, in objects and in text."""
    kind = type(value)
    assert kind.from_dict(value.to_dict()) == value
    assert kind.from_json(value.to_json()) == value
    assert kind.from_json(json.dumps(value.to_dict())) == value
    assert kind.from_json(value.to_json().encode()) == value
    assert json.loads(value.to_json(), parse_float=Decimal) == json.loads(
        json.dumps(value.to_dict()), parse_float=Decimal
    )


@pytest.mark.parametrize("value", VALUES)
def test_hash(value):
    """Equal values have equal hashes, and values of other classes or with other fields are not equal."""
    twin = pickle.loads(pickle.dumps(value))
    assert twin == value
    assert hash(twin) == hash(value)
    assert len({value, twin}) == 1
    assert value != object()
    assert value != Balance(balance=Decimal(-7))
    for field in attrs.fields(type(value)):
        if field.type in {str, str | None} and field.eq:
            other = attrs.evolve(value, **{field.name: "another"})
            assert other != value
            assert hash(other) != hash(value)


def test_keys_of_the_api():
    """The keys are those of the API, and the values those of the documented response."""
    documented = sample("orders.get")["answer"]["data"]
    order = decoded(ENDPOINTS["orders.get"], HttpResponse(200, {}, json.dumps({"data": documented}).encode()))
    written = order.to_dict()
    assert documented.items() <= {**written, "items": documented["items"]}.items()
    for item, line in zip(documented["items"], written["items"], strict=True):
        assert item.items() <= line.items()


def test_what_the_api_does_not_have():
    """The destination of a package, and whether an order was found, survive too."""
    package = Package(package_id="p", price=Decimal("1.55"))
    package.destination.country_name = "Greece"
    assert Package.from_dict(package.to_dict()).destination == package.destination
    assert package.to_dict()["destination"]["countryName"] == "Greece"
    order = Order(id="o", total=Decimal(3), was_found=True)
    assert order.to_dict()["wasFound"] is True
    assert Order.from_json(order.to_json()).was_found


def test_page_is_written_as_the_server_groups_it():
    """A page repeats no destination, and its packages have theirs again when it is read."""
    answer = sample("packages.page")["answer"]
    page = decoded(ENDPOINTS["packages.page"], HttpResponse(200, {}, json.dumps(answer).encode()))
    written = page.to_dict()
    assert all("destination" not in package for group in written["packages"] for package in group["packages"])
    assert answer["data"]["packages"][0]["countryName"] == written["packages"][0]["countryName"]
    back = PackagePage.from_dict(written)
    assert [package.destination for package in back] == [package.destination for package in page]


DECIMALS = st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30)


@given(DECIMALS)
def test_exact_numbers(number):
    """Numbers keep all digits, whether a float has them or not."""
    balance = Balance(balance=number)
    assert Balance.from_dict(balance.to_dict()).balance == number
    assert Balance.from_json(balance.to_json()).balance == number
    assert Balance.from_json(json.dumps(balance.to_dict())).balance == number
    assert json.loads(balance.to_json(), parse_float=Decimal, parse_int=Decimal)["balance"] == number


def test_numbers_that_people_know():
    """An amount is written with the digits that it has."""
    for text, written in (("1.55", 1.55), ("3.10", 3.1), ("100", 100), ("0.1", 0.1)):
        assert Balance(balance=Decimal(text)).to_dict()["balance"] == written
    assert '"balance":3.10' in Balance(balance=Decimal("3.10")).to_json()
    assert Balance(balance=Decimal("0.12345678901234567890")).to_dict()["balance"] == "0.12345678901234567890"


@given(st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001
def test_times(moment):
    """Times are Unix seconds, and keep their microseconds."""
    moment = moment.replace(tzinfo=UTC)
    order = Order(id="o", total=Decimal(1), created_at=moment)
    assert Order.from_dict(order.to_dict()) == order
    assert Order.from_json(order.to_json()) == order
    if not moment.microsecond:
        assert order.to_dict()["createdAt"] == int(moment.timestamp())


@given(st.text())
def test_text(text):
    """Any text survives, lone surrogates as well."""
    esim = Esim(id=text, status=EsimStatus(text), notes=(text,))
    for back in (Esim.from_dict(esim.to_dict()), Esim.from_json(esim.to_json())):
        assert (back.id, back.notes) == (text, (text,))
        assert isinstance(back.status, State)
        assert str(back.status) == text


def test_lone_surrogate():
    """A lone surrogate is escaped, as JSON asks for."""
    esim = Esim(id="\ud800")
    assert Esim.from_json(esim.to_json()) == esim


def test_sentinels():
    """What is a sentinel of the API is null, and None again."""
    usage = Usage.from_dict({"data": {"initialDataAmount": 2**53 - 1}} | {"status": "ACTIVE"})
    assert Usage.from_dict(usage.to_dict()) == usage


def test_requests():
    """Requests become JSON as well, with their validators in force on the way back."""
    request = CreateOrder([OrderItem("p", 2)], reference_id="order-4711")
    assert request.to_dict() == {"items": [{"packageId": "p", "quantity": 2}], "referenceId": "order-4711"}
    assert CreateOrder.from_json(request.to_json()) == request
    with pytest.raises(ValueError, match="at least 1"):
        CreateOrder.from_dict({"items": [{"packageId": "p", "quantity": 0}]})
    day = datetime.now(UTC).date() + timedelta(days=1)
    policy = ApplyPolicy(
        "p-1",
        start_date=day,
        end_date=day + timedelta(days=2),
        mobile="966501234567",
        email="layla@example.com",
        insurer=Insurer("Layla", "Saleh", "Saudi Arabian", date_of_birth=date(1990, 7, 1)),
    )
    assert policy.to_dict()["insurer"]["dateOfBirth"] == "01/07/1990"
    assert ApplyPolicy.from_dict(policy.to_dict()) == policy


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({}, r"\$\.id: missing"),
        ({"id": "o", "total": "much"}, r'\$\.total: a number expected, not "much"'),
        ({"id": "o", "total": 1, "items": [{"price": []}]}, r"\$\.items\[0\]\.price: a number expected"),
    ],
)
def test_problems(wrong, problem):
    """What cannot be read is named by its path."""
    with pytest.raises(ValueError, match=problem):
        Order.from_dict(wrong)
    with pytest.raises(ValueError, match=problem):
        Order.from_json(json.dumps(wrong))


@pytest.mark.parametrize("text", ["", "{", "[", b"\xff", "NaN"])
def test_not_json(text):
    """Text that is no JSON is a ``ValueError``."""
    with pytest.raises(ValueError, match=r"\w"):
        Order.from_json(text)


def test_repr_shows_what_differs_from_the_default():
    """The ``repr`` is short, and can be read as a call."""
    assert repr(OrderItem("p")) == "OrderItem(package_id='p')"
    assert repr(OrderItem("p", 2)) == "OrderItem(package_id='p', quantity=2)"


def test_summaries():
    """What people look at is one line, with money as money, and without the codes that install an eSIM."""
    package = Package(package_id="esim-greece-30days-1gb-all", price=Decimal("1.55"), day=30, data_amount=Decimal(1024))
    package.destination.country_name = "Greece"
    assert repr(package) == "<Package esim-greece-30days-1gb-all: Greece, 1 GB, 30 days, 1.55 USD>"
    unlimited = Package(package_id="p", price=Decimal(3), is_unlimited=True, day=1)
    assert repr(unlimited) == "<Package p: unlimited, 1 day, 3.00 USD>"
    assert repr(Catalogue((package,))) == "<Catalogue 1 package>"
    assert repr(Balance(balance=Decimal(100))) == "<Balance 100.00 USD>"
    assert repr(Balance(balance=Decimal("1e30"))) == f"<Balance 1{'0' * 30} USD>"
    assert repr(Balance(balance=Decimal("0.125"))) == "<Balance 0.125 USD>"
    order = Order(id="o", reference_id="order-4711", total=Decimal("3.1"))
    assert repr(order) == "<Order o: order-4711, PENDING, 0 items, 3.10 USD>"
    esim = Esim(id="e", iccid="8985", status=EsimStatus.READY)
    esim.esim.lpa_code, esim.esim.activation_code = "LPA:1$smdp.example$SECRET", "SECRET"
    assert repr(esim) == "<Esim e: READY, ICCID 8985>"
    assert "SECRET" not in repr(esim.esim)
    usage = Usage(iccid="8985", allowed_data=Decimal(1024), remaining_data=Decimal("924.5"))
    assert repr(usage) == "<Usage 8985: UNKNOWN, 924.5 of 1024 data left>"


@pytest.mark.parametrize("value", VALUES)
def test_repr_is_short(value):
    """The ``repr`` of what people look at is one line that is not too long for a terminal."""
    text = repr(value)
    assert "\n" not in text
    assert len(text) <= 200 or not text.startswith("<")


# ---------------------------------------------------------------- pydantic


class Sale(pydantic.BaseModel):
    """A model of a shop with our values in it."""

    customer: str
    order: Order
    esims: list[Esim] = []
    package: Package | None = None


def sale() -> Sale:
    """Return a sale."""
    order = Order(id="o", total=Decimal("1.55"), created_at=datetime(2026, 1, 1, tzinfo=UTC))
    return Sale(customer="c", order=order, esims=[Esim(id="e")])


def test_pydantic_field():
    """A value is a field of a model: as an instance, as an object, in JSON, and in the schema."""
    made = sale()
    assert Sale.model_validate(made.model_dump()) == made
    assert Sale.model_validate_json(made.model_dump_json()) == made
    assert made.model_dump(mode="json")["order"]["createdAt"] == 1767225600
    with pytest.raises(pydantic.ValidationError, match="missing"):
        Sale.model_validate({"customer": "c", "order": {}})
    with pytest.raises(pydantic.ValidationError, match="a Order or an object expected"):
        Sale.model_validate({"customer": "c", "order": 7})
    schema = Sale.model_json_schema()
    assert schema["$defs"]["Order"]["required"] == ["id", "total"]
    assert schema["$defs"]["Order"]["properties"]["total"] == {"type": "number"}


async def test_fastapi():
    """Values are responses, bodies and parts of the OpenAPI description of a shop."""
    shop = fastapi.FastAPI()

    @shop.post("/orders")
    async def echo(order: Annotated[Order, fastapi.Body()]) -> Order:
        return order

    @shop.get("/sale")
    async def sold() -> Sale:
        return sale()

    @shop.get("/esims")
    async def esims() -> list[Esim]:
        return [Esim(id="e", status=EsimStatus.READY)]

    transport = httpx.ASGITransport(app=shop)
    async with httpx.AsyncClient(transport=transport, base_url="http://shop") as client:
        order = sale().order
        answer = await client.post("/orders", json=order.to_dict())
        assert Order.from_dict(answer.json()) == order
        assert (await client.get("/sale")).json()["order"]["total"] == 1.55
        assert (await client.get("/esims")).json()[0]["status"] == "READY"
        assert (await client.post("/orders", json={"id": 7})).status_code == 422
        described = (await client.get("/openapi.json")).json()
    assert described["components"]["schemas"]["Order"]["properties"]["referenceId"]["anyOf"][1] == {"type": "null"}


@pytest.mark.parametrize("value", VALUES)
def test_schema_describes_the_value(value):
    """Each value is as its JSON schema says."""
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.validate(value.to_dict(), pydantic.TypeAdapter(type(value)).json_schema())


def test_pydantic_is_imported_by_its_users_only():
    """Nothing of pydantic is imported with the library."""
    code = (
        "import sys, decimal, roamify_async as r; r.AsyncRoamify, r.Roamify; "
        "r.Balance.from_json(r.Balance(balance=decimal.Decimal(1)).to_json()); "
        "sys.exit(any(name.startswith('pydantic') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_catalogue():
    """A catalogue becomes JSON too, with its packages in order."""
    packages = tuple(Package(package_id=f"p-{n}", price=Decimal(n)) for n in range(3))
    catalogue = Catalogue(packages)
    assert Catalogue.from_json(catalogue.to_json()) == catalogue


def test_dir_shows_public_names():
    """Completion by ``dir()`` shows what a user may use: of clients, resources and values."""
    client = Roamify("token")
    shown = {
        "client": {*dir(client)},
        "orders": {*dir(client.orders)},
        "esim": {*dir(Esim(id="e"))},
        "ready": {*dir(ReadyEsim(id="e", iccid="8985", esim=ReadyProfile(lpa_code="LPA:1$h$c")))},
    }
    assert [name for names in shown.values() for name in names if name.startswith("_")] == []
    assert {"orders", "doubts", "with_settings", "close"} <= shown["client"]
    assert shown["orders"] == {"create", "create_instant", "get", "list", "bulk", "repeat", "reconcile"}
    assert {"iccid", "esim", "qr", "is_installable", "to_dict", "from_json"} <= shown["esim"] == shown["ready"]
