"""eSIMs and their profiles."""

import datetime as dt
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from typing import Any, ClassVar

import attrs

from roamify_async._serde.fields import State
from roamify_async._validation import (
    exactly_one,
    optional,
    text,
    to_start_date,
    whole_number,
)

from ._text import data, moment, summary
from ._value import Value
from .common import Apn, CallAllowance, DataAllowance, SmsAllowance
from .qr import QrCode


class EsimStatus(State):
    """State of an eSIM. Unknown values are kept as they are."""

    NEW = "NEW"
    """Ordered; the profile has not been generated."""
    READY = "READY"
    """The profile can be downloaded."""
    INSTALLED = "INSTALLED"
    ACTIVE = "ACTIVE"
    """Documented only in responses of the usage endpoints."""
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"
    """Sent by the server, or the response contains no state."""


@attrs.frozen(eq=False, repr=False)
class ApplyEsim(Value):
    """Generate the profile of an eSIM, which takes up to 90 seconds, and return the eSIM.

    If the response is lost or the server reports that the eSIM is still pending, the eSIM is read until its profile
    exists; the request is not sent again. The effect of a second call for the same eSIM is not documented.

    Args:
        esim_id: The ``esim_id`` of an order item.
        start_date: First day of travel, as a ``datetime.date`` or ISO text such as ``"2027-07-01"``. Required if the
            package has ``requirements.travel_date``; most packages do not.

    Raises:
        RoamifyError: The request failed, and the eSIM has no profile after the deadline of the call (120 seconds by
            default), or after ``Settings.reconcile_window`` if the server failed with another message.

    See: https://docs.getroamify.com/esims/esims/
    """

    esim_id: str = attrs.field(validator=text)
    start_date: dt.date | None = attrs.field(default=None, kw_only=True, converter=to_start_date)
    """First day of travel: a ``datetime.date`` or ISO text."""


@attrs.frozen(kw_only=True, eq=False, repr=False)
class GetEsim(Value):
    """Return one eSIM by its ICCID or its id.

    Args:
        iccid: The ICCID. Pass exactly one of the two.
        esim_id: The id, as in ``esim_id`` of an order item.

    Raises:
        NotFoundError: There is no such eSIM, or it belongs to another partner.

    See: https://docs.getroamify.com/esims/esims/
    """

    iccid: str | None = None
    esim_id: str | None = None

    def __attrs_post_init__(self) -> None:
        """Check that exactly one argument is given."""
        exactly_one(self)


@attrs.frozen(kw_only=True, eq=False, repr=False)
class ListEsims(Value):
    """Return eSIMs, of all orders or of one.

    The API has no pagination for them, and documents neither their order nor the maximum of *limit*.

    Args:
        status: Return only eSIMs in this state, such as ``EsimStatus.READY``.
        limit: Maximum number of eSIMs to return.
        reference_id: Return only the eSIMs of the order with this reference.

    See: https://docs.getroamify.com/esims/esims/
    """

    status: str | None = attrs.field(default=None, validator=optional(text))
    limit: int = attrs.field(default=50, validator=whole_number)
    """Maximum number of eSIMs."""
    reference_id: str | None = attrs.field(default=None, validator=optional(text))
    """Reference of the order whose eSIMs are returned."""


@attrs.define(kw_only=True, eq=False, repr=False)
class Profile(Value):
    """Data with which a device installs an eSIM. Whoever has its codes can install it, so the ``repr`` omits them."""

    lpa_code: str | None = attrs.field(default=None, repr=False)
    """Activation code as in the QR code: ``LPA:1$<SM-DP+ address>$<matching id>``."""
    smdp_address: str | None = None
    """Host of the SM-DP+ server, the second part of ``lpa_code``."""
    activation_code: str | None = attrs.field(default=None, repr=False)
    """Matching id, the third part of ``lpa_code``."""
    qr_code_url: str | None = attrs.field(default=None, repr=False)
    """URL of an image of the QR code."""
    pin: str | None = attrs.field(default=None, repr=False)
    puk: str | None = attrs.field(default=None, repr=False)
    number: str | None = None
    """Phone number; ``None`` if the server states none."""
    ios_quick_install: str | None = attrs.field(default=None, repr=False)
    """Link that starts the installation on iOS, unchanged. Its LPA code is not percent-encoded."""
    android_quick_install: str | None = attrs.field(default=None, repr=False)
    """Link that starts the installation on Android, unchanged."""


