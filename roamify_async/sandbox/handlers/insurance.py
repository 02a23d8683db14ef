"""The endpoints that show insurance, and that buy it."""

from typing import Any, Final

from roamify_async.sandbox.context import Call, World
from roamify_async.sandbox.data.insurance import COVERS, PRODUCTS, Cover
from roamify_async.sandbox.data.money import number
from roamify_async.sandbox.data.packages import Json
from roamify_async.sandbox.http.responses import Answer, refused, success
from roamify_async.sandbox.http.serializers import order_head
from roamify_async.sandbox.http.validation import Shape, any_case, count, enum, list_of, quantity, text
from roamify_async.sandbox.state.records import Order, Policy

from .orders import paying

_GEOGRAPHY = any_case("local", "regional", "global")
_COUNTRIES = Shape({"geography": _GEOGRAPHY})
_PACKAGES = Shape({"geography": _GEOGRAPHY, "country": text, "countryCode": text, "packageId": text, "day": count})
_PACKAGE = Shape({"packageId": text}, required=frozenset({"packageId"}))
_LINE = Shape({"packageId": text, "quantity": quantity}, required=frozenset({"packageId", "quantity"}))
_ORDER = Shape({"items": list_of(_LINE), "referenceId": text}, required=frozenset({"items"}))
_ONE = Shape({"orderId": text, "referenceId": text}, one_of=("orderId", "referenceId"))
_LIST = Shape(
    {
        "status": enum("PENDING", "COMPLETED", "ARCHIVED", "CANCELLED", "REFUNDED", "REQUIRE_ACTION"),
        "limit": count,
    }
)
_MOST: Final = 5


def countries(_world: World, call: Call) -> Answer:
    """List the destinations that insurance is sold for, by name."""
    geography = _COUNTRIES.read(call.query).get("geography")
    places = {product.code: product.place for product in PRODUCTS if geography in {None, product.geography}}
    return success({"countries": sorted(places.values(), key=lambda place: str(place["name"]))})


def packages(_world: World, call: Call) -> Answer:
    """List the products with the packages that are asked for; those with none are left out."""
    return success({"packages": _products(_PACKAGES.read(call.query))})


def package(_world: World, call: Call) -> Answer:
    """Show the product of one package, with that package alone."""
    found = _products(_PACKAGE.read(call.query))
    if not found:
        raise refused(404, "Insurance package not found")
    return success(found[0])


def create(world: World, call: Call) -> Answer:
    """Buy policies, which are issued later; at most 5 in one order."""
    body = _ORDER.read(call.body)
    covers: list[Cover] = []
    if sum(line["quantity"] for line in body["items"]) > _MOST:
        raise refused(400, f"An insurance order holds at most {_MOST} policies")
    for line in body["items"]:
        cover = COVERS.get(line["packageId"])
        if cover is None:
            raise refused(400, "Only insurance packages can be ordered here")
        covers += [cover] * line["quantity"]
    with paying():
        order = _reserve(world, call, body.get("referenceId", ""), covers)
    return success(_shown(order))


def get(world: World, call: Call) -> Answer:
    """Show one insurance order; an eSIM order is not found."""
    query = _ONE.read(call.query)
    found = world.store.orders(id=query.get("orderId"), reference_id=query.get("referenceId"), insurance=True, limit=1)
    if not found:
        raise refused(404, "Order not found")
    return success(_shown(found[0]))


def get_all(world: World, call: Call) -> Answer:
    """List insurance orders, newest first; every order of the sandbox is COMPLETED."""
    query = _LIST.read(call.query)
    orders = world.store.orders(insurance=True, limit=query.get("limit", 50))
    wanted = query.get("status", "COMPLETED") == "COMPLETED"
    return success({"orders": [_shown(order) for order in orders if wanted]})


def _products(query: dict[str, Any]) -> list[Json]:
    chosen = {product: [cover for cover in product.covers if _fits(cover, query)] for product in PRODUCTS}
    return [product.shown(covers) for product, covers in chosen.items() if covers]


def _fits(cover: Cover, query: dict[str, Any]) -> bool:
    product = cover.product
    own = {
        "geography": product.geography,
        "country": product.country,
        "countryCode": product.code,
        "packageId": cover.id,
        "day": cover.day,
    }
    return all(own[name] == wanted for name, wanted in query.items())


def _reserve(world: World, call: Call, reference_id: str, covers: list[Cover]) -> Order:
    lines = [(cover.id, cover.cents) for cover in covers]
    with world.store.db.transaction():
        order = world.store.book("insurance", reference_id, lines, unique=True, hidden_for=call.fate.hidden_for)
        world.policies.keep(
            *(
                Policy(item.esim_id, order.id, item.package_id, "", "", "", 0, item.created_at, item.created_at)
                for item in order.items
            )
        )
    return order


def _shown(order: Order) -> Json:
    return order_head(order) | {
        "items": [
            {
                "policyId": item.esim_id,
                "packageId": item.package_id,
                "package": COVERS[item.package_id].name,
                "type": "insurance",
                "price": number(item.price),
                "currency": "USD",
                "createdAt": item.created_at,
                "updatedAt": item.created_at,
            }
            for item in order.items
        ]
    }
