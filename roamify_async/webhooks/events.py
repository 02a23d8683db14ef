"""Webhook events as values: one class for each documented event, and ``WebhookEvent`` for all others.

Attributes have the names of the JSON keys. Times are ``datetime`` in UTC and amounts are exact ``Decimal`` values.

See: https://docs.getroamify.com/webhooks/types/
"""

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

import attrs

from roamify_async._serde.fields import State, json_name


def snake_case(_: type, fields: list["attrs.Attribute[Any]"]) -> list["attrs.Attribute[Any]"]:
    """Name the JSON keys like the fields: webhooks use snake_case, unlike the rest of the API."""
    return [field.evolve(metadata={**json_name(field.name), **field.metadata}) for field in fields]


class NotifiedStatus(State):
    """State of an eSIM in webhooks, whose values differ from those of ``EsimStatus``; unknown values are kept as text.

    See: https://docs.getroamify.com/webhooks/types/
    """

    NEW = "NEW"
    INSTALLED = "INSTALLED"
    ACTIVATED = "ACTIVATED"
    INACTIVE = "INACTIVE"
    DELETED = "DELETED"
    REVOKED = "REVOKED"
    EXPIRED = "EXPIRED"
    UNKNOWN = "UNKNOWN"


class AffiliateOrderStatus(State):
    """State of an affiliate's order; unknown values are kept as text.

    See: https://docs.getroamify.com/webhooks/types/
    """

    COMPLETED = "completed"
    PENDING = "pending"
    FAILED = "failed"
    REFUNDED = "refunded"
    UNKNOWN = "unknown"
    """The event has no state."""


class RefundDecision(State):
    """Decision on a refund; unknown values are kept as text.

    See: https://docs.getroamify.com/webhooks/types/refund/
    """

    REFUNDED = "REFUNDED"
    REJECTED = "REJECTED"


@attrs.frozen(kw_only=True, field_transformer=snake_case)
class WebhookEvent:
    """A webhook event; an instance of this class itself has an undocumented category or type.

    See: https://docs.getroamify.com/webhooks/types/
    """

    category: str
    """``event_category`` in the JSON."""
    type: str
    """``event_type`` in the JSON; ``esim_usage`` and ``esim_status`` are read as ``"usage"`` and ``"status"``."""
    event_id: str | None = None
    """Identifier of the event, the same in each delivery; only refund events have one."""
    digest: str
    """SHA-256 of the body in hex, the same in each delivery of the event."""
    timestamp: datetime | None = None
    """When the event happened."""
    data: Mapping[str, Any] = attrs.field(factory=dict[str, Any], repr=False, eq=False, metadata=json_name(None))
    """The event's JSON data, unchanged, including keys without an attribute."""

    @property
    def key(self) -> str:
        """Key for deduplication: ``event_id``, or ``digest`` for an event without one."""
        return self.event_id or self.digest


@attrs.frozen(kw_only=True, field_transformer=snake_case)
class AnyEsimEvent(WebhookEvent):
    """An event of an eSIM; the base class of ``EsimStatusEvent`` and ``EsimUsageEvent``.

    See: https://docs.getroamify.com/webhooks/types/
    """

    iccid: str | None = None
    esim_id: str | None = None
    reference_id: str | None = None
    """Reference of the order that the eSIM was bought with."""
    start: datetime | None = None
    """When the plan began."""
    end: datetime | None = None
    """When the plan ends."""
    status: NotifiedStatus = NotifiedStatus.UNKNOWN


@attrs.frozen(kw_only=True, field_transformer=snake_case)
class EsimStatusEvent(AnyEsimEvent):
    """An eSIM changed its state: category ``esim``, type ``status``.

    See: https://docs.getroamify.com/webhooks/types/
    """


