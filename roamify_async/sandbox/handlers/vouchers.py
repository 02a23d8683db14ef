"""The endpoints of vouchers: codes that travellers redeem for a prepaid eSIM."""

import re
from itertools import islice
from typing import Final
from uuid import uuid4

from roamify_async.sandbox.context import Context, Request
from roamify_async.sandbox.data.currencies import to_decimal, to_number
from roamify_async.sandbox.data.encoding import Json
from roamify_async.sandbox.data.packages import Package
from roamify_async.sandbox.http.responses import Response, success
from roamify_async.sandbox.http.validation import EMPTY, Schema, count, enum, text, text_or_empty, whole_number
from roamify_async.sandbox.lifecycle import move
from roamify_async.sandbox.state.records import FAILURES, Voucher
from roamify_async.sandbox.state.store import DuplicateReferenceError

from .orders import refusing_duplicates

_MOST_VOUCHERS: Final = 10
_CODE_LENGTH: Final = 12
_CREATE = Schema(
    {"packageId": text, "quantity": whole_number, "referenceId": text, "notes": text_or_empty},
    required=frozenset({"packageId"}),
)
_LIST = Schema(
    {
        "referenceId": text,
        "status": enum("ACTIVE", "REDEEMED", "CANCELLED"),
        "packageId": text,
        "limit": count,
    }
)


def create(context: Context, request: Request) -> Response:
    """Mint vouchers; undocumented: 503 for a package that is not on sale, 409 for an insufficient balance."""
    _require_feature(context)
    body = _CREATE.parse(request.body)
    package = _allowed_package(context, body["packageId"])
    requested = body.get("quantity", 1)
    if not 1 <= requested <= _MOST_VOUCHERS:
        raise context.refusal(400, f"quantity must be between 1 and {_MOST_VOUCHERS}")
    reference_id, notes = body.get("referenceId", ""), body.get("notes", "")
    with refusing_duplicates():
        vouchers = _mint(context, request, package, requested, reference_id, notes)
    return success(
        {
            "referenceId": context.options.stored_reference(reference_id),
            "requestedQuantity": requested,
            "quantity": len(vouchers),
            "vouchers": [_to_json(context, voucher) for voucher in vouchers],
        },
        status=201,
    )


def list_all(context: Context, request: Request) -> Response:
    """Return the vouchers, newest first; all of them if there is no limit."""
    _require_feature(context)
    query = _LIST.parse(request.query)
    reference_id = query.get("referenceId")
    selected = context.vouchers.select(
        prefixes=context.filters_by_prefix,
        reference_id=reference_id,
        status=query.get("status"),
        package_id=query.get("packageId"),
    )
    vouchers = [_to_json(context, voucher) for voucher in islice(selected, query.get("limit"))]
    return success({"referenceId": reference_id or "", "vouchers": vouchers})


def get(context: Context, request: Request) -> Response:
    """Return one voucher by id."""
    _require_feature(context)
    EMPTY.parse(request.query)
    return success(_to_json(context, _find(context, id=text("voucherId", request.path["voucherId"]))))


def get_by_code(context: Context, request: Request) -> Response:
    """Return one voucher by code, in any case and with any separators."""
    _require_feature(context)
    EMPTY.parse(request.query)
    return success(_to_json(context, find_by_code(context, text("code", request.path["code"]))))


def revoke(context: Context, request: Request) -> Response:
    """Cancel a voucher and its eSIM permanently; undocumented: the price is not refunded."""
    _require_feature(context)
    EMPTY.parse(request.query)
    EMPTY.parse(request.body)
    voucher = _find(context, id=text("voucherId", request.path["voucherId"]))
    if voucher.status == "REDEEMED":
        raise context.refusal(409, "Voucher has already been redeemed")
    if voucher.status != "ACTIVE":
        raise context.refusal(409, "Voucher is not active anymore")
    with context.store.db.transaction():
        context.vouchers.update(voucher.id, status="CANCELLED")
        for esim in context.store.esims(order_id=voucher.order_id):
            context.webhooks.send(*move(context, esim, "REVOKED", 0))
    return success({"id": voucher.id, "status": "CANCELLED"})


