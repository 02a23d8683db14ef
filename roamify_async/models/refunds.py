"""Refund requests, which Roamify's support decides."""

from datetime import datetime
from typing import Any

import attrs

from roamify_async._validation import text

from ._fields import SAME_OBJECT, State, json_name


class RefundStatus(State):
    """Where a refund is; the set is open."""

    PENDING = "PENDING"
    PROCESSING = "PROCESSING"
    REFUNDED = "REFUNDED"
    REJECTED = "REJECTED"
    UNKNOWN = "UNKNOWN"
    """The server did not say."""


@attrs.frozen
class GetRefund:
    """Get one refund request; ``/esims/refunds``.

    The only refund call whose path is documented; the name of its parameter, ``refundId``, is inferred from the other
    calls. To create, list and cancel refunds use ``client.request`` with the paths that Roamify tells you.
    """

    refund_id: str = attrs.field(validator=text)


@attrs.define(kw_only=True)
class Refund:
    """A request to be paid back for one eSIM.

    The API's page of it is known in part only: what is missing here stands in ``raw``.
    """

    refund_id: str | None = None
    """Read from ``refundId``, or from ``id``: which of them is sent is not documented."""
    status: RefundStatus = RefundStatus.UNKNOWN
    product_type: str | None = None
    esim_id: str | None = None
    iccid: str | None = None
    order_id: str | None = None
    reason: str | None = None
    rejection_reason: str | None = None
    """Why it was rejected; so called in the webhook."""
    created_at: datetime | None = None
    updated_at: datetime | None = None
    raw: Any = attrs.field(default=None, repr=False, metadata=json_name(SAME_OBJECT))
    """All of it, as parsed JSON."""

    def __attrs_post_init__(self) -> None:
        """Take the id by its other name."""
        named = self.raw.get("id") if self.raw.__class__ is dict else None
        if self.refund_id is None and isinstance(named, str):
            self.refund_id = named
