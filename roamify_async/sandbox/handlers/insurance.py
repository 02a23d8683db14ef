"""The endpoints of insurance: its catalogue, its orders and its policies."""

import re
from calendar import timegm
from datetime import UTC, date, datetime
from itertools import islice
from typing import Any, Final

from roamify_async.sandbox.context import Context, Request
from roamify_async.sandbox.data.currencies import to_number
from roamify_async.sandbox.data.encoding import Json
from roamify_async.sandbox.data.insurance import COVERS, PRODUCTS, Cover
from roamify_async.sandbox.http.errors import POLICY_PENDING
from roamify_async.sandbox.http.responses import Response, success
from roamify_async.sandbox.http.serializers import order_head
from roamify_async.sandbox.http.validation import (
    Schema,
    count,
    enum_any_case,
    list_of,
    object_of,
    pattern,
    quantity,
    slash_date,
    text,
    text_or_empty,
)
from roamify_async.sandbox.state.records import FAILURES, Order, Policy

from .orders import STATUSES, as_created, refusing_duplicates

_GEOGRAPHY = enum_any_case("local", "regional", "global")
_COUNTRIES = Schema({"geography": _GEOGRAPHY})
_PACKAGES = Schema({"geography": _GEOGRAPHY, "country": text, "countryCode": text, "packageId": text, "day": count})
_PACKAGE = Schema({"packageId": text}, required=frozenset({"packageId"}))
_ITEM = Schema({"packageId": text, "quantity": quantity}, required=frozenset({"packageId", "quantity"}))
_CREATE = Schema({"items": list_of(_ITEM), "referenceId": text}, required=frozenset({"items"}))
_GET = Schema({"orderId": text, "referenceId": text}, one_of=("orderId", "referenceId"))
_LIST = Schema(
    {
        "status": text,
        "limit": count,
    }
)
_MOST_POLICIES: Final = 5
_INSURER = Schema(
    {
        "firstName": text,
        "lastName": text,
        "nationality": text,
        "dateOfBirth": text_or_empty,
        "idNumber": text_or_empty,
        "passportNumber": text_or_empty,
    },
    required=frozenset({"firstName", "lastName", "nationality"}),
)
_APPLY_FIELDS: Final = {
    "policyId": text,
    "startDate": slash_date,
    "endDate": slash_date,
    "mobile": pattern(r"[0-9]{8,15}", "8 to 15 digits without a plus"),
    "email": pattern(r"[^@\s]+@[^@\s]+\.[^@\s.]+", "a valid email"),
    "insurer": object_of(_INSURER),
}
_APPLY = Schema(_APPLY_FIELDS, required=frozenset(_APPLY_FIELDS))
_ID_NUMBER: Final = re.compile(r"[A-Za-z0-9]{5,20}")
_POLICY = Schema({"policyId": text}, required=frozenset({"policyId"}))
_POLICIES = Schema({"orderId": text, "status": text, "limit": count})
_STATUSES: Final = ("NEW", "PENDING", "ISSUED", "ACTIVE", "EXPIRED", "CANCELLED", "REQUIRE_ACTION", "UNKNOWN")
_HIGHEST_AGE: Final = 120  # years
_DAY: Final = 86_400


def countries(_context: Context, request: Request) -> Response:
    """Return the destinations of the insurance products, sorted by name."""
    geography = _COUNTRIES.parse(request.query).get("geography")
    places = {product.code: product.place for product in PRODUCTS if geography in {None, product.geography}}
    return success({"countries": sorted(places.values(), key=lambda place: str(place["name"]))})


def packages(_context: Context, request: Request) -> Response:
    """Return the products with the packages that match; products without one are left out."""
    return success({"packages": _products(_PACKAGES.parse(request.query))})


def package(context: Context, request: Request) -> Response:
    """Return the product of one package, with that package only."""
    found = _products(_PACKAGE.parse(request.query))
    if not found:
        raise context.refusal(404, "Insurance package not found")
    return success(found[0])


