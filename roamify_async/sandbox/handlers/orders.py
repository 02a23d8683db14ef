"""The endpoints that create, return and list eSIM orders."""

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Final

from attrs import evolve

from roamify_async.sandbox.context import Context, Request
from roamify_async.sandbox.data.encoding import Json
from roamify_async.sandbox.data.insurance import PREFIX
from roamify_async.sandbox.data.packages import Package
from roamify_async.sandbox.http.errors import DUPLICATE_REFERENCE, error
from roamify_async.sandbox.http.responses import Response, success
from roamify_async.sandbox.http.serializers import esim as esim_json, order_head, order_item
from roamify_async.sandbox.http.validation import Schema, count, list_of, quantity, text
from roamify_async.sandbox.state.records import Kind, Order
from roamify_async.sandbox.state.store import DuplicateReferenceError

_ITEM = Schema({"packageId": text, "quantity": quantity}, required=frozenset({"packageId", "quantity"}))
_CREATE = Schema({"items": list_of(_ITEM), "referenceId": text}, required=frozenset({"items"}))
_REPEAT = Schema({"referenceId": text}, required=frozenset({"referenceId"}))
_GET = Schema({"orderId": text, "referenceId": text}, any_of=("orderId", "referenceId"))
_LIST = Schema({"status": text, "limit": count, "referenceId": text})
STATUSES: Final = ("PENDING", "COMPLETED", "ARCHIVED", "CANCELLED", "REFUNDED", "REQUIRE_ACTION")
_MOST_ESIMS = 1_000  # undocumented: how many eSIMs an order may contain


def create(context: Context, request: Request) -> Response:
    """Order eSIMs, whose profiles are generated later.

    Disputed: what a body with only the referenceId of an earlier order does; see the option `repeat_order`.
    """
    body = request.body
    if context.options.repeat_order != "refuses" and isinstance(body, dict) and body.keys() == {"referenceId"}:
        return _repeat(context, request)
    return _create(context, request, "order")


def create_instant(context: Context, request: Request) -> Response:
    """Order eSIMs with their profiles; undocumented: a package that needs a travel date is refused."""
    return _create(context, request, "instant")


def get(context: Context, request: Request) -> Response:
    """Return one order; undocumented: of several with one referenceId, the newest."""
    query = _GET.parse(request.query)
    found = context.store.orders(id=query.get("orderId"), reference_id=query.get("referenceId"), limit=1)
    if not found:
        raise error(404, "Order not found")
    return success(order_json(context, found[0]))


def list_all(context: Context, request: Request) -> Response:
    """Return the orders, newest first (undocumented)."""
    query = _LIST.parse(request.query)
    context.check_status(query.get("status"), STATUSES)
    orders = context.store.orders(
        reference_id=query.get("referenceId"),
        prefix=context.filters_by_prefix,
        status=query.get("status"),
        limit=query.get("limit", 50),
    )
    return success({"orders": [order_json(context, order) for order in orders]})


@contextmanager
def refusing_duplicates() -> Generator[None, None, None]:
    """Raise the 409 if the block books an order under a referenceId that is used already."""
    try:
        yield
    except DuplicateReferenceError:
        raise error(409, DUPLICATE_REFERENCE) from None


def find_packages(context: Context, request: Request, items: Sequence[tuple[str, int]]) -> list[Package]:
    """Return the packages of order items, each as often as its quantity; raises 400 or 500 if that is impossible."""
    if request.modifiers.sells_out == "before":
        context.change_catalogue(remove=context.catalogue.packages.keys() & {package_id for package_id, _ in items})
    if sum(quantity for _, quantity in items) > _MOST_ESIMS:
        raise error(400, f"An order holds at most {_MOST_ESIMS} eSIMs")
    packages: list[Package] = []
    for package_id, wanted in items:
        if package_id.startswith(PREFIX):
            raise error(400, "Insurance packages cannot be ordered here")
        package = context.catalogue.find_on_sale(package_id)
        if package is None:
            raise error(500, "Unknown error")
        packages += [package] * wanted
    return packages


def book(
    context: Context,
    request: Request,
    kind: Kind,
    reference_id: str,
    packages: Sequence[Package],
    *,
    esim_id: str = "",
) -> Order:
    """Book an order of packages, each for a new eSIM unless *esim_id* names an existing one."""
    with refusing_duplicates():
        order = context.book(
            kind,
            reference_id,
            [(package.id, package.cents) for package in packages],
            request.modifiers,
            esim_id=esim_id,
            unique=context.options.duplicate_reference == "conflict",
        )
    if request.modifiers.sells_out == "after":
        context.change_catalogue(remove={package.id for package in packages})
    return order


def as_created(order: Order) -> Order:
    """Return a new order as its response shows it: a PENDING one has no items yet."""
    return evolve(order, items=[]) if order.status == "PENDING" else order


def order_json(context: Context, order: Order) -> Json:
    """Return an order as it is looked up."""
    if order.kind == "instant" and context.options.instant_order_shows == "esims":
        return _with_esims(context, order)
    return _with_items(context, order)


def _create(context: Context, request: Request, kind: Kind) -> Response:
    body = _CREATE.parse(request.body)
    packages = find_packages(context, request, [(item["packageId"], item["quantity"]) for item in body["items"]])
    if kind == "instant" and any(package.needs_travel_date for package in packages):
        raise error(400, "This package needs a travel date, please order it and apply it with a startDate")
    order = book(context, request, kind, body.get("referenceId", ""), packages)
    order = as_created(order)
    return success(_with_esims(context, order) if kind == "instant" else _with_items(context, order))


def _repeat(context: Context, request: Request) -> Response:
    reference_id = _REPEAT.parse(request.body)["referenceId"]
    found = context.store.orders(reference_id=reference_id, hidden=True)
    earlier = next((order for order in found if order.kind in {"order", "instant"}), None)
    if earlier is None:
        raise error(404, "Order not found")
    if context.options.repeat_order == "returns":
        return success(_with_items(context, as_created(earlier)))
    packages = find_packages(context, request, [(item.package_id, 1) for item in earlier.items])
    order = book(context, request, "order", reference_id, packages)
    return success(_with_items(context, as_created(order)))


def _with_items(context: Context, order: Order) -> Json:
    return order_head(order) | {"items": [order_item(item, context.catalogue) for item in order.items]}


def _with_esims(context: Context, order: Order) -> Json:
    esims = [*context.store.esims(order_id=order.id)][::-1]
    return order_head(order) | {
        "esims": [esim_json(esim, context.catalogue.packages[esim.package_id]) for esim in esims]
    }
