"""The insurance products on sale, each with packages for several lengths of stay."""

from typing import Final
from uuid import NAMESPACE_URL, uuid5

from attrs import frozen

from .currencies import to_number
from .encoding import Json
from .generator import slug

PREFIX: Final = "insurance-"
"""The prefix of insurance package ids."""

_BENEFITS: Final = ("Emergency medical expenses", "Repatriation", "Loss of passport", "Trip delay")
# Country, code, geography, region, cents per day, days, and the fields required beside the phone number.
_LISTING: Final = (
    ("Saudi Arabia", "SA", "local", "Middle East", 95, (7, 15, 30), ("dateOfBirth", "idNumber")),
    ("Türkiye", "TR", "local", "Middle East", 80, (7, 15), ("dateOfBirth", "passportNumber")),
    ("United Arab Emirates", "AE", "local", "Middle East", 85, (7, 30), ("dateOfBirth",)),
    ("Schengen", "SCH", "regional", "Europe", 120, (7, 15, 30, 90), ("dateOfBirth", "idNumber", "passportNumber")),
    ("Worldwide", "WLD", "global", "Global", 210, (7, 30), ("passportNumber",)),
)


@frozen
class Cover:
    """One insurance package of a product, with the days it covers and its price in cents."""

    id: str
    name: str
    product: "Product"
    day: int
    cents: int

    @property
    def json(self) -> Json:
        """The package as the API serves it."""
        return {
            "packageId": self.id,
            "package": self.name,
            "provider": "Sandbox Insurance",
            "type": "insurance",
            "charge": to_number(self.cents),
            "price": to_number(self.cents),
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
    required: tuple[str, ...]

    @property
    def requirements(self) -> dict[str, bool]:
        """Which fields a traveller must supply."""
        names = ("dateOfBirth", "idNumber", "passportNumber")
        return {"phoneNumber": True, **{name: name in self.required for name in names}}

    @property
    def benefits(self) -> list[str]:
        """The display texts of what is insured."""
        return list(_BENEFITS)

    @property
    def covers(self) -> list[Cover]:
        """Its packages, shortest first."""
        start = f"{PREFIX}{slug(self.country)}-individual"
        return [
            Cover(f"{start}-{day}days", f"Individual - {day} Days", self, day, 200 + self.daily * day)
            for day in self.days
        ]

    @property
    def place(self) -> Json:
        """Its destination, as the API lists it."""
        return {
            "code": self.code,
            "name": self.country,
            "slug": slug(self.country),
            "geography": self.geography,
        }

    def to_json(self, covers: list[Cover]) -> Json:
        """Return the product as the API serves it, with these packages."""
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
            "minPrice": to_number(min(prices)),
            "maxPrice": to_number(max(prices)),
            "packages": [cover.json for cover in covers],
        }


PRODUCTS: Final = tuple(Product(*entry) for entry in _LISTING)
"""Every insurance product."""

COVERS: Final = {cover.id: cover for product in PRODUCTS for cover in product.covers}
"""Every insurance package by its id."""
