"""The OpenAPI description: valid, complete, and true of the client and of the sandbox."""

import json
import re
from collections.abc import Iterator

import aiohttp
import pytest
from described import DOCUMENT, Description, strict
from openapi_spec_validator import OpenAPIV31SpecValidator

from benchmarks import contract
from benchmarks.hostile import ROWS, SAMPLES
from roamify_async.sandbox import Sandbox
from roamify_async.sandbox.routes import ROUTES

OPERATIONS = {f"{method} {path}" for method, path in Description().operations}
OLD = {f"{method} {path}" for (method, path), told in Description().operations.items() if told.get("deprecated")}
"""What older texts have, and a sandbox serves only where it is told to."""
NOT_SERVED_YET = {
    *OLD,
    "GET /api/currencies",
    "GET /api/rates",
    "GET /api/esim/{uniqueName}/packages",
    "POST /api/esim/sms",
    "POST /api/esim/link",
    "GET /api/refund",
    *(operation for operation in OPERATIONS if "voucher" in operation or "insurance" in operation),
}
"""What the description has and the sandbox lacks."""
NOT_CALLED_YET = NOT_SERVED_YET | OLD | {"GET /api/esim/usage/details", "GET /api/esim/event"}
"""What the description has and the client lacks."""


def anonymous(operation: str) -> str:
    """Give an operation without the names of what stands in its path, which are anyone's choice."""
    return re.sub(r"\{\w+\}", "{}", operation)


def samples() -> Iterator[tuple[str, dict]]:
    """Give the documented request and answer of each row."""
    for name in ROWS:
        yield name, json.loads((SAMPLES / f"{name}.json").read_text("utf-8"))


def test_the_document_is_valid():
    """The document obeys OpenAPI 3.1, and a broken one would not."""
    assert not [*OpenAPIV31SpecValidator(DOCUMENT).iter_errors()]
    assert [*OpenAPIV31SpecValidator(DOCUMENT | {"security": "token"}).iter_errors()]


def test_every_part_is_used():
    """No component stands there for nothing."""
    text = json.dumps(DOCUMENT)
    for kind in ("parameters", "responses", "schemas"):
        assert not [name for name in DOCUMENT["components"][kind] if f'"#/components/{kind}/{name}"' not in text]


def test_every_operation_is_told():
    """Each operation has a name of its own and one line of what it does, and refuses a bad token."""
    operations = Description().operations
    assert len({operation["operationId"] for operation in operations.values()}) == len(operations)
    for name, operation in operations.items():
        assert operation["summary"][0].isupper(), name
        assert ("401" in operation["responses"]) == ("security" not in operation), name


def test_the_sandbox_serves_what_is_described():
    """Each operation has a route, and each route an operation."""
    routes = {anonymous(f"{method} {path}") for method, path in ROUTES}
    assert {anonymous(operation) for operation in OPERATIONS - NOT_SERVED_YET} == routes


def test_the_client_calls_what_is_described():
    """Each operation has a row of the client, and each row an operation."""
    rows = {anonymous(f"{row.method} {row.path}") for row in ROWS.values()}
    assert {anonymous(operation) for operation in OPERATIONS - NOT_CALLED_YET} == rows


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
        assert not api.wrong_answer(operation, sample["status"], sample["answer"]), name


@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
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
    ],
)
def test_wrong_requests_are_seen(method, path, query, body):
    """The description forbids what the API refuses."""
    assert Description().wrong_request(method, path, query, body)


@pytest.mark.parametrize(
    "answer",
    [
        {"status": "success"},
        {"status": "failed", "data": {"balance": 1, "currency": "USD"}},
        {"status": "success", "data": {"balance": "1", "currency": "USD"}},
        {"status": "success", "data": {"balance": 1}},
        {"status": "success", "data": {"balance": 1, "currency": "USD", "debt": 0}},
    ],
)
def test_wrong_answers_are_seen(answer):
    """An answer of the sandbox is held to every field that is described, its type, and to no other field."""
    api, operation = Description(strict(DOCUMENT)), ("GET", "/api/balance")
    assert not api.wrong_answer(operation, 200, {"status": "success", "data": {"balance": 1, "currency": "USD"}})
    assert api.wrong_answer(operation, 200, answer)
    assert api.wrong_answer(operation, 404, {"status": "failed", "message": "?"})


async def test_the_sandbox_serves_its_description(sandbox):
    """Anyone reads the description at /openapi.json, with the sandbox's own address in it."""
    async with aiohttp.ClientSession() as session, session.get(f"{sandbox.url}/openapi.json") as response:
        assert (response.status, response.content_type) == (200, "application/json")
        served = await response.json()
    assert [server["url"] for server in served.pop("servers")] == [sandbox.url]
    assert served == {key: value for key, value in DOCUMENT.items() if key != "servers"}
    assert sandbox.state()["requests"] == {}


