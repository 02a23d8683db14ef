"""The OpenAPI description: valid, complete, and true of the client and of the sandbox."""

import itertools
import json
import re
from collections.abc import Iterator
from contextlib import suppress
from datetime import date

import aiohttp
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator
from support.described import DOCUMENT, Description, anonymous, strict
from support.endpoints import decoded
from support.partner import Partner, partner_of

from roamify_async import DecodeError
from roamify_async._http.messages import HttpResponse
from roamify_async.sandbox import Sandbox
from roamify_async.sandbox.routes import ROUTES
from tests.contract import fuzz as contract
from tests.fuzz.hostile import ROWS, SAMPLES

OPERATIONS = {f"{method} {path}" for method, path in Description().operations}
OLD = {f"{method} {path}" for (method, path), told in Description().operations.items() if told.get("deprecated")}
"""What older texts have, and a sandbox serves only where it is told to."""
OTHERWISE = {
    "totals": True,
    "page_counts": "destinations",
    "instant_order_shows": "esims",
    "usage_dates": "YYYY-MM-DD",
    "refund_key": "id",
    "sms_answer": "message",
    "rates_envelope": True,
    "compress": False,
}
"""Other answers of a sandbox where nobody knows the right one, as the description allows them."""
LOOSER = {"affiliates.packages": "$.data.packages[0].packages[1].validity: '15'"}
"""What samples write in another way than the API, to show that the client reads that too."""


def samples() -> Iterator[tuple[str, dict]]:
    """Yield the documented request and response of each row."""
    for name in ROWS:
        yield name, json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))


def test_the_document_is_valid():
    """The document obeys OpenAPI 3.1, and a broken one would not."""
    assert not [*OpenAPIV31SpecValidator(DOCUMENT).iter_errors()]
    assert [*OpenAPIV31SpecValidator(DOCUMENT | {"security": "token"}).iter_errors()]


def test_every_part_is_used():
    """Every component is referenced."""
    text = json.dumps(DOCUMENT)
    for kind in ("parameters", "responses", "schemas"):
        assert not [name for name in DOCUMENT["components"][kind] if f'"#/components/{kind}/{name}"' not in text]


def test_every_operation_is_documented():
    """Each operation has an id, a summary and a description, and the error responses of invalid requests and tokens."""
    operations = Description().operations
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)
    for name, operation in operations.items():
        assert operation["summary"][0].isupper(), name
        assert operation["description"][0].isupper() or operation["description"][0] == "`", name
        assert ({"400", "401", "403", "500"} <= operation["responses"].keys()) == ("security" not in operation), name


def test_the_sandbox_serves_what_is_described():
    """Each operation has a route, and each route an operation."""
    routes = {anonymous(f"{method} {path}") for method, path in ROUTES}
    assert {anonymous(operation) for operation in OPERATIONS} == routes


def test_requests_of_the_client():
    """What the client sends for a sample is what the description allows."""
    api = Description()
    for name, sample in samples():
        request = sample["request"]
        wrong = api.wrong_request(request["method"], request["path"], request["query"], request["body"])
        assert not wrong, name


def test_answers_the_client_reads():
    """The answers that the client is tested with are what the description says."""
    api = Description()
    for name, sample in samples():
        operation = api.operation(sample["request"]["method"], sample["request"]["path"])
        assert sample["status"] == api.success(operation), name
        wrong = api.wrong_answer(operation, sample["status"], sample["answer"])
        assert not [line for line in wrong if name not in LOOSER or not line.startswith(LOOSER[name])], name


