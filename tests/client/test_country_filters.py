"""Filters by country in any case and by common names, resolved before anything is sent."""

import asyncio

import pytest
from support.clients import collect

from roamify_async import AuthenticationError, capture_responses
from roamify_async.models.countries import Country
from roamify_async.models.country_names import resolve_code, resolve_name
from roamify_async.sandbox.data.countries import PLACES

COUNTRIES = "GET /api/esim/countries"
PACKAGES = "/api/esim/packages"
ALL = tuple(Country(code=place.code, name=place.name, geography=place.geography) for place in PLACES)

NAMES = {
    "greece": "Greece", "GREECE": "Greece", " Greece ": "Greece", "USA": "United States", "U.S.A.": "United States",
    "the united states": "United States", "America": "United States", "UK": "United Kingdom", "holland": "Netherlands",
    "The Netherlands": "Netherlands", "turkey": "Türkiye", "TURKIYE": "Türkiye", "aland islands": "Åland Islands",
    "Ivory Coast": "Côte d'Ivoire", "cote divoire": "Côte d'Ivoire",
    "Cote d\N{RIGHT SINGLE QUOTATION MARK}Ivoire": "Côte d'Ivoire",
    "curacao": "Curaçao", "Czech Republic": "Czechia", "uae": "United Arab Emirates", "St. Lucia": "Saint Lucia",
    "Bosnia & Herzegovina": "Bosnia and Herzegovina", "europe and united states": "Europe & United States",
    "cape verde": "Cabo Verde", "Swaziland": "Eswatini", "Korea": "South Korea", "burma": "Myanmar", "GLOBAL": "Global",
    "cocos keeling islands": "Cocos (Keeling) Islands", "DR Congo": "Democratic Republic of the Congo",
}  # fmt: skip
CODES = {"gr": "GR", "Gr": "GR", "euus": "EUUS", "usa": "US", "UK": "GB", "uae": "AE", "holland": "NL", "cy": "CY"}


def test_names():
    """Names are recognized in any case, without accents, punctuation and articles, and by common names."""
    assert {text: resolve_name(text, ALL) for text in NAMES} == NAMES
    assert {text: resolve_code(text, ALL) for text in CODES} == CODES
    assert all(resolve_name(place.name, ALL) == place.name for place in ALL)
    assert all(resolve_code(place.code, ALL) == place.code for place in ALL)


def test_what_is_not_clear():
    """A text that means no country, or more than one, is not resolved."""
    for text in ("Atlantis", "Grece", "GR", "", "?", "United"):
        assert resolve_name(text, ALL) is None, text
    for text in ("Greece", "XX", ""):
        assert resolve_code(text, ALL) is None, text
    twice = (Country(code="AA", name="Same"), Country(code="BB", name="SAME"))
    assert (resolve_name("same", twice), resolve_name("SAME", twice)) == (None, "SAME")
    assert resolve_name("USA", (Country(code="US", name="East"), Country(code="US", name="West"))) is None


def test_names_of_the_api_come_first():
    """A name of the list is preferred to a common name of another country, and other official names are found."""
    places = (Country(code="GB", name="United Kingdom"), Country(code="XE", name="England"))
    assert resolve_name("england", places) == "England"
    assert resolve_name("Turkey", (Country(code="TR", name="Republic of Türkiye"),)) == "Republic of Türkiye"


async def test_filters(either, sandbox):
    """All calls of packages accept them, and the list of countries is read once."""
    greece = {package["packageId"] for group in sandbox.catalogue for package in group["packages"]
              if group["countryName"] == "Greece"}  # fmt: skip
    for filters in ({"country": "greece"}, {"country_code": "gr"}, {"country": "GREECE", "country_code": "Gr"}):
        assert {package.package_id for package in await either.packages.list(**filters)} == greece
        assert {package.package_id for package in await collect(either, **filters)} == greece
        assert set((await either.packages.page(**filters)).ids) == greece
    assert len(await either.packages.list(country="USA")) > 0
    assert len(await either.packages.list(country="turkey")) > 0
    assert sandbox.state()["requests"][COUNTRIES] == 1


@pytest.mark.parametrize("geography", ["LOCAL", "Regional", "gLoBaL"])
async def test_geography(either, geography):
    """A geography is taken in any case, by all calls that have one, without reading the countries."""
    word = geography.lower()
    assert {package.destination.geography for package in await either.packages.list(geography=geography)} == {word}
    assert {country.geography for country in await either.countries.list(geography=geography)} == {word}
    for call in (either.insurance.countries, either.insurance.packages):
        assert await call(geography=geography) == await call(geography=word)


async def test_insurance(either, sandbox):
    """Insurance has a list of countries of its own."""
    (country, *_) = await either.insurance.countries(geography="local")
    products = await either.insurance.packages(country=country.name)
    assert products
    for filters in ({"country": country.name.upper()}, {"country_code": country.code.lower()}):
        assert await either.insurance.packages(**filters) == products
    assert sandbox.state()["requests"]["GET /api/insurance/countries"] == 2
    assert COUNTRIES not in sandbox.state()["requests"]


async def test_countries_that_cannot_be_read(client, sandbox):
    """The text is passed on as it is where the list cannot be read, and the list is not requested for each search."""
    sandbox.fail("GET", "/api/esim/countries", "403_html", times=None)
    with capture_responses() as responses:
        assert len(await client.packages.page(country="Greece")) > 0
        assert len(await client.packages.page(country="Greece")) > 0
        assert len(await client.packages.page(country="greece")) == 0
    sent = [response.query for response in responses if response.path == PACKAGES]
    assert [query.partition("country=")[2] for query in sent] == ["Greece", "Greece", "greece"]
    # One to resolve the names, and one to explain the empty page.
    assert sandbox.state()["requests"][COUNTRIES] == 2


async def test_wrong_token(sandbox, opened):
    """The failure of the search itself is raised, not that of the list of countries."""
    client = await opened(sandbox.url, "not-the-right-token")
    with pytest.raises(AuthenticationError, match="GET /api/esim/packages"):
        await client.packages.list(country="greece")


async def test_a_new_country(client, sandbox):
    """A country that was launched after the list was read is found, and is not called unknown."""
    assert len(await client.packages.list(country="Greece")) > 0
    sandbox.add_destination("Atlantis")
    assert len(await client.packages.list(country="Atlantis")) == 8
    assert len(await client.packages.list(country="Atlantis", days=9999)) == 0


async def test_no_filter_no_list(client, sandbox):
    """Without a country nothing is read but the packages."""
    await client.packages.list(days=7)
    assert COUNTRIES not in sandbox.state()["requests"]


async def test_many_searches_at_once(either, sandbox):
    """The list is read once for searches that begin at the same time."""
    await asyncio.gather(*(either.packages.page(country="greece") for _ in range(5)))
    assert sandbox.state()["requests"][COUNTRIES] == 1
