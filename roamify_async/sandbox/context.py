"""The state of one running sandbox, and the request that a handler of the API receives."""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal, InvalidOperation
from threading import RLock
from typing import Any, Final

from attrs import define, field, frozen

from .data.catalogue import Catalogue
from .data.currencies import to_cents
from .data.generator import generate_destination
from .data.packages import Package
from .delivery import Webhooks
from .faults.rules import Faults, Modifiers
from .http.errors import ApiError, error, esim_not_found, invalid
from .http.responses import Response
from .options import Options
from .state.records import Esim, Kind, Link, Message, Order, Policy, Refund, Voucher
from .state.request_log import RequestLog
from .state.store import Store
from .state.tables import Table

_LARGEST_FACTOR: Final = 1_000


@define(eq=False)
class Context:
    """Everything that one sandbox consists of; hold `lock` while reading or changing it."""

    options: Options
    catalogue: Catalogue
    store: Store
    faults: Faults
    lock: Any = field(factory=RLock)  # the class of a lock has no public name in Python 3.11
    requests: RequestLog = field(factory=RequestLog, init=False)
    resets: int = 0
    """The number of resets: a request that was received before a reset changes nothing after it."""
    webhooks: Webhooks = field(init=False)
    vouchers: Table[Voucher] = field(init=False)
    policies: Table[Policy] = field(init=False)
    refunds: Table[Refund] = field(init=False)
    links: Table[Link] = field(init=False)
    messages: Table[Message] = field(init=False)
    initial: tuple[Options, Catalogue] = field(init=False)
    """What a reset restores."""

    def __attrs_post_init__(self) -> None:
        self.initial = self.options, self.catalogue
        added = self.store.db.execute("SELECT name, packages, position FROM destinations ORDER BY n").fetchall()
        for name, packages, position in added:
            self._insert_destination(name, packages, position)
        self.webhooks = Webhooks(self.options, self.now, self.lock)
        self.vouchers = Table(self.store, "vouchers", Voucher)
        self.policies = Table(self.store, "policies", Policy)
        self.refunds = Table(self.store, "refunds", Refund)
        self.links = Table(self.store, "links", Link)
        self.messages = Table(self.store, "messages", Message)

    def now(self) -> float:
        """Return the Unix time of the sandbox's clock."""
        return self.store.now()

    def close(self) -> None:
        """Close the store, and fail those who wait for requests."""
        with self.lock:
            self.requests.close()
            self.store.close()

    def reset(self, options: Options, catalogue: Catalogue) -> None:
        """Start anew with these options: balance, records, catalogue, faults, request log, clock and webhooks."""
        with self.lock:
            self.options = options
            self.store.reset(options.balance)
            self.faults = Faults(options.seed, options.faults)
            self.requests.reset()
            self.webhooks.reset(options)
            self.catalogue = catalogue
            self.resets += 1

    @contextmanager
    def dry_run(self) -> Generator[None, None, None]:
        """Roll back all changes of the block, and send no webhooks for them."""
        with self.webhooks.muted(), self.store.dry_run():
            yield

    def refusal(self, status: int, message: str) -> ApiError:
        """Create the error with which vouchers and insurance refuse a request, in the shape of the options."""
        return error(status, message) if self.options.refusal_key == "message" else invalid(message, status)

    def check_status(self, status: object, allowed: Sequence[str]) -> None:
        """Raise the 400 for a `status` that does not exist, if the options say so; undocumented."""
        if self.options.unknown_status == "refused" and status is not None and status not in allowed:
            raise invalid(f'"status" must be one of [{", ".join(allowed)}]')

    def change_catalogue(
        self,
        remove: Iterable[str] = (),
        add: Iterable[str] = (),
        reprice: Mapping[str, Decimal | str | int] | None = None,
    ) -> None:
        """Take packages off sale, put them back on sale, or change their prices; ValueError for an unknown one."""
        prices = {package_id: to_cents(price, "price") for package_id, price in (reprice or {}).items()}
        self.catalogue = self.catalogue.with_changes(remove=remove, add=add, prices=prices)

    def scale_prices(self, factor: Decimal | str | float) -> None:
        """Multiply all prices, rounded to cents; raises ValueError for anything but a positive number."""
        exact = Decimal(0)
        with suppress(InvalidOperation):
            exact = Decimal(str(factor))
        if not exact.is_finite() or not 0 < exact <= _LARGEST_FACTOR:
            raise ValueError(f"scale must be a number above 0, at most {_LARGEST_FACTOR}, not {factor!r}")
        prices = {package.id: max(1, round(package.cents * exact)) for package in self.catalogue.packages.values()}
        self.catalogue = self.catalogue.with_changes(remove=(), add=(), prices=prices)

    def add_destination(self, name: str, packages: int, position: int) -> None:
        """Add a destination to the catalogue; the database keeps it, since orders may refer to its packages."""
        if not 0 <= position <= len(self.catalogue.destinations):
            raise ValueError(f"position must be from 0 to {len(self.catalogue.destinations)}, not {position!r}")
        self._insert_destination(name, packages, position)
        self.store.db.execute(
            "INSERT INTO destinations (name, packages, position) VALUES (?, ?, ?)", (name, packages, position)
        )

    def _insert_destination(self, name: str, packages: int, position: int) -> None:
        new = generate_destination(self.options.seed, name, packages, self.catalogue.destinations)
        self.catalogue = self.catalogue.with_destination(new, position)

    def book(
        self,
        kind: Kind,
        reference_id: str,
        lines: Sequence[tuple[str, int]],
        modifiers: Modifiers,
        *,
        esim_id: str = "",
        unique: bool = False,
    ) -> Order:
        """Book an order as the options and the modifiers of the request say; see `Store.book`."""
        return self.store.book(
            kind,
            self.options.stored_reference(reference_id),
            lines,
            esim_id=esim_id,
            requested_reference_id=reference_id,
            unique=unique,
            ready_in=modifiers.ready_in,
            hidden_for=modifiers.hidden_for,
            status=modifiers.status,
            completes_in=modifiers.completes_in,
            credit_failures=self.options.credit_failures,
        )

    @property
    def filters_by_prefix(self) -> bool:
        """Whether lists are filtered by the beginning of a reference."""
        return self.options.reference_filter == "prefix"

    def packages_of(self, esim: Esim, *, hidden: bool = False) -> list[Package]:
        """Return the packages of an eSIM: its own and its top-ups."""
        return [self.catalogue.packages[item.package_id] for item in self.store.history(esim.id, hidden=hidden)]

    def find_esim(self, *, id: str | None = None, iccid: str | None = None, hidden: bool = False) -> Esim:
        """Return an eSIM by id or ICCID; raises the 404 if there is none."""
        found = self.store.esim(id=id, iccid=iccid, hidden=hidden)
        if found is None:
            raise esim_not_found()
        return found


_UNMODIFIED: Final = Modifiers()


@frozen
class Request:
    """One request to the API."""

    query: dict[str, object]
    body: object
    modifiers: Modifiers = _UNMODIFIED
    path: dict[str, object] = field(factory=dict[str, object])
    """The values of the path parameters, by name."""


Handler = Callable[[Context, Request], Response]
