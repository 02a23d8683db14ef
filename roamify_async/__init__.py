"""Buy and run travel eSIMs through Roamify's partner API: awaited, or blocking."""

from ._engine.answers import RawAnswer, raw_answers
from ._version import __version__
from .api.account import Balance
from .api.affiliates import AffiliateDestination, AffiliatePackage
from .api.countries import Country
from .api.devices import Device
from .api.esims import HistoryItem
from .api.events import EsimEvent, EsimEvents, EventStatus
from .api.messages import EsimLink, SmsReceipt
from .api.orders import CreateOrder, InstantOrder, Order, OrderItem, OrderLine, OrderStatus
from .api.packages import (
    Catalogue,
    Destination,
    Package,
    PackagePage,
    Requirements,
    Signal,
    Throttle,
)
from .api.profiles import Esim, EsimStatus, Profile
from .api.refunds import Refund, RefundStatus
from .api.service import Health
from .api.topups import CreateTopUp, TopUpPackage
from .api.usage import DataUsage, Usage, UsageDetails
from .api.values import Apn, CallAllowance, DataAllowance, SmsAllowance
from .client import AsyncRoamify, Roamify
from .errors import (
    APIStatusError,
    AuthenticationError,
    BadRequestError,
    BudgetError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    EsimsNotReadyError,
    JournalError,
    NotFoundError,
    PermissionDeniedError,
    PurchaseInDoubtError,
    RateLimitError,
    RequestTimeoutError,
    RoamifyError,
    ServerError,
    TransportError,
    UnprocessableError,
    WebhookError,
)
from .purchasing.bulk import Progress
from .purchasing.report import BulkLine, BulkReport
from .settings import DEVELOPMENT, PRODUCTION, Retries, Settings, Timeouts

__all__ = [
    "DEVELOPMENT",
    "PRODUCTION",
    "APIStatusError",
    "AffiliateDestination",
    "AffiliatePackage",
    "Apn",
    "AsyncRoamify",
    "AuthenticationError",
    "BadRequestError",
    "Balance",
    "BudgetError",
    "BulkLine",
    "BulkReport",
    "CallAllowance",
    "Catalogue",
    "ConfigurationError",
    "ConflictError",
    "ConnectError",
    "ConnectionLostError",
    "Country",
    "CreateOrder",
    "CreateTopUp",
    "DataAllowance",
    "DataUsage",
    "DecodeError",
    "Destination",
    "Device",
    "Esim",
    "EsimEvent",
    "EsimEvents",
    "EsimLink",
    "EsimStatus",
    "EsimsNotReadyError",
    "EventStatus",
    "Health",
    "HistoryItem",
    "InstantOrder",
    "JournalError",
    "NotFoundError",
    "Order",
    "OrderItem",
    "OrderLine",
    "OrderStatus",
    "Package",
    "PackagePage",
    "PermissionDeniedError",
    "Profile",
    "Progress",
    "PurchaseInDoubtError",
    "RateLimitError",
    "RawAnswer",
    "Refund",
    "RefundStatus",
    "RequestTimeoutError",
    "Requirements",
    "Retries",
    "Roamify",
    "RoamifyError",
    "ServerError",
    "Settings",
    "Signal",
    "SmsAllowance",
    "SmsReceipt",
    "Throttle",
    "Timeouts",
    "TopUpPackage",
    "TransportError",
    "UnprocessableError",
    "Usage",
    "UsageDetails",
    "WebhookError",
    "__version__",
    "raw_answers",
]
