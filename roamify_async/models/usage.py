"""Usage of an eSIM: data, calls and text messages."""

import datetime as dt
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal

import attrs

from roamify_async._validation import (
    text,
)

from ._text import moment, summary
from ._value import Value
from .esims import EsimStatus


@attrs.frozen(eq=False, repr=False)
class GetUsage(Value):
    """Return the allowance and the remaining amounts of an eSIM.

    Packages whose ``with_usage_check`` is false are not supported.

    Args:
        iccid: The ICCID of the eSIM.

    Raises:
        UsageNotSupportedError: The package has no usage check. ``notes`` say how a traveller checks the usage.

    See: https://docs.getroamify.com/esims/esims/
    """

    iccid: str = attrs.field(validator=text)


@attrs.frozen(eq=False, repr=False)
class GetUsageDetails(Value):
    """Return the allowance, the remaining amounts and the daily data usage of an eSIM.

    Packages whose ``with_usage_check`` is false are not supported.

    Args:
        iccid: The ICCID of the eSIM.

    Raises:
        UsageNotSupportedError: The package has no usage check. ``notes`` say how a traveller checks the usage.

    See: https://docs.getroamify.com/esims/esims/
    """

    iccid: str = attrs.field(validator=text)


def _amount(number: Decimal | None) -> str:
    return "?" if number is None else f"{number:f}"


def _left(remaining: Decimal | None, allowed: Decimal | None) -> str:
    return f"{_amount(remaining)} of {_amount(allowed)}"


@attrs.define(kw_only=True, eq=False, repr=False)
class Usage(Value):
    """Allowance and remaining amounts of an eSIM.

    The units are disputed. Data is in MB by the examples and the webhooks page of the documentation, and in KB by
    another page. Calls are in minutes by one page and in seconds by another. SMS are counted.
    """

    id: str | None = None
    iccid: str | None = None
    status: EsimStatus = EsimStatus.UNKNOWN
    started_at: datetime | None = None
    """When the validity started; ``None`` before the first use."""
    expired_at: datetime | None = None
    """When the validity ends."""
    allowed_data: Decimal | None = None
    """Data allowance; ``None`` if unlimited or not stated."""
    remaining_data: Decimal | None = None
    """Remaining data, in the unit of ``allowed_data``."""
    allowed_sms: Decimal | None = None
    remaining_sms: Decimal | None = None
    allowed_voice: Decimal | None = None
    """Call allowance, in minutes or seconds."""
    remaining_voice: Decimal | None = None

    def _html_cells(self) -> Mapping[str, object]:
        kinds = {
            "data": (self.remaining_data, self.allowed_data),
            "SMS": (self.remaining_sms, self.allowed_sms),
            "calls": (self.remaining_voice, self.allowed_voice),
        }
        left = {f"{kind} left": None if pair == (None, None) else _left(*pair) for kind, pair in kinds.items()}
        ends = {"started": moment(self.started_at), "ends": moment(self.expired_at)}
        return {"ICCID": self.iccid, "status": self.status, **left, **ends}

    def __repr__(self) -> str:
        """Return one line."""
        return summary(
            self,
            self.iccid or self.id,
            self.status,
            None
            if self.remaining_data is None and self.allowed_data is None
            else f"{_left(self.remaining_data, self.allowed_data)} data left",
            self.expired_at and f"until {moment(self.expired_at)}",
        )


@attrs.define(kw_only=True, eq=False, repr=False)
class DataUsage(Value):
    """Data usage of one day in one country."""

    date: dt.date | None = None
    usage: Decimal | None = None
    """Data used. The unit is disputed: KB by one page, while the examples fit neither KB nor MB."""
    location: str | None = None
    """Name of the country; ``None`` if not known."""


@attrs.define(kw_only=True, eq=False, repr=False)
class UsageDetails(Usage):
    """Allowance, remaining amounts and daily data usage of an eSIM."""

    data_usages: tuple[DataUsage, ...] = ()
    """Data usage by day."""
