"""The eSIM itself, which orders and eSIM calls answer with."""

from datetime import datetime
from typing import Final

import attrs

from roamify_async._engine.facade import Endpoint
from roamify_async._engine.readers import State

from .values import Apn, CallAllowance, DataAllowance, SmsAllowance, optional, text, whole


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


@attrs.frozen(kw_only=True)
class ListEsims:
    """List eSIMs; there are no pages, only a limit; ``/esims/esims``."""

    status: str | None = attrs.field(default=None, validator=optional(text))
    limit: int = attrs.field(default=50, validator=whole)
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


LIST_ESIMS: Final = Endpoint("GET", "/api/esims", ListEsims, tuple[Esim, ...])
"""The row of ``esims.list``, which orders need as well."""