@attrs.define(kw_only=True, eq=False, repr=False)
class Esim(Value):
    """An eSIM. It has no ICCID and no LPA code before its profile is generated."""

    id: str
    iccid: str | None = None
    """ICCID: digits, of varying length."""
    status: EsimStatus = EsimStatus.UNKNOWN
    activation: str | None = None
    """Such as ``"first-use"``; the set of values is not documented."""
    esim: Profile = attrs.field(factory=Profile)
    with_top_up: bool = False
    """Whether the eSIM can be topped up."""
    with_hotspot: bool = False
    with_data_roaming: bool = False
    with_destination_install: bool = False
    with_usage_check: bool = True
    """Whether the usage calls support the eSIM; if not, see ``notes``."""
    apn: Apn = attrs.field(factory=Apn, repr=False)
    data: DataAllowance = attrs.field(factory=DataAllowance, repr=False)
    call: CallAllowance = attrs.field(factory=CallAllowance, repr=False)
    sms: SmsAllowance = attrs.field(factory=SmsAllowance, repr=False)
    notes: tuple[str, ...] = ()
    created_at: datetime | None = None
    updated_at: datetime | None = None
    expired_at: datetime | None = None
    """Not documented whether the profile or the package expires."""

    @property
    def is_installable(self) -> bool:
        """Whether a device can download the profile now."""
        return self.esim.lpa_code is not None and self.status not in {
            EsimStatus.NEW, EsimStatus.REVOKED, EsimStatus.EXPIRED
        }  # fmt: skip

    def qr(self) -> QrCode:
        """Return the QR code that a phone scans to install the eSIM. Drawing it needs the extra ``qr``.

        Raises:
            ValueError: The eSIM has no activation code.
        """
        if self.esim.lpa_code is None:
            raise ValueError(f"eSIM {self.id} has no activation code yet: esims.apply() generates it")
        return QrCode(self.esim.lpa_code)

    def _html_cells(self) -> Mapping[str, object]:
        return {
            "eSIM": self.id,
            "ICCID": self.iccid,
            "status": self.status,
            "data": data(self.data.data_amount, self.data.data_unit, is_unlimited=self.data.is_unlimited),
            "created": moment(self.created_at),
        }

    def _repr_html_(self) -> str | None:
        """Return a table, with the QR code if the eSIM can be installed and the extra ``qr`` is."""
        picture = ""
        if self.is_installable:
            with suppress(ImportError):
                picture = self.qr().svg()
        return f"{super()._repr_html_() or ''}{picture}"

    def __repr__(self) -> str:
        """Return one line."""
        return summary(self, self.id, self.status, self.iccid and f"ICCID {self.iccid}")


@attrs.define(kw_only=True, eq=False, repr=False)
class ReadyProfile(Profile):
    """A profile that was generated. It has an activation code."""

    _narrows_base: ClassVar[bool] = True

    lpa_code: str = attrs.field(repr=False)  # pyright: ignore[reportIncompatibleVariableOverride]
    """Activation code as in the QR code: ``LPA:1$<SM-DP+ address>$<matching id>``."""

    def __attrs_post_init__(self) -> None:
        """Refuse an empty code."""
        if not self.lpa_code:
            raise ValueError("the eSIM has no activation code yet")


@attrs.define(kw_only=True, eq=False, repr=False)
class ReadyEsim(Esim):
    """An eSIM whose profile was generated. It has an ICCID and an LPA code, and equals an ``Esim`` of the same data."""

    _narrows_base: ClassVar[bool] = True

    iccid: str  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]
    """ICCID: digits, of varying length."""
    esim: ReadyProfile  # pyright: ignore[reportIncompatibleVariableOverride, reportGeneralTypeIssues]

    def __attrs_post_init__(self) -> None:
        """Refuse an empty ICCID."""
        if not self.iccid:
            raise ValueError("the eSIM has no ICCID yet")


def as_ready(esim: Esim) -> ReadyEsim | None:
    """Return an eSIM as a ``ReadyEsim``, or ``None`` if it has no ICCID or no LPA code."""
    if isinstance(esim, ReadyEsim):
        return esim
    if not (esim.iccid and esim.esim.lpa_code):
        return None
    fields: dict[str, Any] = attrs.asdict(esim, recurse=False)
    profile: dict[str, Any] = attrs.asdict(esim.esim, recurse=False)
    fields["esim"] = ReadyProfile(**profile)
    return ReadyEsim(**fields)


@attrs.frozen(eq=False, repr=False)
class ApplyOrder(Value):
    """Generate the profiles of all eSIMs of an order, which takes up to 90 seconds, and return the eSIMs.

    Whether the server requires an ``esimId`` too is disputed: a table of its documentation says so, while the text
    describes requests with a reference only. If it does, each eSIM is applied by its id. If the response is lost, the
    eSIMs are read until their profiles exist.

    Args:
        reference_id: The reference of the order.
        start_date: First day of travel, as a ``datetime.date`` or ISO text such as ``"2027-07-01"``. Required if the
            package has ``requirements.travel_date``.

    See: https://docs.getroamify.com/esims/esims/
    """

    reference_id: str = attrs.field(validator=text)
    start_date: dt.date | None = attrs.field(default=None, kw_only=True, converter=to_start_date)
    """First day of travel: a ``datetime.date`` or ISO text."""


@attrs.frozen(eq=False, repr=False)
class GetHistory(Value):
    """Return the packages that an eSIM was bought and topped up with.

    Args:
        iccid: The ICCID of the eSIM.

    See: https://docs.getroamify.com/esims/esims/
    """

    iccid: str = attrs.field(validator=text)