INVALID_REQUESTS = [
    ("GET", "/api/esim/packages", {"page": "0"}, None),
    ("GET", "/api/esim/packages", {"limit": "5"}, None),
    ("GET", "/api/esim/orders", {"status": "completed"}, None),
    ("GET", "/api/esim/usage", {}, None),
    ("GET", "/api/esim", {"iccid": "89", "esimId": "1"}, None),
    ("GET", "/api/esim/order", {}, None),
    ("POST", "/api/esim/order", {}, None),
    ("POST", "/api/esim/order", {}, {"items": []}),
    ("POST", "/api/esim/order", {}, {"items": [{"packageId": "esim-greece-30days-1gb-all"}]}),
    ("POST", "/api/esim/order", {}, {"items": [{"packageId": "esim-x", "quantity": 1, "days": 7}]}),
    ("POST", "/api/esim/apply", {}, {"startDate": "2027-07-01"}),
    ("POST", "/api/esim/apply", {}, {"esimId": "1", "startDate": "01/07/2027"}),
    ("POST", "/api/esim/vouchers", {}, {"packageId": "esim-x", "quantity": 11}),
    ("GET", "/api/balance", {}, {}),
]


def test_wrong_requests_are_seen():
    """The description forbids what the API refuses."""
    for method, path, query, body in INVALID_REQUESTS:
        assert Description().wrong_request(method, path, query, body)


INVALID_RESPONSES = [
    {"status": "success"},
    {"status": "failed", "data": {"balance": 1, "currency": "USD"}},
    {"status": "success", "data": {"balance": "1", "currency": "USD"}},
    {"status": "success", "data": {"balance": 1}},
    {"status": "success", "data": {"balance": 1, "currency": "USD", "debt": 0}},
]


def test_wrong_answers_are_seen():
    """A response must have every field that is described, with its type, and no other."""
    for answer in INVALID_RESPONSES:
        api, operation = Description(strict(DOCUMENT)), ("GET", "/api/balance")
        assert not api.wrong_answer(operation, 200, {"status": "success", "data": {"balance": 1, "currency": "USD"}})
        assert api.wrong_answer(operation, 200, answer)
        assert api.wrong_answer(operation, 404, {"status": "failed", "message": "?"})


DATES = [
    ("EsimEvent", "dateTime", "%Y-%m-%d 23:59:59"),
    ("DayOfUse", "date", "%Y%m%d"),
    ("DayOfUse", "date", "%Y-%m-%d"),
    ("Day", "", "%d/%m/%Y"),
    ("ShownDay", "", "%d/%m/%Y"),
    ("PolicyPaper", "policyIssuanceDate", "%Y-%m-%d"),
]


@pytest.mark.parametrize(("schema", "name", "form"), DATES)
def test_dates_are_those_of_the_calendar(schema, name, form):
    """The pattern of a date allows the days that exist, and no others."""
    described = DOCUMENT["components"]["schemas"][schema]
    pattern = re.compile((described["properties"][name] if name else described)["pattern"])
    for year in (1999, 2000, 2023, 2024, 2100 - 1):
        for month, day in itertools.product(range(14), range(33)):
            with suppress(ValueError):
                assert pattern.search(date(year, month, day).strftime(form))
                continue
            text = form.replace("%Y", f"{year}").replace("%m", f"{month:02}").replace("%d", f"{day:02}")
            assert not pattern.search(text), text


USED = {
    "timestamp": 1700000000,
    "iccid": "8991000000000000001",
    "esim_id": "0b8f1a52-8f0d-4a7c-9a35-0d1f5d7a1c11",
    "reference_id": "my-ref-1",
    "start": 1699996800,
    "end": 1700000400,
    "status": "ACTIVATED",
    "package_id": "esim-greece-7days-1gb-all",
    "package_name": "1 GB - 7 Days",
    "data_units": "MB",
    "voice_units": "minutes",
    "sms_units": "sms",
    "usage_data": {
        "isUnlimited": False,
        "allowed_data": 1024,
        "remaining_data": 512,
        "allowed_sms": 0,
        "remaining_sms": 0,
        "allowed_voice": 0,
        "remaining_voice": 0,
    },
    "usage_list": [{"date": "2023-11-01", "data_used": 100, "location": "Greece"}],
}


