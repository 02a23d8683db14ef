"""Top-ups: more data for an eSIM that exists."""

from datetime import datetime
from typing import Final

from roamify_async._core.endpoint import PURCHASE, Endpoint, Mode, Reconciliation, Resource
from roamify_async._core.engine import Engine
from roamify_async.models.esims import GetHistory
from roamify_async.models.orders import HistoryItem, ListOrders, Order
from roamify_async.models.topups import CreateTopUp, ListTopUps, TopUpPackage

from .esims import Esims
from .orders import Orders, to_order


async def _find(engine: Engine, request: CreateTopUp) -> tuple[Order, ...]:
    return await engine.send(Orders.list, ListOrders(reference_id=request.reference_id))


async def _unknown_packages(engine: Engine, request: CreateTopUp) -> tuple[str, ...]:
    """Look in the offer for the eSIM, not in the catalogue, whose packages need not be top-ups."""
    offered = await engine.send(TopUps.packages, ListTopUps(request.iccid))
    return () if any(package.package_id == request.package_id for package in offered) else (request.package_id,)


async def _in_history(engine: Engine, request: CreateTopUp, since: datetime) -> tuple[HistoryItem, ...]:
    """Return matching items of the eSIM's history: that top-ups are listed with orders is only inferred."""
    history = await engine.send(Esims.history, GetHistory(request.iccid))
    return tuple(
        item
        for item in history
        if item.package_id == request.package_id and (item.created_at is None or item.created_at >= since)
    )


class TopUps(Resource[Mode]):
    """Top-ups of eSIMs."""

    packages: Final = Endpoint("GET", "/api/esim/topup/packages", ListTopUps, tuple[TopUpPackage, ...])
    """Return the packages that an eSIM can be topped up with."""
    create: Final = Endpoint(
        "POST", "/api/esim/order/topup", CreateTopUp, Order,
        safety=PURCHASE, timeout=60,
        reconciliation=Reconciliation(_find, to_order, _unknown_packages, _in_history, "topups.packages()"),
    )  # fmt: skip
    """Top up an eSIM."""