def redeem(context: Context, voucher: Voucher) -> Json:
    """Redeem a voucher, which generates the eSIM's profile; raises ValueError unless it is ACTIVE."""
    if voucher.status != "ACTIVE":
        raise ValueError(f"the voucher is {voucher.status}")
    with context.store.db.transaction():
        context.vouchers.update(voucher.id, status="REDEEMED", redeemed_at=int(context.now()))
        context.store.apply([*context.store.esims(order_id=voucher.order_id, hidden=True)])
    return _to_json(context, _find(context, id=voucher.id))


def find_by_code(context: Context, code: str) -> Voucher:
    """Return a voucher by its code, in any case and with any separators; raises the 404 if there is none."""
    normal = re.sub(r"[^A-Z0-9]", "", code.strip().upper())
    return _find(context, code=normal if len(normal) == _CODE_LENGTH else "")


def all_json(context: Context) -> list[Json]:
    """Return every voucher, oldest first, including hidden ones."""
    vouchers = reversed(context.vouchers.select(hidden=True))
    return [
        _to_json(context, voucher)
        | {"price": str(to_decimal(voucher.price)), "requestedReferenceId": voucher.requested_reference_id}
        for voucher in vouchers
    ]


def _require_feature(context: Context) -> None:
    if not context.options.vouchers:
        raise context.refusal(403, "Vouchers are not enabled for this API key")


def _allowed_package(context: Context, package_id: str) -> Package:
    allowed, package = context.options.voucher_packages, context.catalogue.packages.get(package_id)
    if package is None or (allowed is not None and package_id not in allowed):
        raise context.refusal(403, "This package is not allowed for vouchers")
    if not package.on_sale:
        raise context.refusal(503, "Vouchers cannot be issued for this package now, please try again later")
    return package


def _mint(
    context: Context, request: Request, package: Package, requested: int, reference_id: str, notes: str
) -> list[Voucher]:
    minted = min(requested, context.options.voucher_mint_limit)
    stored = context.options.stored_reference(reference_id)
    with context.store.db.transaction():
        if stored and context.vouchers.select(reference_id=stored, hidden=True):
            raise DuplicateReferenceError
        vouchers = [_voucher(context, request, package, reference_id, notes) for _ in range(minted)]
        context.vouchers.insert(*vouchers)
    return vouchers


def _voucher(context: Context, request: Request, package: Package, reference_id: str, notes: str) -> Voucher:
    order = context.book("voucher", "", [(package.id, package.cents)], request.modifiers)
    return Voucher(
        id=str(uuid4()),
        code=uuid4().hex[:_CODE_LENGTH].upper(),
        status="CANCELLED" if order.status in FAILURES else "ACTIVE",
        reference_id=context.options.stored_reference(reference_id),
        requested_reference_id=reference_id,
        package_id=package.id,
        price=package.cents,
        esim_id=order.items[0].esim_id,
        order_id=order.id,
        notes=notes,
        redeemed_at=0,
        created_at=order.created_at,
        updated_at=order.created_at,
    )


def _find(context: Context, *, id: str | None = None, code: str | None = None) -> Voucher:
    for voucher in context.vouchers.select(id=id, code=code):
        return voucher
    raise context.refusal(404, "Voucher not found")


def _to_json(context: Context, voucher: Voucher) -> Json:
    package = context.catalogue.packages[voucher.package_id]
    return {
        "id": voucher.id,
        "code": voucher.code,
        "redeemUrl": f"https://www.getroamify.com/voucher/{voucher.code}",
        "status": voucher.status,
        "referenceId": voucher.reference_id,
        "packageId": voucher.package_id,
        "package": package.plan.name,
        "destination": package.destination.place.name,
        "price": to_number(voucher.price),
        "currency": "USD",
        "esimId": voucher.esim_id,
        "orderId": voucher.order_id,
        "notes": voucher.notes,
        "redeemedAt": voucher.redeemed_at or None,
        "createdAt": voucher.created_at,
        "updatedAt": voucher.updated_at,
    }
