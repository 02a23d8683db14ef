"""eSIMs: their profiles, their states, and what was used of them."""

import datetime as dt
from contextlib import suppress
from typing import Final

import attrs

from roamify_async._engine.crowd import all_of, gather
from roamify_async._engine.facade import ACTION, Awaiting, Endpoint, Engine, Resource, Way, operation
from roamify_async.errors import BadRequestError, PurchaseInDoubtError, RoamifyError

from .applying import patience, until_done
from .events import GET_EVENTS
from .messages import EsimLink, LinkEsim, SendSms, SmsReceipt, read_receipt
from .orders import CreateOrder, ListOrders, Order, OrderItem, OrderLine, Orders, SettleOrder, ready_esims
from .packages import ListPackages, Packages
from .profiles import APPLY_ESIM, GET_ESIM, LIST_ESIMS, ApplyEsim, Esim, ListEsims
from .usage import GetUsage, GetUsageDetails, Usage, UsageDetails
from .values import day, text

MOST_ESIMS: Final = 500
"""More eSIMs than one order holds."""


@attrs.frozen
class ApplyOrder:
    """Generate the profiles of all eSIMs of an order; takes up to 90 s; ``/esims/esims``."""

    reference_id: str = attrs.field(validator=text)
    start_date: dt.date | None = attrs.field(default=None, kw_only=True, converter=day)
    """First day of the journey: a ``datetime.date`` or its ISO text."""


@attrs.frozen
class GetHistory:
    """Get the packages that an eSIM had; ``/esims/esims``."""

    iccid: str = attrs.field(validator=text)


HistoryItem = OrderLine
"""A package that an eSIM was bought with or topped up with; the API tells of it as of a line of an order."""


async def read_order_applied(engine: Engine, request: ApplyOrder, failure: RoamifyError) -> tuple[Esim, ...]:
    """Read the eSIMs of the order whose apply failed; apply each where the server takes no order."""

    async def look() -> tuple[Esim, ...]:
        return await engine.send(LIST_ESIMS, ListEsims(reference_id=request.reference_id, limit=MOST_ESIMS))

    async def all_ready() -> tuple[Esim, ...] | None:
        esims = await look()
        return esims if esims and all(esim.is_installable for esim in esims) else None

    async def apply(esim: Esim) -> Esim:
        return await engine.send(APPLY_ESIM, ApplyEsim(esim.id, start_date=request.start_date))

    if not isinstance(failure, BadRequestError) or "esimId" not in failure.message:
        return await until_done(all_ready, patience(engine, failure), failure)
    return all_of(await gather(apply, await look()))


class Esims(Resource[Way]):
    """eSIMs that were bought."""

    apply: Final = APPLY_ESIM
    """Generate the profile of one eSIM."""
    apply_order: Final = Endpoint(
        "POST", "/api/esim/apply", ApplyOrder, tuple[Esim, ...],
        kind=ACTION, timeout=100, recover=read_order_applied,
    )  # fmt: skip
    """Generate the profiles of all eSIMs of one order."""
    get: Final = GET_ESIM
    """One eSIM."""
    list: Final = LIST_ESIMS
    """eSIMs, of one order or of all."""
    usage: Final = Endpoint("GET", "/api/esim/usage", GetUsage, Usage)
    """What was used of one eSIM."""
    usage_details: Final = Endpoint("GET", "/api/esim/usage/details", GetUsageDetails, UsageDetails)
    """What was used of one eSIM, day by day."""
    history: Final = Endpoint("GET", "/api/esim/history", GetHistory, tuple[HistoryItem, ...])
    """The packages that one eSIM had."""
    events: Final = GET_EVENTS
    """What happened to one eSIM on its device."""
    link: Final = Endpoint("POST", "/api/esim/link", LinkEsim, EsimLink, kind=ACTION)
    """A link by which a traveller installs one eSIM."""
    send_sms: Final = Endpoint("POST", "/api/esim/sms", SendSms, SmsReceipt, kind=ACTION, read=read_receipt)
    """Send a text message to one eSIM."""

    @operation
    async def buy(
        self: "Esims[Awaiting]",
        package_id: str,
        quantity: int = 1,
        *,
        start_date: dt.date | str | None = None,
        reference_id: str | None = None,
    ) -> tuple[Esim, ...]:
        """Order eSIMs and make their profiles; give them once they can be installed.

        Called again with its reference it goes on where it stopped. Raises ``ValueError``, and buys nothing, where the
        package needs a *start_date* and none is given; ``EsimsNotReadyError`` where some eSIMs are not ready; and what
        ``orders.create`` raises.
        """
        wanted = CreateOrder([OrderItem(package_id, quantity)], reference_id=reference_id)
        start = day(start_date)
        order = await self._found(wanted)
        if order is None:
            if start is None:
                await self._refuse_undated(package_id)
            order = await self.engine.send(Orders.create, wanted)
        return await ready_esims(self.engine, order, start)

    @operation
    async def _refuse_undated(self: "Esims[Awaiting]", package_id: str) -> None:
        """Refuse a package that needs a date before it is paid for."""
        with suppress(RoamifyError):  # What cannot be told now, the order and the profiles tell.
            for package in await self.engine.send(Packages.page, ListPackages(package_id=package_id)):
                if package.package_id == package_id and package.requirements.travel_date:
                    raise ValueError(f"{package_id} needs a start_date, the day of the journey; nothing was bought")

    @operation
    async def _found(self: "Esims[Awaiting]", wanted: CreateOrder) -> Order | None:
        """Find the order of a purchase that was begun before."""
        if wanted.reference_id is None or wanted.reference_id in self.engine.doubts:
            return None
        listed = await self.engine.send(Orders.list, ListOrders(reference_id=wanted.reference_id))
        orders = SettleOrder(wanted.reference_id).own(listed)
        if not orders:
            return None
        if len(orders) == 1 and orders[0].holds(wanted.packages()):
            return orders[0]
        raise PurchaseInDoubtError(
            f"under the reference {wanted.reference_id} stands something else than this purchase",
            request=wanted,
            found=orders,
            reference_id=wanted.reference_id,
            package_ids=tuple(wanted.packages()),
        )
