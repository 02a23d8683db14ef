"""Vouchers: codes that travellers redeem for eSIMs."""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, ClassVar, Final

import attrs

from roamify_async._serde.fields import State, json_name
from roamify_async._validation import optional, path_segment, reference, text, whole_number

from ._text import count, money, summary
from ._value import Value
from .common import Match

MAX_VOUCHERS: Final = 10
"""Maximum number of vouchers per call."""


class VoucherStatus(State):
    """State of a voucher. Unknown values are kept as they are."""

    ACTIVE = "ACTIVE"
    REDEEMED = "REDEEMED"
    CANCELLED = "CANCELLED"
    UNKNOWN = "UNKNOWN"
    """The response contains no state."""


def _at_once(_: object, field: "attrs.Attribute[Any]", value: int) -> None:
    whole_number(_, field, value)
    if value > MAX_VOUCHERS:
        raise ValueError(
            f"{field.name} must be at most {MAX_VOUCHERS}, not {value}: create more in several calls, each with its "
            "own reference_id"
        )


@attrs.frozen(eq=False, repr=False)
class CreateVouchers(Value):
    """Create vouchers for one package, which are paid from the balance, and return the batch.

    A *reference_id* that you pass is looked up first. If vouchers for the same package exist under it, that batch is
    returned with ``was_found`` set, and nothing is sent. A batch whose response is lost is looked up too, instead of
    being sent again.

    The server may create fewer vouchers than requested. ``batch.missing`` is the number of missing ones; create them
    with another reference. The response to an insufficient balance is not documented.

    Args:
        package_id: Id of the package.
        quantity: Number of vouchers, 1 to 10.
        reference_id: Your key for this purchase, such as ``"order-4711"``; one reference is one purchase. At most 128
            characters in Unicode's form NFC, without control characters, and without white space at either end. The
            client creates a UUID if it is omitted.
        notes: Text that is stored with each voucher.

    Raises:
        PackageNotFoundError: The package does not exist; nothing was sent.
        PermissionDeniedError: Vouchers are not enabled for the API key, or not for this package.
        ConflictError: Other vouchers have the reference, or the server refused the request with status 409.
        PurchaseInDoubtError: It is not known whether the vouchers were created. Look them up with
            ``vouchers.list(reference_id=...)``.

    See: https://docs.getroamify.com/esims/vouchers/
    """

    look_up: ClassVar[str] = "vouchers.list(reference_id={!r})"
    """Call that looks up the purchase, with a placeholder for its reference."""

    package_id: str = attrs.field(validator=text)
    quantity: int = attrs.field(default=1, kw_only=True, validator=_at_once)
    """Number of vouchers, 1 to 10."""
    reference_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(reference))
    """Reference of the purchase, chosen by the caller: an idempotency key, by which the purchase is found again."""
    notes: str | None = attrs.field(default=None, kw_only=True, validator=optional(attrs.validators.instance_of(str)))
    """Text that is stored with each voucher."""

    def packages(self) -> Mapping[str, int]:
        """Return the package with the number of vouchers."""
        return {self.package_id: self.quantity}


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ListVouchers(Value):
    """Return vouchers, newest first. The API has no pagination for them.

    Args:
        reference_id: Return only the vouchers of the batch with this reference.
        status: Return only vouchers in this state, such as ``VoucherStatus.ACTIVE``.
        package_id: Return only vouchers for this package.
        limit: Maximum number of vouchers to return; by default all.

    See: https://docs.getroamify.com/esims/vouchers/
    """

    reference_id: str | None = attrs.field(default=None, validator=optional(text))
    """Reference of the batch whose vouchers are returned."""
    status: str | None = attrs.field(default=None, validator=optional(text))
    package_id: str | None = attrs.field(default=None, validator=optional(text))
    limit: int | None = attrs.field(default=None, validator=optional(whole_number))
    """Maximum number of vouchers; ``None`` returns all."""


@attrs.frozen(eq=False, repr=False)
class GetVoucher(Value):
    """Return one voucher by its id.

    Args:
        voucher_id: The id of the voucher. Use ``vouchers.get_by_code`` for its code.

    Raises:
        NotFoundError: There is no such voucher, or it belongs to another partner.

    See: https://docs.getroamify.com/esims/vouchers/
    """

    voucher_id: str = attrs.field(validator=path_segment)


