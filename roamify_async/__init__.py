"""Buy and run travel eSIMs through Roamify's partner API: awaited, or blocking."""

from ._version import __version__
from .api.account import Balance
from .api.countries import Country
from .api.devices import Device
from .api.esims import HistoryItem, Usage
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
from .api.service import Health
from .api.topups import CreateTopUp, TopUpPackage
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
    "DecodeError",
    "Destination",
    "Device",
    "Esim",
    "EsimStatus",
    "EsimsNotReadyError",
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
    "RequestTimeoutError",
    "Requirements",
    "Retries",
    "Roamify",
    "RoamifyError",
    "ServerError",
    "Settings",
    "Signal",
    "SmsAllowance",
    "Throttle",
    "Timeouts",
    "TopUpPackage",
    "TransportError",
    "UnprocessableError",
    "Usage",
    "WebhookError",
    "__version__",
]