def test_webhooks():
    """What Roamify sends on its own is described, as its documentation shows it, and each kind apart."""
    api, event = Description(strict(DOCUMENT)), {"event_category": "esim", "event_type": "usage", "data": USED}
    assert [name for name in DOCUMENT["webhooks"] if not api.wrong_event(name, event)] == ["esimUsage"]
    assert api.wrong_event("esimUsage", event | {"data": USED | {"usageList": []}})


async def test_the_sandbox_serves_its_description(sandbox):
    """Anyone reads the description at /openapi.json, with the sandbox's own address in it."""
    async with aiohttp.ClientSession() as session, session.get(f"{sandbox.url}/openapi.json") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        served = await response.json()
    assert [server["url"] for server in served.pop("servers")] == [sandbox.url]
    assert served == {key: value for key, value in DOCUMENT.items() if key != "servers"}
    assert sandbox.state()["requests"] == {}


def is_read(operation: str, status: int, answer: object) -> bool:
    """Return whether a row of the client reads a response; two rows may share a path."""
    response = HttpResponse(status, {}, json.dumps(answer, default=float).encode())
    for row in ROWS.values():
        if anonymous(f"{row.method} {row.path}") == anonymous(operation):
            with suppress(DecodeError):
                decoded(row, response)
                return True
    return False


class Visitor(Partner):
    """A plain HTTP client that holds each answer against the description: every field of it, and no other.

    What comes is read by the client's own row as well.
    """

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        """Take the sandbox and a session that knows its token."""
        super().__init__(sandbox, session)
        self.api = Description(strict(DOCUMENT))
        self.succeeded: set[str] = set()

    async def call(self, method, path, *, status=200, **given: object):
        """Send a request, insist on its status, and look at the answer."""
        answer = await super().call(method, path, status=status, **given)
        if path.startswith("/api/"):
            operation = self.api.operation(method, path)
            assert not self.api.wrong_answer(operation, status, answer), operation
            if status == self.api.success(operation):
                self.succeeded.add(" ".join(operation))
                assert is_read(" ".join(operation), status, answer), operation
        return answer


@pytest.fixture
async def visitor(request):
    """Visit a small sandbox, one of the options that a test names."""
    async with partner_of(**getattr(request, "param", {})) as partner:
        yield Visitor(partner.sandbox, partner.session)


async def visit_esims(visitor):
    """Buy eSIMs, make their profiles, top one up, and look at everything of them."""
    plain = visitor.kind("plain")
    order = (await visitor.buy(plain, quantity=2, referenceId="mine"))["data"]
    await visitor.buy(plain, path="/api/esim/order/instant")
    await visitor.get("/api/esims")
    esim_id = order["items"][0]["esimId"]
    iccid = (await visitor.post("/api/esim/apply", {"esimId": esim_id}))["data"]["iccid"]
    await visitor.post("/api/esim/apply", {"referenceId": "mine"})
    await visitor.post("/_sandbox/esims", {"esimId": esim_id, "usedData": 5})
    offered = (await visitor.get("/api/esim/topup/packages", iccid=iccid))["data"]
    await visitor.post("/api/esim/order/topup", {"iccid": iccid, "packageId": offered[0]["packageId"]})
    await visitor.get("/api/esim/order", orderId=order["id"])
    await visitor.get("/api/esim/orders")
    for page in ("", "/usage", "/usage/details", "/history", "/event"):
        await visitor.get(f"/api/esim{page}", iccid=iccid)
    await visitor.post("/api/esim/sms", {"iccid": iccid, "message": "Welcome!"})
    await visitor.post("/api/esim/link", {"iccid": iccid})
    refund = await visitor.post("/_sandbox/refunds", {"esimId": esim_id})
    await visitor.get("/api/refund", refundId=refund.get("refundId") or refund["id"])


async def visit_vouchers(visitor):
    """Mint vouchers, redeem one and revoke another."""
    minted = {"packageId": visitor.kind("plain"), "quantity": 3}
    vouchers = (await visitor.post("/api/esim/vouchers", minted, status=201))["data"]["vouchers"]
    await visitor.post("/_sandbox/vouchers/redeem", {"code": vouchers[0]["code"]})
    await visitor.get("/api/esim/vouchers")
    await visitor.get(f"/api/esim/voucher/{vouchers[0]['id']}")
    await visitor.get(f"/api/esim/voucher/code/{vouchers[1]['code']}")
    await visitor.call("PUT", f"/api/esim/voucher/{vouchers[2]['id']}/revoke", json={})


