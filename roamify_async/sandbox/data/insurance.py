"""The insurance that the sandbox sells: a few products, each for some lengths of stay."""

from typing import Final
from uuid import NAMESPACE_URL, uuid5

from attrs import frozen

from .generator import slug
from .money import number
from .packages import Json

PREFIX: Final = "insurance-"
"""How the ids of insurance packages begin."""

_BENEFITS: Final = ("Emergency medical expenses", "Repatriation", "Loss of passport", "Trip delay")
# Country, its code, geography, region, cents a day, days, what is asked for beside the telephone number.
_LISTING: Final = (
    ("Saudi Arabia", "SA", "local", "Middle East", 95, (7, 15, 30), ("dateOfBirth", "idNumber")),
    ("Türkiye", "TR", "local", "Middle East", 80, (7, 15), ("dateOfBirth", "passportNumber")),
    ("United Arab Emirates", "AE", "local", "Middle East", 85, (7, 30), ("dateOfBirth",)),
    ("Schengen", "SCH", "regional", "Europe", 120, (7, 15, 30, 90), ("dateOfBirth", "idNumber", "passportNumber")),
    ("Worldwide", "WLD", "global", "Global", 210, (7, 30), ("passportNumber",)),
)


@frozen
class Cover:
    """One insurance package: its product, the days it covers, its price in cents, and what it asks of a traveller."""

    id: str
    name: str
    product: "Product"
    day: int
    cents: int

    @property
    def shown(self) -> Json:
        """The package as its product lists it."""
        return {
            "packageId": self.id,
            "package": self.name,
            "provider": "Sandbox Insurance",
            "type": "insurance",
            "charge": number(self.cents),
            "price": number(self.cents),
            "day": self.day,
            "currency": "USD",
            "requirements": self.product.requirements,
            "notes": [],
        }


@frozen
class Product:
    """The insurance for one destination."""

    country: str
    code: str
    geography: str
    region: str
    daily: int
    days: tuple[int, ...]
    asked: tuple[str, ...]

    @property
    def requirements(self) -> dict[str, bool]:
        """What a traveller must tell."""
        names = ("dateOfBirth", "idNumber", "passportNumber")
        return {"phoneNumber": True, **{name: name in self.asked for name in names}}

    @property
    def benefits(self) -> list[str]:
        """What is insured, for people to read."""
        return list(_BENEFITS)

    @property
    def covers(self) -> list[Cover]:
        """Its packages, the shortest first."""
        start = f"{PREFIX}{slug(self.country)}-individual"
        return [
            Cover(f"{start}-{day}days", f"Individual - {day} Days", self, day, 200 + self.daily * day)
            for day in self.days
        ]

    @property
    def place(self) -> Json:
        """Its destination."""
        return {
            "code": self.code,
            "name": self.country,
            "slug": slug(self.country),
            "geography": self.geography,
        }

    def shown(self, covers: list[Cover]) -> Json:
        """Show the product with some of its packages."""
        name = f"{self.country} Travel Insurance"
        place = slug(self.country)
        prices = [cover.cents for cover in covers]
        return {
            "id": str(uuid5(NAMESPACE_URL, f"{PREFIX}{place}")),
            "name": name,
            "slug": slug(name),
            "countryName": self.country,
            "countryCode": self.code,
            "countrySlug": place,
            "geography": self.geography,
            "region": self.region,
            "description": f"Medical and travel cover for a stay in {self.country}.",
            "image": f"https://imagedelivery.net/sandbox/insurance/{place}/public",
            "coverages": [self.country],
            "eligibleNationality": ["Saudi Arabia"],
            "eligibleNationCodes": ["SA"],
            "benefits": self.benefits,
            "insuredType": "individual",
            "minPrice": number(min(prices)),
            "maxPrice": number(max(prices)),
            "packages": [cover.shown for cover in covers],
        }


PRODUCTS: Final = tuple(Product(*entry) for entry in _LISTING)
"""Every product."""

COVERS: Final = {cover.id: cover for product in PRODUCTS for cover in product.covers}
"""Every insurance package by its id."""
