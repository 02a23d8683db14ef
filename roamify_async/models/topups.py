"""Top-ups: more data for an eSIM that exists."""

from collections.abc import Mapping
from decimal import Decimal
from typing import ClassVar

import attrs

from roamify_async._validation import amount, flag, optional, reference, text, whole_number

from .common import Apn, CallAllowance, DataAllowance, SmsAllowance
from .orders import CreateOrder


@attrs.frozen
class ListTopUps:
    """List the packages that an eSIM can be topped up with; its profile must be made; ``/esims/topup-flow``."""

    iccid: str = attrs.field(validator=text)
    days: int | None = attrs.field(default=None, kw_only=True, validator=optional(whole_number))
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
    reference_id: str | None = attrs.field(default=None, kw_only=True, validator=optional(reference))
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