async def visit_insurance(visitor):
    """Insure a traveller."""
    await visitor.get("/api/insurance/countries")
    products = (await visitor.get("/api/insurance/packages"))["data"]["packages"]
    week = products[0]["packages"][0]["packageId"]
    await visitor.get("/api/insurance/package", packageId=week)
    order = (await visitor.buy(week, quantity=2, path="/api/insurance/order"))["data"]
    policy_id = order["items"][0]["policyId"]
    await visitor.post("/api/insurance/apply", contract.application(policy_id))
    await visitor.get("/api/insurance/order", orderId=order["id"])
    await visitor.get("/api/insurance/orders")
    await visitor.get("/api/insurance/policy", policyId=policy_id)
    await visitor.get("/api/insurance/policies")


@pytest.mark.parametrize("visitor", [{}, OTHERWISE], indirect=True, ids=["usual", "otherwise"])
async def test_answers_of_the_sandbox(visitor):
    """Every success has exactly the fields that are described, whatever the options say."""
    for path in ("health", "balance", "currencies", "rates", "compatible-devices", "esim/countries"):
        await visitor.get(f"/api/{path}")
    await visitor.get("/api/esim/packages", pageSize="300")
    await visitor.get("/api/esim/sandbox/packages")
    await visit_esims(visitor)
    await visit_vouchers(visitor)
    await visit_insurance(visitor)
    assert visitor.succeeded == OPERATIONS - OLD


async def test_refusals_of_the_sandbox(visitor):
    """Every kind of refusal has the shape that is described."""
    order, plain = "/api/esim/order", visitor.kind("plain")
    assert await visitor.post(order, {}, status=400) == {"error": '"items" is required'}
    assert (await visitor.buy("esim-gr-1gb", status=500))["message"] == "Unknown error"
    await visitor.buy(plain, quantity=999, status=409)
    await visitor.get("/api/esim", iccid="8901", status=404)
    await visitor.buy(visitor.kind("travel_date"), referenceId="dated")
    await visitor.post("/api/esim/apply", {"referenceId": "dated"}, status=400)
    await visitor.get("/api/balance", currency="EUR", status=400)
    await visitor.get("/api/refund", refundId="none", status=404)
    await visitor.post("/api/esim/vouchers", {"packageId": "esim-gr-1gb"}, status=403)
    visitor.session.headers["Authorization"] = "Bearer wrong"
    await visitor.get("/api/balance", status=401)
    async with partner_of(event_path="events") as partner:
        refused = await partner.get("/api/esim/events", iccid="8901", status=404)
        assert not visitor.api.wrong_answer(("GET", "/api/esim/events"), 404, refused)


@pytest.mark.timeout(180)  # a minute on a busy machine
@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("half", ["--include-path-regex", "--exclude-path-regex"])
def test_answers_to_anything(half):
    """Requests at the bounds of every parameter and at random, valid and not, are answered as described."""
    with Sandbox(packages=300, balance=contract.BALANCE, **contract.STRICT) as sandbox:
        more = ["--phases", "coverage,fuzzing", half, "^/api/(esims?|esim/(order|orders|packages|usage|event).*)$"]
        assert contract.run(sandbox, cases=1, seed=1, more=more) == 0


@pytest.mark.long
def test_answers_that_are_not_as_described_are_found():
    """The same requests find a response that is not as described."""
    lie = {"method": "GET", "path": "/api/balance", "fault": "wrong_type", "times": None}
    with Sandbox(packages=300, faults=[lie]) as sandbox:
        assert (
            contract.run(sandbox, cases=1, seed=1, more=["--phases", "coverage", "--include-path", "/api/balance"]) == 1
        )
