"""The endpoints that buy, and that show what was bought."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager

from roamify_async.sandbox.context import Call, World, known
from roamify_async.sandbox.data.insurance import PREFIX
from roamify_async.sandbox.data.packages import Json, Package
from roamify_async.sandbox.http.responses import Answer, refused, success
from roamify_async.sandbox.http.serializers import esim as esim_view, item as item_view, order_head
from roamify_async.sandbox.http.validation import Shape, count, enum, list_of, quantity, text
from roamify_async.sandbox.state.records import Kind, Order
from roamify_async.sandbox.state.store import DuplicateError

_LINE = Shape({"packageId": text, "quantity": quantity}, required=frozenset({"packageId", "quantity"}))
_ORDER = Shape({"items": list_of(_LINE), "referenceId": text}, required=frozenset({"items"}))
_TOP_UP = Shape({"iccid": text, "packageId": text, "referenceId": text}, required=frozenset({"iccid", "packageId"}))
_ONE = Shape({"orderId": text, "referenceId": text}, any_of=("orderId", "referenceId"))
_LIST = Shape(
    {
        "status": enum("PENDING", "COMPLETED", "ARCHIVED", "CANCELLED", "REFUNDED", "REQUIRE_ACTION"),
        "limit": count,
        "referenceId": text,
    }
)
_MOST = 1_000  # undocumented: how many eSIMs one order may hold


def create(world: World, call: Call) -> Answer:
    """Buy eSIMs, whose profiles are made later."""
    return _buy(world, call, "order")


def create_instant(world: World, call: Call) -> Answer:
    """Buy eSIMs with their profiles; undocumented: a package that needs a travel date is refused here."""
    return _buy(world, call, "instant")


def top_up(world: World, call: Call) -> Answer:
    """Add a package to an applied eSIM of the same destination."""
    body = _TOP_UP.read(call.body)
    esim = known(world.store.esim(iccid=body["iccid"]))
    package = _packages(world, [(body["packageId"], 1)])[0]
    own = world.catalogue.packages[esim.package_id]
    if not own.with_top_up or esim.status in {"REVOKED", "EXPIRED"}:
        raise refused(400, "This eSIM does not support top-up")
    if package not in own.top_ups:
        raise refused(400, "This package is not compatible with the eSIM")
    order = _book(world, call, "topup", body.get("referenceId", ""), [package], esim_id=esim.id)
    return success(_shown(world, order))


def get(world: World, call: Call) -> Answer:
    """Show one order; undocumented: of several under one referenceId, the newest."""
    query = _ONE.read(call.query)
    found = world.store.orders(id=query.get("orderId"), reference_id=query.get("referenceId"), limit=1)
    if not found:
        raise refused(404, "Order not found")
    return success(_shown(world, found[0]))


def get_all(world: World, call: Call) -> Answer:
    """List orders, newest first (undocumented: the sequence); every order of the sandbox is COMPLETED."""
    query = _LIST.read(call.query)
    if query.get("status", "COMPLETED") != "COMPLETED":
        return success({"orders": []})
    orders = world.store.orders(reference_id=query.get("referenceId"), limit=query.get("limit", 50))
    return success({"orders": [_shown(world, order) for order in orders]})


@contextmanager
def paying() -> Generator[None, None, None]:
    """Refuse a referenceId that is taken; a balance that is too low is refused where all answers are made."""
    try:
        yield
    except DuplicateError:
        raise refused(409, "Order with the same referenceId already exists, please use another one") from None


def _buy(world: World, call: Call, kind: Kind) -> Answer:
    body = _ORDER.read(call.body)
    packages = _packages(world, [(line["packageId"], line["quantity"]) for line in body["items"]])
    if kind == "instant" and any(package.travel_date for package in packages):
        raise refused(400, "This package needs a travel date, please order it and apply it with a startDate")
    order = _book(world, call, kind, body.get("referenceId", ""), packages)
    return success(_with_esims(world, order) if kind == "instant" else _with_items(world, order))


def _packages(world: World, lines: Sequence[tuple[str, int]]) -> list[Package]:
    if sum(quantity for _, quantity in lines) > _MOST:
        raise refused(400, f"An order holds at most {_MOST} eSIMs")
    packages: list[Package] = []
    for package_id, wanted in lines:
        if package_id.startswith(PREFIX):
            raise refused(400, "Insurance packages cannot be ordered here")
        package = world.catalogue.sold(package_id)
        if package is None:
            raise refused(500, "Unknown error")
        packages += [package] * wanted
    return packages


def _book(
    world: World, call: Call, kind: Kind, reference_id: str, packages: Sequence[Package], *, esim_id: str = ""
) -> Order:
    unique = world.options.duplicate_reference == "conflict"
    lines = [(package.id, package.cents) for package in packages]
    with paying():
        return world.store.book(
            kind,
            reference_id,
            lines,
            esim_id=esim_id,
            unique=unique,
            ready_in=call.fate.ready_in,
            hidden_for=call.fate.hidden_for,
        )


def _shown(world: World, order: Order) -> Json:
    if order.kind == "instant" and world.options.instant_order_shows == "esims":
        return _with_esims(world, order)
    return _with_items(world, order)


def _with_items(world: World, order: Order) -> Json:
    return order_head(order) | {"items": [item_view(item, world.catalogue) for item in order.items]}


def _with_esims(world: World, order: Order) -> Json:
    esims = [*world.store.esims(order_id=order.id)][::-1]
    return order_head(order) | {"esims": [esim_view(esim, world.catalogue.packages[esim.package_id]) for esim in esims]}
