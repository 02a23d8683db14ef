"""Insurance policies."""

import time
from datetime import UTC, datetime, timedelta

import aiohttp
import pytest
from support.partner import partner_of

APPLY, POLICY, POLICIES = "/api/insurance/apply", "/api/insurance/policy", "/api/insurance/policies"
WEEK = "insurance-saudi-arabia-individual-7days"
PASSPORT = "insurance-worldwide-individual-7days"
NOON = datetime(2030, 5, 10, 12, tzinfo=UTC)
INSURER = {
    "firstName": "Noura",
    "lastName": "Al Saud",
    "nationality": "Saudi Arabia",
    "dateOfBirth": "29/02/1992",
    "idNumber": "1023456789",
}
BODY = {"startDate": "11/05/2030", "endDate": "18/05/2030", "mobile": "966512345678", "email": "noura@example.com"}


@pytest.fixture(autouse=True)
def at(monkeypatch):
    """Set the clock to noon; return a way to set it again."""

    def move(moment):
        monkeypatch.setattr(time, "time", moment.timestamp)

    move(NOON)
    return move


async def reserved(partner, package_id=WEEK, **more: object):
    """Order one policy; return its id."""
    order = await partner.buy(package_id, path="/api/insurance/order", **more)
    return order["data"]["items"][0]["policyId"]


async def apply(partner, policy_id, *, status=200, insurer=(), **changes: object):
    """Have a policy issued, with changes to a right request; None leaves a field out."""
    person = {**INSURER, **dict(insurer)}
    body = {"policyId": policy_id, **BODY, "insurer": person, **changes}
    body["insurer"] = {name: value for name, value in person.items() if value is not None}
    body = {name: value for name, value in body.items() if value is not None}
    answer = await partner.post(APPLY, body, status=status)
    return answer["data"] if status == 200 else answer


async def test_a_new_policy_is_empty(partner):
    """Before it is applied it has no dates, no name and no paper."""
    policy = (await partner.get(POLICY, policyId=await reserved(partner)))["data"]
    assert policy.keys() == {
        "policyId", "orderId", "packageId", "package", "countryName", "type", "status", "startDate", "endDate",
        "insurerName", "requirements", "coverage", "policy", "createdAt", "updatedAt", "expiredAt",
    }  # fmt: skip
    assert (policy["status"], policy["startDate"], policy["endDate"], policy["insurerName"]) == ("NEW", "", "", "")
    assert (policy["policy"], policy["expiredAt"], policy["coverage"]["day"]) == (None, -1, 7)
    assert policy["orderId"] == partner.sandbox.state()["insuranceOrders"][0]["id"]


async def test_an_applied_policy_is_issued(partner, at):
    """It has dates, name and paper at once, is ACTIVE from its first day on and EXPIRED after its last."""
    policy_id = await reserved(partner)
    policy = await apply(partner, policy_id)
    assert (policy["status"], policy["startDate"], policy["endDate"]) == ("ISSUED", "11/05/2030", "18/05/2030")
    assert policy["insurerName"] == "Noura Al Saud"
    assert policy["policy"].keys() == {"policyNo", "policyIssuanceDate", "policyLink"}
    assert policy["policy"]["policyIssuanceDate"] == "2030-05-10"
    assert datetime.fromtimestamp(policy["expiredAt"], UTC) == datetime(2030, 5, 19, tzinfo=UTC)
    for days, status in ((0, "ISSUED"), (1, "ACTIVE"), (8, "ACTIVE"), (9, "EXPIRED")):
        at(NOON + timedelta(days=days))
        assert (await partner.get(POLICY, policyId=policy_id))["data"] == policy | {"status": status}
        assert "already issued" in (await apply(partner, policy_id, status=409))["message"]


async def test_a_policy_of_a_reference_is_issued_once(partner):
    """The refusal of a second application names the reference, if the order has one."""
    policy_id = await reserved(partner, referenceId="r")
    await apply(partner, policy_id)
    refusal = await apply(partner, policy_id, status=409)
    assert refusal["message"] == "A policy has already been issued for this reference"


