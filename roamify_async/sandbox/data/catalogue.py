"""The catalogue: every destination and package, and the selections that readers ask for."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property, lru_cache
from itertools import groupby
from operator import attrgetter
from typing import Final

from attrs import define, frozen

from .encoding import Json
from .generator import generate
from .packages import Destination, Package

_CACHED_SELECTIONS: Final = 64  # a reader pages through one or two selections at a time


@frozen
class Filter:
    """The filters of a catalogue request; None does not filter."""

    country: str | None = None
    code: str | None = None
    geography: str | None = None
    days: object = None
    megabytes: object = None
    unlimited: bool = False
    package_id: str | None = None


@define(slots=False, eq=False)
class Selection:
    """The packages on sale that match a filter, in catalogue order."""

    packages: list[Package]

    @cached_property
    def destinations(self) -> list[list[Package]]:
        """The packages, grouped by destination."""
        return [list(run) for _, run in groupby(self.packages, key=attrgetter("destination"))]


class Catalogue:
    """Every destination and package, on sale or not. It is immutable: changes return a new catalogue."""

    def __init__(self, destinations: Sequence[Destination]) -> None:
        """Create a catalogue; the first package of each destination is a plain one."""
        self.destinations = destinations
        self.packages: dict[str, Package] = {
            package.id: package for destination in destinations for package in destination.packages
        }
        self._selections: dict[Filter, Selection] = {}

    @property
    def json(self) -> list[Json]:
        """The destinations that have packages on sale, with those packages."""
        return [destination.json for destination in self.destinations if destination.json["packages"]]

    def find_on_sale(self, package_id: str) -> Package | None:
        """Return a package if it is on sale."""
        found = self.packages.get(package_id)
        return found if found and found.on_sale else None

    def with_changes(self, *, remove: Iterable[str], add: Iterable[str], prices: Mapping[str, int]) -> "Catalogue":
        """Return a catalogue with packages taken off sale, put back on sale, or at other prices in cents.

        Raises ValueError for an unknown package.
        """
        on_sale = {**dict.fromkeys(add, True), **dict.fromkeys(remove, False)}
        changed = on_sale.keys() | prices.keys()
        unknown = changed - self.packages.keys()
        if unknown:
            raise ValueError(f"unknown package {', '.join(sorted(map(repr, unknown)))}")
        touched = {self.packages[package_id].destination for package_id in changed}
        return Catalogue(
            [
                destination.with_changes(on_sale, prices) if destination in touched else destination
                for destination in self.destinations
            ]
        )

    def with_destination(self, destination: Destination, position: int) -> "Catalogue":
        """Return a catalogue with a further destination at this position, from 0."""
        return Catalogue([*self.destinations[:position], destination, *self.destinations[position:]])

    def select(self, filter: Filter) -> "Selection":
        """Return the packages on sale that match; a packageId overrides every other filter."""
        if filter.package_id is not None:
            found = self.find_on_sale(filter.package_id)
            return Selection([found] if found else [])
        selection = self._selections.get(filter)
        if selection is None:
            if len(self._selections) >= _CACHED_SELECTIONS:
                self._selections.clear()
            selection = self._selections[filter] = Selection(list(self._matching(filter)))
        return selection

    @cached_property
    def kinds(self) -> dict[str, list[str]]:
        """The ids of the packages on sale, by kind: plain, travel_date, unlimited, ..."""
        every = [package for package in self.packages.values() if package.on_sale]
        tests: dict[str, Callable[[Package], bool]] = {
            "plain": lambda p: p is p.destination.packages[0] and p.supports_top_up and _geography(p) == "local",
            "travel_date": lambda p: p.needs_travel_date,
            "unlimited": lambda p: p.plan.unlimited,
            "throttled": lambda p: p.plan.throttle_gb > 0,
            "no_usage_check": lambda p: not p.supports_usage_check,
            "no_top_up": lambda p: not p.supports_top_up,
            "voice": lambda p: p.plan.voice,
            "local": lambda p: _geography(p) == "local",
            "regional": lambda p: _geography(p) == "regional",
            "global": lambda p: _geography(p) == "global",
        }
        return {kind: [package.id for package in every if test(package)] for kind, test in tests.items()}

    def _matching(self, filter: Filter) -> Iterator[Package]:
        for destination in self.destinations:
            place = destination.place
            if filter.country not in (None, place.name) or filter.code not in (None, place.code):
                continue
            if filter.geography not in (None, place.geography):
                continue
            for package in destination.on_sale:
                plan = package.plan
                if filter.days not in (None, plan.days) or (filter.unlimited and not plan.unlimited):
                    continue
                if filter.megabytes is None or filter.unlimited or plan.megabytes == filter.megabytes:
                    yield package


def _geography(package: Package) -> str:
    return package.destination.place.geography


@lru_cache(maxsize=2)
def initial_catalogue(seed: int, size: int) -> Catalogue:
    """Return the catalogue of this seed and size; sandboxes of one process share it."""
    return Catalogue(generate(seed, size))
