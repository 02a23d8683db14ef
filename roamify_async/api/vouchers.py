"""Vouchers: codes that travellers redeem for eSIMs, for partners that may create them."""

from typing import Final

from roamify_async._core.concurrency import poll
from roamify_async._core.endpoint import ACTION, PURCHASE, Endpoint, Mode, Reconciliation, Resource
from roamify_async._core.engine import Engine
from roamify_async.errors import RoamifyError
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


async def _find(engine: Engine, request: CreateVouchers) -> tuple[VoucherBatch, ...]:
    """Return the vouchers under the reference of a purchase, in batches of at most the requested quantity.

    A second batch that matches the purchase means that it was made twice.
    """
    kinds: dict[tuple[str | None, str], list[Voucher]] = {}
    for voucher in await engine.send(Vouchers.list, ListVouchers(reference_id=request.reference_id)):
        kinds.setdefault((voucher.reference_id, voucher.package_id), []).append(voucher)
    size = request.quantity
    return tuple(
        _batch(reference_id, size, vouchers[start : start + size])
        for (reference_id, _), vouchers in kinds.items()
        for start in range(0, len(vouchers), size)
    )


def _batch(reference_id: str | None, requested: int, vouchers: list[Voucher]) -> VoucherBatch:
    return VoucherBatch(
        reference_id=reference_id, requested_quantity=requested, quantity=len(vouchers), vouchers=tuple(vouchers)
    )


async def _poll_complete(engine: Engine, batch: VoucherBatch) -> VoucherBatch:
    """Return a batch that was found, once it is complete or the reconcile window has passed.

    Returned too early, missing vouchers would be created a second time under another reference.
    """
    package_id = batch.vouchers[0].package_id
    request = CreateVouchers(package_id, quantity=batch.requested_quantity, reference_id=batch.reference_id)
    async for _ in poll(engine.settings.reconcile_window):
        if not batch.missing:
            break
        found = [
            other
            for other in await _find(engine, request)
            if other.reference_id == request.reference_id and other.holds(request.packages())
        ]
        if len(found) > 1:
            raise RoamifyError("there are more vouchers under the reference than were requested", sent="answered")
        batch = next(iter(found), batch)
    return batch


class Vouchers(Resource[Mode]):
    """Codes that travellers redeem for eSIMs."""

    create: Final = Endpoint(
        "POST", "/api/esim/vouchers", CreateVouchers, VoucherBatch,
        safety=PURCHASE, timeout=90, reconciliation=Reconciliation(_find, _poll_complete),
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
