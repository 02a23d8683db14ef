"""Everything one sandbox consists of, and what a handler of the API is given of a request."""

from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from threading import RLock
from typing import Any

from attrs import define, field, frozen

from .answers import Answer, refused
from .arrivals import Arrivals
from .catalogue import Catalogue
from .faults import Faults
from .money import cents, decimal
from .options import Options
from .packages import Json, Package
from .plans import UNLIMITED
from .records import Esim, Order
from .store import Store
from .visits import Visits
from .webhooks import Webhooks


@define(eq=False)
class World:
    """One sandbox's state; whoever reads or changes it holds the lock."""

    options: Options
    catalogue: Catalogue
    store: Store
    faults: Faults
    arrivals: Arrivals = field(factory=Arrivals)
    lock: Any = field(factory=RLock)  # the class of a lock has no public name in Python 3.11
    resets: int = 0
    """How often it was reset: what came before a reset books nothing after it."""
    visits: Visits = field(factory=Visits, init=False)
    webhooks: Webhooks = field(init=False)
    _first_catalogue: Catalogue = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._first_catalogue = self.catalogue
        self.webhooks = Webhooks(self.options, self.now, self.lock)

    def now(self) -> float:
        """Tell the Unix time in seconds, which is read nowhere else."""
        return self.store.now()

    def close(self) -> None:
        """Close the store, and let nobody wait for requests."""
        with self.lock:
            self.arrivals.close()
            self.store.close()

    def reset(self) -> None:
        """Return to the start: balance, orders, eSIMs, catalogue, faults, counts, time and webhooks."""
        with self.lock:
            self.store.reset()
            self.faults.reset()
            self.arrivals.reset()
            self.visits.reset()
            self.webhooks.reset()
            self.catalogue = self._first_catalogue
            self.resets += 1

    def state(self) -> Json:
        """Tell the balance, every order and eSIM from the oldest on, and how many requests came for what."""
        with self.lock:
            return {
                "balance": str(decimal(self.store.balance())),
                "orders": [_order(order) for order in reversed(self.store.orders(hidden=True))],
                "esims": [self._esim(esim) for esim in [*self.store.esims(hidden=True)][::-1]],
                "requests": dict(self.arrivals.counts),
            }

    def change_catalogue(
        self,
        remove: Iterable[str] = (),
        add: Iterable[str] = (),
        reprice: Mapping[str, Decimal | str | int] | None = None,
    ) -> None:
        """Sell packages no more, or again, or at other prices, from now on."""
        prices = {package_id: cents(price, "price") for package_id, price in (reprice or {}).items()}
        self.catalogue = self.catalogue.changed(remove=remove, add=add, prices=prices)

    def bought(self, esim: Esim, *, hidden: bool = False) -> list[Package]:
        """List the packages an eSIM holds: its own and its top-ups."""
        return [self.catalogue.packages[item.package_id] for item in self.store.history(esim.id, hidden=hidden)]

    def _esim(self, esim: Esim) -> Json:
        held = self.bought(esim, hidden=True)
        return {
            "id": esim.id,
            "iccid": esim.iccid,
            "status": esim.status,
            "packageId": esim.package_id,
            "orderId": esim.order_id,
            "referenceId": esim.reference_id,
            "startDate": esim.start_date,
            "allowedData": min(UNLIMITED, sum(package.plan.megabytes for package in held)),
            "usedData": sum(day.megabytes for day in self.store.usages(esim.id)),
        }


@frozen
class Fate:
    """What becomes of a request that the API serves: how many seconds later what happens, and whether any of it stays.

    `ready_in` seconds a profile takes to be made, `hidden_for` seconds nobody is shown what is booked, `late_by`
    seconds pass before the request is carried out, and of a rehearsed one there is only the answer. A request that
    `shifts` takes the first package that it asks for out of the catalogue.
    """

    ready_in: float = 0.0
    hidden_for: float = 0.0
    late_by: float = 0.0
    rehearsed: bool = False
    shifts: bool = False


@frozen
class Call:
    """One request as a handler sees it."""

    query: dict[str, object]
    body: object
    fate: Fate = Fate()


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