@attrs.frozen(kw_only=True, field_transformer=snake_case)
class UsageAllowances:
    """Allowances of an eSIM and what remains of them, in the units of the event.

    See: https://docs.getroamify.com/webhooks/types/
    """

    is_unlimited: bool = attrs.field(default=False, metadata=json_name("isUnlimited"))
    allowed_data: Decimal | None = None
    """``None`` if the data is unlimited or the event does not include the allowance."""
    remaining_data: Decimal | None = None
    allowed_sms: Decimal | None = None
    remaining_sms: Decimal | None = None
    allowed_voice: Decimal | None = None
    remaining_voice: Decimal | None = None


@attrs.frozen(kw_only=True, field_transformer=snake_case)
class DailyUsage:
    """Data used on one day in one country.

    See: https://docs.getroamify.com/webhooks/types/
    """

    date: str | None = None
    """The day as text: ``YYYY-MM-DD``."""
    data_used: Decimal | None = None
    """Data used, in MB."""
    location: str | None = None
    """Name of the country."""


@attrs.frozen(kw_only=True, field_transformer=snake_case)
class EsimUsageEvent(AnyEsimEvent):
    """Remaining allowances of an eSIM: category ``esim``, type ``usage``.

    Roamify sends one every 4 hours for an activated eSIM, and at 25, 50, 75, 90 and 100 % of its data.

    See: https://docs.getroamify.com/webhooks/types/
    """

    package_id: str | None = None
    package_name: str | None = None
    data_units: str = "MB"
    voice_units: str = "minutes"
    sms_units: str = "sms"
    usage_data: UsageAllowances = attrs.field(factory=UsageAllowances)
    usage_list: tuple[DailyUsage, ...] = ()


@attrs.frozen(kw_only=True, field_transformer=snake_case)
class BalanceEvent(WebhookEvent):
    """The balance changed or did not suffice: category ``partner``.

    The type is ``low_balance``, ``insufficient_balance`` or ``top_up``.

    See: https://docs.getroamify.com/webhooks/types/
    """

    balance: Decimal
    """The remaining balance, in units of the currency (dollars, not cents)."""
    threshold: Decimal | None = None
    """The alert threshold, in units of the currency."""
    threshold_percentage: Decimal | None = None
    """The share of the threshold that the balance fell to, in per cent."""
    currency: str = "USD"


@attrs.frozen(kw_only=True, field_transformer=snake_case)
class AffiliateItem:
    """One item of an affiliate's order.

    See: https://docs.getroamify.com/webhooks/types/
    """

    item_id: str | None = None
    item_name: str | None = None
    item_quantity: int = 1
    item_price: Decimal | None = None


@attrs.frozen(kw_only=True, field_transformer=snake_case)
class AffiliateOrder:
    """An order placed through an affiliate link.

    See: https://docs.getroamify.com/webhooks/types/
    """

    order_id: str
    order_total: Decimal
    """The total, in units of the currency."""
    order_adjustment: Decimal = Decimal(0)
    order_subtotal: Decimal | None = None
    order_discount: Decimal = Decimal(0)
    order_currency: str = "USD"
    order_status: AffiliateOrderStatus = AffiliateOrderStatus.UNKNOWN
    order_items: tuple[AffiliateItem, ...] = ()


@attrs.frozen(kw_only=True, field_transformer=snake_case)
class AffiliateOrderEvent(WebhookEvent):
    """An order was placed through your affiliate link: category ``affiliate``, type ``order``.

    See: https://docs.getroamify.com/webhooks/types/
    """

    partner_name: str | None = None
    partner_id: str | None = None
    commission_rate: Decimal | None = None
    """Your share of the order, in per cent."""
    commission_amount: Decimal
    """Your commission, in the currency of the order."""
    order_data: AffiliateOrder


@attrs.frozen(kw_only=True, field_transformer=snake_case)
class RefundEvent(WebhookEvent):
    """A refund was decided: category ``refund``, type ``refunded`` or ``rejected``.

    See: https://docs.getroamify.com/webhooks/types/refund/
    """

    refund_id: str
    status: RefundDecision | None = None
    product_type: str = "esim"
    esim_id: str | None = None
    iccid: str | None = None
    rejection_reason: str | None = None
