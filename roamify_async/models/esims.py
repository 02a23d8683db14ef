"""eSIMs and their profiles."""

import datetime as dt
from datetime import datetime

import attrs

from roamify_async._validation import (
    exactly_one,
    optional,
    text,
    to_start_date,
    whole_number,
)

from ._fields import State
from .common import Apn, CallAllowance, DataAllowance, SmsAllowance


class EsimStatus(State):
    """Where an eSIM is in its life; the set is open."""

    NEW = "NEW"
    """Ordered; its profile is not made yet."""
    READY = "READY"
    """Its profile can be downloaded."""
    INSTALLED = "INSTALLED"
    ACTIVE = "ACTIVE"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"


@attrs.frozen
class ApplyEsim:
    """Generate the profile of an eSIM; takes up to 90 s; ``/esims/esims``.

    A package with ``requirements.travel_date`` needs a ``start_date``.
    """

    esim_id: str = attrs.field(validator=text)
    start_date: dt.date | None = attrs.field(default=None, kw_only=True, converter=to_start_date)
    """First day of the journey: a ``datetime.date`` or its ISO text."""


@attrs.frozen(kw_only=True)
class GetEsim:
    """Get one eSIM by its ICCID or its id; ``/esims/esims``."""

    iccid: str | None = None
    esim_id: str | None = None

    def __attrs_post_init__(self) -> None:
        """Refuse none and both."""
        exactly_one(self)


@attrs.frozen(kw_only=True)
class ListEsims:
    """List eSIMs; there are no pages, only a limit; ``/esims/esims``."""

    status: str | None = attrs.field(default=None, validator=optional(text))
    limit: int = attrs.field(default=50, validator=whole_number)
    reference_id: str | None = attrs.field(default=None, validator=optional(text))
    """Those of this order only."""


@attrs.define(kw_only=True)
class Profile:
    """What a device needs to install an eSIM."""

    lpa_code: str | None = None
    """``LPA:1$host$code``, as in the QR code."""
    smdp_address: str | None = None
    activation_code: str | None = None
    qr_code_url: str | None = None
    """Picture of the QR code."""
    pin: str | None = attrs.field(default=None, repr=False)
    puk: str | None = attrs.field(default=None, repr=False)
    number: str | None = None
    ios_quick_install: str | None = attrs.field(default=None, repr=False)
    """Link that installs it on an iPhone, as the server gives it."""
    android_quick_install: str | None = attrs.field(default=None, repr=False)
    """Link that installs it on Android, as the server gives it."""


@attrs.define(kw_only=True)
class Esim:
    """An eSIM; before its profile is made it has no ICCID and no LPA code."""

    id: str
    iccid: str | None = None
    """Digits, of no fixed length."""
    status: EsimStatus = EsimStatus.UNKNOWN
    activation: str | None = None
    esim: Profile = attrs.field(factory=Profile)
    with_top_up: bool = False
    with_hotspot: bool = False
    with_data_roaming: bool = False
    with_destination_install: bool = False
    with_usage_check: bool = True
    apn: Apn = attrs.field(factory=Apn, repr=False)
    data: DataAllowance = attrs.field(factory=DataAllowance, repr=False)
    call: CallAllowance = attrs.field(factory=CallAllowance, repr=False)
    sms: SmsAllowance = attrs.field(factory=SmsAllowance, repr=False)
    notes: tuple[str, ...] = ()
    created_at: datetime | None = None
    updated_at: datetime | None = None
    expired_at: datetime | None = None

    @property
    def is_installable(self) -> bool:
        """Whether a device can download it now."""
        return self.esim.lpa_code is not None and self.status not in {
            EsimStatus.NEW, EsimStatus.REVOKED, EsimStatus.EXPIRED
        }  # fmt: skip


@attrs.frozen
class ApplyOrder:
    """Generate the profiles of all eSIMs of an order; takes up to 90 s; ``/esims/esims``."""

    reference_id: str = attrs.field(validator=text)
    start_date: dt.date | None = attrs.field(default=None, kw_only=True, converter=to_start_date)
    """First day of the journey: a ``datetime.date`` or its ISO text."""


@attrs.frozen
class GetHistory:
    """Get the packages that an eSIM had; ``/esims/esims``."""

    iccid: str = attrs.field(validator=text)
