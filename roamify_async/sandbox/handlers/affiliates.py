"""The endpoint of the affiliate catalogue: the same packages in other words, each with a link that earns."""

from typing import Final
from uuid import NAMESPACE_URL, uuid5

from roamify_async.sandbox.context import Call, World
from roamify_async.sandbox.data.packages import Group, Json, Package
from roamify_async.sandbox.http.responses import Answer, refused, success
from roamify_async.sandbox.http.validation import Shape, text

_NOTHING = Shape({})
_SITE: Final = "https://www.getroamify.com"


def packages(world: World, call: Call) -> Answer:
    """List everything that is sold under an affiliate's name; undocumented: another name is 404."""
    _NOTHING.read(call.query)
    name = text("uniqueName", call.path["uniqueName"])
    if name != world.options.affiliate:
        raise refused(404, "Affiliate not found")
    return success({"packages": [_group(group, name) for group in world.catalogue.groups if group.sold]})


def _group(group: Group, affiliate: str) -> Json:
    place, signals = group.place, group.shown["signals"]
    covered = {
        "coverages": [signal["name"] for signal in signals],
        "networks": sorted({network for signal in signals for network in signal["networks"]}),
        "signals": signals,
    }
    return {
        "id": _id(group.shown["id"]),
        "countryName": place.name,
        "countryCode": place.code,
        "region": place.geography,
        "packages": [_package(package, affiliate) | covered for package in group.sold],
    }


def _package(package: Package, affiliate: str) -> Json:
    shown, plan = package.shown, package.plan
    same = ("price", "plan", "dataAmount", "dataUnit", "isUnlimited", "withSMS", "withCall", "withHotspot")
    return {
        "id": _id(package.id),
        "name": shown["package"],
        "validity": shown["day"],
        **{name: shown[name] for name in (*same, "smsUnit", "callUnit", "smsAmount", "callAmount")},
        "data": "Unlimited" if plan.unlimited else f"{plan.gigabytes} GB",
        "isActivated": True,
        "withKyc": False,
        "withTopUp": package.with_top_up,
        "smsLabel": "SMS" if plan.voice else "",
        "callLabel": "Minutes" if plan.voice else "",
        "link": f"{_SITE}/packages/{package.id}?ref={affiliate}",
    }


def _id(name: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"{_SITE}/{name}"))
