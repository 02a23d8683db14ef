"""Top-ups: further packages for an existing eSIM."""

from datetime import datetime
from decimal import Decimal
from typing import Final

from roamify_async._core.endpoint import PURCHASE, Endpoint, Mode, Reconciliation, Resource, resource
from roamify_async._core.engine import Engine
from roamify_async.models.esims import GetHistory
from roamify_async.models.orders import HistoryItem, Order
from roamify_async.models.topups import CreateTopUp, ListTopUps, TopUpPackage

from .esims import Esims
from .orders import find_orders, latest_orders, refresh_order, to_order
from .packages import nearest_ids, packages_not_found


async def _find(engine: Engine, request: CreateTopUp) -> tuple[Order, ...]:
    return await find_orders(engine, request.reference_id or "")


async def _check(engine: Engine, request: CreateTopUp) -> None:
    """Check the packages offered for the eSIM. Those of the catalogue need not be top-ups."""
    offered = await engine.send(TopUps.packages, ListTopUps(request.iccid))
    ids = [package.package_id for package in offered]
    if request.package_id not in ids:
        nearest = nearest_ids(request.package_id, ids)
        raise packages_not_found((request.package_id,), nearest, f"topups.packages({request.iccid!r})")


async def _price(engine: Engine, request: CreateTopUp) -> Decimal:
    offered = await engine.send(TopUps.packages, ListTopUps(request.iccid, package_id=request.package_id))
    for package in offered:
        if package.package_id == request.package_id:
            return package.price
    raise packages_not_found((request.package_id,), (), f"topups.packages({request.iccid!r})")


async def _in_history(engine: Engine, request: CreateTopUp, since: datetime) -> tuple[HistoryItem, ...]:
    """Return matching items of the eSIM's history. That top-ups are listed with orders is only inferred."""
    history = await engine.send(Esims.history, GetHistory(request.iccid))
    return tuple(
        item
        for item in history
        if item.package_id == request.package_id and (item.created_at is None or item.created_at >= since)
    )


@resource
class TopUps(Resource[Mode]):
    """Top-ups of eSIMs."""

    packages: Final = Endpoint("GET", "/api/esim/topup/packages", ListTopUps, tuple[TopUpPackage, ...])
    """Return the packages with which an eSIM can be topped up."""
    create: Final = Endpoint(
        "POST", "/api/esim/order/topup", CreateTopUp, Order,
        safety=PURCHASE, timeout=60,
        reconciliation=Reconciliation(
            kind="top-up", find=_find, latest=latest_orders, to_response=to_order, refresh=refresh_order, check=_check,
            other_evidence=_in_history, price=_price,
        ),
    )  # fmt: skip
    """Top up an eSIM."""
