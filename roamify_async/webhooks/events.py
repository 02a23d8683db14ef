"""What webhooks tell, as values; ``/webhooks/types``.

Attributes are the wire's keys. Each class is an event of one category; ``WebhookEvent`` itself is any other.
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from roamify_async.models._fields import State, json_name


def snake(_: type, fields: list["attrs.Attribute[Any]"]) -> list["attrs.Attribute[Any]"]:
    """Keep the fields' own names on the wire: webhooks, unlike the rest of the API, write snake_case."""
    return [field.evolve(metadata={**json_name(field.name), **field.metadata}) for field in fields]


class NotifiedStatus(State):
    """Where an eSIM is, in the words of webhooks, which are not all those of ``EsimStatus``; the set is open."""

    NEW = "NEW"
    INSTALLED = "INSTALLED"
    ACTIVATED = "ACTIVATED"
    INACTIVE = "INACTIVE"
    DELETED = "DELETED"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"


class AffiliateOrderStatus(State):
    """Where an affiliate's order is; the set is open."""

    COMPLETED = "completed"
    PENDING = "pending"
    FAILED = "failed"
    REFUNDED = "refunded"
    UNKNOWN = "unknown"
    """Not said."""


class RefundDecision(State):
    """How a refund was decided; the set is open."""

    REFUNDED = "REFUNDED"
    REJECTED = "REJECTED"


@attrs.frozen(kw_only=True, field_transformer=snake)
class WebhookEvent:
    """Something that happened; of this class itself where the library does not know its category and type."""

    category: str
    """``event_category`` on the wire."""
    type: str
    """``event_type`` on the wire; ``"usage"`` and ``"status"`` also where that says ``esim_usage``, ``esim_status``."""
    event_id: str | None = None
    """Name of the event, the same in each delivery; only refunds have one."""
    digest: str
    """SHA-256 of the body, in hex: the same for each delivery of the same event."""
    timestamp: datetime | None = None
    """When it happened."""
    data: Mapping[str, Any] = attrs.field(factory=dict[str, Any], repr=False, eq=False, metadata=json_name(None))
    """All that the wire says of it as it stands there, also what the library has no attribute for."""

    @property
    def key(self) -> str:
        """What tells the event from every other: ``event_id``, or else ``digest``."""
        return self.event_id or self.digest


@attrs.frozen(kw_only=True, field_transformer=snake)
class AnyEsimEvent(WebhookEvent):
    """Something about an eSIM that was sold."""

    iccid: str | None = None
    esim_id: str | None = None
    reference_id: str | None = None
    """Reference of the order that it was bought with."""
    start: datetime | None = None
    end: datetime | None = None
    status: NotifiedStatus = NotifiedStatus.UNKNOWN


@attrs.frozen(kw_only=True, field_transformer=snake)
class EsimStatusEvent(AnyEsimEvent):
    """An eSIM came into another state: ``esim``, ``status``."""


@attrs.frozen(kw_only=True, field_transformer=snake)
class UsageLeft:
    """What an eSIM may use and what is left, in the units that the event names."""

    is_unlimited: bool = attrs.field(default=False, metadata=json_name("isUnlimited"))
    allowed_data: Decimal | None = None
    """``None``: unlimited, or not said."""
    remaining_data: Decimal | None = None
    allowed_sms: Decimal | None = None
    remaining_sms: Decimal | None = None
    allowed_voice: Decimal | None = None
    remaining_voice: Decimal | None = None


@attrs.frozen(kw_only=True, field_transformer=snake)
class DayUsed:
    """What was used on one day in one place."""

    date: str | None = None
    """The day, as the wire writes it: ``YYYY-MM-DD``."""
    data_used: Decimal | None = None
    """MB."""
    location: str | None = None
    """Name of the country."""


@attrs.frozen(kw_only=True, field_transformer=snake)
class EsimUsageEvent(AnyEsimEvent):
    """What is left of an eSIM: ``esim``, ``usage``; every 4 hours, and at 25, 50, 75, 90 and 100 % used."""

    package_id: str | None = None
    package_name: str | None = None
    data_units: str = "MB"
    voice_units: str = "minutes"
    sms_units: str = "sms"
    usage_data: UsageLeft = attrs.field(factory=UsageLeft)
    usage_list: tuple[DayUsed, ...] = ()


@attrs.frozen(kw_only=True, field_transformer=snake)
class BalanceEvent(WebhookEvent):
    """The balance fell or rose: ``partner``, and ``low_balance``, ``insufficient_balance`` or ``top_up``."""

    balance: Decimal
    """What is left to spend, in major units, exact."""
    threshold: Decimal | None = None
    threshold_percentage: Decimal | None = None
    currency: str = "USD"


@attrs.frozen(kw_only=True, field_transformer=snake)
class AffiliateItem:
    """A line of an affiliate's order."""

    item_id: str | None = None
    item_name: str | None = None
    item_quantity: int = 1
    item_price: Decimal | None = None


@attrs.frozen(kw_only=True, field_transformer=snake)
class AffiliateOrder:
    """An order that came through an affiliate's link."""

    order_id: str
    order_total: Decimal
    """What it cost, exact."""
    order_adjustment: Decimal = Decimal(0)
    order_subtotal: Decimal | None = None
    order_discount: Decimal = Decimal(0)
    order_currency: str = "USD"
    order_status: AffiliateOrderStatus = AffiliateOrderStatus.UNKNOWN
    order_items: tuple[AffiliateItem, ...] = ()


@attrs.frozen(kw_only=True, field_transformer=snake)
class AffiliateOrderEvent(WebhookEvent):
    """An order came through your link: ``affiliate``, ``order``."""

    partner_name: str | None = None
    partner_id: str | None = None
    commission_rate: Decimal | None = None
    """Per cent."""
    commission_amount: Decimal
    """What you earn with it, exact."""
    order_data: AffiliateOrder


@attrs.frozen(kw_only=True, field_transformer=snake)
class RefundEvent(WebhookEvent):
    """A refund was decided: ``refund``, and ``refunded`` or ``rejected``."""

    refund_id: str
    status: RefundDecision | None = None
    product_type: str = "esim"
    esim_id: str | None = None
    iccid: str | None = None
    rejection_reason: str | None = None
