"""What a sandbox has booked and received, as values for tests."""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Self

from attrs import field, frozen

from .data.currencies import to_decimal
from .state.records import Kind, Order, OrderStatus
from .state.request_log import LoggedRequest

_LONGEST_SHOWN: Final = 200  # bytes


@frozen
class BookedItem:
    """One item of an order."""

    package_id: str
    esim_id: str
    price: Decimal
    """The price in US dollars."""


@frozen
class BookedOrder:
    """An order that a sandbox has booked."""

    id: str
    reference_id: str
    kind: Kind
    status: OrderStatus
    total: Decimal
    """The total in US dollars."""
    items: tuple[BookedItem, ...]

    @classmethod
    def of(cls, order: Order) -> Self:
        """Create the value from a record of the store."""
        items = tuple(BookedItem(item.package_id, item.esim_id, to_decimal(item.price)) for item in order.items)
        return cls(order.id, order.reference_id, order.kind, order.status, to_decimal(order.total), items)


@frozen
class ReceivedRequest:
    """A request that a sandbox has received."""

    method: str
    path: str
    query: Mapping[str, str] = field(hash=False)
    body: bytes
    """The body; empty if it is longer than 64 KiB."""
    status: int | str
    """The status of the response, or a word such as `aborted` or `in progress`."""
    fault: str
    """The fault that was injected, or an empty text."""

    @property
    def json(self) -> Any:
        """The parsed body, or None without a body."""
        return json.loads(self.body) if self.body else None

    @classmethod
    def of(cls, entry: LoggedRequest) -> Self:
        """Create the value from an entry of the log."""
        return cls(entry.method, entry.path, dict(entry.query), entry.body, entry.status, entry.fault)

    def __str__(self) -> str:
        """Return one line: method, path, query, body, status and fault."""
        query = "&".join(f"{name}={value}" for name, value in self.query.items())
        body = self.body[:_LONGEST_SHOWN].decode(errors="replace")
        parts = [self.method, self.path + "?" * bool(query) + query, body, f"-> {self.status}"]
        return " ".join([*filter(None, parts), *([f"({self.fault})"] if self.fault else [])])
