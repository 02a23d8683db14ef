"""The catalogue of an affiliate. Its JSON keys differ from those of the package catalogue."""

from decimal import Decimal

import attrs

from roamify_async._serde.fields import DISPLAY, json_name
from roamify_async._validation import path_segment

from ._value import Value
from .packages import Signal


@attrs.frozen(eq=False, repr=False)
class ListAffiliatePackages(Value):
    """Return the packages of an affiliate with their referral links, grouped by destination.

    Args:
        unique_name: The name that Roamify assigned to the affiliate.

    See: https://docs.getroamify.com/affiliate/affiliate-links/
    """

    unique_name: str = attrs.field(validator=path_segment)
    """Name that Roamify assigned to the affiliate."""


@attrs.define(kw_only=True, eq=False, repr=False)
class AffiliatePackage(Value):
    """A package in the catalogue of an affiliate."""

    id: str
    """UUID of the package. Orders take a ``package_id``, which is not included here."""
    name: str = ""
    """Display name, such as ``"1 GB - 7 Days"``."""
    price: Decimal
    """Exact price in USD."""
    validity: int | None = None
    """Validity in days."""
    plan: str | None = None
    is_unlimited: bool = False
    data_amount: Decimal | None = None
    """Data in units of ``data_unit``; ``None`` if unlimited."""
    data_unit: str = "MB"
    data: str | None = None
    """Display text of the data amount, such as ``"1 GB"``."""
    call_amount: Decimal | None = None
    """Calls in units of ``call_unit``; ``None`` if the package includes none."""
    call_unit: str | None = None
    call_label: str | None = None
    sms_amount: Decimal | None = None
    """Text messages in units of ``sms_unit``; ``None`` if the package includes none."""
    sms_unit: str | None = None
    sms_label: str | None = None
    is_activated: bool = False
    with_kyc: bool = False
    """Not documented; by its name, whether the traveller must be identified (KYC)."""
    with_top_up: bool = False
    with_sms: bool = attrs.field(default=False, metadata=json_name("withSMS"))
    with_call: bool = False
    with_hotspot: bool = False
    coverages: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    signals: tuple[Signal, ...] = attrs.field(default=(), repr=False, metadata=DISPLAY)
    """Coverage by country. Entries that cannot be decoded are omitted."""
    link: str | None = None
    """Referral link."""


@attrs.define(kw_only=True, eq=False, repr=False)
class AffiliateDestination(Value):
    """A destination with an affiliate's packages."""

    id: str = ""
    country_name: str = ""
    country_code: str = ""
    region: str | None = None
    """``"local"`` for a country; the package catalogue calls this value ``geography``."""
    packages: tuple[AffiliatePackage, ...] = ()
