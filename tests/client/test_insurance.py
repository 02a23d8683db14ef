"""Insurance is ordered once and issued once, what a traveller tells stays private, and nothing wrong is sent."""

import json
import pickle
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import attrs
import pytest
from support.clients import QUICK, WrongCall, check_refused
from support.servers import Raw, answer, nobody, routed

from roamify_async import (
    APIStatusError,
    ApplyPolicy,
    AsyncRoamify,
    BadRequestError,
    ConflictError,
    ConnectError,
    ConnectionLostError,
    Insurer,
    NotFoundError,
    OrderInsurance,
    OrderItem,
    PackageNotFoundError,
    Policy,
    PolicyStatus,
    PurchaseInDoubtError,
    Retries,
    ServerError,
)
from roamify_async._core import concurrency
from roamify_async._serde.converter import structure
from roamify_async._serde.envelope import encode
from roamify_async.purchasing import look_up

WEEK = "insurance-saudi-arabia-individual-7days"
MONTH = "insurance-saudi-arabia-individual-30days"
ORDER = "POST /api/insurance/order"
FOUND = "GET /api/insurance/order"
LATEST = "GET /api/insurance/orders"
OFFERED = "GET /api/insurance/packages"
APPLY = "POST /api/insurance/apply"
POLICY = "GET /api/insurance/policy"
LAYLA = Insurer(
    "Layla",
    "Saleh",
    "Saudi Arabian",
    date_of_birth=date(1990, 7, 1),
    id_number="1023456789",
    passport_number="X1234567",
)
JOURNEY: dict[str, Any] = {
    "start_date": date(2027, 7, 1),
    "end_date": date(2027, 7, 7),
    "mobile": "966501234567",
    "email": "layla@example.com",
    "insurer": LAYLA,
}


def failed(status: int, message: str = "no") -> bytes:
    """Write a refusal as the server does."""
    return answer(json.dumps({"message": message, "status": "failed"}), status)


def told(data: object) -> bytes:
    """Write an answer as the server does."""
    return answer(json.dumps({"status": "success", "data": data}))


# ---------------------------------------------------------------- what is refused before it is sent


def order(*items: OrderItem) -> Callable[[Any], Any]:
    """Order these."""
    return lambda client: client.insurance.order(items)


def apply(**changes: Any) -> Callable[[Any], Any]:
    """Apply with something changed."""
    return lambda client: client.insurance.apply("p-1", **{**JOURNEY, **changes})


def insurer(**changes: Any) -> Callable[[Any], Any]:
    """Apply for a traveller with something changed."""
    return lambda client: client.insurance.apply("p-1", **{**JOURNEY, "insurer": attrs.evolve(LAYLA, **changes)})


