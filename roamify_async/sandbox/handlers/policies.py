"""The endpoints of insurance policies: having one issued, and looking at them."""

import re
from calendar import timegm
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any, Final

from roamify_async.sandbox.context import Call, World
from roamify_async.sandbox.data.insurance import COVERS, Cover
from roamify_async.sandbox.data.packages import Json
from roamify_async.sandbox.http.responses import Answer, refused, success
from roamify_async.sandbox.http.validation import Shape, any_text, count, day, enum, object_of, pattern, text
from roamify_async.sandbox.state.records import Policy

BEING_ISSUED: Final = "This policy is currently being issued, please check its status later"

_STATUSES: Final = ("NEW", "PENDING", "ISSUED", "ACTIVE", "EXPIRED", "CANCELLED", "REQUIRE_ACTION", "UNKNOWN")
_INSURER = Shape(
    {
        "firstName": text,
        "lastName": text,
        "nationality": text,
        "dateOfBirth": any_text,
        "idNumber": any_text,
        "passportNumber": any_text,
    },
    required=frozenset({"firstName", "lastName", "nationality"}),
)
_FIELDS: Final = {
    "policyId": text,
    "startDate": day,
    "endDate": day,
    "mobile": pattern(r"[0-9]{8,15}", "8 to 15 digits without a plus"),
    "email": pattern(r"[^@\s]+@[^@\s]+\.[^@\s.]+", "a valid email"),
    "insurer": object_of(_INSURER),
}
_APPLY = Shape(_FIELDS, required=frozenset(_FIELDS))
_NUMBER: Final = re.compile(r"[A-Za-z0-9]{5,20}")
_ONE = Shape({"policyId": text}, required=frozenset({"policyId"}))
_LIST = Shape({"orderId": text, "status": enum(*_STATUSES), "limit": count})
_OLDEST: Final = 120  # years
_DAY: Final = 86_400


def apply(world: World, call: Call) -> Answer:
    """Have a policy issued for a traveller, at once unless it takes its time."""
    body = _APPLY.read(call.body)
    policy = _found(world, body["policyId"])
    status = _status(world, policy)
    if status == "PENDING":
        raise refused(409, BEING_ISSUED)
    if status != "NEW":
        raise refused(409, "This policy is already issued")
    _check_dates(world, COVERS[policy.package_id], body)
    _check_insurer(world, COVERS[policy.package_id], body["insurer"])
    world.policies.change(
        policy.id,
        start_date=_written(body["startDate"]),
        end_date=_written(body["endDate"]),
        insurer_name=f"{body['insurer']['firstName']} {body['insurer']['lastName']}",
        issued_at=world.now() + max(world.options.policy_takes, call.fate.ready_in),
    )
    return success(_shown(world, _found(world, policy.id)))


def get(world: World, call: Call) -> Answer:
    """Show one policy."""
    return success(_shown(world, _found(world, _ONE.read(call.query)["policyId"])))


def get_all(world: World, call: Call) -> Answer:
    """List policies, newest first."""
    query = _LIST.read(call.query)
    status = query.get("status")
    policies = (
        policy
        for policy in world.policies.listed(order_id=query.get("orderId"))
        if status in {None, _status(world, policy)}
    )
    return success({"policies": [_shown(world, policy) for policy in islice(policies, query.get("limit", 50))]})


def kept(world: World) -> list[Json]:
    """Show every policy, oldest first, hidden or not."""
    return [_shown(world, policy) for policy in reversed(world.policies.listed(hidden=True))]


def _found(world: World, policy_id: str) -> Policy:
    for policy in world.policies.listed(id=policy_id):
        return policy
    raise refused(404, "Policy not found")


def _today(world: World) -> date:
    return datetime.fromtimestamp(world.now(), UTC).date()


def _check_dates(world: World, cover: Cover, body: dict[str, Any]) -> None:
    start, end = body["startDate"], body["endDate"]
    if start <= _today(world):
        raise refused(400, "startDate must be at least 1 day ahead")
    if end <= start:
        raise refused(400, "endDate must be after startDate")
    if (end - start).days > cover.day:
        raise refused(400, f"endDate must be within {cover.day} days of startDate")


def _check_insurer(world: World, cover: Cover, insurer: dict[str, str]) -> None:
    for name in ("idNumber", "passportNumber"):
        if cover.product.requirements[name] and not _NUMBER.fullmatch(insurer.get(name, "")):
            raise refused(400, f"insurer.{name} must be 5 to 20 letters and digits")
    if not cover.product.requirements["dateOfBirth"]:
        return
    born, today = day("insurer.dateOfBirth", insurer.get("dateOfBirth")), _today(world)
    if born >= today or today.year - born.year - ((today.month, today.day) < (born.month, born.day)) > _OLDEST:
        raise refused(400, f"insurer.dateOfBirth must be in the past {_OLDEST} years")


def _written(given: date) -> str:
    return given.strftime("%d/%m/%Y")


def _read(written: str) -> date:
    return day("", written)


def _status(world: World, policy: Policy) -> str:
    if not policy.issued_at:
        return "NEW"
    if world.now() < policy.issued_at:
        return "PENDING"
    if _today(world) < _read(policy.start_date):
        return "ISSUED"
    return "ACTIVE" if _today(world) <= _read(policy.end_date) else "EXPIRED"


def _shown(world: World, policy: Policy) -> Json:
    cover, status = COVERS[policy.package_id], _status(world, policy)
    issued = status not in {"NEW", "PENDING"}
    return {
        "policyId": policy.id,
        "orderId": policy.order_id,
        "packageId": policy.package_id,
        "package": cover.name,
        "countryName": cover.product.country,
        "type": "insurance",
        "status": status,
        "startDate": policy.start_date if issued else "",
        "endDate": policy.end_date if issued else "",
        "insurerName": policy.insurer_name if issued else "",
        "requirements": cover.product.requirements,
        "coverage": {"insuredType": "individual", "day": cover.day, "benefits": cover.product.benefits},
        "policy": _paper(policy) if issued else None,
        "createdAt": policy.created_at,
        "updatedAt": int(policy.issued_at) if issued else policy.updated_at,
        "expiredAt": timegm(_read(policy.end_date).timetuple()) + _DAY if issued else -1,
    }


def _paper(policy: Policy) -> Json:
    number = f"SBX-{policy.id[:8].upper()}"
    return {
        "policyNo": number,
        "policyIssuanceDate": datetime.fromtimestamp(policy.issued_at, UTC).date().isoformat(),
        "policyLink": f"https://insurance.sandbox.example/policies/{number}.pdf",
    }
