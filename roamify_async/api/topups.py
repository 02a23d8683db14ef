"""More for an eSIM that is there already."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import ClassVar, Final

import attrs

from roamify_async._engine.facade import PURCHASE, Endpoint, Engine, LookUp, Resource, Way

from .esims import Esims, GetHistory, HistoryItem
from .orders import CreateOrder, ListOrders, Order, Orders, as_order
from .values import Apn, CallAllowance, DataAllowance, SmsAllowance, amount, flag, optional, text, whole


@attrs.frozen
class ListTopUps:
    """List the packages that an eSIM can be topped up with; its profile must be made; ``/esims/topup-flow``."""

    iccid: str = attrs.field(validator=text)
    days: int | None = attrs.field(default=None, kw_only=True, validator=optional(whole))
    """Validity in days."""
    gbs: float | Decimal | None = attrs.field(default=None, kw_only=True, validator=optional(amount))
    """Data in GB."""
    is_unlimited: bool | None = attrs.field(default=None, kw_only=True, validator=optional(flag))
    """True: unlimited packages only."""
    package_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(text))
    """This package only."""


@attrs.frozen
class CreateTopUp:
    """Top an eSIM up, paid from the balance; ``/esims/topup-flow``.

    Without a ``reference_id`` the client makes one. Raises ``PurchaseInDoubtError`` where it is not known whether the
    top-up was booked.
    """

    look_up: ClassVar[str] = CreateOrder.look_up

    iccid: str = attrs.field(validator=text)
    package_id: str = attrs.field(validator=text)
    reference_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(text))
    """Your own key for this purchase, by which it can be found again."""

    def packages(self) -> Mapping[str, int]:
        """Count the packages: one."""
        return {self.package_id: 1}


@attrs.define(kw_only=True)
class TopUpPackage:
    """A package that fits an eSIM; nested otherwise than in the catalogue."""

    package_id: str
    package: str = ""
    """Its name for people."""
    price: Decimal
    """In USD, exact."""
    day: int | None = None
    """Validity in days."""
    plan: str | None = None
    activation: str | None = None
    data: DataAllowance = attrs.field(factory=DataAllowance)
    call: CallAllowance = attrs.field(factory=CallAllowance)
    sms: SmsAllowance = attrs.field(factory=SmsAllowance)
    apn: Apn = attrs.field(factory=Apn, repr=False)
    with_hotspot: bool = False
    with_data_roaming: bool = False
    with_destination_install: bool = False
    with_usage_check: bool = True
    notes: tuple[str, ...] = ()


async def _find(engine: Engine, request: CreateTopUp) -> tuple[Order, ...]:
    return await engine.send(Orders.list, ListOrders(reference_id=request.reference_id))


async def _missing(engine: Engine, request: CreateTopUp) -> tuple[str, ...]:
    """Ask for what fits the eSIM, not the catalogue: a package there need not be one here."""
    offered = await engine.send(TopUps.packages, ListTopUps(request.iccid))
    return () if any(package.package_id == request.package_id for package in offered) else (request.package_id,)


async def _traces(engine: Engine, request: CreateTopUp, since: datetime) -> tuple[HistoryItem, ...]:
    """Give what the eSIM's history shows of such a top-up: that orders list top-ups is only inferred."""
    history = await engine.send(Esims.history, GetHistory(request.iccid))
    return tuple(
        item
        for item in history
        if item.package_id == request.package_id and (item.created_at is None or item.created_at >= since)
    )


class TopUps(Resource[Way]):
    """Top-ups of eSIMs."""

    packages: Final = Endpoint("GET", "/api/esim/topup/packages", ListTopUps, tuple[TopUpPackage, ...])
    """What an eSIM can be topped up with."""
    create: Final = Endpoint(
        "POST", "/api/esim/order/topup", CreateTopUp, Order,
        kind=PURCHASE, timeout=60, look_up=LookUp(_find, as_order, _missing, _traces, "topups.packages()"),
    )  # fmt: skip
    """Top an eSIM up."""
