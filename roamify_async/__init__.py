"""Buy and run travel eSIMs through Roamify's partner API: awaited, or blocking."""

from ._engine.answers import RawAnswer, raw_answers
from ._version import __version__
from .api.account import Balance
from .api.affiliates import AffiliateDestination, AffiliatePackage
from .api.countries import Country
from .api.devices import Device
from .api.esims import HistoryItem
from .api.events import EsimEvent, EsimEvents, EventStatus
from .api.insurance import (
    InsuranceCountry,
    InsuranceLine,
    InsuranceOrder,
    InsurancePackage,
    InsuranceProduct,
    OrderInsurance,
)
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
from .api.policies import (
    ApplyPolicy,
    Coverage,
    InsuranceRequirements,
    Insurer,
    IssuedPolicy,
    Policy,
    PolicyStatus,
)
from .api.profiles import Esim, EsimStatus, Profile
from .api.refunds import Refund, RefundStatus
from .api.service import Health
from .api.topups import CreateTopUp, TopUpPackage
from .api.usage import DataUsage, Usage, UsageDetails
from .api.values import Apn, CallAllowance, DataAllowance, SmsAllowance
from .api.vouchers import CreateVouchers, Voucher, VoucherBatch, VoucherRevocation, VoucherStatus
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
    "ApplyPolicy",
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
    "Coverage",
    "CreateOrder",
    "CreateTopUp",
    "CreateVouchers",
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
    "InsuranceCountry",
    "InsuranceLine",
    "InsuranceOrder",
    "InsurancePackage",
    "InsuranceProduct",
    "InsuranceRequirements",
    "Insurer",
    "IssuedPolicy",
    "JournalError",
    "NotFoundError",
    "Order",
    "OrderInsurance",
    "OrderItem",
    "OrderLine",
    "OrderStatus",
    "Package",
    "PackagePage",
    "PermissionDeniedError",
    "Policy",
    "PolicyStatus",
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
    "Voucher",
    "VoucherBatch",
    "VoucherRevocation",
    "VoucherStatus",
    "WebhookError",
    "__version__",
    "raw_answers",
]
