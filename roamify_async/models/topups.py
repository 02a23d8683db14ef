"""Top-ups: further packages for an existing eSIM."""

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

import attrs

from roamify_async._validation import amount, flag, optional, reference, text, whole_number

from ._text import count, data, money, summary
from ._value import Value
from .common import Apn, CallAllowance, DataAllowance, SmsAllowance
from .orders import CreateOrder


@attrs.frozen(eq=False, repr=False)
class ListTopUps(Value):
    """Return the packages with which an eSIM can be topped up.

    The profile of the eSIM must have been generated, and its ``with_top_up`` must be true.

    Args:
        iccid: The ICCID of the eSIM.
        days: Return only packages with this validity in days.
        gbs: Return only packages with this data amount in GB; for example ``1`` or ``0.5``.
        is_unlimited: ``True`` returns only unlimited packages.
        package_id: Return only this package.

    See: https://docs.getroamify.com/esims/topup-flow/
    """

    iccid: str = attrs.field(validator=text)
    days: int | None = attrs.field(default=None, kw_only=True, validator=optional(whole_number))
    """Validity in days."""
    gbs: float | Decimal | None = attrs.field(default=None, kw_only=True, validator=optional(amount))
    """Data amount in GB."""
    is_unlimited: bool | None = attrs.field(default=None, kw_only=True, validator=optional(flag))
    """``True`` returns only unlimited packages."""
    package_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(text))
    """Id of the only package to return."""


@attrs.frozen(eq=False, repr=False)
class CreateTopUp(Value):
    """Top up an eSIM, which is paid from the balance, and return the order.

    A *reference_id* that you pass is looked up first. If an order with the same package exists under it, that order is
    returned with ``was_found`` set, and nothing is sent. A top-up whose response is lost is looked up by its reference
    and in the history of the eSIM, instead of being sent again.

    Args:
        iccid: The ICCID of the eSIM.
        package_id: Id of a package that ``topups.packages`` returned for this eSIM.
        reference_id: Your key for this purchase, such as ``"order-4711"``; one reference is one purchase. At most 128
            characters in Unicode's form NFC, without control characters, and without white space at either end. The
            client creates a UUID if it is omitted.

    Raises:
        PackageNotFoundError: The eSIM cannot be topped up with the package; nothing was sent.
        ConflictError: An order with other items has the reference, or the server refused the top-up with status 409.
        PurchaseFailedError: The top-up was booked and then cancelled or refunded, or it failed. Use a new reference.
        PurchaseInDoubtError: It is not known whether the top-up was booked. Look it up with ``orders.reconcile``.

    See: https://docs.getroamify.com/esims/topup-flow/
    """

    look_up: ClassVar[str] = CreateOrder.look_up
    """Call that looks up the purchase, with a placeholder for its reference."""

    iccid: str = attrs.field(validator=text)
    package_id: str = attrs.field(validator=text)
    reference_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(reference))
    """Reference of the purchase, chosen by the caller: an idempotency key, by which the purchase is found again."""

    def packages(self) -> Mapping[str, int]:
        """Return the package with a quantity of one."""
        return {self.package_id: 1}


@attrs.define(kw_only=True, eq=False, repr=False)
class TopUpPackage(Value):
    """A package with which an eSIM can be topped up. Its JSON differs from that of the catalogue."""

    package_id: str
    package: str = ""
    """Display name, such as ``"1 GB - 7 Days"``."""
    price: Decimal
    """Exact price in USD."""
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

    def __repr__(self) -> str:
        """Return one line."""
        return summary(
            self,
            self.package_id,
            data(self.data.data_amount, self.data.data_unit, is_unlimited=self.data.is_unlimited),
            count(self.day, "day"),
            money(self.price),
        )
