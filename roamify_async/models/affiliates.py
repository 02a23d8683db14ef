"""The catalogue of an affiliate, whose field names differ from those of packages."""

from decimal import Decimal

import attrs

from roamify_async._validation import path_segment

from ._fields import json_name
from .packages import Signal


@attrs.frozen
class ListAffiliatePackages:
    """List the packages of an affiliate; ``/api/esim/{uniqueName}/packages``."""

    unique_name: str = attrs.field(validator=path_segment)
    """The name that Roamify gave the affiliate."""


@attrs.define(kw_only=True)
class AffiliatePackage:
    """A package that an affiliate refers to."""

    id: str
    """A UUID; not what orders name."""
    name: str = ""
    """Its name for people."""
    price: Decimal
    """In USD, exact."""
    validity: int | None = None
    """In days."""
    plan: str | None = None
    is_unlimited: bool = False
    data_amount: Decimal | None = None
    """In ``data_unit``; ``None`` where it is unlimited."""
    data_unit: str = "MB"
    data: str | None = None
    """The data for people, such as ``"1 GB"``."""
    call_amount: Decimal | None = None
    call_unit: str | None = None
    call_label: str | None = None
    sms_amount: Decimal | None = None
    sms_unit: str | None = None
    sms_label: str | None = None
    is_activated: bool = False
    with_kyc: bool = False
    with_top_up: bool = False
    with_sms: bool = attrs.field(default=False, metadata=json_name("withSMS"))
    with_call: bool = False
    with_hotspot: bool = False
    coverages: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    signals: tuple[Signal, ...] = attrs.field(default=(), repr=False)
    link: str | None = None
    """Where customers are referred to."""


@attrs.define(kw_only=True)
class AffiliateDestination:
    """A destination, and an affiliate's packages for it."""

    id: str = ""
    country_name: str = ""
    country_code: str = ""
    region: str | None = None
    """``"local"`` for a country: what ``packages`` call geography."""
    packages: tuple[AffiliatePackage, ...] = ()
