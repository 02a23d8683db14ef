"""Packages and the destinations that sell them, and how they are written as JSON."""

import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from operator import attrgetter
from typing import Any

from attrs import define, evolve, field

from .countries import Place
from .money import number
from .plans import Plan

Json = dict[str, Any]  # JSON as it goes out: the values are of every kind


@define(eq=False)
class Package:
    """One package: what the API shows of it, its price in cents, whether its eSIMs take top-ups, whether it is sold."""

    id: str
    group: "Group" = field(repr=False)
    plan: Plan
    cents: int
    shown: Json = field(repr=False)
    with_top_up: bool = True
    sold: bool = True
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
        return [package for package in self.group.sold if not (package.plan.voice or package.travel_date)]


@define(eq=False)
class Group:
    """One destination with its packages, sold or not."""

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

    @property
    def sold(self) -> list[Package]:
        """The packages that it sells."""
        return [package for package in self.packages if package.sold]

    @property
    def offer(self) -> Json:
        """What it shows of the packages that it sells."""
        prices = [package.cents for package in self.sold] or [0]
        return {
            "minPrice": number(min(prices)),
            "maxPrice": number(max(prices)),
            "packages": [package.shown for package in self.sold],
        }

    def changed(self, sold: Mapping[str, bool], prices: Mapping[str, int]) -> "Group":
        """Give the destination with some packages sold or not, or at other prices in cents."""
        group = Group(self.place, {})
        group.packages = [
            evolve(
                package,
                group=group,
                sold=sold.get(package.id, package.sold),
                cents=prices.get(package.id, package.cents),
                shown={**package.shown, "price": number(prices.get(package.id, package.cents))},
            )
            for package in self.packages
        ]
        group.shown = {**self.shown, **group.offer}
        return group


def dumps(value: object) -> str:
    """Write JSON as the API does: no spaces, letters of every script as they are."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def as_groups(packages: Iterable[Package]) -> str:
    """Write packages as the JSON list of their destinations, each with those of its packages that are given."""
    runs = groupby(packages, key=attrgetter("group"))
    return "[" + ",".join(f"{group.head}{','.join([p.text for p in run])}]}}" for group, run in runs) + "]"
