"""The endpoints of vouchers: codes that travellers redeem for an eSIM that is paid already."""

import re
from itertools import islice
from typing import Final
from uuid import uuid4

from roamify_async.sandbox import lifecycle as life
from roamify_async.sandbox.context import Call, World
from roamify_async.sandbox.data.money import decimal, number
from roamify_async.sandbox.data.packages import Json, Package
from roamify_async.sandbox.http.responses import Answer, refused, success
from roamify_async.sandbox.http.validation import Shape, any_text, at_most, count, enum, quantity, text
from roamify_async.sandbox.state.records import Voucher
from roamify_async.sandbox.state.store import DuplicateError

from .orders import paying

_MOST: Final = 10
_CODE: Final = 12
_CREATE = Shape(
    {"packageId": text, "quantity": at_most(_MOST, quantity), "referenceId": text, "notes": any_text},
    required=frozenset({"packageId"}),
)
_LIST = Shape(
    {
        "referenceId": text,
        "status": enum("ACTIVE", "REDEEMED", "CANCELLED"),
        "packageId": text,
        "limit": count,
    }
)
_NOTHING = Shape({})


def create(world: World, call: Call) -> Answer:
    """Mint vouchers; undocumented: a package that is allowed and not sold is 503, too little balance 409."""
    _enabled(world)
    body = _CREATE.read(call.body)
    package = _allowed(world, body["packageId"])
    asked = body.get("quantity", 1)
    reference_id, notes = body.get("referenceId", ""), body.get("notes", "")
    with paying():
        vouchers = _mint(world, call, package, asked, reference_id, notes)
    return success(
        {
            "referenceId": reference_id,
            "requestedQuantity": asked,
            "quantity": len(vouchers),
            "vouchers": [_shown(world, voucher) for voucher in vouchers],
        },
        status=201,
    )


def get_all(world: World, call: Call) -> Answer:
    """List vouchers, newest first; without limit all of them."""
    _enabled(world)
    query = _LIST.read(call.query)
    reference_id = query.get("referenceId")
    listed = world.vouchers.listed(
        reference_id=reference_id, status=query.get("status"), package_id=query.get("packageId")
    )
    shown = [_shown(world, voucher) for voucher in islice(listed, query.get("limit"))]
    return success({"referenceId": reference_id or "", "vouchers": shown})


def get(world: World, call: Call) -> Answer:
    """Show one voucher by its id."""
    _enabled(world)
    _NOTHING.read(call.query)
    return success(_shown(world, _found(world, id=text("voucherId", call.path["voucherId"]))))


def get_by_code(world: World, call: Call) -> Answer:
    """Show one voucher by its code, however it is spelled."""
    _enabled(world)
    _NOTHING.read(call.query)
    return success(_shown(world, by_code(world, text("code", call.path["code"]))))


def revoke(world: World, call: Call) -> Answer:
    """Cancel a voucher and its eSIM for good; undocumented: nothing is paid back."""
    _enabled(world)
    _NOTHING.read(call.query)
    _NOTHING.read(call.body)
    voucher = _found(world, id=text("voucherId", call.path["voucherId"]))
    if voucher.status == "REDEEMED":
        raise refused(409, "Voucher has already been redeemed")
    if voucher.status != "ACTIVE":
        raise refused(409, "Voucher is not active anymore")
    with world.store.db.transaction():
        world.vouchers.change(voucher.id, status="CANCELLED")
        for esim in world.store.esims(order_id=voucher.order_id):
            world.webhooks.send(*life.move(world, esim, "REVOKED", 0))
    return success({"id": voucher.id, "status": "CANCELLED"})


def redeem(world: World, voucher: Voucher) -> Json:
    """Do what a traveller does with the code: the eSIM gets its profile; ValueError for a voucher that is used."""
    if voucher.status != "ACTIVE":
        raise ValueError(f"the voucher is {voucher.status}")
    with world.store.db.transaction():
        world.vouchers.change(voucher.id, status="REDEEMED", redeemed_at=int(world.now()))
        world.store.apply([*world.store.esims(order_id=voucher.order_id, hidden=True)])
    return _shown(world, _found(world, id=voucher.id))


def by_code(world: World, code: str) -> Voucher:
    """Find a voucher by its code as people write it; refuses one that there is not."""
    normal = re.sub(r"[^A-Z0-9]", "", code.strip().upper())
    return _found(world, code=normal if len(normal) == _CODE else "")


def kept(world: World) -> list[Json]:
    """Show every voucher, oldest first, hidden or not."""
    vouchers = reversed(world.vouchers.listed(hidden=True))
    return [_shown(world, voucher) | {"price": str(decimal(voucher.price))} for voucher in vouchers]


def _enabled(world: World) -> None:
    if not world.options.vouchers:
        raise refused(403, "Vouchers are not enabled for this API key")


def _allowed(world: World, package_id: str) -> Package:
    allowed, package = world.options.voucher_packages, world.catalogue.packages.get(package_id)
    if package is None or (allowed is not None and package_id not in allowed):
        raise refused(403, "This package is not allowed for vouchers")
    if not package.sold:
        raise refused(503, "Vouchers cannot be issued for this package now, please try again later")
    return package


def _mint(world: World, call: Call, package: Package, asked: int, reference_id: str, notes: str) -> list[Voucher]:
    minted = min(asked, world.options.voucher_mint_limit)
    with world.store.db.transaction():
        if reference_id and world.vouchers.listed(reference_id=reference_id, hidden=True):
            raise DuplicateError
        vouchers = [_voucher(world, call, package, reference_id, notes) for _ in range(minted)]
        world.vouchers.keep(*vouchers)
    return vouchers


def _voucher(world: World, call: Call, package: Package, reference_id: str, notes: str) -> Voucher:
    order = world.store.book("voucher", "", [(package.id, package.cents)], hidden_for=call.fate.hidden_for)
    return Voucher(
        id=str(uuid4()),
        code=uuid4().hex[:_CODE].upper(),
        status="ACTIVE",
        reference_id=reference_id,
        package_id=package.id,
        price=package.cents,
        esim_id=order.items[0].esim_id,
        order_id=order.id,
        notes=notes,
        redeemed_at=0,
        created_at=order.created_at,
        updated_at=order.created_at,
    )


def _found(world: World, *, id: str | None = None, code: str | None = None) -> Voucher:
    for voucher in world.vouchers.listed(id=id, code=code):
        return voucher
    raise refused(404, "Voucher not found")


def _shown(world: World, voucher: Voucher) -> Json:
    package = world.catalogue.packages[voucher.package_id]
    return {
        "id": voucher.id,
        "code": voucher.code,
        "redeemUrl": f"https://www.getroamify.com/voucher/{voucher.code}",
        "status": voucher.status,
        "referenceId": voucher.reference_id,
        "packageId": voucher.package_id,
        "package": package.plan.name,
        "destination": package.group.place.name,
        "price": number(voucher.price),
        "currency": "USD",
        "esimId": voucher.esim_id,
        "orderId": voucher.order_id,
        "notes": voucher.notes,
        "redeemedAt": voucher.redeemed_at or None,
        "createdAt": voucher.created_at,
        "updatedAt": voucher.updated_at,
    }