@attrs.frozen(eq=False, repr=False)
class GetVoucherByCode(Value):
    """Return one voucher by its code.

    Args:
        code: The code: 12 letters and digits. The server ignores case, spaces and punctuation.

    Raises:
        NotFoundError: There is no such voucher, or it belongs to another partner.

    See: https://docs.getroamify.com/esims/vouchers/
    """

    code: str = attrs.field(validator=path_segment)
    """Code of 12 letters and digits."""


@attrs.frozen(eq=False, repr=False)
class RevokeVoucher(Value):
    """Revoke a voucher permanently, and cancel its eSIM. Whether its price is refunded is not documented.

    Args:
        voucher_id: The id of the voucher.

    Raises:
        NotFoundError: There is no such voucher, or it belongs to another partner.
        ConflictError: The voucher was redeemed, or is no longer active.

    See: https://docs.getroamify.com/esims/vouchers/
    """

    voucher_id: str = attrs.field(validator=path_segment)


@attrs.define(kw_only=True, eq=False, repr=False)
class Voucher(Value):
    """A code that a traveller can redeem for one eSIM, which is bought when the voucher is created."""

    id: str
    code: str = ""
    """Code of 12 letters and digits."""
    redeem_url: str | None = None
    """URL at which the traveller redeems it."""
    status: VoucherStatus = VoucherStatus.UNKNOWN
    reference_id: str | None = None
    """Reference of its batch."""
    package_id: str = ""
    package: str = ""
    """Display name of the package."""
    destination: str | None = None
    price: Decimal | None = None
    currency: str = "USD"
    esim_id: str | None = None
    order_id: str | None = None
    """Id of the order of its eSIM."""
    notes: str | None = None
    redeemed_at: datetime | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def __repr__(self) -> str:
        """Return one line."""
        return summary(self, self.id, self.status, self.package_id, money(self.price, self.currency))


@attrs.define(kw_only=True, eq=False, repr=False)
class VoucherBatch(Value):
    """Vouchers that were created together; possibly fewer than requested."""

    reference_id: str | None = None
    requested_quantity: int
    """Number of vouchers that were requested."""
    quantity: int
    """Number of vouchers that were created."""
    vouchers: tuple[Voucher, ...]
    is_pending: bool = attrs.field(default=False, eq=False, repr=False, metadata=json_name(None))
    """Whether the server may still be creating vouchers. Set if the batch was looked up and is incomplete."""
    was_found: bool = attrs.field(default=False, eq=False, metadata=json_name(None))
    """Whether the batch existed before the call that returned it sent anything."""

    @property
    def missing(self) -> int:
        """Number of vouchers that were requested and not created. Create them with another reference."""
        return max(0, self.requested_quantity - self.quantity)

    @property
    def id(self) -> str:
        """The ids of the vouchers, since a batch has no id."""
        return " ".join(voucher.id for voucher in self.vouchers)

    @property
    def created_at(self) -> datetime | None:
        """When the first voucher was created; ``None`` if that is not known for all of them."""
        times = [voucher.created_at for voucher in self.vouchers]
        known = [time for time in times if time is not None]
        return min(known) if known and len(known) == len(times) else None

    @property
    def is_kept(self) -> bool:
        """Always true: vouchers are revoked one by one, not as a batch."""
        return True

    def match(self, packages: Mapping[str, int]) -> Match:
        """Compare the vouchers with the quantity of a package. An incomplete batch is a purchase too."""
        fits = 0 < len(self.vouchers) <= sum(packages.values())
        return Match.YES if fits and {voucher.package_id for voucher in self.vouchers} <= packages.keys() else Match.NO

    def falls_short(self, packages: Mapping[str, int]) -> bool:
        """Return whether vouchers are missing, and none is of another package."""
        kinds = {voucher.package_id for voucher in self.vouchers}
        return len(self.vouchers) < sum(packages.values()) and kinds <= packages.keys()

    def __repr__(self) -> str:
        """Return one line."""
        missing = f"{self.missing} missing" if self.missing else None
        return summary(self, self.reference_id or "", count(self.quantity, "voucher"), missing)


@attrs.define(kw_only=True, eq=False, repr=False)
class VoucherRevocation(Value):
    """A voucher that was revoked."""

    id: str
    status: VoucherStatus = VoucherStatus.UNKNOWN