@pytest.mark.parametrize("name", ["idNumber", "dateOfBirth"])
async def test_a_fact_of_the_traveller_that_is_absent(partner, name):
    """A field that the product requires is told as absent, not as of a wrong type or format."""
    policy_id = await reserved(partner)
    for absent in (None, ""):
        refusal = await apply(partner, policy_id, status=400, insurer={name: absent})
        assert refusal["message"] == f"insurer.{name} is required"


async def test_an_issue_can_take_its_time(at):
    """Meanwhile the policy is PENDING and empty, and applying again is 409; then it is issued."""
    async with partner_of(policy_takes=30.0) as partner:
        policy_id = await reserved(partner)
        policy = await apply(partner, policy_id)
        assert (policy["status"], policy["policy"], policy["startDate"]) == ("PENDING", None, "")
        assert "currently being issued" in (await apply(partner, policy_id, status=409))["message"]
        at(NOON + timedelta(seconds=30))
        assert (await partner.get(POLICY, policyId=policy_id))["data"]["status"] == "ISSUED"


@pytest.mark.parametrize(("when", "after"), [("before", "NEW"), ("after", "PENDING")])
async def test_the_fault_pending_says_that_it_is_being_issued(partner, when, after):
    """It is answered 409, and with when=after it is true."""
    policy_id = await reserved(partner)
    partner.sandbox.fail("POST", APPLY, "pending", when=when, seconds=60.0)
    assert "currently being issued" in (await apply(partner, policy_id, status=409))["message"]
    assert (await partner.get(POLICY, policyId=policy_id))["data"]["status"] == after


@pytest.mark.parametrize(("when", "after"), [("before", "NEW"), ("after", "ISSUED")])
async def test_the_provider_can_fail(partner, when, after):
    """A 502 leaves the policy as it was, or issued all the same."""
    policy_id = await reserved(partner)
    partner.sandbox.fail("POST", APPLY, "502", when=when)
    assert (await apply(partner, policy_id, status=502))["status"] == "failed"
    assert (await partner.get(POLICY, policyId=policy_id))["data"]["status"] == after


INVALID_APPLICATIONS = [
    *(({name: None}, f'"{name}" is required') for name in ("startDate", "endDate", "mobile", "email")),
    *(({"insurer": {name: None}}, f'"insurer.{name}" is required') for name in ("firstName", "nationality")),
    *(({"insurer": {name: 5}}, f'"insurer.{name}" must be a string') for name in ("lastName", "passportNumber")),
    *(
        ({"startDate": wrong}, '"startDate" must be a date')
        for wrong in (
            "2030-05-11",
            "31/02/2030",
            "1/5/2030",
            "00/00/0000",
            "\u0661\u0661/\u0660\u0665/\u0662\u0660\u0663\u0660",
            "11/05/2030 ",
        )
    ),
    ({"startDate": "10/05/2030"}, "at least 1 day ahead"),
    ({"startDate": "01/01/0001", "endDate": "02/01/0001"}, "at least 1 day ahead"),
    ({"endDate": "11/05/2030"}, "after startDate"),
    ({"endDate": "19/05/2030"}, "within 7 days"),
    ({"endDate": "31/12/9999"}, "within 7 days"),
    *(
        ({"mobile": wrong}, '"mobile" must be 8 to 15')
        for wrong in ("+966512345678", "1234567", "1" * 16, "\u0669" * 9)
    ),
    *(({"email": wrong}, '"email" must be a valid') for wrong in ("noura", "a@b", "a b@c.de", "a@b@c.de")),
    *(({"insurer": {"idNumber": wrong}}, "insurer.idNumber") for wrong in (None, "", "1234", "1" * 21, "12-345")),
    *(
        ({"insurer": {"dateOfBirth": wrong}}, "insurer.dateOfBirth")
        for wrong in (None, "", "10/05/2030", "11/05/2030", "10/05/1909", "1992-02-29")
    ),
    ({"colour": "red"}, '"colour" is not allowed'),
]


