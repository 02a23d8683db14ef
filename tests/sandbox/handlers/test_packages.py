"""The endpoint of the catalogue: filters, pages and totals."""

import json
from decimal import Decimal

import aiohttp
import pytest

from roamify_async.sandbox import Sandbox

PACKAGES = "/api/esim/packages"


class Reader:
    """A plain HTTP client that reads the catalogue of one sandbox."""

    def __init__(self, sandbox) -> None:
        """Take the sandbox that is read."""
        self.sandbox = sandbox
        self.session = aiohttp.ClientSession(sandbox.url, headers={"Authorization": f"Bearer {sandbox.token}"})

    async def get(self, path=PACKAGES, *, status=200, **query: str):
        """Read one answer."""
        async with self.session.get(path, params=query) as response:
            body = json.loads(await response.text(), parse_float=Decimal)
            assert response.status == status, body
            return body["data"] if status == 200 else body

    async def groups(self, **query: str):
        """Read the destinations of one page."""
        return (await self.get(**query))["packages"]

    async def every(self, size):
        """Read page after page until one is empty."""
        pages = []
        while page := await self.groups(page=str(len(pages) + 1), pageSize=str(size)):
            pages.append(page)
        return pages


@pytest.fixture
async def reader_of():
    """Run sandboxes of any options for one test."""
    sandboxes, readers = [], []

    async def make(**options: object):
        sandbox = await Sandbox(**{"packages": 300, **options}).__aenter__()
        sandboxes.append(sandbox)
        readers.append(Reader(sandbox))
        return readers[-1]

    yield make
    for reader in readers:
        await reader.session.close()
    for sandbox in sandboxes:
        await sandbox.__aexit__(None, None, None)


def ids(groups):
    """List the package ids of destinations."""
    return [package["packageId"] for group in groups for package in group["packages"]]


async def test_countries_can_be_narrowed_by_geography(reader_of):
    """Each destination is listed with code, name and geography."""
    reader = await reader_of()
    everything = (await reader.get("/api/esim/countries"))["countries"]
    assert {"code": "GR", "name": "Greece", "geography": "local"} in everything
    assert len(everything) == len(reader.sandbox.catalogue)
    regional = (await reader.get("/api/esim/countries", geography="regional"))["countries"]
    assert regional == [entry for entry in everything if entry["geography"] == "regional"]
    assert "error" in await reader.get("/api/esim/countries", status=400, geography="lunar")


@pytest.mark.parametrize("page_counts", ["packages", "destinations"])
@pytest.mark.parametrize("size", [7, 50, 1000])
@pytest.mark.parametrize("totals", [True, False])
async def test_pages_are_complete_and_without_duplicates(reader_of, page_counts, size, totals):
    """Page after page gives the whole catalogue once, however it is counted and cut."""
    reader = await reader_of(page_counts=page_counts, totals=totals)
    pages = await reader.every(size)
    assert [id for page in pages for id in ids(page)] == ids(reader.sandbox.catalogue)
    lengths = [len(ids(page)) if page_counts == "packages" else len(page) for page in pages]
    assert set(lengths[:-1]) <= {size}
    merged = {}
    for group in (group for page in pages for group in page):
        merged.setdefault(group["id"], group | {"packages": []})["packages"].extend(group["packages"])
    assert list(merged.values()) == json.loads(json.dumps(reader.sandbox.catalogue), parse_float=Decimal)


async def test_the_default_page_has_fifty_and_repeats_a_split_destination(reader_of):
    """Without page and pageSize the first fifty come; a destination that is cut goes on under the same head."""
    reader = await reader_of()
    first, second = await reader.groups(), await reader.groups(page="2")
    assert len(ids(first)) == len(ids(second)) == 50
    assert first[-1]["id"] == second[0]["id"]
    assert {**first[-1], "packages": []} == {**second[0], "packages": []}


@pytest.mark.parametrize(("totals", "total", "pages"), [(True, 300, 6), (1000, 1000, 20), (0, 0, 0)])
async def test_totals_are_sent_if_wanted(reader_of, totals, total, pages):
    """Totals stand beside the packages: the true ones, or whatever number was claimed."""
    reader = await reader_of(totals=totals)
    page = await reader.get(page="2")
    assert {**page, "packages": ...} == {
        "packages": ..., "total": total, "totalPages": pages, "page": 2, "pageSize": 50,
    }  # fmt: skip


