"""A small API over a real socket that books orders, counts them, and misbehaves as a test says."""

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import attrs

from .servers import Connection, Raw, Received, answer

PACKAGE = "esim-greece-30days-1gb-all"

Reply = bytes
Fault = Callable[["Shop", dict[str, Any]], Awaitable[Reply] | Reply]
"""What becomes of one order: the response, or no bytes to cut the connection."""


def envelope(data: object, status: int = 200, **headers: str) -> Reply:
    """Write a response of the API."""
    return answer(json.dumps({"status": "success", "data": data}), status, **headers)


def failure(status: int, message: str = "no", **headers: str) -> Reply:
    """Write an error of the API."""
    return answer(json.dumps({"status": "failed", "message": message}), status, **headers)


def page(status: int) -> Reply:
    """Write an error of a gateway."""
    return answer("<html><title>gateway</title></html>", status, Content_Type="text/html")


@attrs.define
class Shop:
    """What the server has booked, and how it misbehaves."""

    faults: list[Fault] = attrs.Factory(list)
    """What becomes of the next orders; after them, orders are booked and returned."""
    orders: list[dict[str, Any]] = attrs.Factory(list)
    hidden: set[str] = attrs.Factory(set)
    """Ids of orders that no look-up shows."""
    look_up: Callable[[], Reply | None] = lambda: None
    """The answer to every look-up, instead of the right one."""
    is_sold: bool = True
    """Whether the catalogue lists the package."""
    balance: float = 100
    posts: int = 0
    looks: int = 0
    came: asyncio.Event = attrs.Factory(asyncio.Event)
    """Set when an order has come."""
    _raw: Raw | None = None

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._raw is not None
        return self._raw.url

    def book(self, body: dict[str, Any], **changes: Any) -> dict[str, Any]:
        """Book an order as it was asked for, apart from some fields."""
        number = len(self.orders)
        items = [
            {"esimId": f"esim-{number}-{place}", "packageId": item["packageId"], "price": 1.55, "currency": "USD"}
            for item in body["items"]
            for place in range(item["quantity"])
        ]
        order = {
            "id": f"order-{number}", "referenceId": body["referenceId"], "status": "COMPLETED",
            "total": 1.55 * len(items), "currency": "USD", "createdAt": 1900000000, "items": items, **changes,
        }  # fmt: skip
        self.orders.append(order)
        return order

    async def __aenter__(self) -> Self:
        """Listen."""
        self._raw = await Raw(self._play).__aenter__()
        return self

    async def __aexit__(self, *args: object) -> None:
        """Stop."""
        assert self._raw is not None
        await self._raw.__aexit__(*args)

    async def _play(self, connection: Connection) -> None:
        while received := await connection.request():
            reply = await self._reply(received)
            if not reply:
                connection.abort()
                return
            await connection.write(reply)

    async def _reply(self, received: Received) -> Reply:
        method, target, _ = received.line.split(" ")
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if method == "POST":
            return await self._order(json.loads(received.body))
        if url.path in {"/api/esim/orders", "/api/esim/order"}:
            self.looks += 1
            return self.look_up() or self._found(url.path, query)
        if url.path == "/api/esim/packages":
            return envelope({"packages": [self._destination(query)] if self.is_sold else []})
        return envelope({"balance": self.balance, "currency": "USD"})

    async def _order(self, body: dict[str, Any]) -> Reply:
        self.posts += 1
        self.came.set()
        if not self.faults:
            return envelope(self.book(body))
        reply = self.faults.pop(0)(self, body)
        return reply if isinstance(reply, bytes) else await reply

    def _found(self, path: str, query: dict[str, str]) -> Reply:
        shown = [order for order in self.orders if order["id"] not in self.hidden]
        for name, key in (("referenceId", "referenceId"), ("orderId", "id")):
            if name in query:
                shown = [order for order in shown if order[key] == query[name]]
        if path.endswith("s"):
            return envelope({"orders": shown[::-1]})
        return envelope(shown[0]) if shown else failure(404, "Order not found")

    def _destination(self, query: dict[str, str]) -> dict[str, Any]:
        package = {"packageId": query.get("packageId", PACKAGE), "package": "1 GB", "price": 1.55, "day": 30}
        return {"id": "greece-esims", "countryName": "Greece", "countryCode": "GR", "packages": [package]}


# ---------------------------------------------------------------- faults


def booked(reply: Reply = b"", *, is_hidden: bool = False, **changes: Any) -> Fault:
    """Book an order, and answer something else, or cut the connection."""

    def fault(shop: Shop, body: dict[str, Any]) -> Reply:
        order = shop.book(body, **changes)
        if is_hidden:
            shop.hidden.add(order["id"])
        return reply

    return fault


def vain(reply: Reply = b"") -> Fault:
    """Book nothing, and answer something, or cut the connection."""
    return lambda _, __: reply


def told(*, is_hidden: bool = False, response: dict[str, Any] | None = None, **changes: Any) -> Fault:
    """Book an order with some fields changed, and return it, with some more changed in the response only."""

    def fault(shop: Shop, body: dict[str, Any]) -> Reply:
        order = shop.book(body, **changes)
        if is_hidden:
            shop.hidden.add(order["id"])
        return envelope({**order, **(response or {})})

    return fault