WRONG: dict[str, WrongCall] = {
    "no items": (order(), ValueError, "at least one OrderItem"),
    "an eSIM": (
        order(OrderItem("esim-greece-7days-1gb-all")),
        ValueError,
        r"not an insurance package: .*insurance\.packages\(\)",
    ),
    "six at once": (order(OrderItem(WEEK, 6)), ValueError, "at most 5 policies together, not 6"),
    "six in two lines": (order(OrderItem(WEEK, 5), OrderItem(MONTH)), ValueError, "at most 5 policies together, not 6"),
    "neither id": (lambda c: c.insurance.get_order(), ValueError, "exactly one of order_id, reference_id; none given"),
    "both ids": (
        lambda c: c.insurance.get_order(order_id="o", reference_id="r"),
        ValueError,
        "order_id and reference_id given",
    ),
    "no orders": (lambda c: c.insurance.list_orders(limit=0), ValueError, "limit must be at least 1"),
    "no policies": (lambda c: c.insurance.policies(limit=0), ValueError, "limit must be at least 1"),
    "no policy": (lambda c: c.insurance.policy(""), ValueError, "policy_id must not be empty"),
    "no package": (lambda c: c.insurance.package(None), TypeError, "package_id must be text"),
    "no day": (lambda c: c.insurance.packages(day=0), ValueError, "day must be at least 1"),
    "a planet": (lambda c: c.insurance.countries(geography="planet"), ValueError, "local, regional, global"),
    "an end before the start": (apply(end_date=date(2027, 6, 30)), ValueError, "end_date must be after start_date"),
    "an end on the first day": (apply(end_date=date(2027, 7, 1)), ValueError, "end_date must be after start_date"),
    "no start": (apply(start_date=None), TypeError, "start_date must be a date"),
    "an end in words": (apply(end_date="next week"), ValueError, "end_date must be a date like 2027-07-01"),
    "an end like on the wire": (apply(end_date="07/07/2027"), ValueError, "end_date must be a date like 2027-07-01"),
    "a start with a time": (apply(start_date=datetime(2027, 7, 1, tzinfo=UTC)), TypeError, "start_date .* a datetime"),
    "a mobile with a plus": (apply(mobile="+966501234567"), ValueError, r"mobile must be 8 to 15 digits .*without \+"),
    "a mobile with spaces": (apply(mobile="966 50 1234567"), ValueError, "mobile must be 8 to 15 digits"),
    "a short mobile": (apply(mobile="1234567"), ValueError, "mobile must be 8 to 15 digits"),
    "a long mobile": (apply(mobile="1" * 16), ValueError, "mobile must be 8 to 15 digits"),
    "a mobile in other digits": (apply(mobile="٩٦٦٥٠١٢٣٤٥٦٧"), ValueError, "mobile must be 8 to 15 digits"),
    "a mobile that is a number": (apply(mobile=966501234567), TypeError, "mobile must be text, not int"),
    "an e-mail address without a host": (apply(email="layla"), ValueError, "email must be an e-mail address"),
    "two e-mail addresses": (apply(email="a@b.c d@e.f"), ValueError, "email must be an e-mail address"),
    "an insurer that is a dict": (apply(insurer={"first_name": "Layla"}), TypeError, r"insurer must be an Insurer\("),
    "no first name": (insurer(first_name=" "), ValueError, "first_name must be a name"),
    "no last name": (insurer(last_name=""), ValueError, "last_name must be a name"),
    "no nationality": (insurer(nationality=""), ValueError, "nationality must not be empty"),
    "a birth to come": (insurer(date_of_birth=date(2999, 1, 1)), ValueError, "date_of_birth must be a day in the past"),
    "a birth long ago": (insurer(date_of_birth=date(1800, 1, 1)), ValueError, "at most 120 years ago"),
    "a birth in words": (insurer(date_of_birth="1.7.1990"), ValueError, "date_of_birth must be a datetime.date"),
    "a birth with a time": (insurer(date_of_birth=datetime(1990, 7, 1, tzinfo=UTC)), TypeError, "date_of_birth must"),
    "a short id": (insurer(id_number="1234"), ValueError, "id_number must be 5 to 20 letters and digits"),
    "a long id": (insurer(id_number="1" * 21), ValueError, "id_number must be 5 to 20 letters and digits"),
    "an id with a sign": (insurer(id_number="10234-56789"), ValueError, "id_number must be 5 to 20 letters and digits"),
    "an id that is a number": (insurer(id_number=1023456789), TypeError, "id_number must be text, not int"),
    "an odd passport": (insurer(passport_number="X 123456"), ValueError, "passport_number must be 5 to 20 letters"),
}


async def test_wrong_arguments(either, sandbox):
    """A wrong argument raises ``TypeError`` or ``ValueError`` that names it, and nothing is sent."""
    await check_refused(either, sandbox, WRONG)


@pytest.mark.parametrize("quantities", [(1,), (5,), (2, 3), (1, 1, 1, 1, 1)])
def test_five_policies(quantities):
    """Up to five policies can be ordered at once, in as many lines as one likes."""
    wanted = [OrderItem(WEEK if place % 2 else MONTH, quantity) for place, quantity in enumerate(quantities)]
    request = OrderInsurance(wanted)
    assert sum(request.packages().values()) == sum(quantities)


