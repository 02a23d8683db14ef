"""How destinations and their packages are made, from a seed and a size alone."""

import unicodedata
from itertools import cycle, islice
from random import Random
from typing import Final

from .countries import PLACES, Place
from .money import number
from .packages import Group, Json, Package
from .plans import PLANS, Plan, price

SMALLEST: Final = 20
LARGEST: Final = len(PLACES) * len(PLANS)
NO_USAGE_NOTE: Final = "Usage cannot be checked by the API: dial *100# or open the operator's own app to see it."

_PER_PLACE: Final = 8
_FEWEST_PLACES: Final = 4
_NETWORKS: Final = (["4G"], ["4G", "5G"], ["3G", "4G"], ["3G", "4G", "5G"])
_COUNTRY_NAMES: Final = {place.code: place.name for place in reversed(PLACES) if place.geography == "local"}


def slug(name: str) -> str:
    """Spell a name for an id: plain lower-case letters with hyphens between the words."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().replace("'", "").lower()
    return "-".join("".join(letter if letter.isalnum() else " " for letter in plain).split())


def destinations(seed: int, size: int) -> list[Group]:
    """Make the destinations: the same ones for the same seed and size, in every process."""
    places = PLACES[: max(_FEWEST_PLACES, size // _PER_PLACE)]
    share, extra = divmod(size, len(places))
    groups = [_group(seed, place, share + (position < extra)) for position, place in enumerate(places)]
    _mark(Random(f"{seed}/marks"), size, groups)
    return groups


def _group(seed: int, place: Place, count: int) -> Group:
    dice = Random(f"{seed}/{place.name}")
    name = slug(place.name)
    signals = [_signal(code, dice) for code in place.covers]
    group = Group(place, {})
    level = dice.randrange(80, 161)
    group.packages = [_package(group, name, plan, price(plan, place, level), dice) for plan in PLANS[:count]]
    group.shown = {
        "id": f"{name}-esims",
        "countryName": place.name,
        "countryCode": place.code,
        "countrySlug": name,
        "region": place.region,
        "geography": place.geography,
        "minPrice": 0,
        "maxPrice": 0,
        "image": f"https://imagedelivery.net/sandbox/countries/flags/{name}/public",
        "signals": signals,
        **group.offer,
    }
    return group


def _signal(code: str, dice: Random) -> Json:
    name = _COUNTRY_NAMES[code]
    carriers = [f"{name} Telecom", f"{name} Mobile", f"{name} Wireless"]
    return {
        "code": code,
        "name": name,
        "networks": dice.choice(_NETWORKS),
        "carriers": carriers[: dice.randrange(1, 4)],
    }


def _package(group: Group, name: str, plan: Plan, cents: int, dice: Random) -> Package:
    id = f"esim-{name}-{plan.slug}-all"
    throttle = {
        "throttleSpeed": plan.throttle_kbps,
        "throttleSpeedUnit": "kbps",
        "throttleThreshold": plan.throttle_gb,
        "throttleThresholdUnit": "gb",
    }
    shown: Json = {
        "packageId": id,
        "package": plan.name,
        "plan": "data-voice-sms" if plan.voice else "data-only",
        "activation": "first-use",
        "day": plan.days,
        "price": number(cents),
        "isUnlimited": plan.unlimited,
        "isAPNAutomatic": dice.random() < 0.8,  # noqa: PLR2004
        "apn": "globaldata",
        "dataAmount": plan.megabytes,
        "dataUnit": "MB",
        "callType": "all",
        "callAmount": plan.minutes if plan.voice else -1,
        "callUnit": "minutes" if plan.voice else "",
        "smsType": "all",
        "smsAmount": plan.messages if plan.voice else -1,
        "smsUnit": "sms" if plan.voice else "",
        "withSMS": plan.voice,
        "withCall": plan.voice,
        "withHotspot": dice.random() < 0.9,  # noqa: PLR2004
        "withDataRoaming": True,
        "withDestinationInstall": dice.random() < 0.1,  # noqa: PLR2004
        "withUsageCheck": True,
        "withThrottle": plan.throttle_gb > 0,
        **({"throttle": throttle} if plan.throttle_gb else {}),
        "requirements": {"travelDate": False},
        "notes": [],
    }
    return Package(id, group, plan, cents, shown)


def _mark(dice: Random, size: int, groups: list[Group]) -> None:
    """Give some packages their peculiarity: a travel date, no usage check, no top-up."""
    for group in [*groups[3:4], *(other for other in groups[4:] if dice.random() < 0.04)]:  # noqa: PLR2004
        for package in group.packages:
            package.with_top_up = False
    rest = [package for group in groups for package in group.packages[1:]]
    dice.shuffle(rest)
    dated = max(3, size * 30 // 28_000)
    unchecked = max(2, size * 3 // 100)
    for package in rest[:dated]:
        package.shown["requirements"]["travelDate"] = True
    for package in rest[dated : dated + unchecked]:
        package.shown["withUsageCheck"] = False
        package.shown["notes"] = [NO_USAGE_NOTE]
    for package in islice(cycle(rest), dated + unchecked, dated + 2 * unchecked):
        package.with_top_up = False
