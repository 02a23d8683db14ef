"""Packages, the destinations that sell them, and both as JSON."""

from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter

from attrs import define, evolve, field

from .countries import Place
from .currencies import to_number
from .encoding import Json, dumps
from .plans import Plan


@define(eq=False)
class Package:
    """One package, with its price in cents; `json` is the object that the API serves."""

    id: str
    destination: "Destination" = field(repr=False)
    plan: Plan
    cents: int
    json: Json = field(repr=False)
    supports_top_up: bool = True
    on_sale: bool = True
    _text: str = field(default="", init=False, repr=False)

    @property
    def text(self) -> str:
        """The package as JSON text, serialized once."""
        if not self._text:
            self._text = dumps(self.json)
        return self._text

    @property
    def needs_travel_date(self) -> bool:
        """Whether applying an eSIM of it requires a start date."""
        return bool(self.json["requirements"]["travelDate"])

    @property
    def supports_usage_check(self) -> bool:
        """Whether the usage endpoints serve its eSIMs."""
        return bool(self.json["withUsageCheck"])

    @property
    def top_ups(self) -> list["Package"]:
        """The packages that its eSIMs can be topped up with: data-only ones of its destination without travel date."""
        if not self.supports_top_up:
            return []
        return [
            package for package in self.destination.on_sale if not (package.plan.voice or package.needs_travel_date)
        ]


@define(eq=False)
class Destination:
    """One destination with all its packages, on sale or not."""

    place: Place
    json: Json = field(repr=False)
    packages: list[Package] = field(factory=list["Package"], repr=False)
    _head: str = field(default="", init=False, repr=False)

    @property
    def head(self) -> str:
        """The destination as JSON text up to the opening bracket of its packages, serialized once."""
        if not self._head:
            self._head = dumps({**self.json, "packages": ()})[:-2]
        return self._head

    @property
    def on_sale(self) -> list[Package]:
        """The packages on sale."""
        return [package for package in self.packages if package.on_sale]

    @property
    def offer(self) -> Json:
        """The fields of its JSON that depend on the packages on sale."""
        prices = [package.cents for package in self.on_sale] or [0]
        return {
            "minPrice": to_number(min(prices)),
            "maxPrice": to_number(max(prices)),
            "packages": [package.json for package in self.on_sale],
        }

    def with_changes(self, on_sale: Mapping[str, bool], prices: Mapping[str, int]) -> "Destination":
        """Return a copy with some packages put on or off sale, or at other prices in cents."""
        copy = Destination(self.place, {})
        copy.packages = [
            evolve(
                package,
                destination=copy,
                on_sale=on_sale.get(package.id, package.on_sale),
                cents=prices.get(package.id, package.cents),
                json={**package.json, "price": to_number(prices.get(package.id, package.cents))},
            )
            for package in self.packages
        ]
        copy.json = {**self.json, **copy.offer}
        return copy


def group_by_destination(packages: Iterable[Package]) -> str:
    """Return packages as the JSON text of a list of destinations, each with its packages among the given ones."""
    runs = groupby(packages, key=attrgetter("destination"))
    return "[" + ",".join(f"{place.head}{','.join([p.text for p in run])}]}}" for place, run in runs) + "]"
