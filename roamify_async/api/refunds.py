"""Refunds: requests to be paid back, which support decides."""

from datetime import datetime
from typing import Any, Final

import attrs

from roamify_async._engine.facade import MAYBE_DATA, Endpoint, Resource, Way
from roamify_async._engine.names import SAME, wire
from roamify_async._engine.readers import State

from .values import text


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
    raw: Any = attrs.field(default=None, repr=False, metadata=wire(SAME))
    """All of it, as parsed JSON."""

    def __attrs_post_init__(self) -> None:
        """Take the id by its other name."""
        named = self.raw.get("id") if self.raw.__class__ is dict else None
        if self.refund_id is None and isinstance(named, str):
            self.refund_id = named


class Refunds(Resource[Way]):
    """Refunds of eSIMs."""

    get: Final = Endpoint("GET", "/api/refund", GetRefund, Refund, answer=MAYBE_DATA)
    """One refund request."""