async def test_a_wrong_traveller_is_400_and_issues_nothing(partner):
    """The answer names what is missing or wrong, and the policy stays NEW."""
    for changes, said in INVALID_APPLICATIONS:
        policy_id = await reserved(partner)
        answer = await apply(partner, policy_id, status=400, **changes)
        assert said in answer.get("error", answer.get("message"))
        assert (await partner.get(POLICY, policyId=policy_id))["data"]["status"] == "NEW"


async def test_the_oldest_traveller_is_120(partner):
    """Who is 120 today still is insured, as is who is one day old."""
    for born in ("10/05/1910", "09/05/2030"):
        policy = await apply(partner, await reserved(partner), insurer={"dateOfBirth": born})
        assert policy["status"] == "ISSUED"


async def test_what_is_not_asked_for_is_not_looked_at(partner):
    """A package that asks for a passport takes any birthday and id number, and not a wrong passport."""
    ignored = {"dateOfBirth": "someday", "idNumber": "-"}
    policy_id = await reserved(partner, PASSPORT)
    assert "passport" in (await apply(partner, policy_id, status=400, insurer=ignored))["message"]
    policy = await apply(partner, policy_id, insurer=ignored | {"passportNumber": "A1234567"})
    assert (policy["status"], policy["requirements"]["idNumber"]) == ("ISSUED", False)


async def test_an_insurer_is_an_object(partner):
    """Anything else is a 400, as is a missing one."""
    body = {"policyId": await reserved(partner), **BODY}
    assert await partner.post(APPLY, body, status=400) == {"error": '"insurer" is required'}
    for wrong in (None, [], "Noura", 5):
        answer = await partner.post(APPLY, body | {"insurer": wrong}, status=400)
        assert answer == {"error": '"insurer" must be of type object'}


async def test_an_unknown_policy_is_404(partner):
    """Reading and applying it is a 404; a missing id is a 400."""
    assert (await apply(partner, "nothing", status=404))["status"] == "failed"
    assert (await partner.get(POLICY, status=404, policyId="nothing"))["status"] == "failed"
    assert await partner.get(POLICY, status=400) == {"error": '"policyId" is required'}


async def test_policies_are_listed_newest_first(partner):
    """They can be narrowed by order, status and limit."""
    first = await reserved(partner, quantity=2)
    second = await reserved(partner)
    issued = await apply(partner, second)
    listed = (await partner.get(POLICIES))["data"]["policies"]
    assert [policy["policyId"] for policy in listed][::2] == [second, first]
    assert (await partner.get(POLICIES, limit="1"))["data"]["policies"] == [issued]
    assert (await partner.get(POLICIES, orderId=listed[1]["orderId"]))["data"]["policies"] == listed[1:]
    assert (await partner.call("GET", POLICIES, params={"status": "ISSUED"}))["data"]["policies"] == [issued]
    new = await partner.call("GET", POLICIES, params={"status": "NEW", "limit": "1"})
    assert new["data"]["policies"] == listed[1:2]
    assert (await partner.call("GET", POLICIES, params={"status": "new"}))["data"]["policies"] == []


async def test_a_late_application_is_done_as_of_its_time(partner, at):
    """A delayed application is carried out as of its time, even if nothing happens until after the stay."""
    policy_id = await reserved(partner)
    partner.sandbox.fail("POST", APPLY, "book_late", seconds=60.0)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await apply(partner, policy_id)
    assert (await partner.get(POLICY, policyId=policy_id))["data"]["status"] == "NEW"
    at(NOON + timedelta(days=30))
    policy = (await partner.get(POLICY, policyId=policy_id))["data"]
    assert (policy["status"], policy["policy"]["policyIssuanceDate"]) == ("EXPIRED", "2030-05-10")