def create(context: Context, request: Request) -> Response:
    """Order policies, at most 5, which are issued later."""
    body = _CREATE.parse(request.body)
    covers: list[Cover] = []
    if sum(line["quantity"] for line in body["items"]) > _MOST_POLICIES:
        raise context.refusal(400, f"An insurance order holds at most {_MOST_POLICIES} policies")
    for line in body["items"]:
        cover = COVERS.get(line["packageId"])
        if cover is None:
            raise context.refusal(400, "Only insurance packages can be ordered here")
        covers += [cover] * line["quantity"]
    with refusing_duplicates():
        order = _book(context, request, body.get("referenceId", ""), covers)
    return success(_order_json(as_created(order)))


def get(context: Context, request: Request) -> Response:
    """Return one insurance order; eSIM orders are not found."""
    query = _GET.parse(request.query)
    found = context.store.orders(
        id=query.get("orderId"), reference_id=query.get("referenceId"), insurance=True, limit=1
    )
    if not found:
        raise context.refusal(404, "Order not found")
    return success(_order_json(found[0]))


def list_all(context: Context, request: Request) -> Response:
    """Return the insurance orders, newest first."""
    query = _LIST.parse(request.query)
    context.check_status(query.get("status"), STATUSES)
    orders = context.store.orders(status=query.get("status"), insurance=True, limit=query.get("limit", 50))
    return success({"orders": [_order_json(order) for order in orders]})


def apply(context: Context, request: Request) -> Response:
    """Issue a policy to a traveller, at once or after the time of the option `policy_takes`."""
    body = _APPLY.parse(request.body)
    policy = _find_policy(context, body["policyId"])
    status = _status(context, policy)
    if status == "PENDING":
        raise context.refusal(409, POLICY_PENDING)
    if status == "CANCELLED":
        raise context.refusal(409, "This policy is cancelled")
    if status != "NEW":
        [order] = context.store.orders(id=policy.order_id, insurance=True, hidden=True)
        if order.reference_id:
            raise context.refusal(409, "A policy has already been issued for this reference")
        raise context.refusal(409, "This policy is already issued")
    _check_dates(context, COVERS[policy.package_id], body)
    _check_insurer(context, COVERS[policy.package_id], body["insurer"])
    context.policies.update(
        policy.id,
        start_date=_format_date(body["startDate"]),
        end_date=_format_date(body["endDate"]),
        insurer_name=f"{body['insurer']['firstName']} {body['insurer']['lastName']}",
        issued_at=context.now() + max(context.options.policy_takes, request.modifiers.ready_in),
    )
    return success(_policy_json(context, _find_policy(context, policy.id)))


def policy(context: Context, request: Request) -> Response:
    """Return one policy."""
    return success(_policy_json(context, _find_policy(context, _POLICY.parse(request.query)["policyId"])))


def policies(context: Context, request: Request) -> Response:
    """Return the policies, newest first."""
    query = _POLICIES.parse(request.query)
    status = query.get("status")
    context.check_status(status, _STATUSES)
    policies = (
        policy
        for policy in context.policies.select(order_id=query.get("orderId"))
        if status in {None, _status(context, policy)}
    )
    return success({"policies": [_policy_json(context, policy) for policy in islice(policies, query.get("limit", 50))]})


def all_policies_json(context: Context) -> list[Json]:
    """Return every policy, oldest first, including hidden ones."""
    return [_policy_json(context, policy) for policy in reversed(context.policies.select(hidden=True))]


def _products(query: dict[str, Any]) -> list[Json]:
    matching = {product: [cover for cover in product.covers if _matches(cover, query)] for product in PRODUCTS}
    return [product.to_json(covers) for product, covers in matching.items() if covers]


def _matches(cover: Cover, query: dict[str, Any]) -> bool:
    product = cover.product
    own = {
        "geography": product.geography,
        "country": product.country,
        "countryCode": product.code,
        "packageId": cover.id,
        "day": cover.day,
    }
    return all(own[name] == wanted for name, wanted in query.items())


