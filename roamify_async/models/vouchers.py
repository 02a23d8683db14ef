"""Vouchers: codes that travellers redeem for eSIMs."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final

import attrs

from roamify_async._validation import optional, path_segment, reference, text, whole_number

from ._fields import State, json_name
from .common import Match

MAX_VOUCHERS: Final = 10
"""More are not minted at once."""


class VoucherStatus(State):
    """Where a voucher is; the set is open."""

    ACTIVE = "ACTIVE"
    REDEEMED = "REDEEMED"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"
    """The server does not say."""


def _at_once(_: object, field: "attrs.Attribute[Any]", value: int) -> None:
    whole_number(_, field, value)
    if value > MAX_VOUCHERS:
        raise ValueError(
            f"{field.name} must be at most {MAX_VOUCHERS}, not {value}: mint more in several calls, each with its own "
            "reference_id"
        )


@attrs.frozen
class CreateVouchers:
    """Mint vouchers of one package, paid from the balance; ``/esims/vouchers``.

    Fewer than asked for may come: ``batch.missing`` of them, to be minted with another reference. Without a
    ``reference_id`` the client makes one. Raises ``PermissionDeniedError`` for a package that the key may not mint, and
    ``PurchaseInDoubtError`` where it is not known whether they were minted. What is answered where the balance is too
    low, and how long minting takes, is not documented.
    """

    look_up: ClassVar[str] = "vouchers.list(reference_id={!r})"

    package_id: str = attrs.field(validator=text)
    quantity: int = attrs.field(default=1, kw_only=True, validator=_at_once)
    """1 to 10."""
    reference_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(reference))
    """Your own key for this purchase, by which it can be found again."""
    notes: str | None = attrs.field(default=None, kw_only=True, validator=optional(attrs.validators.instance_of(str)))
    """Kept with each voucher."""

    def packages(self) -> Mapping[str, int]:
        """Count the vouchers of the package."""
        return {self.package_id: self.quantity}


@attrs.frozen(kw_only=True)
class ListVouchers:
    """List vouchers, the newest first: all of them, or as many as the limit says; ``/esims/vouchers``."""

    reference_id: str | None = attrs.field(default=None, validator=optional(text))
    """Those of this batch only."""
    status: str | None = attrs.field(default=None, validator=optional(text))
    package_id: str | None = attrs.field(default=None, validator=optional(text))
    limit: int | None = attrs.field(default=None, validator=optional(whole_number))


@attrs.frozen
class GetVoucher:
    """Get one voucher; ``/esims/vouchers``."""

    voucher_id: str = attrs.field(validator=path_segment)


@attrs.frozen
class GetVoucherByCode:
    """Get one voucher by its code, however that is spaced and capitalised; ``/esims/vouchers``."""

    code: str = attrs.field(validator=path_segment)
    """12 letters and digits."""


@attrs.frozen
class RevokeVoucher:
    """Revoke a voucher and cancel its eSIM, for good; ``/esims/vouchers``.

    Raises ``ConflictError`` where it is not active any more: redeemed, or revoked before. Whether its price is paid
    back is not documented.
    """

    voucher_id: str = attrs.field(validator=path_segment)


@attrs.define(kw_only=True)
class Voucher:
    """A code that one traveller can redeem for one eSIM, which is bought already."""

    id: str
    code: str = ""
    """12 letters and digits."""
    redeem_url: str | None = None
    """Page on which the traveller redeems it."""
    status: VoucherStatus = VoucherStatus.UNKNOWN
    reference_id: str | None = None
    """That of the batch it was minted in."""
    package_id: str = ""
    package: str = ""
    """Name of the package for people."""
    destination: str | None = None
    price: Decimal | None = None
    currency: str = "USD"
    esim_id: str | None = None
    order_id: str | None = None
    """The order by which its eSIM was bought."""
    notes: str | None = None
    redeemed_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None


@attrs.define(kw_only=True)
class VoucherBatch:
    """Vouchers that were minted together; perhaps fewer than were asked for."""

    reference_id: str | None = None
    requested_quantity: int
    quantity: int
    """How many were minted."""
    vouchers: tuple[Voucher, ...]
    is_pending: bool = attrs.field(default=False, eq=False, repr=False, metadata=json_name(None))
    """Whether missing vouchers may still be created: the batch was looked up, and not returned by its call."""
    was_found: bool = attrs.field(default=False, eq=False, metadata=json_name(None))
    """Whether it existed before the call that returned it sent anything."""

    @property
    def missing(self) -> int:
        """How many were asked for and not minted: mint them with another reference, never with this one again."""
        return max(0, self.requested_quantity - self.quantity)

    @property
    def id(self) -> str:
        """The ids of its vouchers; a batch has none of its own."""
        return " ".join(voucher.id for voucher in self.vouchers)

    @property
    def created_at(self) -> datetime | None:
        """When the first of its vouchers was minted; ``None`` where one does not say."""
        times = [voucher.created_at for voucher in self.vouchers]
        known = [time for time in times if time is not None]
        return min(known) if known and len(known) == len(times) else None

    @property
    def is_kept(self) -> bool:
        """Whether the batch stands; its vouchers may be revoked one by one."""
        return True

    def match(self, packages: Mapping[str, int]) -> Match:
        """Compare its vouchers with the quantity of a package. A batch that came short is a purchase."""
        fits = 0 < len(self.vouchers) <= sum(packages.values())
        return Match.YES if fits and {voucher.package_id for voucher in self.vouchers} <= packages.keys() else Match.NO

    def falls_short(self, packages: Mapping[str, int]) -> bool:
        """Return whether vouchers are missing, and none is of another package."""
        kinds = {voucher.package_id for voucher in self.vouchers}
        return len(self.vouchers) < sum(packages.values()) and kinds <= packages.keys()

    def __repr__(self) -> str:
        """Show how many are missing as well."""
        return (
            f"VoucherBatch(reference_id={self.reference_id!r}, requested_quantity={self.requested_quantity}, "
            f"quantity={self.quantity}, missing={self.missing}, vouchers={self.vouchers!r})"
        )


@attrs.define(kw_only=True)
class VoucherRevocation:
    """A voucher that cannot be redeemed any more."""

    id: str
    status: VoucherStatus = VoucherStatus.UNKNOWN
