"""Successful responses with an order that is not, or not completely, the one that was booked."""

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from random import Random
from typing import Final, cast
from uuid import UUID

from roamify_async.sandbox.data.encoding import Json, dumps
from roamify_async.sandbox.data.insurance import COVERS

_ID_KEYS: Final[Mapping[str, tuple[str, ...]]] = {
    "items": ("esimId", "policyId"),
    "esims": ("id", "iccid"),
    "vouchers": ("id", "code", "esimId", "orderId"),
}
"""The keys of the lists of an order's items, and the ids in each item."""


def replace_orders(fault: str, text: str, random: Random, packages: Iterable[str]) -> str:
    """Return a JSON response with this fault in each of its orders; one without orders is unchanged.

    *packages* are the ids that replace those of the items.
    """
    body: object = json.loads(text)
    for order in _orders(body):
        _FAULTS[fault](order, random, packages)
    return dumps(body)


def _orders(body: object) -> Iterator[Json]:
    """Yield the orders and voucher batches of a response."""
    data = cast("Json", body).get("data") if isinstance(body, dict) else None
    if isinstance(data, dict):
        fields = cast("Json", data)
        candidates = cast("list[Json]", fields.get("orders", [fields]))
        yield from (order for order in candidates if order.keys() & _ID_KEYS.keys())


def _items(order: Json) -> Iterator[tuple[str, list[Json]]]:
    for key in order.keys() & _ID_KEYS.keys():
        yield key, order[key]


def _fewer_items(order: Json, _random: Random, _packages: Iterable[str]) -> None:
    for _, items in _items(order):
        del items[-1:]


def _no_items(order: Json, _random: Random, _packages: Iterable[str]) -> None:
    for _, items in _items(order):
        items.clear()


def _items_without_id(order: Json, _random: Random, _packages: Iterable[str]) -> None:
    for key, items in _items(order):
        for item in items:
            for name in _ID_KEYS[key]:
                item.pop(name, None)


def _other_package(order: Json, _random: Random, packages: Iterable[str]) -> None:
    for _, items in _items(order):
        own = {item.get("packageId") for item in items}
        candidates = COVERS if own & COVERS.keys() else packages
        other = next(package_id for package_id in candidates if package_id not in own)
        for item in items:
            if "packageId" in item:
                item["packageId"] = other


def _other_reference(order: Json, random: Random, _packages: Iterable[str]) -> None:
    order["referenceId"] = _new_id(random)


def _no_reference(order: Json, _random: Random, _packages: Iterable[str]) -> None:
    order.pop("referenceId", None)


def _other_order(order: Json, random: Random, packages: Iterable[str]) -> None:
    _no_reference(order, random, packages)
    _other_package(order, random, packages)
    if "id" in order:
        order["id"] = _new_id(random)
    for key, items in _items(order):
        for item in items:
            item |= {name: _new_id(random) for name in _ID_KEYS[key] if name in item}


def _new_id(random: Random) -> str:
    return str(UUID(int=random.getrandbits(128), version=4))


_FAULTS: Final[Mapping[str, Callable[[Json, Random, Iterable[str]], None]]] = {
    "fewer_items": _fewer_items,
    "no_items": _no_items,
    "items_without_id": _items_without_id,
    "other_package": _other_package,
    "other_reference": _other_reference,
    "no_reference": _no_reference,
    "other_order": _other_order,
}
WRONG_ORDERS: Final = tuple(_FAULTS)
"""The faults of this module."""