async def test_past_the_end_is_empty_last_or_not_found(reader_of):
    """The page after the last is what was chosen."""
    assert await (await reader_of()).groups(page="7") == []
    last = await reader_of(past_end="last")
    assert await last.groups(page="7") == await last.groups(page="6")
    missing = await reader_of(past_end="not_found")
    assert (await missing.get(status=404, page="7"))["status"] == "failed"
    assert await missing.groups(page="1", country="Nowhere") == []


async def test_filters_narrow_by_each_field(reader_of):
    """Names, codes, geography, days, data and packageId each narrow; what matches nothing is an empty list."""
    reader = await reader_of()
    greece = ids(reader.sandbox.catalogue[:1])
    assert ids(await reader.groups(country="Greece")) == greece
    assert ids(await reader.groups(countryCode="GR", country="Greece")) == greece
    assert await reader.groups(countryCode="GR", country="Germany") == []
    assert await reader.groups(country="GR") == []
    assert {g["countryName"] for g in await reader.groups(countryCode="CY")} == {"Cyprus", "Northern Cyprus"}
    assert [g["countryName"] for g in await reader.groups(country="Åland Islands")] == ["Åland Islands"]
    assert {g["geography"] for g in await reader.groups(geography="global")} == {"global"}
    weeks = await reader.groups(days="7", pageSize="500")
    assert {package["day"] for group in weeks for package in group["packages"]} == {7}
    assert ids(await reader.groups(country="Greece", days="30", gbs="1")) == greece[:1]
    assert ids(await reader.groups(packageId=greece[1], country="Germany")) == [greece[1]]
    assert await reader.groups(packageId="nothing") == []


async def test_unlimited_leaves_gigabytes_aside(reader_of):
    """isUnlimited=true lists only unlimited plans and ignores gbs; false is as if it were absent."""
    reader = await reader_of()
    unlimited = ids(await reader.groups(isUnlimited="true", gbs="1", pageSize="500"))
    assert unlimited == reader.sandbox.kinds["unlimited"]
    assert len(ids(await reader.groups(isUnlimited="false", pageSize="500"))) == 300


async def test_a_country_that_is_not_in_the_list(reader_of):
    """It selects nothing, is refused, or is a code, as it was until June 2026: which one is not documented."""
    reader = await reader_of()
    by_code = await reader.groups(countryCode="GR")
    assert await reader.groups(country="GR") == []
    for unknown in ("GR", "greece", "Atlantis"):
        reader = await reader_of(unknown_country="refused")
        assert (await reader.get(status=400, country=unknown))["status"] == "failed"
    reader = await reader_of(unknown_country="code")
    assert await reader.groups(country="GR") == by_code == await reader.groups(country="Greece")
    assert await reader.groups(country="GR", countryCode="DE") == []


INVALID_QUERIES = [
    ({"page": "0"}, '"page" must be greater than or equal to 1'),
    ({"page": "x"}, '"page" must be a number'),
    ({"page": ""}, '"page" must be a number'),
    ({"pageSize": "1.5"}, '"pageSize" must be an integer'),
    ({"pageSize": "-3"}, '"pageSize" must be greater than or equal to 1'),
    ({"days": "week"}, '"days" must be a number'),
    ({"isUnlimited": "yes"}, '"isUnlimited" must be a boolean'),
    ({"isUnlimited": ["true", "true"]}, '"isUnlimited" must be a boolean'),
    ({"geography": "lunar"}, '"geography" must be one of [local, regional, global]'),
    ({"country": ""}, '"country" is not allowed to be empty'),
    ({"limit": "5"}, '"limit" is not allowed'),
]


async def test_a_malformed_query_is_400(reader_of):
    """A query that is not well formed is refused in the validator's words."""
    for query, message in INVALID_QUERIES:
        reader = await reader_of()
        assert await reader.get(status=400, **query) == {"error": message}


@pytest.mark.long
async def test_the_full_catalogue_is_read_page_by_page(reader_of):
    """28,000 packages in pages of 500 are 56 pages and nothing is missing."""
    reader = await reader_of(packages=28_000)
    pages = await reader.every(500)
    assert len(pages) == 56
    assert [id for page in pages for id in ids(page)] == ids(reader.sandbox.catalogue)
