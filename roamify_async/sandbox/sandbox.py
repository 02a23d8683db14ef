"""The public class: how a test starts a sandbox, inspects it, and makes it fail."""

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from textwrap import fill
from typing import Unpack

from attrs import fields

from .booked import BookedOrder, ReceivedRequest
from .control.api import advance
from .control.snapshot import snapshot
from .data.catalogue import Catalogue, initial_catalogue
from .data.currencies import to_cents, to_decimal
from .data.encoding import Json
from .notifications import add_balance
from .options import Options, OptionsKw, parse_receiver
from .routes import check_endpoint, check_fault, exclusive
from .server import Server
from .state.clock import parse_duration
from .state.request_log import KEPT


class Sandbox(Server):
    """A stand-in for the partner API on a loopback port: a real HTTP server with state and scripted faults.

    Use it as `async with Sandbox(...)` in the current event loop, or as `with Sandbox(...)` in its own thread.
    """

    def __init__(self, **options: Unpack[OptionsKw]) -> None:
        """Create a sandbox; raises ValueError for an option that is not allowed."""
        super().__init__(_checked(Options(**options)))
        self._given: OptionsKw = {"token": self._options.token, **options}

    @property
    def token(self) -> str:
        """The access token that requests must send."""
        return self._current.token

    @property
    def webhook_secret(self) -> str:
        """The secret that webhook events are signed with."""
        return self._current.webhook_secret

    @property
    def balance(self) -> Decimal:
        """The balance of the account in US dollars.

        It can be set, such as by `sandbox.balance = "0.50"`, which sends no events.
        """
        context = self._running()
        with exclusive(context):
            return to_decimal(context.store.balance())

    @balance.setter
    def balance(self, amount: Decimal | str | int) -> None:
        cents, context = to_cents(amount), self._running()
        with exclusive(context):
            context.store.credit(cents - context.store.balance())

    @property
    def webhook_url(self) -> str | None:
        """The URL on this machine that webhook events are sent to, which can be set; None sends no events."""
        return self._running().webhooks.url

    @webhook_url.setter
    def webhook_url(self, url: str | None) -> None:
        checked, context = url and parse_receiver(url), self._running()
        with context.lock:
            if checked is None:
                context.webhooks.stop()
            else:
                context.webhooks.url = checked

    @property
    def orders(self) -> tuple[BookedOrder, ...]:
        """The orders of eSIMs, top-ups and vouchers that are booked, oldest first; hidden ones too."""
        context = self._running()
        with exclusive(context):
            return tuple(BookedOrder.of(order) for order in reversed(context.store.orders(hidden=True)))

    def requests(self, method: str = "*", path: str = "*") -> tuple[ReceivedRequest, ...]:
        """Return the requests to an endpoint since the start or the last reset, oldest first.

        For example, `len(sandbox.requests("POST", "/api/esim/order"))`. *method* and *path* may be `*` for any. Raises
        ValueError for a path that the API does not have, and RuntimeError if some of more than 1,000 requests are
        forgotten.
        """
        check_endpoint(method, path)
        context = self._running()
        with context.lock:
            if sum(context.requests.counts.values()) > KEPT:
                raise RuntimeError(
                    f"only the last {KEPT:,} requests are kept: see state()['requests'] for their number"
                )
            return tuple(
                ReceivedRequest.of(entry)
                for entry in context.requests.recent
                if method.upper() in {"*", entry.method} and path in {"*", entry.path}
            )

    def last_requests(self, count: int) -> tuple[ReceivedRequest, ...]:
        """Return the last requests, at most *count*, oldest first."""
        context = self._running()
        with context.lock:
            return tuple(ReceivedRequest.of(entry) for entry in [*context.requests.recent][-count:])

    @property
    def catalogue(self) -> list[Json]:
        """The destinations with their packages on sale, as the API serves them now."""
        return self._catalogue.json

    @property
    def kinds(self) -> dict[str, list[str]]:
        """The ids of the packages on sale by kind: plain, travel_date, unlimited, throttled, no_top_up, ..."""
        return self._catalogue.kinds

    def price(self, package_id: str) -> Decimal:
        """Return the exact price of a package in US dollars."""
        return to_decimal(self._catalogue.packages[package_id].cents)

    def package_json(self, package_id: str) -> str:
        """Return a package as the exact JSON text that the API serves."""
        return self._catalogue.packages[package_id].text

    def state(self) -> Json:
        """Return the balance, all records from orders to refunds, and the number of requests by endpoint."""
        context = self._running()
        with exclusive(context):
            return snapshot(context)

    def reset(self, **changes: Unpack[OptionsKw]) -> None:
        """Restore the initial state: balance, records, catalogue, faults, request counts, clock and webhooks.

        *changes* are options that are changed until the next reset, such as `reset(packages=200, balance="0.50")`. The
        address and the file of a running sandbox, and the catalogue in a file, cannot be changed.
        """
        fixed = {"allow_remote", "host", "port", "db", *(("packages", "seed") if self._options.db else ())}
        if refused := sorted(fixed & changes.keys()):
            raise ValueError(f"{', '.join(refused)} cannot be changed while the sandbox runs")
        given: OptionsKw = {**self._given}
        given.update(changes)
        options = _checked(Options(**given))
        context, catalogue = self._running(), initial_catalogue(options.seed, options.packages)
        context.reset(options, catalogue)

    def unused_faults(self) -> tuple[str, ...]:
        """Return the faults that have hit no request since they were scripted, such as `drop of GET /api/balance`."""
        context = self._running()
        with context.lock:
            return tuple(f"{rule.fault} of {rule.method} {rule.path}" for rule in context.faults.unused())

    def fail(
        self,
        method: str,
        path: str,
        fault: str,
        *,
        query: Mapping[str, str] | None = None,
        when: str = "before",
        times: int | None = 1,
        probability: float = 1.0,
        seconds: float = 0.0,
    ) -> None:
        """Script a fault for the next requests that match, such as `fail("POST", "/api/esim/order", "drop")`.

        *method* and *path* may be `*` for any; *query* are pairs that the query must contain. With *when* "after" the
        request is carried out before the fault strikes, with "before" nothing is changed. *times* is the number of
        requests, None for all; of those that match, a share of *probability* is hit. *seconds* is the duration of
        faults that have one. `python -m roamify_async.sandbox --help` lists the faults.
        """
        context = self._running()
        rule: Json = {"method": method, "path": path, "query": query, "fault": fault, "when": when}
        rule |= {"times": times, "probability": probability, "seconds": seconds}
        check_fault(rule)
        with context.lock:
            context.faults.add(rule)

    def change_catalogue(
        self,
        *,
        remove: Iterable[str] = (),
        add: Iterable[str] = (),
        reprice: Mapping[str, Decimal | str | int] | None = None,
    ) -> None:
        """Take packages off sale, put them back on sale, or change their prices; ValueError for an unknown package."""
        context = self._running()
        with exclusive(context):
            context.change_catalogue(remove, add, reprice)

    def set_price(self, package_id: str, price: Decimal | str | int) -> None:
        """Change the price of a package in US dollars; later orders are charged the new one."""
        self.change_catalogue(reprice={package_id: price})

    def scale_prices(self, factor: Decimal | str | float) -> None:
        """Multiply the prices of all packages, such as by 1.1, rounded to cents."""
        context = self._running()
        with exclusive(context):
            context.scale_prices(factor)

    def add_destination(self, name: str, *, packages: int = 8, position: int = 0) -> None:
        """Add a destination with new packages, such as `add_destination("Atlantis")`, while readers page through it.

        At *position* 0 it precedes all others, so that every later page shifts; *packages* is the number of its
        packages. It is kept in a `db` file until a reset.
        """
        context = self._running()
        with exclusive(context):
            context.add_destination(name, packages, position)

    def advance(self, by: float | str | timedelta) -> None:
        """Advance the clock, by seconds or a text such as `4h`: eSIMs are installed, used, and expire.

        Delayed requests that become due are carried out, and webhook events of what happens are sent.
        """
        seconds = parse_duration(by.total_seconds() if isinstance(by, timedelta) else by)
        context = self._running()
        with exclusive(context):
            advance(context, seconds)

    def add_balance(self, amount: Decimal | str | int) -> None:
        """Add US dollars to the balance."""
        context = self._running()
        with exclusive(context):
            add_balance(context, str(amount))

    def deliveries(self) -> list[Json]:
        """Return the latest webhook deliveries, oldest first: id, event, tries, last status, state and body."""
        context = self._running()
        with context.lock:
            return [delivery.to_json() for delivery in context.webhooks.recent()]

    def wait_delivered(self, timeout: float = 10.0) -> None:
        """Block until every webhook event is acknowledged, given up or dropped.

        Raises TimeoutError after *timeout* seconds, and RuntimeError in an event loop: await `delivered()` there.
        """
        _refuse_to_block("wait_delivered", "delivered()")
        context = self._running()
        with context.lock:
            future = context.webhooks.settled()
        try:
            future.result(timeout)
        except TimeoutError:
            future.cancel()
            waiting = sum(delivery["state"] == "waiting" for delivery in self.deliveries())
            raise TimeoutError(f"{waiting} events are not delivered after {timeout} s") from None

    async def delivered(self) -> None:
        """Wait until every webhook event is acknowledged, given up or dropped."""
        context = self._running()
        with context.lock:
            future = context.webhooks.settled()
        await asyncio.wrap_future(future)

    def wait_for(self, what: str, count: int = 1, timeout: float = 10.0) -> None:
        """Block until *count* requests such as `POST /api/esim/order` were received since the start or reset.

        Raises TimeoutError after *timeout* seconds, and RuntimeError in an event loop: await `arrived()` there.
        """
        _refuse_to_block("wait_for", "arrived(...)")
        context = self._running()
        with context.lock:
            future = context.requests.expect(what, count)
        try:
            future.result(timeout)
        except TimeoutError:
            future.cancel()
            received = context.requests.counts[what]
            raise TimeoutError(f"received {received} of {count} requests {what} after {timeout} s") from None

    async def arrived(self, what: str, count: int = 1) -> None:
        """Wait until *count* requests such as `POST /api/esim/order` were received since the start or reset."""
        context = self._running()
        with context.lock:
            future = context.requests.expect(what, count)
        await asyncio.wrap_future(future)

    @property
    def now(self) -> datetime:
        """The time of the sandbox's clock, in UTC."""
        return datetime.fromtimestamp(self._running().now(), UTC)

    @property
    def _catalogue(self) -> Catalogue:
        if self._context:
            return self._context.catalogue
        return initial_catalogue(self._options.seed, self._options.packages)

    @property
    def _current(self) -> Options:
        return self._context.options if self._context else self._options


def _checked(options: Options) -> Options:
    for fault in options.faults:
        check_fault(fault)
    return options


def _refuse_to_block(blocking: str, awaited: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(f"{blocking} would block this event loop: await {awaited} instead")


def _document_options() -> str:
    lines = [
        fill(f"{option.name}: {option.metadata['help']}", 116, initial_indent="        ", subsequent_indent=" " * 12)
        for option in fields(Options)
    ]
    return "\n\n    All options are keyword arguments:\n\n" + "\n".join(lines) + "\n    "


if Sandbox.__doc__:  # there are no docstrings under python -OO
    Sandbox.__doc__ = Sandbox.__doc__.rstrip() + _document_options()
