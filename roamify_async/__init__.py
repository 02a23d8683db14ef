"""Client of Roamify's partner API for travel eSIMs: asyncio first, with a synchronous client of the same calls.

Public names are imported at first use, so that a program that uses only errors, webhooks or the sandbox does not import
the whole client.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

from ._version import __version__ as __version__

if TYPE_CHECKING:
    from ._core.memory import (
        Doubt as Doubt,
    )
    from ._http.capture import (
        RawResponse as RawResponse,
        capture_responses as capture_responses,
    )
    from ._validation import (
        Geography as Geography,
    )
    from .client import (
        AsyncRoamify as AsyncRoamify,
        Roamify as Roamify,
    )
    from .errors import (
        APIStatusError as APIStatusError,
        AuthenticationError as AuthenticationError,
        BadRequestError as BadRequestError,
        BudgetError as BudgetError,
        CatalogueChangedError as CatalogueChangedError,
        ConfigurationError as ConfigurationError,
        ConflictError as ConflictError,
        ConnectError as ConnectError,
        ConnectionLostError as ConnectionLostError,
        DecodeError as DecodeError,
        EsimsNotReadyError as EsimsNotReadyError,
        JournalError as JournalError,
        LedgerError as LedgerError,
        NotFoundError as NotFoundError,
        PackageNotFoundError as PackageNotFoundError,
        PermissionDeniedError as PermissionDeniedError,
        PurchaseFailedError as PurchaseFailedError,
        PurchaseInDoubtError as PurchaseInDoubtError,
        RateLimitError as RateLimitError,
        RequestTimeoutError as RequestTimeoutError,
        ResponseTooLargeError as ResponseTooLargeError,
        RoamifyError as RoamifyError,
        ServerError as ServerError,
        TransportError as TransportError,
        UnprocessableError as UnprocessableError,
        UsageNotSupportedError as UsageNotSupportedError,
        WebhookError as WebhookError,
    )
    from .models._html import (
        load_ipython_extension as load_ipython_extension,
    )
    from .models.account import (
        Balance as Balance,
    )
    from .models.affiliates import (
        AffiliateDestination as AffiliateDestination,
        AffiliatePackage as AffiliatePackage,
    )
    from .models.catalogue import (
        Catalogue as Catalogue,
        CatalogueDiff as CatalogueDiff,
        PriceChange as PriceChange,
    )
    from .models.common import (
        Apn as Apn,
        CallAllowance as CallAllowance,
        DataAllowance as DataAllowance,
        SmsAllowance as SmsAllowance,
    )
    from .models.countries import (
        Country as Country,
    )
    from .models.devices import (
        Device as Device,
    )
    from .models.esims import (
        Esim as Esim,
        EsimStatus as EsimStatus,
        Profile as Profile,
        ReadyEsim as ReadyEsim,
        ReadyProfile as ReadyProfile,
    )
    from .models.events import (
        EsimEvent as EsimEvent,
        EsimEvents as EsimEvents,
        EventStatus as EventStatus,
    )
    from .models.insurance import (
        InsuranceCountry as InsuranceCountry,
        InsuranceLine as InsuranceLine,
        InsuranceOrder as InsuranceOrder,
        InsurancePackage as InsurancePackage,
        InsuranceProduct as InsuranceProduct,
        OrderInsurance as OrderInsurance,
    )
    from .models.messaging import (
        EsimLink as EsimLink,
        SmsReceipt as SmsReceipt,
    )
    from .models.orders import (
        CreateOrder as CreateOrder,
        HistoryItem as HistoryItem,
        InstantOrder as InstantOrder,
        Order as Order,
        OrderItem as OrderItem,
        OrderLine as OrderLine,
        OrderStatus as OrderStatus,
        RepeatedOrder as RepeatedOrder,
    )
    from .models.packages import (
        Destination as Destination,
        Package as Package,
        PackagePage as PackagePage,
        Requirements as Requirements,
        Signal as Signal,
        Throttle as Throttle,
    )
    from .models.policies import (
        ApplyPolicy as ApplyPolicy,
        Coverage as Coverage,
        InsuranceRequirements as InsuranceRequirements,
        Insurer as Insurer,
        IssuedPolicy as IssuedPolicy,
        Policy as Policy,
        PolicyStatus as PolicyStatus,
    )
    from .models.qr import (
        QrCode as QrCode,
    )
    from .models.refunds import (
        Refund as Refund,
        RefundStatus as RefundStatus,
    )
    from .models.service import (
        Health as Health,
    )
    from .models.topups import (
        CreateTopUp as CreateTopUp,
        TopUpPackage as TopUpPackage,
    )
    from .models.usage import (
        DataUsage as DataUsage,
        Usage as Usage,
        UsageDetails as UsageDetails,
    )
    from .models.vouchers import (
        CreateVouchers as CreateVouchers,
        Voucher as Voucher,
        VoucherBatch as VoucherBatch,
        VoucherRevocation as VoucherRevocation,
        VoucherStatus as VoucherStatus,
    )
    from .purchasing.bulk import (
        Progress as Progress,
    )
    from .purchasing.report import (
        BulkLine as BulkLine,
        BulkReport as BulkReport,
    )
    from .settings import (
        DEVELOPMENT as DEVELOPMENT,
        PRODUCTION as PRODUCTION,
        Retries as Retries,
        Settings as Settings,
        Timeouts as Timeouts,
    )

_MODULES: Final = {
    "DEVELOPMENT": "settings",
    "PRODUCTION": "settings",
    "APIStatusError": "errors",
    "AffiliateDestination": "models.affiliates",
    "AffiliatePackage": "models.affiliates",
    "Apn": "models.common",
    "ApplyPolicy": "models.policies",
    "AsyncRoamify": "client",
    "AuthenticationError": "errors",
    "BadRequestError": "errors",
    "Balance": "models.account",
    "BudgetError": "errors",
    "BulkLine": "purchasing.report",
    "BulkReport": "purchasing.report",
    "CallAllowance": "models.common",
    "Catalogue": "models.catalogue",
    "CatalogueChangedError": "errors",
    "CatalogueDiff": "models.catalogue",
    "ConfigurationError": "errors",
    "ConflictError": "errors",
    "ConnectError": "errors",
    "ConnectionLostError": "errors",
    "Country": "models.countries",
    "Coverage": "models.policies",
    "CreateOrder": "models.orders",
    "CreateTopUp": "models.topups",
    "CreateVouchers": "models.vouchers",
    "DataAllowance": "models.common",
    "DataUsage": "models.usage",
    "DecodeError": "errors",
    "Destination": "models.packages",
    "Device": "models.devices",
    "Doubt": "_core.memory",
    "Esim": "models.esims",
    "EsimEvent": "models.events",
    "EsimEvents": "models.events",
    "EsimLink": "models.messaging",
    "EsimStatus": "models.esims",
    "EsimsNotReadyError": "errors",
    "EventStatus": "models.events",
    "Geography": "_validation",
    "Health": "models.service",
    "HistoryItem": "models.orders",
    "InstantOrder": "models.orders",
    "InsuranceCountry": "models.insurance",
    "InsuranceLine": "models.insurance",
    "InsuranceOrder": "models.insurance",
    "InsurancePackage": "models.insurance",
    "InsuranceProduct": "models.insurance",
    "InsuranceRequirements": "models.policies",
    "Insurer": "models.policies",
    "IssuedPolicy": "models.policies",
    "JournalError": "errors",
    "LedgerError": "errors",
    "NotFoundError": "errors",
    "Order": "models.orders",
    "OrderInsurance": "models.insurance",
    "OrderItem": "models.orders",
    "OrderLine": "models.orders",
    "OrderStatus": "models.orders",
    "Package": "models.packages",
    "PackageNotFoundError": "errors",
    "PackagePage": "models.packages",
    "PermissionDeniedError": "errors",
    "Policy": "models.policies",
    "PolicyStatus": "models.policies",
    "Profile": "models.esims",
    "PriceChange": "models.catalogue",
    "Progress": "purchasing.bulk",
    "PurchaseFailedError": "errors",
    "PurchaseInDoubtError": "errors",
    "QrCode": "models.qr",
    "RateLimitError": "errors",
    "RawResponse": "_http.capture",
    "ReadyEsim": "models.esims",
    "ReadyProfile": "models.esims",
    "Refund": "models.refunds",
    "RefundStatus": "models.refunds",
    "RepeatedOrder": "models.orders",
    "RequestTimeoutError": "errors",
    "ResponseTooLargeError": "errors",
    "Requirements": "models.packages",
    "Retries": "settings",
    "Roamify": "client",
    "RoamifyError": "errors",
    "ServerError": "errors",
    "Settings": "settings",
    "Signal": "models.packages",
    "SmsAllowance": "models.common",
    "SmsReceipt": "models.messaging",
    "Throttle": "models.packages",
    "Timeouts": "settings",
    "TopUpPackage": "models.topups",
    "TransportError": "errors",
    "UnprocessableError": "errors",
    "Usage": "models.usage",
    "UsageDetails": "models.usage",
    "UsageNotSupportedError": "errors",
    "Voucher": "models.vouchers",
    "VoucherBatch": "models.vouchers",
    "VoucherRevocation": "models.vouchers",
    "VoucherStatus": "models.vouchers",
    "WebhookError": "errors",
    "capture_responses": "_http.capture",
    "load_ipython_extension": "models._html",
}
"""The module of each public name."""
_SUBPACKAGES: Final = ("errors", "lpa", "models", "purchasing", "sandbox", "testing", "webhooks")


if not TYPE_CHECKING:  # Type checkers read the imports above, and would take any name for one that __getattr__ knows.
    __all__ = ["__version__", *_MODULES]  # noqa: PLE0604 -- they are strings

    def __getattr__(name: str) -> object:
        """Import a name at its first use."""
        if name in _SUBPACKAGES:
            return import_module(f".{name}", __name__)
        if name in _MODULES:
            globals()[name] = value = getattr(import_module(f".{_MODULES[name]}", __name__), name)
            return value
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

    def __dir__() -> list[str]:
        """Return the names that can be imported."""
        return sorted({*globals(), *__all__})
