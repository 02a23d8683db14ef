"""The plans that destinations sell, and their prices."""

from collections.abc import Iterator
from functools import cached_property
from itertools import product
from typing import Final

from attrs import define

from .countries import Place

UNLIMITED: Final = 2**53 - 1
"""The number that the API sends for an unlimited amount."""

_GIGABYTE: Final = 1024
_DAYS: Final = (30, 7, 15, 3, 1, 10, 5, 14, 20, 21, 60, 90, 28, 45, 180, 365)
_GIGABYTES: Final = (1, 3, 5, 10, 2, 20, 50, 100, 15, 30, 8, 40, 4, 6, 25, 75)
_THRESHOLDS: Final = (2, 0, 1, 5, 3, 10)  # gigabytes at full speed; 0 is never throttled
_VOICE: Final = ((50, 10), (100, 60), (UNLIMITED, UNLIMITED))  # messages and minutes
_VOICE_DAYS: Final = (30, 15, 7)
_VOICE_GIGABYTES: Final = (100, 1, 20)
_LEADING: Final = (
    "30days-1gb", "7days-un2gb", "7days-ungb", "7days-1gb", "30days-100gb-50sms-10min", "30days-3gb", "365days-0gb",
)  # fmt: skip
_SAYS_ZERO: Final = (365, 1)  # days and gigabytes
_KBPS: Final = {1: 512, 2: 128, 3: 384, 5: 512, 10: 1024}

# Cents: the base price, per gigabyte, per day.
_RATES: Final = {
    "Europe": (40, 55, 2),
    "Asia": (45, 60, 2),
    "Middle East": (70, 110, 3),
    "Africa": (90, 210, 4),
    "North America": (60, 95, 3),
    "Caribbean": (110, 290, 5),
    "South America": (70, 130, 3),
    "Oceania": (90, 180, 4),
    "Global": (150, 320, 6),
}
# Volume discount: from this many gigabytes on, a gigabyte costs this percentage of the full price.
_REBATES: Final = ((60, 60), (25, 70), (10, 85), (0, 100))


@define(slots=False)
class Plan:
    """What a package contains: validity in days, data, text messages and minutes."""

    days: int
    gigabytes: int = 0
    throttle_gb: int = 0
    messages: int = 0
    minutes: int = 0
    unlimited: bool = False

    @cached_property
    def voice(self) -> bool:
        """Whether it includes messages and minutes."""
        return self.messages > 0

    @cached_property
    def megabytes(self) -> int:
        """Data in megabytes; `UNLIMITED` for unlimited data."""
        return UNLIMITED if self.unlimited else self.gigabytes * _GIGABYTE

    @cached_property
    def throttle_kbps(self) -> int:
        """Speed in kbit/s after the full-speed data is used up; 0 if it is never throttled."""
        return _KBPS.get(self.throttle_gb, 0)

    @cached_property
    def slug(self) -> str:
        """The middle part of a package id: `30days-1gb`, `7days-un2gb`, `30days-100gb-50sms-10min`.

        As in the live catalogue, the id of a package may say 0 GB, whatever it holds.
        """
        gigabytes = 0 if (self.days, self.gigabytes) == _SAYS_ZERO else self.gigabytes
        data = f"un{self.throttle_gb or ''}gb" if self.unlimited else f"{gigabytes}gb"
        voice = f"-{_amount(self.messages)}sms-{_amount(self.minutes)}min" if self.voice else ""
        return f"{self.days}days-{data}{voice}"

    @cached_property
    def name(self) -> str:
        """The display name: `1 GB - 30 Days`."""
        days = f"{self.days} Days" if self.days > 1 else "1 Day"
        if self.unlimited:
            slowed = f" ({self.throttle_gb} GB / {self.throttle_kbps} KBPS)" if self.throttle_gb else ""
            return f"Unlimited Data - {days}{slowed}"
        voice = f" + {_spoken(self.messages)} SMS + {_spoken(self.minutes)} Min" if self.voice else ""
        return f"{self.gigabytes} GB{voice} - {days}"


def price(plan: Plan, place: Place, level: int) -> int:
    """Return the price of a plan in cents.

    It depends on data and days, the rates of the region, and *level*, the price level of the place in percent.
    """
    base, gigabyte, day = _RATES[place.region]
    held = plan.gigabytes or 3 + plan.days + 2 * plan.throttle_gb + (0 if plan.throttle_gb else 20)
    rebate = next(percent for least, percent in _REBATES if held >= least)
    amount = base + held * gigabyte * rebate // 100 + plan.days * day + (_voice_cents(plan) if plan.voice else 0)
    breadth = 100 if place.geography == "local" else 150
    counted = amount * level * breadth // 10_000
    return counted + 100 - counted % 100 if counted % 100 > 85 else counted  # noqa: PLR2004 - 4.90 is rounded to 5


def _voice_cents(plan: Plan) -> int:
    return 4 * min(plan.messages, 500) + 9 * min(plan.minutes, 500)


def _amount(count: int) -> str:
    return "un" if count == UNLIMITED else str(count)


def _spoken(count: int) -> str:
    return "Unlimited" if count == UNLIMITED else str(count)


def _plans() -> Iterator[Plan]:
    measured = [Plan(days, gigabytes) for gigabytes, days in product(_GIGABYTES, _DAYS)]
    unlimited = [Plan(days, throttle_gb=gb, unlimited=True) for days, gb in product(_DAYS, _THRESHOLDS)]
    voiced = [
        Plan(days, gigabytes, messages=messages, minutes=minutes)
        for days, gigabytes, (messages, minutes) in product(_VOICE_DAYS, _VOICE_GIGABYTES, _VOICE)
    ]
    every = sorted([*measured, *unlimited, *voiced], key=_rank)
    # One plan of each kind comes first, so that even the smallest destination sells every kind.
    yield from sorted(every, key=lambda plan: _LEADING.index(plan.slug) if plan.slug in _LEADING else len(_LEADING))


def _rank(plan: Plan) -> tuple[int, str]:
    size = _GIGABYTES.index(plan.gigabytes) if plan.gigabytes else _THRESHOLDS.index(plan.throttle_gb)
    return _DAYS.index(plan.days) + 2 * size + 10 * plan.voice, plan.slug


PLANS: Final = tuple(_plans())
"""Every plan; a destination with N packages sells the first N."""
