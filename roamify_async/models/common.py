"""Values that several subjects share."""

from decimal import Decimal
from enum import Enum

import attrs

from ._fields import json_name


class Match(Enum):
    """Whether a booked purchase holds the packages of a request, as often."""

    YES = "the same packages, as often"
    UNKNOWN = "the number is right; the packages are not shown"
    NO = "other packages, or another number"


@attrs.define(kw_only=True)
class Apn:
    """Access point name, for devices that do not find it by themselves."""

    apn_automatic: bool = True
    apn_name: str | None = None
    apn_username: str | None = None
    apn_password: str | None = attrs.field(default=None, repr=False)


@attrs.define(kw_only=True)
class DataAllowance:
    """Data that belongs to a package or an eSIM."""

    is_unlimited: bool = False
    data_amount: Decimal | None = None
    """In ``data_unit``; ``None`` where it is unlimited or not said."""
    data_unit: str = "MB"


@attrs.define(kw_only=True)
class CallAllowance:
    """Calls that belong to a package or an eSIM."""

    with_call: bool = False
    call_type: str | None = None
    call_amount: Decimal | None = None
    call_unit: str | None = None


@attrs.define(kw_only=True)
class SmsAllowance:
    """Text messages that belong to a package or an eSIM."""

    with_sms: bool = attrs.field(default=False, metadata=json_name("withSMS"))
    sms_type: str | None = None
    sms_amount: Decimal | None = None
    sms_unit: str | None = None
