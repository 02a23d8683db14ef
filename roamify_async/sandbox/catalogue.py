"""The catalogue: destinations and their packages, made from a seed and a size alone."""

import json
import unicodedata
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from itertools import cycle, groupby, islice
from operator import attrgetter
from random import Random
from typing import Any, Final

from attrs import define, field, frozen

from .countries import PLACES, Place
from .money import number
from .plans import PLANS, Plan, price

Json = dict[str, Any]  # JSON as it goes out: the values are of every kind

SMALLEST: Final = 20
LARGEST: Final = len(PLACES) * len(PLANS)
NO_USAGE_NOTE: Final = "Usage cannot be checked by the API: dial *100# or open the operator's own app to see it."

_PER_PLACE: Final = 8
_FEWEST_PLACES: Final = 4
_NETWORKS: Final = (["4G"], ["4G", "5G"], ["3G", "4G"], ["3G", "4G", "5G"])
_COUNTRY_NAMES: Final = {place.code: place.name for place in reversed(PLACES) if place.geography == "local"}


@define(eq=False)
class Package:
    """One package: what the API shows of it, its price in cents, and whether its eSIMs can be topped up."""

    id: str
    group: "Group" = field(repr=False)
    plan: Plan
    cents: int
    shown: Json = field(repr=False)
    with_top_up: bool = True
    _text: str = field(default="", init=False, repr=False)

    @property
    def text(self) -> str:
        """The package as JSON text, written once."""
        if not self._text:
            self._text = dumps(self.shown)
        return self._text

    @property
    def travel_date(self) -> bool:
        """Whether applying an eSIM of it needs a start date."""
        return bool(self.shown["requirements"]["travelDate"])

    @property
    def usage_check(self) -> bool:
        """Whether the usage endpoints know its eSIMs."""
        return bool(self.shown["withUsageCheck"])

    @property
    def top_ups(self) -> list["Package"]:
        """The packages its eSIMs can be topped up with: data plans of its destination that need no travel date."""
        if not self.with_top_up:
            return []
        return [package for package in self.group.packages if not (package.plan.voice or package.travel_date)]


@define(eq=False)
class Group:
    """One destination with its packages."""

    place: Place
    shown: Json = field(repr=False)
    packages: list[Package] = field(factory=list["Package"], repr=False)
    _head: str = field(default="", init=False, repr=False)

    @property
    def head(self) -> str:
        """The destination as JSON text up to the bracket that opens its packages, written once."""
        if not self._head:
            self._head = dumps({**self.shown, "packages": ()})[:-2]
        return self._head


@frozen
class Wanted:
    """What a reader of the catalogue asks for; None is no wish."""

    country: str | None = None
    code: str | None = None
    geography: str | None = None
    days: object = None
    megabytes: object = None
    unlimited: bool = False
    package_id: str | None = None


@define(slots=False, eq=False)
class Selection:
    """Packages that were asked for, in catalogue order."""

    packages: list[Package]

    @cached_property
    def destinations(self) -> list[list[Package]]:
        """The same, those of one destination together."""
        return [list(run) for _, run in groupby(self.packages, key=attrgetter("group"))]


class Catalogue:
    """Every destination and package of one seed and size; the first package of each destination has no peculiarity."""

    def __init__(self, seed: int, size: int) -> None:
        """Make the catalogue: the same one for the same seed and size, in every process."""
        self.groups: list[Group] = _groups(seed, size)
        self.packages: dict[str, Package] = {package.id: package for group in self.groups for package in group.packages}
        _mark(Random(f"{seed}/marks"), size, self.groups)
        self._selections: dict[Wanted, Selection] = {}

    def select(self, wanted: Wanted) -> "Selection":
        """Select the packages that are wanted; a packageId leaves every other wish aside."""
        if wanted.package_id is not None:
            found = self.packages.get(wanted.package_id)
            return Selection([found] if found else [])
        if wanted not in self._selections:
            if len(self._selections) >= 64:  # noqa: PLR2004 - a reader pages through one or two selections at a time
                self._selections.clear()
            self._selections[wanted] = Selection(list(self._matching(wanted)))
        return self._selections[wanted]

    @cached_property
    def kinds(self) -> dict[str, list[str]]:
        """The package ids of each kind there is, by the name of the kind."""
        every = list(self.packages.values())
        tests: dict[str, Callable[[Package], bool]] = {
            "plain": lambda p: p is p.group.packages[0] and p.with_top_up and p.group.place.geography == "local",
            "travel_date": lambda p: p.travel_date,
            "unlimited": lambda p: p.plan.unlimited,
            "throttled": lambda p: p.plan.throttle_gb > 0,
            "no_usage_check": lambda p: not p.usage_check,
            "no_top_up": lambda p: not p.with_top_up,
            "voice": lambda p: p.plan.voice,
            "local": lambda p: p.group.place.geography == "local",
            "regional": lambda p: p.group.place.geography == "regional",
            "global": lambda p: p.group.place.geography == "global",
        }
        return {kind: [package.id for package in every if test(package)] for kind, test in tests.items()}

    def _matching(self, wanted: Wanted) -> Iterator[Package]:
        for group in self.groups:
            place = group.place
            if wanted.country not in (None, place.name) or wanted.code not in (None, place.code):
                continue
            if wanted.geography not in (None, place.geography):
                continue
            for package in group.packages:
                plan = package.plan
                if wanted.days not in (None, plan.days) or (wanted.unlimited and not plan.unlimited):
                    continue
                if wanted.megabytes is None or wanted.unlimited or plan.megabytes == wanted.megabytes:
                    yield package


def dumps(value: object) -> str:
    """Write JSON as the API does: no spaces, letters of every script as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def as_groups(packages: Iterable[Package]) -> str:
    """Write packages as the JSON list of their destinations, each with those of its packages that are given."""
    runs = groupby(packages, key=attrgetter("group"))
    return "[" + ",".join(f"{group.head}{','.join([p.text for p in run])}]}}" for group, run in runs) + "]"


def slug(name: str) -> str:
    """Spell a name for an id: plain lower-case letters with hyphens between the words."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().replace("'", "").lower()
    return "-".join("".join(letter if letter.isalnum() else " " for letter in plain).split())


def _groups(seed: int, size: int) -> list[Group]:
    places = PLACES[: max(_FEWEST_PLACES, size // _PER_PLACE)]
    share, extra = divmod(size, len(places))
    return [_group(seed, place, share + (position < extra)) for position, place in enumerate(places)]


def _group(seed: int, place: Place, count: int) -> Group:
    dice = Random(f"{seed}/{place.name}")
    name = slug(place.name)
    signals = [_signal(code, dice) for code in place.covers]
    group = Group(place, {})
    level = dice.randrange(80, 161)
    group.packages = [_package(group, name, plan, price(plan, place, level), dice) for plan in PLANS[:count]]
    prices = [package.cents for package in group.packages]
    group.shown = {
        "id": f"{name}-esims",
        "countryName": place.name,
        "countryCode": place.code,
        "countrySlug": name,
        "region": place.region,
        "geography": place.geography,
        "minPrice": number(min(prices)),
        "maxPrice": number(max(prices)),
        "image": f"https://imagedelivery.net/sandbox/countries/flags/{name}/public",
        "signals": signals,
        "packages": [package.shown for package in group.packages],
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
