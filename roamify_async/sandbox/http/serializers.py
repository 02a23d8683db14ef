"""How orders, eSIMs and packages look in the API's answers."""

from collections.abc import Sequence
from typing import Final

from roamify_async.sandbox.data.catalogue import Catalogue
from roamify_async.sandbox.data.money import number
from roamify_async.sandbox.data.packages import Json, Package
from roamify_async.sandbox.data.plans import UNLIMITED
from roamify_async.sandbox.state.records import Esim, Item, Order, Usage

_SMDP: Final = "smdp.sandbox.example"
_YEAR: Final = 365 * 86_400
_DAY: Final = 86_400


def order_head(order: Order) -> Json:
    """Show an order without its lines."""
    return {
        "id": order.id,
        "referenceId": order.reference_id,
        "orderType": "api",
        "status": "COMPLETED",
        "total": number(order.total),
        "currency": "USD",
        "createdAt": order.created_at,
        "updatedAt": order.created_at,
    }


def item(bought: Item, catalogue: Catalogue) -> Json:
    """Show one line of an order, which is also one line of an eSIM's history."""
    return {
        "esimId": bought.esim_id,
        "packageId": bought.package_id,
        "package": catalogue.packages[bought.package_id].plan.name,
        "type": "esim",
        "price": number(bought.price),
        "currency": "USD",
        "createdAt": bought.created_at,
        "updatedAt": bought.created_at,
    }


def esim(kept: Esim, package: Package) -> Json:
    """Show an eSIM; undocumented: before it is applied its ICCID is empty and its `esim` holds nothing."""
    shown = package.shown
    return {
        "id": kept.id,
        "iccid": kept.iccid,
        "status": kept.status,
        "activation": shown["activation"],
        "withTopUp": package.with_top_up,
        "withHotspot": shown["withHotspot"],
        "withDataRoaming": shown["withDataRoaming"],
        "withDestinationInstall": shown["withDestinationInstall"],
        "withUsageCheck": shown["withUsageCheck"],
        "esim": _profile(kept) if kept.iccid else {},
        "apn": _apn(shown),
        "data": {"isUnlimited": shown["isUnlimited"]},
        "call": {"withCall": shown["withCall"], "callType": shown["callType"]},
        "sms": {"withSMS": shown["withSMS"], "smsType": shown["smsType"]},
        "notes": shown["notes"],
        "createdAt": kept.created_at,
        "updatedAt": kept.updated_at,
        "expiredAt": kept.created_at + _YEAR,
    }


def top_up_package(package: Package) -> Json:
    """Show a package in the nested shape of the top-up list."""
    shown = package.shown
    flat = ("packageId", "package", "plan", "activation", "day", "price", "withHotspot", "withDataRoaming")
    return {
        **{name: shown[name] for name in (*flat, "withDestinationInstall", "withUsageCheck")},
        "apn": _apn(shown),
        "data": {name: shown[name] for name in ("isUnlimited", "dataAmount", "dataUnit")},
        "call": {name: shown[name] for name in ("withCall", "callType", "callAmount", "callUnit")},
        "sms": {name: shown[name] for name in ("withSMS", "smsType", "smsAmount", "smsUnit")},
        "notes": shown["notes"],
    }


def usage(kept: Esim, bought: Sequence[Package], used: Sequence[Usage]) -> Json:
    """Show the allowances of an eSIM: megabytes, messages, minutes; undocumented: 0 for times before the first use."""
    allowed = _allowance([package.plan.megabytes for package in bought])
    messages = _allowance([package.plan.messages for package in bought])
    minutes = _allowance([package.plan.minutes for package in bought])
    left = allowed if allowed == UNLIMITED else max(0, allowed - sum(day.megabytes for day in used))
    days = sum(package.plan.days for package in bought)
    return {
        "id": kept.id,
        "iccid": kept.iccid,
        "status": kept.status,
        "startedAt": kept.started_at,
        "expiredAt": kept.started_at + days * _DAY if kept.started_at else 0,
        "allowedData": allowed,
        "remainingData": left,
        "allowedSms": messages,
        "remainingSms": messages,
        "allowedVoice": minutes,
        "remainingVoice": minutes,
    }


def _allowance(amounts: Sequence[int]) -> int:
    return min(sum(amounts), UNLIMITED)


def _profile(kept: Esim) -> Json:
    code = kept.id.replace("-", "").upper()
    lpa = f"LPA:1${_SMDP}${code}"
    return {
        "lpaCode": lpa,
        "smdpAddress": _SMDP,
        "activationCode": code,
        "qrCodeUrl": f"https://imagedelivery.net/sandbox/partners/{kept.id}/{kept.iccid}/public",
        "pin": "",
        "puk": "",
        "number": "",
        "iosQuickInstall": f"https://esimsetup.apple.com/esim_qrcode_provisioning?carddata={lpa}",
        "androidQuickInstall": f"https://esimsetup.android.com/esim_qrcode_provisioning?carddata={lpa}",
    }


def _apn(shown: Json) -> Json:
    return {"apnAutomatic": shown["isAPNAutomatic"], "apnName": shown["apn"], "apnUsername": "", "apnPassword": ""}
