"""Vouchers: codes that travellers redeem for eSIMs. Roamify enables them for selected partners."""

from decimal import Decimal
from typing import Final

from roamify_async._core.endpoint import ACTION, PURCHASE, Endpoint, Mode, Reconciliation, Resource, resource
from roamify_async._core.engine import Engine
from roamify_async.errors import NotFoundError
from roamify_async.models.vouchers import (
    CreateVouchers,
    GetVoucher,
    GetVoucherByCode,
    ListVouchers,
    RevokeVoucher,
    Voucher,
    VoucherBatch,
    VoucherRevocation,
)
from roamify_async.purchasing.classify import is_api_404

from .packages import find_packages

LOOK_UP_LIMIT: Final = 50
"""Number of the latest vouchers that are searched for a reference changed by the server."""


async def _find(engine: Engine, request: CreateVouchers) -> tuple[VoucherBatch, ...]:
    """Return the vouchers with the reference of a purchase, as one batch."""
    return await _find_batches(engine, request, ListVouchers(reference_id=request.reference_id))


async def _latest(engine: Engine) -> tuple[VoucherBatch, ...]:
    return _batches(await engine.send(Vouchers.list, ListVouchers(limit=LOOK_UP_LIMIT)))


async def _find_batches(engine: Engine, request: CreateVouchers, query: ListVouchers) -> tuple[VoucherBatch, ...]:
    try:
        vouchers = await engine.send(Vouchers.list, query)
    except NotFoundError as error:
        if not is_api_404(error):
            raise
        vouchers = ()
    return _batches(vouchers, request.quantity)


def _batches(vouchers: tuple[Voucher, ...], requested: int | None = None) -> tuple[VoucherBatch, ...]:
    """Return vouchers in batches, one per reference."""
    groups: dict[str | None, list[Voucher]] = {}
    for voucher in vouchers:
        groups.setdefault(voucher.reference_id, []).append(voucher)
    return tuple(
        VoucherBatch(
            reference_id=reference_id,
            requested_quantity=requested or len(group),
            quantity=len(group),
            vouchers=tuple(group),
            is_pending=requested is not None and len(group) < requested,
        )
        for reference_id, group in groups.items()
    )


async def _refresh(engine: Engine, request: CreateVouchers, _: str) -> VoucherBatch | None:
    """Read a batch again. If it were returned incomplete, the caller would create the missing vouchers twice."""
    found = await _find(engine, request)
    return next((batch for batch in found if batch.reference_id == request.reference_id), None)


async def _check(engine: Engine, request: CreateVouchers) -> None:
    await find_packages(engine, (request.package_id,))


async def _price(engine: Engine, request: CreateVouchers) -> Decimal:
    (package,) = await find_packages(engine, (request.package_id,))
    return package.price * request.quantity


async def _to_batch(_: Engine, batch: VoucherBatch) -> VoucherBatch:
    return batch


@resource
class Vouchers(Resource[Mode]):
    """Codes that travellers redeem for eSIMs."""

    create: Final = Endpoint(
        "POST", "/api/esim/vouchers", CreateVouchers, VoucherBatch,
        safety=PURCHASE, timeout=90, reconciliation=Reconciliation(
            kind="vouchers", find=_find, latest=_latest, to_response=_to_batch, refresh=_refresh, check=_check,
            price=_price,
        ),
    )  # fmt: skip
    """Create vouchers."""
    list: Final = Endpoint("GET", "/api/esim/vouchers", ListVouchers, tuple[Voucher, ...], data_path="data.vouchers")
    """Return vouchers, of one batch or of all."""
    get: Final = Endpoint("GET", "/api/esim/voucher/{voucherId}", GetVoucher, Voucher)
    """Return one voucher."""
    get_by_code: Final = Endpoint("GET", "/api/esim/voucher/code/{code}", GetVoucherByCode, Voucher)
    """Return one voucher by its code."""
    revoke: Final = Endpoint(
        "PUT", "/api/esim/voucher/{voucherId}/revoke", RevokeVoucher, VoucherRevocation, safety=ACTION
    )
    """Revoke a voucher."""
