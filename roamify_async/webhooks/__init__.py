"""Receive Roamify's webhooks: verify signatures, decode events, deduplicate and acknowledge deliveries.

See: https://docs.getroamify.com/webhooks/verification/
"""

from .aiohttp_web import aiohttp_handler
from .asgi import AsgiApp
from .decode import parse
from .dedupe import Claim, MemoryStore, Store, once
from .events import (
    AffiliateItem,
    AffiliateOrder,
    AffiliateOrderEvent,
    AffiliateOrderStatus,
    AnyEsimEvent,
    BalanceEvent,
    DailyUsage,
    EsimStatusEvent,
    EsimUsageEvent,
    NotifiedStatus,
    RefundDecision,
    RefundEvent,
    UsageAllowances,
    WebhookEvent,
)
from .receiver import Handler, Receiver, Response
from .signature import SIGNATURE_HEADER, Secret, sign, verify

__all__ = [
    "SIGNATURE_HEADER",
    "AffiliateItem",
    "AffiliateOrder",
    "AffiliateOrderEvent",
    "AffiliateOrderStatus",
    "AnyEsimEvent",
    "AsgiApp",
    "BalanceEvent",
    "Claim",
    "DailyUsage",
    "EsimStatusEvent",
    "EsimUsageEvent",
    "Handler",
    "MemoryStore",
    "NotifiedStatus",
    "Receiver",
    "RefundDecision",
    "RefundEvent",
    "Response",
    "Secret",
    "Store",
    "UsageAllowances",
    "WebhookEvent",
    "aiohttp_handler",
    "once",
    "parse",
    "sign",
    "verify",
]
