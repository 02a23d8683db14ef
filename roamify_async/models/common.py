"""Values that several modules use."""

from decimal import Decimal
from enum import Enum

import attrs

from roamify_async._serde.fields import json_name

from ._value import Value


class Match(Enum):
    """Result of comparing a booked purchase with the packages and quantities of a request."""

    YES = "the same packages and quantities"
    UNKNOWN = "the same total quantity; the packages are not listed"
    NO = "other packages or quantities"


@attrs.define(kw_only=True, eq=False, repr=False)
class Apn(Value):
    """Access point name (APN), for devices that do not detect it automatically."""

    apn_automatic: bool = True
    """Whether devices detect the access point automatically."""
    apn_name: str | None = None
    apn_username: str | None = None
    apn_password: str | None = attrs.field(default=None, repr=False)


@attrs.define(kw_only=True, eq=False, repr=False)
class DataAllowance(Value):
    """Data allowance of a package or an eSIM."""

    is_unlimited: bool = False
    data_amount: Decimal | None = None
    """Amount in units of ``data_unit``; ``None`` if unlimited or not stated."""
    data_unit: str = "MB"


@attrs.define(kw_only=True, eq=False, repr=False)
class CallAllowance(Value):
    """Call allowance of a package or an eSIM."""

    with_call: bool = False
    call_type: str | None = None
    call_amount: Decimal | None = None
    """Amount in units of ``call_unit``; ``None`` if there is no allowance."""
    call_unit: str | None = None


@attrs.define(kw_only=True, eq=False, repr=False)
class SmsAllowance(Value):
    """SMS allowance of a package or an eSIM."""

    with_sms: bool = attrs.field(default=False, metadata=json_name("withSMS"))
    sms_type: str | None = None
    sms_amount: Decimal | None = None
    """Amount in units of ``sms_unit``; ``None`` if there is no allowance."""
    sms_unit: str | None = None