class Visitor:
    """A plain HTTP client that holds each answer against the description."""

    def __init__(self, sandbox: Sandbox, session: aiohttp.ClientSession) -> None:
        """Take the sandbox and a session that knows its token."""
        self.sandbox, self.session, self.api = sandbox, session, Description(strict(DOCUMENT))
        self.seen: set[str] = set()

    async def ask(self, method, path, *, status=None, body=None, **query: str):
        """Send a request and give its answer, which has every field that is described and no other."""
        async with self.session.request(method, path, params=query, json=body) as response:
            answer = await response.json()
        operation = self.api.operation(method, path)
        assert response.status == (status or self.api.success(operation)), answer
        assert not self.api.wrong_answer(operation, response.status, answer), operation
        if status is None:
            self.seen.add(" ".join(operation))
            return answer.get("data", answer)
        return answer

    async def buy(self, kind="plain", path="/api/esim/order", **more: object):
        """Order two eSIMs of a package."""
        items = [{"packageId": self.sandbox.kinds[kind][0], "quantity": 2}]
        return await self.ask("POST", path, body={"items": items, **more})


@pytest.fixture
async def visitor(sandbox):
    """Visit a small sandbox."""
    headers = {"Authorization": f"Bearer {sandbox.token}"}
    async with aiohttp.ClientSession(sandbox.url, headers=headers) as session:
        yield Visitor(sandbox, session)


async def test_answers_of_the_sandbox(visitor):
    """Every success of the sandbox has just the fields that are described."""
    ask = visitor.ask
    for path in ("/api/health", "/api/balance", "/api/compatible-devices", "/api/esim/countries"):
        await ask("GET", path)
    await ask("GET", "/api/esim/packages", pageSize="300")
    order = await visitor.buy(referenceId="mine")
    await visitor.buy(path="/api/esim/order/instant")
    await ask("GET", "/api/esims")
    esim_id = order["items"][0]["esimId"]
    iccid = (await ask("POST", "/api/esim/apply", body={"esimId": esim_id}))["iccid"]
    await ask("POST", "/api/esim/apply", body={"referenceId": "mine"})
    offered = await ask("GET", "/api/esim/topup/packages", iccid=iccid)
    await ask("POST", "/api/esim/order/topup", body={"iccid": iccid, "packageId": offered[0]["packageId"]})
    await ask("GET", "/api/esim/order", orderId=order["id"])
    await ask("GET", "/api/esim/orders")
    await ask("GET", "/api/esim", iccid=iccid)
    await visitor.session.post("/_sandbox/esims", json={"esimId": esim_id, "usedData": 5})
    for path in ("/api/esim/usage", "/api/esim/usage/details", "/api/esim/history", "/api/esim/event"):
        await ask("GET", path, iccid=iccid)
    assert visitor.seen == OPERATIONS - NOT_SERVED_YET - OLD


async def test_refusals_of_the_sandbox(visitor):
    """Every kind of refusal has the shape that is described."""
    ask, order = visitor.ask, "/api/esim/order"
    unknown = {"items": [{"packageId": "esim-gr-1gb", "quantity": 1}]}
    many = {"items": [{"packageId": visitor.sandbox.kinds["plain"][0], "quantity": 999}]}
    assert await ask("POST", order, body={}, status=400) == {"error": '"items" is required'}
    assert (await ask("POST", order, body=unknown, status=500))["message"] == "Unknown error"
    assert (await ask("POST", order, body=many, status=409))["status"] == "failed"
    assert (await ask("GET", "/api/esim", iccid="8901", status=404))["status"] == "failed"
    await visitor.buy("travel_date", referenceId="dated")
    refused = await ask("POST", "/api/esim/apply", body={"referenceId": "dated"}, status=400)
    assert refused["status"] == "failed"
    visitor.session.headers["Authorization"] = "Bearer wrong"
    assert (await ask("GET", "/api/balance", status=401))["status"] == "failed"


@pytest.mark.timeout(60)
def test_answers_to_anything():
    """Requests at the bounds of every parameter and at random, good and bad, are answered as described."""
    paths = sorted({operation.split()[1] for operation in NOT_SERVED_YET})
    lacking = [part for path in paths for part in ("--exclude-path", path)]
    with Sandbox(packages=300, balance=contract.BALANCE) as sandbox:
        assert contract.run(sandbox, cases=3, seed=1, more=["--phases", "coverage,fuzzing", *lacking]) == 0


def test_answers_that_are_not_as_described_are_found():
    """The same requests find an answer that lies."""
    lie = {"method": "GET", "path": "/api/balance", "fault": "wrong_type", "times": None}
    with Sandbox(packages=300, faults=[lie]) as sandbox:
        assert (
            contract.run(sandbox, cases=1, seed=1, more=["--phases", "coverage", "--include-path", "/api/balance"]) == 1
        )
