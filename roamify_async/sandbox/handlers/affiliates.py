"""The endpoint of the affiliate catalogue: the same packages under other keys, each with a referral link."""

from typing import Final
from uuid import NAMESPACE_URL, uuid5

from roamify_async.sandbox.context import Context, Request
from roamify_async.sandbox.data.encoding import Json
from roamify_async.sandbox.data.packages import Destination, Package
from roamify_async.sandbox.http.errors import error
from roamify_async.sandbox.http.responses import Response, success
from roamify_async.sandbox.http.validation import EMPTY, text

_SITE: Final = "https://www.getroamify.com"


def packages(context: Context, request: Request) -> Response:
    """Return all packages on sale with the affiliate's links; undocumented: an unknown name is a 404."""
    EMPTY.parse(request.query)
    name = text("uniqueName", request.path["uniqueName"])
    if name != context.options.affiliate:
        raise error(404, "Affiliate not found")
    return success(
        {
            "packages": [
                _destination(destination, name) for destination in context.catalogue.destinations if destination.on_sale
            ]
        }
    )


def _destination(destination: Destination, affiliate: str) -> Json:
    place, signals = destination.place, destination.json["signals"]
    coverage = {
        "coverages": [signal["name"] for signal in signals],
        "networks": sorted({network for signal in signals for network in signal["networks"]}),
        "signals": signals,
    }
    return {
        "id": _id(destination.json["id"]),
        "countryName": place.name,
        "countryCode": place.code,
        "region": place.geography,
        "packages": [_package(package, affiliate) | coverage for package in destination.on_sale],
    }


def _package(package: Package, affiliate: str) -> Json:
    json, plan = package.json, package.plan
    same = ("price", "plan", "dataAmount", "dataUnit", "isUnlimited", "withSMS", "withCall", "withHotspot")
    return {
        "id": _id(package.id),
        "name": json["package"],
        "validity": json["day"],
        **{name: json[name] for name in (*same, "smsUnit", "callUnit", "smsAmount", "callAmount")},
        "data": "Unlimited" if plan.unlimited else f"{plan.gigabytes} GB",
        "isActivated": True,
        "withKyc": False,
        "withTopUp": package.supports_top_up,
        "smsLabel": "SMS" if plan.voice else "",
        "callLabel": "Minutes" if plan.voice else "",
        "link": f"{_SITE}/packages/{package.id}?ref={affiliate}",
    }


def _id(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"{_SITE}/{name}"))
