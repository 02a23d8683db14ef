"""Orders, eSIMs, packages and usage as JSON objects."""

from collections.abc import Sequence
from typing import Final

from roamify_async.sandbox.data.catalogue import Catalogue
from roamify_async.sandbox.data.currencies import to_number
from roamify_async.sandbox.data.encoding import Json
from roamify_async.sandbox.data.packages import Package
from roamify_async.sandbox.data.plans import UNLIMITED
from roamify_async.sandbox.state.records import Esim, Item, Order, Usage

_SMDP: Final = "smdp.sandbox.example"
_YEAR: Final = 365 * 86_400
_DAY: Final = 86_400


def order_head(order: Order) -> Json:
    """Return an order without its items."""
    return {
        "id": order.id,
        "referenceId": order.reference_id,
        "orderType": "api",
        "status": order.status,
        "total": to_number(order.total),
        "currency": "USD",
        "createdAt": order.created_at,
        "updatedAt": order.updated_at,
    }


def order_item(item: Item, catalogue: Catalogue) -> Json:
    """Return one item of an order or of an eSIM's history."""
    return {
        "esimId": item.esim_id,
        "packageId": item.package_id,
        "package": catalogue.packages[item.package_id].plan.name,
        "type": "esim",
        "price": to_number(item.price),
        "currency": "USD",
        "createdAt": item.created_at,
        "updatedAt": item.created_at + 1,  # as seen in the live API
    }


def esim(record: Esim, package: Package) -> Json:
    """Return an eSIM; undocumented: before it is applied, `iccid` and `esim` are empty."""
    json = package.json
    return {
        "id": record.id,
        "iccid": record.iccid,
        "status": record.status,
        "activation": json["activation"],
        "withTopUp": package.supports_top_up,
        "withHotspot": json["withHotspot"],
        "withDataRoaming": json["withDataRoaming"],
        "withDestinationInstall": json["withDestinationInstall"],
        "withUsageCheck": json["withUsageCheck"],
        "esim": _profile(record) if record.iccid else {},
        "apn": _apn(json),
        "data": {"isUnlimited": json["isUnlimited"]},
        "call": {"withCall": json["withCall"], "callType": json["callType"]},
        "sms": {"withSMS": json["withSMS"], "smsType": json["smsType"]},
        "notes": json["notes"],
        "createdAt": record.created_at,
        "updatedAt": record.updated_at,
        "expiredAt": record.created_at + _YEAR,
    }


def top_up_package(package: Package) -> Json:
    """Return a package in the nested shape of the list of top-up packages."""
    json = package.json
    flat = ("packageId", "package", "plan", "activation", "day", "price", "withHotspot", "withDataRoaming")
    return {
        **{name: json[name] for name in (*flat, "withDestinationInstall", "withUsageCheck")},
        "apn": _apn(json),
        "data": {name: json[name] for name in ("isUnlimited", "dataAmount", "dataUnit")},
        "call": {name: json[name] for name in ("withCall", "callType", "callAmount", "callUnit")},
        "sms": {name: json[name] for name in ("withSMS", "smsType", "smsAmount", "smsUnit")},
        "notes": json["notes"],
    }


def usage(record: Esim, bought: Sequence[Package], used: Sequence[Usage]) -> Json:
    """Return the allowances of an eSIM in megabytes, messages and minutes.

    Undocumented: times are 0 before installation.
    """
    allowed = _allowance([package.plan.megabytes for package in bought])
    messages = _allowance([package.plan.messages for package in bought])
    minutes = _allowance([package.plan.minutes for package in bought])
    remaining = allowed if allowed == UNLIMITED else max(0, allowed - sum(day.megabytes for day in used))
    days = sum(package.plan.days for package in bought)
    return {
        "id": record.id,
        "iccid": record.iccid,
        "status": record.status,
        "startedAt": record.started_at,
        "expiredAt": record.started_at + days * _DAY if record.started_at else 0,
        "allowedData": allowed,
        "remainingData": remaining,
        "allowedSms": messages,
        "remainingSms": messages,
        "allowedVoice": minutes,
        "remainingVoice": minutes,
    }


def _allowance(amounts: Sequence[int]) -> int:
    return min(sum(amounts), UNLIMITED)


def _profile(record: Esim) -> Json:
    code = record.id.replace("-", "").upper()
    lpa = f"LPA:1${_SMDP}${code}"
    return {
        "lpaCode": lpa,
        "smdpAddress": _SMDP,
        "activationCode": code,
        "qrCodeUrl": f"https://imagedelivery.net/sandbox/partners/{record.id}/{record.iccid}/public",
        "pin": "",
        "puk": "",
        "number": "",
        "iosQuickInstall": f"https://esimsetup.apple.com/esim_qrcode_provisioning?carddata={lpa}",
        "androidQuickInstall": f"https://esimsetup.android.com/esim_qrcode_provisioning?carddata={lpa}",
    }


def _apn(json: Json) -> Json:
    return {"apnAutomatic": json["isAPNAutomatic"], "apnName": json["apn"], "apnUsername": "", "apnPassword": ""}
