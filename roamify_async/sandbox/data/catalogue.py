"""The catalogue: which packages are sold, and which of them a reader asks for."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from operator import attrgetter

from attrs import define, frozen

from .packages import Group, Json, Package


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
    """Every destination and package there is, sold or not; it never changes, but gives a changed one."""

    def __init__(self, groups: Sequence[Group]) -> None:
        """Take the destinations; the first package of each is plain: it has no peculiarity."""
        self.groups = groups
        self.packages: dict[str, Package] = {package.id: package for group in groups for package in group.packages}
        self._selections: dict[Wanted, Selection] = {}

    @property
    def shown(self) -> list[Json]:
        """The destinations that sell anything, with the packages that they sell."""
        return [group.shown for group in self.groups if group.shown["packages"]]

    def sold(self, package_id: str) -> Package | None:
        """Find a package that is sold."""
        found = self.packages.get(package_id)
        return found if found and found.sold else None

    def changed(self, *, remove: Iterable[str], add: Iterable[str], prices: Mapping[str, int]) -> "Catalogue":
        """Give the catalogue with packages that are sold no more, or again, or at other prices in cents."""
        sold = {**dict.fromkeys(add, True), **dict.fromkeys(remove, False)}
        named = sold.keys() | prices.keys()
        unknown = named - self.packages.keys()
        if unknown:
            raise ValueError(f"there is no package {', '.join(sorted(map(repr, unknown)))}")
        touched = {self.packages[package_id].group for package_id in named}
        return Catalogue([group.changed(sold, prices) if group in touched else group for group in self.groups])

    def select(self, wanted: Wanted) -> "Selection":
        """Select the packages that are wanted; a packageId leaves every other wish aside."""
        if wanted.package_id is not None:
            found = self.sold(wanted.package_id)
            return Selection([found] if found else [])
        if wanted not in self._selections:
            if len(self._selections) >= 64:  # noqa: PLR2004 - a reader pages through one or two selections at a time
                self._selections.clear()
            self._selections[wanted] = Selection(list(self._matching(wanted)))
        return self._selections[wanted]

    @cached_property
    def kinds(self) -> dict[str, list[str]]:
        """The package ids of each kind there is, by the name of the kind."""
        every = [package for package in self.packages.values() if package.sold]
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
            for package in group.sold:
                plan = package.plan
                if wanted.days not in (None, plan.days) or (wanted.unlimited and not plan.unlimited):
                    continue
                if wanted.megabytes is None or wanted.unlimited or plan.megabytes == wanted.megabytes:
                    yield package
