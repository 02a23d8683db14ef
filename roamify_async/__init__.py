"""Buy and run travel eSIMs through Roamify's partner API: awaited, or blocking.

What is named here is imported at its first use: who needs only the errors, the sandbox or the webhooks does not wait
for all of the API.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from ._version import __version__

if TYPE_CHECKING:
    from ._engine.answers import RawAnswer, raw_answers
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

_HOMES = (
    "errors",
    "settings",
    "_engine.answers",
    "client",
    "api.account",
    "api.affiliates",
    "api.countries",
    "api.devices",
    "api.esims",
    "api.events",
    "api.insurance",
    "api.messages",
    "api.orders",
    "api.packages",
    "api.policies",
    "api.profiles",
    "api.refunds",
    "api.service",
    "api.topups",
    "api.usage",
    "api.values",
    "api.vouchers",
    "purchasing.bulk",
    "purchasing.report",
)
"""Where the names are looked for, one after another; with the clients come all rooms."""
_PARTS = ("purchasing", "sandbox", "webhooks")

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


if not TYPE_CHECKING:  # or checkers would take any name for one that is there

    def __getattr__(name: str) -> object:
        """Import what is used for the first time."""
        if name in _HOMES or name in _PARTS:
            return import_module(f".{name}", __name__)
        if name in __all__:
            for home in _HOMES:
                module = import_module(f".{home}", __name__)
                if hasattr(module, name):
                    globals()[name] = getattr(module, name)
                    return globals()[name]
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """Show what can be imported."""
        return sorted({*globals(), *__all__})
