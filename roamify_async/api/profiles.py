"""The eSIM itself, and how its profile is made."""

import datetime as dt
from datetime import datetime
from typing import Final

import attrs

from roamify_async._engine.engine import SHORTEST_DEADLINE
from roamify_async._engine.facade import ACTION, Endpoint, Engine
from roamify_async._engine.readers import State
from roamify_async.errors import RoamifyError

from .applying import patience, until_done
from .values import Apn, CallAllowance, DataAllowance, SmsAllowance, day, exactly_one, optional, text, whole


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
    start_date: dt.date | None = attrs.field(default=None, kw_only=True, converter=day)
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
GET_ESIM: Final = Endpoint("GET", "/api/esim", GetEsim, Esim)
"""The row of ``esims.get``."""


async def read_applied(engine: Engine, request: ApplyEsim, failure: RoamifyError) -> Esim:
    """Read the eSIM whose apply failed; it is never applied twice."""
    return await until_installable(engine, request.esim_id, patience(engine, failure), failure)


async def until_installable(engine: Engine, esim_id: str, window: float, failure: RoamifyError) -> Esim:
    """Read one eSIM until it can be installed."""

    async def look() -> Esim | None:
        esim = await engine.send(GET_ESIM, GetEsim(esim_id=esim_id))
        return esim if esim.is_installable else None

    return await until_done(look, window, failure)


APPLY_ESIM: Final = Endpoint("POST", "/api/esim/apply", ApplyEsim, Esim, kind=ACTION, timeout=100, recover=read_applied)
"""The row of ``esims.apply``."""


async def make_esim(engine: Engine, esim_id: str, start_date: dt.date | None = None) -> Esim:
    """Give an eSIM with its profile; it is applied only where it has none."""
    esim = await engine.send(GET_ESIM, GetEsim(esim_id=esim_id))
    if not esim.is_installable:
        esim = await engine.send(APPLY_ESIM, ApplyEsim(esim_id, start_date=start_date))
    if esim.is_installable:
        return esim
    window = engine.settings.retries.deadline or SHORTEST_DEADLINE
    return await until_installable(engine, esim_id, window, RoamifyError("its profile is not ready", sent="answered"))
