"""Data, calls and messages used by an eSIM."""

import datetime as dt
from datetime import datetime
from decimal import Decimal

import attrs

from roamify_async._validation import (
    text,
)

from .esims import EsimStatus


@attrs.frozen
class GetUsage:
    """Get what was used of an eSIM; ``/esims/esims``. Not for packages with ``with_usage_check=False``."""

    iccid: str = attrs.field(validator=text)


@attrs.frozen
class GetUsageDetails:
    """Get what was used of an eSIM, day by day; ``/esims/esims``. Not for packages with ``with_usage_check=False``."""

    iccid: str = attrs.field(validator=text)


@attrs.define(kw_only=True)
class Usage:
    """What an eSIM may use and what is left.

    Data in MB by the documentation's examples (one page of it says KB); calls in minutes or seconds: it says both.
    """

    id: str | None = None
    iccid: str | None = None
    status: EsimStatus = EsimStatus.UNKNOWN
    started_at: datetime | None = None
    expired_at: datetime | None = None
    allowed_data: Decimal | None = None
    """``None``: unlimited, or not said."""
    remaining_data: Decimal | None = None
    allowed_sms: Decimal | None = None
    remaining_sms: Decimal | None = None
    allowed_voice: Decimal | None = None
    remaining_voice: Decimal | None = None


@attrs.define(kw_only=True)
class DataUsage:
    """Data that was used on one day, in one place."""

    date: dt.date | None = None
    usage: Decimal | None = None
    """The unit is not sure: one page says KB, and the numbers of the examples are no MB."""
    location: str | None = None
    """Name of a country, where it is known."""


@attrs.define(kw_only=True)
class UsageDetails(Usage):
    """What an eSIM may use, what is left, and what was used day by day."""

    data_usages: tuple[DataUsage, ...] = ()
