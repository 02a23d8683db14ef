"""Everything one sandbox consists of, and what a handler of the API is given of a request."""

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import contextmanager
from decimal import Decimal
from threading import RLock
from typing import Any

from attrs import define, field, frozen

from .data.catalogue import Catalogue
from .data.money import cents
from .data.packages import Package
from .delivery import Webhooks
from .faults.rules import Faults
from .http.responses import Answer, refused
from .options import Options
from .state.records import Esim, Link, Message, Policy, Refund, Voucher
from .state.request_log import Arrivals
from .state.store import Store
from .state.tables import Shelf
from .state.visits import Visits


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
    vouchers: Shelf[Voucher] = field(init=False)
    policies: Shelf[Policy] = field(init=False)
    refunds: Shelf[Refund] = field(init=False)
    links: Shelf[Link] = field(init=False)
    messages: Shelf[Message] = field(init=False)
    _first_catalogue: Catalogue = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._first_catalogue = self.catalogue
        self.webhooks = Webhooks(self.options, self.now, self.lock)
        self.vouchers = Shelf(self.store, "vouchers", Voucher)
        self.policies = Shelf(self.store, "policies", Policy)
        self.refunds = Shelf(self.store, "refunds", Refund)
        self.links = Shelf(self.store, "links", Link)
        self.messages = Shelf(self.store, "messages", Message)

    def now(self) -> float:
        """Tell the Unix time in seconds, which is read nowhere else."""
        return self.store.now()

    def close(self) -> None:
        """Close the store, and let nobody wait for requests."""
        with self.lock:
            self.arrivals.close()
            self.store.close()

    def reset(self) -> None:
        """Return to the start: balance, all that is kept, catalogue, faults, counts, time and webhooks."""
        with self.lock:
            self.store.reset()
            self.faults.reset()
            self.arrivals.reset()
            self.visits.reset()
            self.webhooks.reset()
            self.catalogue = self._first_catalogue
            self.resets += 1

    @contextmanager
    def rehearsal(self) -> Generator[None, None, None]:
        """Keep nothing of what the block changes, and tell nobody of it."""
        with self.webhooks.quiet(), self.store.rehearsal():
            yield

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
    path: dict[str, object] = field(factory=dict[str, object])
    """What stands in the path where the route has a name in braces."""


Handler = Callable[[World, Call], Answer]


def known(esim: Esim | None) -> Esim:
    """Insist on an eSIM that was found."""
    if esim is None:
        raise refused(404, "eSIM not found, please make sure your have the correct iccid or esimId")
    return esim
