"""The sandbox as a test sees it: how it is set up, looked into, and made to fail."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from decimal import Decimal
from os import PathLike

from . import balance_alerts as funds
from .control.snapshot import state
from .control.steering import advance
from .data.catalogue import Catalogue
from .data.money import decimal
from .data.packages import Json
from .options import (
    TOKEN,
    WEBHOOK_SECRET,
    DuplicateReference,
    EventPath,
    InstantOrderShows,
    LinkAgain,
    Options,
    PageCounts,
    PastEnd,
    RefundKey,
    SmsAnswer,
    UsageDates,
    UsageUnits,
    WebhookTypes,
    WebhookUsageList,
)
from .routes import turn
from .server import Server
from .state.clock import span


class Sandbox(Server):
    """A stand-in for the partner API on a loopback port: `async with` in this loop, `with` in a thread of its own."""

    def __init__(
        self,
        *,
        packages: int = 28_000,
        seed: int = 0,
        balance: Decimal | str | int = "1000.00",
        token: str = TOKEN,
        webhook_secret: str = WEBHOOK_SECRET,
        host: str = "127.0.0.1",
        port: int = 0,
        latency: float | Mapping[str, float] = 0.0,
        page_counts: PageCounts = "packages",
        totals: bool | int = False,
        past_end: PastEnd = "empty",
        db: str | PathLike[str] | None = None,
        duplicate_reference: DuplicateReference = "accept",
        instant_order_shows: InstantOrderShows = "items",
        apply_needs_esim_id: bool = False,
        event_path: EventPath = "event",
        event_envelope: bool = False,
        usage_dates: UsageDates = "YYYYMMDD",
        usage_units: UsageUnits = "MB",
        sms_answer: SmsAnswer = "data",
        link_again: LinkAgain = "same",
        refund_key: RefundKey = "refundId",
        rates_envelope: bool = True,
        rates_need_pair: bool = False,
        vouchers: bool = True,
        voucher_packages: Sequence[str] | None = None,
        voucher_mint_limit: int = 10,
        policy_takes: float = 0.0,
        affiliate: str = "sandbox",
        compress: bool = True,
        faults: Sequence[Mapping[str, object]] = (),
        low_balance: Decimal | str | int = "100.00",
        webhook_url: str | None = None,
        webhook_timeout: float = 3.0,
        webhook_retry_after: Sequence[float] = (1.0, 5.0),
        webhook_types: WebhookTypes = "plain",
        webhook_usage_list: WebhookUsageList = "data",
    ) -> None:
        """Choose how the sandbox behaves; ValueError for a choice that does not exist."""
        options = Options(
            packages=packages,
            seed=seed,
            balance=balance,
            token=token,
            webhook_secret=webhook_secret,
            host=host,
            port=port,
            latency=latency,
            page_counts=page_counts,
            totals=totals,
            past_end=past_end,
            db=db,
            duplicate_reference=duplicate_reference,
            instant_order_shows=instant_order_shows,
            apply_needs_esim_id=apply_needs_esim_id,
            event_path=event_path,
            event_envelope=event_envelope,
            usage_dates=usage_dates,
            usage_units=usage_units,
            sms_answer=sms_answer,
            link_again=link_again,
            refund_key=refund_key,
            rates_envelope=rates_envelope,
            rates_need_pair=rates_need_pair,
            vouchers=vouchers,
            voucher_packages=voucher_packages,
            voucher_mint_limit=voucher_mint_limit,
            policy_takes=policy_takes,
            affiliate=affiliate,
            compress=compress,
            faults=faults,
            low_balance=low_balance,
            webhook_url=webhook_url,
            webhook_timeout=webhook_timeout,
            webhook_retry_after=webhook_retry_after,
            webhook_types=webhook_types,
            webhook_usage_list=webhook_usage_list,
        )
        super().__init__(options)

    @property
    def token(self) -> str:
        """The token that it accepts."""
        return self._options.token

    @property
    def webhook_secret(self) -> str:
        """The secret that it signs webhooks with."""
        return self._options.webhook_secret

    @property
    def catalogue(self) -> list[Json]:
        """The destinations with the packages that they sell now, as the API serves them."""
        return self._catalogue.shown

    @property
    def kinds(self) -> dict[str, list[str]]:
        """The package ids of each kind that are sold: plain, travel_date, unlimited, throttled, no_top_up, ..."""
        return self._catalogue.kinds

    def price(self, package_id: str) -> Decimal:
        """Tell the exact price of a package."""
        return decimal(self._catalogue.packages[package_id].cents)

    def package_json(self, package_id: str) -> str:
        """Give a package as the very JSON text that the API serves."""
        return self._catalogue.packages[package_id].text

    def state(self) -> Json:
        """Tell the balance, all that is kept, from orders to refunds, and how many requests came for what."""
        world = self._running()
        with turn(world):
            return state(world)

    def reset(self) -> None:
        """Return to the start: balance, all that is kept, catalogue, faults, counts, time and webhooks."""
        self._running().reset()

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
        """Script a fault for the next requests of that method and path, `*` for any, and of that query.

        None times is for ever.
        """
        world = self._running()
        given = {"method": method, "path": path, "query": query, "fault": fault, "when": when}
        with world.lock:
            world.faults.add(given | {"times": times, "probability": probability, "seconds": seconds})

    def change_catalogue(
        self,
        *,
        remove: Iterable[str] = (),
        add: Iterable[str] = (),
        reprice: Mapping[str, Decimal | str | int] | None = None,
    ) -> None:
        """Sell packages no more, or again, or at other prices, from now on; ValueError for one there is not."""
        world = self._running()
        with turn(world):
            world.change_catalogue(remove, add, reprice)

    def advance(self, by: float | str | timedelta) -> None:
        """Move the sandbox's time forward, by seconds or by a text such as `4h`: eSIMs are installed, used and expire.

        What was to come late has come then, and the partner is told of what happened.
        """
        seconds = span(by.total_seconds() if isinstance(by, timedelta) else by)
        world = self._running()
        with turn(world):
            advance(world, seconds)

    def add_balance(self, amount: Decimal | str | int) -> None:
        """Add dollars to the balance."""
        world = self._running()
        with turn(world):
            funds.add(world, str(amount))

    def deliveries(self) -> list[Json]:
        """List the last webhook deliveries, oldest first: id, event, tries, last status, state and body."""
        world = self._running()
        with world.lock:
            return [delivery.shown() for delivery in world.webhooks.recent()]

    def wait_delivered(self, timeout: float = 10.0) -> None:
        """Block until every event is acknowledged, given up or dropped; errors as those of `wait_for`."""
        _refuse_to_block("wait_delivered", "delivered()")
        world = self._running()
        with world.lock:
            future = world.webhooks.settled()
        try:
            future.result(timeout)
        except TimeoutError:
            future.cancel()
            waiting = sum(delivery["state"] == "waiting" for delivery in self.deliveries())
            raise TimeoutError(f"{timeout} s passed, and {waiting} events still wait to be delivered") from None

    async def delivered(self) -> None:
        """Wait until every event is acknowledged, given up or dropped."""
        world = self._running()
        with world.lock:
            future = world.webhooks.settled()
        await asyncio.wrap_future(future)

    def wait_for(self, what: str, count: int = 1, timeout: float = 10.0) -> None:
        """Block until so many requests such as `POST /api/esim/order` have come since the start or reset.

        TimeoutError after some seconds; RuntimeError in an event loop, which `arrived` is for.
        """
        _refuse_to_block("wait_for", "arrived(...)")
        world = self._running()
        with world.lock:
            future = world.arrivals.expect(what, count)
        try:
            future.result(timeout)
        except TimeoutError:
            future.cancel()
            raise TimeoutError(
                f"{timeout} s passed, and of {count} {what} came {world.arrivals.counts[what]}"
            ) from None

    async def arrived(self, what: str, count: int = 1) -> None:
        """Wait until so many requests such as `POST /api/esim/order` have come since the start or reset."""
        world = self._running()
        with world.lock:
            future = world.arrivals.expect(what, count)
        await asyncio.wrap_future(future)

    @property
    def _catalogue(self) -> Catalogue:
        return self._world.catalogue if self._world else self._first_catalogue


def _refuse_to_block(blocking: str, awaited: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(f"{blocking} would block this event loop: await {awaited} instead")
