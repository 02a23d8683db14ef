"""Generates the destinations and their packages from a seed and a size."""

import unicodedata
from collections.abc import Iterable
from itertools import cycle, islice
from random import Random
from string import ascii_uppercase
from typing import Final

from .countries import PLACES, Place
from .currencies import to_number
from .encoding import Json
from .packages import Destination, Package
from .plans import PLANS, Plan, price

SMALLEST: Final = 20
LARGEST: Final = len(PLACES) * len(PLANS)
NO_USAGE_NOTE: Final = "Usage cannot be checked through the API: dial *100# or open the operator's app to see it."

_PER_PLACE: Final = 8
_FEWEST_PLACES: Final = 4
_INVENTED_CODES: Final = tuple(f"{first}{second}" for first in "XQ" for second in ascii_uppercase)
_NETWORKS: Final = (["4G"], ["4G", "5G"], ["3G", "4G"], ["3G", "4G", "5G"])
_COUNTRY_NAMES: Final = {place.code: place.name for place in reversed(PLACES) if place.geography == "local"}


def slug(name: str) -> str:
    """Return a name as part of an id: lower-case ASCII words joined by hyphens."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().replace("'", "").lower()
    return "-".join("".join(letter if letter.isalnum() else " " for letter in plain).split())


def generate(seed: int, size: int) -> list[Destination]:
    """Return the destinations; the same seed and size give the same ones in every process."""
    places = PLACES[: max(_FEWEST_PLACES, size // _PER_PLACE)]
    share, extra = divmod(size, len(places))
    destinations = [_destination(seed, place, share + (position < extra)) for position, place in enumerate(places)]
    _mark_special(Random(f"{seed}/marks"), size, destinations)
    return destinations


def generate_destination(seed: int, name: str, packages: int, catalogue: Iterable[Destination]) -> Destination:
    """Return a destination that is not in the catalogue yet: a place of the world, or an invented country.

    Raises ValueError if the name is taken or no name, or the number of packages is not possible.
    """
    existing = {destination.json["id"] for destination in catalogue}
    codes = {destination.place.code for destination in catalogue}
    if not slug(name) or f"{slug(name)}-esims" in existing:
        raise ValueError(f"name must be that of a new destination such as 'Atlantis', not {name!r}")
    if not 1 <= packages <= len(PLANS):
        raise ValueError(f"packages must be an integer from 1 to {len(PLANS)}, not {packages!r}")
    place = next((place for place in PLACES if place.name == name), None)
    if place is None:
        code = next(code for code in _INVENTED_CODES if code not in codes | _COUNTRY_NAMES.keys())
        place = Place(code, name, "Europe", "local", (code,))
    return _destination(seed, place, packages)


def _destination(seed: int, place: Place, count: int) -> Destination:
    rng = Random(f"{seed}/{place.name}")
    name = slug(place.name)
    signals = [_signal(code, _COUNTRY_NAMES.get(code, place.name), rng) for code in place.covers]
    destination = Destination(place, {})
    level = rng.randrange(80, 161)
    destination.packages = [_package(destination, name, plan, price(plan, place, level), rng) for plan in PLANS[:count]]
    destination.json = {
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
        **destination.offer,
    }
    return destination


def _signal(code: str, name: str, rng: Random) -> Json:
    carriers = [f"{name} Telecom", f"{name} Mobile", f"{name} Wireless"]
    return {
        "code": code,
        "name": name,
        "networks": rng.choice(_NETWORKS),
        "carriers": carriers[: rng.randrange(1, 4)],
    }


def _package(destination: Destination, name: str, plan: Plan, cents: int, rng: Random) -> Package:
    # The live catalogue has "aland-island" where the slug of the destination is "aland-islands".
    place = name.removesuffix("s") if name.endswith("-islands") else name
    id = f"esim-{place}-{plan.slug}-all"
    throttle = {
        "throttleSpeed": plan.throttle_kbps,
        "throttleSpeedUnit": "kbps",
        "throttleThreshold": plan.throttle_gb,
        "throttleThresholdUnit": "gb",
    }
    json: Json = {
        "packageId": id,
        "package": plan.name,
        "plan": "data-voice-sms" if plan.voice else "data-only",
        "activation": "first-use",
        "day": plan.days,
        "price": to_number(cents),
        "isUnlimited": plan.unlimited,
        "isAPNAutomatic": rng.random() < 0.8,  # noqa: PLR2004
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
        "withHotspot": rng.random() < 0.9,  # noqa: PLR2004
        "withDataRoaming": True,
        "withDestinationInstall": rng.random() < 0.1,  # noqa: PLR2004
        "withUsageCheck": True,
        "withThrottle": plan.throttle_gb > 0,
        **({"throttle": throttle} if plan.throttle_gb else {}),
        "requirements": {"travelDate": False},
        "notes": [],
    }
    return Package(id, destination, plan, cents, json)


def _mark_special(rng: Random, size: int, destinations: list[Destination]) -> None:
    """Mark some packages as special: travel date required, no usage check, or no top-up."""
    for destination in [*destinations[3:4], *(destination for destination in destinations[4:] if rng.random() < 0.04)]:  # noqa: PLR2004
        for package in destination.packages:
            package.supports_top_up = False
    candidates = [package for destination in destinations for package in destination.packages[1:]]
    rng.shuffle(candidates)
    travel_dates = max(3, size * 30 // 28_000)
    no_usage = max(2, size * 3 // 100)
    for package in candidates[:travel_dates]:
        package.json["requirements"]["travelDate"] = True
    for package in candidates[travel_dates : travel_dates + no_usage]:
        package.json["withUsageCheck"] = False
        package.json["notes"] = [NO_USAGE_NOTE]
    for package in islice(cycle(candidates), travel_dates + no_usage, travel_dates + 2 * no_usage):
        package.supports_top_up = False