def test_least_and_most():
    """The shortest and longest mobile numbers and ids are taken, and a traveller of 120 years."""
    today = datetime.now(UTC).date()
    for mobile, number, born in (
        ("1" * 8, "a1B2c", date(today.year - 120, 1, 1)),
        ("1" * 15, "A" * 20, today - timedelta(days=1)),
    ):
        traveller = attrs.evolve(LAYLA, id_number=number, passport_number=number, date_of_birth=born)
        request = ApplyPolicy("p-1", **{**JOURNEY, "mobile": mobile, "insurer": traveller})
        assert (request.mobile, request.insurer.date_of_birth) == (mobile, born)


# ---------------------------------------------------------------- days and privacy


def test_days_on_the_wire():
    """Days go out like 31/12/2027, whether they were given as dates or as ISO text; what is not told is left out."""
    traveller = Insurer("Layla", "Saleh", "Saudi Arabian", date_of_birth="1990-07-01")
    days: dict[str, Any] = {"start_date": "2027-12-31", "end_date": date(2028, 1, 6), "insurer": traveller}
    body = encode(ApplyPolicy("p-1", **{**JOURNEY, **days}), "POST", "/api/insurance/apply").body
    assert body is not None
    sent = json.loads(body)
    assert (sent["startDate"], sent["endDate"]) == ("31/12/2027", "06/01/2028")
    assert sent["insurer"] == {
        "firstName": "Layla", "lastName": "Saleh", "nationality": "Saudi Arabian", "dateOfBirth": "01/07/1990",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("shown", "day"),
    [
        ("31/12/2027", date(2027, 12, 31)),
        ("2027-12-31", date(2027, 12, 31)),
        ("20271231", date(2027, 12, 31)),
        ("", None),
        (None, None),
    ],
)
def test_days_in_answers(shown, day):
    """A day is read in any of the API's ways to write one; an empty text is none."""
    assert structure({"policyId": "p", "startDate": shown}, Policy).start_date == day


@pytest.mark.parametrize("shown", ["12/31/2027", "30/02/2027", "1/1/2027", "31-12-2027", "soon", 20271, True, ["x"]])
def test_days_that_are_none(shown):
    """What is no day is refused, and the place is named."""
    with pytest.raises(ValueError, match=re.escape("$.startDate: ")):
        structure({"policyId": "p", "startDate": shown}, Policy)


def test_private():
    """Neither the request nor the policy shows who is insured, nor how to reach them; pickling keeps it."""
    request = ApplyPolicy("p-1", **JOURNEY)
    issued = structure({"policyId": "p", "insurerName": "Layla Saleh"}, Policy)
    secrets = ("Layla", "Saleh", "1990", "1023456789", "X1234567", "966501234567", "layla@example.com")
    assert not [secret for secret in secrets if secret in repr(request) + str(request) + repr(issued)]
    assert "p-1" in repr(request)
    assert pickle.loads(pickle.dumps(request)) == request


def test_personal_data_is_not_repeated():
    """An error about a traveller's data does not contain the data."""
    insurance = SimpleNamespace(apply=ApplyPolicy)
    for name, (call, kind, _) in WRONG.items():
        if name.startswith(("a mobile", "an id", "a birth", "two")):
            with pytest.raises(kind) as caught:
                call(SimpleNamespace(insurance=insurance))
            message = str(caught.value).replace("966501234567", "")  # the example in the message itself
            assert not re.search(r"12345|966 50|\+966|٩|1023|1\.7|2999|1800|a@b", message), name


# ---------------------------------------------------------------- orders, answer by answer


BLIND = QUICK.changed(check_packages=False, look_first=False)
"""Settings under which a purchase is sent at once."""


