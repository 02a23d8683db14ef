"""Webhooks: make sure that they are Roamify's, read them, handle each once, and answer in time."""

from .aiohttp_web import aiohttp_handler
from .asgi import AsgiApp
from .events import (
    AffiliateItem,
    AffiliateOrder,
    AffiliateOrderEvent,
    AffiliateOrderStatus,
    AnyEsimEvent,
    BalanceEvent,
    DayUsed,
    EsimStatusEvent,
    EsimUsageEvent,
    NotifiedStatus,
    RefundDecision,
    RefundEvent,
    UsageLeft,
    WebhookEvent,
)
from .dedupe import Claim, MemoryStore, Store, once
from .decode import parse
from .receiver import Answer, Handler, Receiver
from .signature import SIGNATURE_HEADER, Secret, sign, verify

__all__ = [
    "SIGNATURE_HEADER",
    "AffiliateItem",
    "AffiliateOrder",
    "AffiliateOrderEvent",
    "AffiliateOrderStatus",
    "Answer",
    "AnyEsimEvent",
    "AsgiApp",
    "BalanceEvent",
    "Claim",
    "DayUsed",
    "EsimStatusEvent",
    "EsimUsageEvent",
    "Handler",
    "MemoryStore",
    "NotifiedStatus",
    "Receiver",
    "RefundDecision",
    "RefundEvent",
    "Secret",
    "Store",
    "UsageLeft",
    "WebhookEvent",
    "aiohttp_handler",
    "once",
    "parse",
    "sign",
    "verify",
]