def _book(context: Context, request: Request, reference_id: str, covers: list[Cover]) -> Order:
    lines = [(cover.id, cover.cents) for cover in covers]
    with context.store.db.transaction():
        order = context.book("insurance", reference_id, lines, request.modifiers, unique=True)
        context.policies.insert(
            *(
                Policy(item.esim_id, order.id, item.package_id, "", "", "", 0, item.created_at, item.created_at)
                for item in order.items
            )
        )
    return order


def _order_json(order: Order) -> Json:
    return order_head(order) | {
        "items": [
            {
                "policyId": item.esim_id,
                "packageId": item.package_id,
                "package": COVERS[item.package_id].name,
                "type": "insurance",
                "price": to_number(item.price),
                "currency": "USD",
                "createdAt": item.created_at,
                "updatedAt": item.created_at,
            }
            for item in order.items
        ]
    }


def _find_policy(context: Context, policy_id: str) -> Policy:
    for policy in context.policies.select(id=policy_id):
        return policy
    raise context.refusal(404, "Policy not found")


def _today(context: Context) -> date:
    return datetime.fromtimestamp(context.now(), UTC).date()


def _check_dates(context: Context, cover: Cover, body: dict[str, Any]) -> None:
    start, end = body["startDate"], body["endDate"]
    if start <= _today(context):
        raise context.refusal(400, "startDate must be at least 1 day ahead")
    if end <= start:
        raise context.refusal(400, "endDate must be after startDate")
    if (end - start).days > cover.day:
        raise context.refusal(400, f"endDate must be within {cover.day} days of startDate")


def _check_insurer(context: Context, cover: Cover, insurer: dict[str, str]) -> None:
    for name in ("idNumber", "passportNumber"):
        if not cover.product.requirements[name]:
            continue
        if not insurer.get(name):
            raise context.refusal(400, f"insurer.{name} is required")
        if not _ID_NUMBER.fullmatch(insurer[name]):
            raise context.refusal(400, f"insurer.{name} must be 5 to 20 letters and digits")
    if not cover.product.requirements["dateOfBirth"]:
        return
    if not insurer.get("dateOfBirth"):
        raise context.refusal(400, "insurer.dateOfBirth is required")
    born, today = slash_date("insurer.dateOfBirth", insurer["dateOfBirth"]), _today(context)
    if born >= today or today.year - born.year - ((today.month, today.day) < (born.month, born.day)) > _HIGHEST_AGE:
        raise context.refusal(400, f"insurer.dateOfBirth must be in the past {_HIGHEST_AGE} years")


def _format_date(value: date) -> str:
    return value.strftime("%d/%m/%Y")


def _parse_date(text: str) -> date:
    return slash_date("", text)


def _status(context: Context, policy: Policy) -> str:
    [order] = context.store.orders(id=policy.order_id, insurance=True, hidden=True)
    if order.status in FAILURES:
        return "CANCELLED"
    if not policy.issued_at:
        return "NEW"
    if context.now() < policy.issued_at:
        return "PENDING"
    if _today(context) < _parse_date(policy.start_date):
        return "ISSUED"
    return "ACTIVE" if _today(context) <= _parse_date(policy.end_date) else "EXPIRED"


def _policy_json(context: Context, policy: Policy) -> Json:
    cover, status = COVERS[policy.package_id], _status(context, policy)
    issued = status not in {"NEW", "PENDING", "CANCELLED"}
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
        "policy": _certificate(policy) if issued else None,
        "createdAt": policy.created_at,
        "updatedAt": int(policy.issued_at) if issued else policy.updated_at,
        "expiredAt": timegm(_parse_date(policy.end_date).timetuple()) + _DAY if issued else -1,
    }


def _certificate(policy: Policy) -> Json:
    number = f"SBX-{policy.id[:8].upper()}"
    return {
        "policyNo": number,
        "policyIssuanceDate": datetime.fromtimestamp(policy.issued_at, UTC).date().isoformat(),
        "policyLink": f"https://insurance.sandbox.example/policies/{number}.pdf",
    }
