"""Refund requests, which Roamify's support reviews."""

from datetime import datetime
from typing import Any

import attrs

from roamify_async._serde.fields import SAME_OBJECT, State, json_name
from roamify_async._validation import text

from ._text import summary
from ._value import Value


class RefundStatus(State):
    """State of a refund request. Unknown values are kept as they are."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    REFUNDED = "REFUNDED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"
    """The response contains no state."""


@attrs.frozen(eq=False, repr=False)
class GetRefund(Value):
    """Return one refund request.

    No other path of the refund API is known to this library; the parameter name ``refundId`` is inferred. Use
    ``client.request`` with the paths in Roamify's documentation to create, list and cancel refund requests.

    Args:
        refund_id: The id of the refund request.

    See: https://docs.getroamify.com/esims/refunds/
    """

    refund_id: str = attrs.field(validator=text)


@attrs.define(kw_only=True, eq=False, repr=False)
class Refund(Value):
    """A refund request for one eSIM.

    Only a part of its fields is known to this library; ``raw`` contains all of them.
    """

    refund_id: str | None = None
    """Value of ``refundId``, or else of ``id``; which of them is sent is not documented."""
    status: RefundStatus = RefundStatus.UNKNOWN
    product_type: str | None = None
    esim_id: str | None = None
    iccid: str | None = None
    order_id: str | None = None
    reason: str | None = None
    rejection_reason: str | None = None
    """Reason for a rejection. The key is inferred from the webhook."""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    raw: Any = attrs.field(default=None, eq=False, repr=False, metadata=json_name(SAME_OBJECT))
    """The complete refund request as parsed JSON."""

    def __attrs_post_init__(self) -> None:
        """Use the value of ``id`` if there is no ``refundId``."""
        named = self.raw.get("id") if self.raw.__class__ is dict else None
        if self.refund_id is None and isinstance(named, str):
            self.refund_id = named

    def __repr__(self) -> str:
        """Return one line."""
        return summary(self, self.refund_id or "", self.status, self.esim_id)
