"""Everything one sandbox consists of, and what a handler of the API is given of a request."""

from collections import Counter
from collections.abc import Callable
from threading import RLock
from typing import Any

from attrs import field, frozen

from .answers import Answer, refused
from .catalogue import Catalogue, Json, Package
from .faults import Faults
from .money import decimal
from .options import Options
from .plans import UNLIMITED
from .records import Esim, Order
from .store import Store


@frozen(eq=False)
class World:
    """One sandbox's state; whoever reads or changes it holds the lock."""

    options: Options
    catalogue: Catalogue
    store: Store
    faults: Faults
    requests: Counter[str] = field(factory=Counter[str])
    lock: Any = field(factory=RLock)  # the class of a lock has no public name in Python 3.11

    def close(self) -> None:
        """Close the store."""
        with self.lock:
            self.store.close()

    def reset(self) -> None:
        """Return to the start: balance, orders, eSIMs, faults and counts."""
        with self.lock:
            self.store.reset()
            self.faults.clear()
            self.requests.clear()

    def state(self) -> Json:
        """Tell the balance, every order and eSIM from the oldest on, and how many requests came for what."""
        with self.lock:
            return {
                "balance": str(decimal(self.store.balance())),
                "orders": [_order(order) for order in reversed(self.store.orders())],
                "esims": [self._esim(esim) for esim in [*self.store.esims()][::-1]],
                "requests": dict(self.requests),
            }

    def bought(self, esim: Esim) -> list[Package]:
        """List the packages an eSIM holds: its own and its top-ups."""
        return [self.catalogue.packages[item.package_id] for item in self.store.history(esim.id)]

    def _esim(self, esim: Esim) -> Json:
        return {
            "id": esim.id,
            "iccid": esim.iccid,
            "status": esim.status,
            "packageId": esim.package_id,
            "orderId": esim.order_id,
            "referenceId": esim.reference_id,
            "startDate": esim.start_date,
            "allowedData": min(UNLIMITED, sum(package.plan.megabytes for package in self.bought(esim))),
            "usedData": sum(day.megabytes for day in self.store.usages(esim.id)),
        }


@frozen
class Call:
    """One request as a handler sees it; `ready_in` is how many seconds a profile it makes takes to be ready."""

    query: dict[str, object]
    body: object
    ready_in: float = 0.0


Handler = Callable[[World, Call], Answer]


def known(esim: Esim | None) -> Esim:
    """Insist on an eSIM that was found."""
    if esim is None:
        raise refused(404, "eSIM not found, please make sure your have the correct iccid or esimId")
    return esim


def _order(order: Order) -> Json:
    return {
        "id": order.id,
        "referenceId": order.reference_id,
        "total": str(decimal(order.total)),
        "kind": order.kind,
        "items": [
            {"packageId": item.package_id, "esimId": item.esim_id, "price": str(decimal(item.price))}
            for item in order.items
        ],
    }