@pytest.fixture(autouse=True)
def impatient(monkeypatch) -> None:
    """Look up again sooner than a real server should be asked."""
    monkeypatch.setattr(concurrency, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(look_up, "FIRST_PAUSE", 0.01)


Stage = Callable[[Mapping[str, list[bytes]]], AbstractAsyncContextManager[tuple[Raw, AsyncRoamify]]]


@pytest.fixture
def stage() -> Stage:
    """Have a server that answers each route as told, and a client of it."""

    @asynccontextmanager
    async def play(routes: Mapping[str, list[bytes]]) -> AsyncIterator[tuple[Raw, AsyncRoamify]]:
        async with (
            Raw(routed(routes)) as server,
            AsyncRoamify("token", base_url=server.url, settings=BLIND) as client,
        ):
            yield server, client

    return play


def count(server: Raw, route: str) -> int:
    """Count the requests of a kind."""
    return sum(asked.line.partition("?")[0].removesuffix(" HTTP/1.1") == route for asked in server.requests)


def booked(*packages: str, reference_id: str = "r", age: int = 0) -> bytes:
    """Write an order as the server does."""
    made = int(time.time()) - age
    lines = [{"policyId": f"p-{n}", "packageId": package, "price": 9.5} for n, package in enumerate(packages)]
    return told({"id": "o-1", "referenceId": reference_id, "total": 9.5, "items": lines, "createdAt": made})


@pytest.mark.parametrize("failure", [failed(503), failed(409), b"", answer("{"), failed(302)], ids=range(5))
async def test_order_is_looked_up(stage, failure):
    """Whatever hides the answer, our order is looked up by its reference, and made once."""
    async with stage({ORDER: [failure], FOUND: [booked(WEEK, WEEK)]}) as (server, client):
        order = await client.insurance.order([OrderItem(WEEK, 2)], reference_id="r")
    assert [line.policy_id for line in order.items] == ["p-0", "p-1"]
    assert (count(server, ORDER), count(server, FOUND)) == (1, 1)
    assert server.requests[1].line.startswith(f"{FOUND}?referenceId=r ")


async def test_order_that_is_not_there_yet(stage):
    """An order that is not there at first is looked for until it is."""
    looks = [failed(404), failed(404), booked(WEEK)]
    async with stage({ORDER: [b""], FOUND: looks}) as (server, client):
        patient = client.with_settings(reconcile_window=30)
        assert (await patient.insurance.order([OrderItem(WEEK)], reference_id="r")).id == "o-1"
    assert (count(server, ORDER), count(server, FOUND)) == (1, 3)


async def test_order_that_is_not_there(stage):
    """An order that is not there stays in doubt, and the error says how to look it up."""
    async with stage({ORDER: [failed(503)], FOUND: [failed(404)]}) as (server, client):
        for _ in range(2):
            with pytest.raises(PurchaseInDoubtError, match=r"insurance\.get_order\(reference_id='r'\)") as caught:
                await client.insurance.order([OrderItem(WEEK)], reference_id="r")
    assert (caught.value.reference_id, caught.value.package_ids) == ("r", (WEEK,))
    assert count(server, ORDER) == 1


EMPTY = {LATEST: [told({"orders": []})]}


async def test_order_is_sent_again_after_a_proven_absence(stage):
    """Where that is allowed, an order that is not there is sent once more, with the same reference."""
    async with stage(
        {ORDER: [b"", booked(WEEK)], FOUND: [failed(404), booked(WEEK)], LATEST: [told({"orders": []})]}
    ) as (server, client):
        allowed = client.with_settings(on_doubt="look_up_then_resend", reconcile_window=0)
        assert (await allowed.insurance.order([OrderItem(WEEK)], reference_id="r")).id == "o-1"
    sent = [asked.body for asked in server.requests if asked.line.startswith(ORDER)]
    assert len(sent) == 2
    assert sent[0] == sent[1]


async def test_order_with_a_balance_too_low(stage):
    """A 409 with no order under the reference is a ``ConflictError`` in the server's words."""
    low = failed(409, "Insufficient partner balance")
    async with stage({ORDER: [low], FOUND: [failed(404)]}) as (server, client):
        with pytest.raises(ConflictError, match="Insufficient partner balance"):
            await client.insurance.order([OrderItem(WEEK)])
    assert (count(server, ORDER), count(server, FOUND)) == (1, 1)


@pytest.mark.parametrize(
    "other",
    [booked(MONTH), booked(WEEK, WEEK), booked(WEEK, reference_id="R"), booked(WEEK, age=400)],
    ids=["package", "more", "reference", "age"],
)
async def test_another_order_under_the_reference(stage, other):
    """An order that is not the purchase is named, and never given out for it."""
    async with stage({ORDER: [failed(409)], FOUND: [other]}) as (_, client):
        with pytest.raises(ConflictError, match="there are other orders under this reference: o-1"):
            await client.insurance.order([OrderItem(WEEK)], reference_id="r")


async def test_look_ups_that_fail(stage):
    """A look-up that fails proves no absence: nothing is sent again, whatever is allowed."""
    async with stage({ORDER: [b""], FOUND: [failed(400)]}) as (server, client):
        with pytest.raises(PurchaseInDoubtError):
            await client.with_settings(on_doubt="look_up_then_resend").insurance.order([OrderItem(WEEK)])
    assert count(server, ORDER) == 1


async def test_typo_in_a_package_id(stage):
    """An id that is not offered is refused before anything is sent, with the nearest ids."""
    offered = told({"packages": [{"id": "i", "packages": [{"packageId": WEEK, "price": 9.5}]}]})
    async with stage({ORDER: [failed(500)], OFFERED: [offered], FOUND: [failed(404)]}) as (server, client):
        checking = client.with_settings(check_packages=True)
        with pytest.raises(PackageNotFoundError, match=r"no package 'insurance-typo'.* insurance\.packages\(\)"):
            await checking.insurance.order([OrderItem(WEEK), OrderItem("insurance-typo")])
        assert (count(server, ORDER), count(server, FOUND)) == (0, 0)
        with pytest.raises(PurchaseInDoubtError):
            await checking.insurance.order([OrderItem(WEEK)])


# ---------------------------------------------------------------- policies, answer by answer


def policy(status: str, **changes: Any) -> bytes:
    """Write a policy as the server does; with days and a name from the moment on at which it is issued."""
    issued = {"startDate": "01/07/2027", "endDate": "07/07/2027", "insurerName": "LAYLA  Saleh"}
    empty = dict.fromkeys(issued, "")
    facts = empty if status in {"NEW", "PENDING"} else issued
    return told({"policyId": "p-1", "status": status, **facts, "policy": None, "expiredAt": -1, **changes})


LOST = {
    "a cut connection": b"",
    "an answer that is cut": answer("{"),
    "503": failed(503),
    "504": failed(504),
    "being issued": failed(409, "The policy is currently being issued"),
    "being issued already": failed(409, "The policy is already being issued"),
}


@pytest.mark.parametrize("failure", LOST.values(), ids=LOST)
async def test_policy_is_read(stage, failure):
    """Where it is not known whether a policy was issued, it is read until it is, and never applied for again."""
    looks = [policy("NEW"), failed(503), policy("PENDING"), policy("ISSUED")]
    async with stage({APPLY: [failure], POLICY: looks}) as (server, client):
        patient = client.with_settings(reconcile_window=30)
        issued = await patient.insurance.apply("p-1", **JOURNEY)
    assert (issued.status, issued.start_date, issued.is_issued) == (PolicyStatus.ISSUED, date(2027, 7, 1), True)
    assert (count(server, APPLY), count(server, POLICY)) == (1, 4)


FINAL = {
    "issued already": failed(409, "The policy is already issued"),
    "issued for the reference": failed(409, "A policy has already been issued for this reference"),
    "another 409": failed(409),
}


@pytest.mark.parametrize("failure", FINAL.values(), ids=FINAL)
async def test_final_conflict(stage, failure):
    """A 409 that is final is raised at once, after one look."""
    async with stage({APPLY: [failure], POLICY: [policy("NEW")]}) as (server, client):
        with pytest.raises(ConflictError, match="the policy is NEW"):
            await client.with_settings(retries=Retries(deadline=600)).insurance.apply("p-1", **JOURNEY)
    assert (count(server, APPLY), count(server, POLICY)) == (1, 1)


@pytest.mark.parametrize("failure", FINAL.values(), ids=FINAL)
async def test_final_conflict_of_our_own_policy(stage, failure):
    """A policy that an earlier call issued for the same traveller and dates is returned."""
    async with stage({APPLY: [failure], POLICY: [policy("ISSUED")]}) as (server, client):
        assert (await client.insurance.apply("p-1", **JOURNEY)).is_issued
    assert (count(server, APPLY), count(server, POLICY)) == (1, 1)


async def test_conflict_while_it_is_pending(stage):
    """After a 409 in other words a pending policy is waited for."""
    async with stage({APPLY: [failed(409)], POLICY: [policy("PENDING"), policy("ISSUED")]}) as (server, client):
        assert (await client.insurance.apply("p-1", **JOURNEY)).is_issued
    assert (count(server, APPLY), count(server, POLICY)) == (1, 2)


@pytest.mark.parametrize("failure", LOST.values(), ids=LOST)
async def test_policy_without_a_name(stage, failure):
    """A policy with the same dates is ours if the response omits the name."""
    async with stage({APPLY: [failure], POLICY: [policy("ISSUED", insurerName="")]}) as (_, client):
        assert (await client.insurance.apply("p-1", **JOURNEY)).is_issued


OTHERS = {
    "other first day": policy("ISSUED", startDate="02/07/2027"),
    "other last day": policy("ACTIVE", endDate="08/07/2027"),
    "somebody else": policy("ISSUED", insurerName="Amal Saleh"),
    "cancelled": policy("CANCELLED"),
    "to be looked into": policy("REQUIRE_ACTION"),
    "over": policy("EXPIRED"),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
@pytest.mark.parametrize(
    ("failure", "kind"), [(b"", ConnectionLostError), (failed(409), ConflictError)], ids=["lost", "409"]
)
async def test_policy_that_is_not_what_was_asked_for(stage, other, failure, kind):
    """A policy that was issued for something else, or never will be, is not given out: what went wrong is raised."""
    async with stage({APPLY: [failure], POLICY: [other]}) as (server, client):
        with pytest.raises(kind, match=r"the policy is [A-Z_]+: see insurance\.policy\('p-1'\)"):
            await client.insurance.apply("p-1", **JOURNEY)
    assert (count(server, APPLY), count(server, POLICY)) == (1, 1)


@pytest.mark.parametrize("message", ["refused by the provider", ""])
async def test_provider_that_fails(stage, message):
    """A 502 is raised once the window has passed and the policy is not issued; it is not applied for again."""
    async with stage({APPLY: [failed(502, message)], POLICY: [policy("NEW")]}) as (server, client):
        with pytest.raises(ServerError) as caught:
            await client.insurance.apply("p-1", **JOURNEY)
    assert caught.value.status == 502
    assert count(server, APPLY) == 1
    assert count(server, POLICY) >= 1


async def test_policy_that_takes_too_long(stage):
    """Where the call's deadline ends before the policy is issued, what went wrong is raised."""
    short = Retries(tries=1, deadline=0.05)
    async with stage({APPLY: [failed(409, "being issued")], POLICY: [policy("PENDING")]}) as (server, client):
        with pytest.raises(ConflictError, match="being issued"):
            await client.with_settings(retries=short).insurance.apply("p-1", **JOURNEY)
    assert count(server, APPLY) == 1


@pytest.mark.parametrize(("status", "kind"), [(400, BadRequestError), (404, NotFoundError), (402, APIStatusError)])
async def test_refused_application(stage, status, kind):
    """A plain refusal is raised at once, and nothing is read."""
    async with stage({APPLY: [failed(status, "coverage starts today")]}) as (server, client):
        with pytest.raises(kind, match="coverage starts today"):
            await client.insurance.apply("p-1", **JOURNEY)
    assert len(server.requests) == 1


async def test_policy_that_cannot_be_read(stage):
    """Where reading is refused, what went wrong first is raised."""
    async with stage({APPLY: [b""], POLICY: [failed(404)]}) as (server, client):
        with pytest.raises(ConnectionLostError):
            await client.insurance.apply("p-1", **JOURNEY)
    assert (count(server, APPLY), count(server, POLICY)) == (1, 1)


async def test_application_that_never_left():
    """What could not be sent was not issued, and is not looked for."""
    with nobody() as url:
        async with AsyncRoamify("token", base_url=url, settings=QUICK) as client:
            with pytest.raises(ConnectError):
                await client.insurance.apply("p-1", **JOURNEY)


# ---------------------------------------------------------------- against the sandbox


def soon() -> dict[str, Any]:
    """Return a journey that is still to come."""
    today = datetime.now(UTC).date()
    return {**JOURNEY, "start_date": today + timedelta(days=30), "end_date": today + timedelta(days=32)}


async def test_insurance_from_offer_to_policy(either, sandbox):
    """Insurance is offered, ordered, and issued for a traveller."""
    (country, *_) = await either.insurance.countries(geography="local")
    (product,) = await either.insurance.packages(country=country.name, package_id=WEEK)
    assert await either.insurance.package(WEEK) == product
    (package,) = product.packages
    order = await either.insurance.order([OrderItem(package.package_id, 2)])
    assert order.total == 2 * package.price
    assert await either.insurance.get_order(order_id=order.id) == order
    assert await either.insurance.list_orders() == (order,)
    first, second = [line.policy_id for line in order.items]
    journey = soon()
    issued = await either.insurance.apply(first, **journey)
    assert issued.is_issued
    assert (issued.start_date, issued.end_date) == (journey["start_date"], journey["end_date"])
    assert issued.policy is not None
    assert await either.insurance.policy(first) == issued
    assert {one.policy_id for one in await either.insurance.policies(order_id=order.id)} == {first, second}
    assert [one.policy_id for one in await either.insurance.policies(status="NEW")] == [second]


@pytest.mark.parametrize("fault", ["drop", "503", "502_html", "409", "garbled", "truncated", "reset", "pending"])
async def test_policy_is_issued_once(either, sandbox, fault):
    """Whatever happens to the answer, a policy is applied for once, and given once it is issued."""
    (line,) = (await either.insurance.order([OrderItem(WEEK)])).items
    sandbox.fail("POST", "/api/insurance/apply", fault, when="after", seconds=0.1 if fault == "pending" else 0)
    issued = await either.with_settings(reconcile_window=1).insurance.apply(line.policy_id, **soon())
    assert (issued.policy_id, issued.is_issued) == (line.policy_id, True)
    assert sandbox.state()["requests"][APPLY] == 1


@pytest.mark.parametrize("fault", ["drop", "502_html"])
async def test_policy_that_is_not_issued(either, sandbox, fault):
    """What did not reach the insurance company is not sent again, and what went wrong is raised."""
    (line,) = (await either.insurance.order([OrderItem(WEEK)])).items
    sandbox.fail("POST", "/api/insurance/apply", fault)
    with pytest.raises((ConnectionLostError, ServerError)):
        await either.with_settings(retries=Retries(deadline=0.05)).insurance.apply(line.policy_id, **soon())
    assert sandbox.state()["requests"][APPLY] == 1
    assert [str(policy.status) for policy in await either.insurance.policies()] == ["NEW"]
