"""The sandbox's catalogue: what is in it, and how it is filtered and paged."""

import hashlib
import json
import subprocess
import sys
import time
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


@pytest.mark.parametrize("size", [20, 300, 28_000])
def test_every_kind_is_there_at_every_size(size):
    """A catalogue has exactly its size of packages, ids unique, and each kind among them."""
    sandbox = Sandbox(packages=size)
    listed = ids(sandbox.catalogue)
    assert len(listed) == len(set(listed)) == size
    assert all(sandbox.kinds.values())
    assert len(sandbox.kinds["travel_date"]) == max(3, size * 30 // 28_000)
    assert "esim-greece-30days-1gb-all" in sandbox.kinds["plain"]


def test_the_full_catalogue_is_made_quickly():
    """28,000 packages of 260 destinations take less than a second to make."""
    began = time.process_time()
    catalogue = Sandbox(packages=28_000).catalogue
    assert time.process_time() - began < 1
    assert len(catalogue) == 260


def test_the_catalogue_hangs_on_seed_and_size_alone():
    """Two processes with different hash seeds make the same catalogue; another seed makes another one."""
    program = (
        "import hashlib, json; from roamify_async.sandbox import Sandbox;"
        "s = Sandbox(packages=2000, seed=3); print(hashlib.sha256(json.dumps(s.catalogue).encode()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    mine = json.dumps(Sandbox(packages=2000, seed=3).catalogue)
    assert run.stdout.strip() == hashlib.sha256(mine.encode()).hexdigest()
    assert json.dumps(Sandbox(packages=2000, seed=4).catalogue) != mine


def test_destinations_are_real_and_their_ids_plain():
    """Names keep their letters, slugs are ASCII, prices bound the group, and codes are not unique."""
    catalogue = Sandbox(packages=28_000).catalogue
    by_name = {group["countryName"]: group for group in catalogue}
    assert len(by_name) == 260
    assert by_name["Åland Islands"]["id"] == "aland-islands-esims"
    assert by_name["Côte d'Ivoire"]["countrySlug"] == "cote-divoire"
    assert {"Curaçao", "Réunion", "Africa", "Global"} <= by_name.keys()
    assert by_name["Africa"]["countryCode"] == "AFR"
    assert by_name["Cyprus"]["countryCode"] == by_name["Northern Cyprus"]["countryCode"]
    geographies = [group["geography"] for group in catalogue]
    assert [geographies.count(name) for name in ("local", "regional", "global")] == [245, 12, 3]
    for group in catalogue:
        prices = [package["price"] for package in group["packages"]]
        assert (group["minPrice"], group["maxPrice"]) == (min(prices), max(prices))
        assert group["id"].isascii()
        assert all(package["packageId"].startswith(f"esim-{group['countrySlug']}-") for package in group["packages"])
    assert len(by_name["Africa"]["signals"]) > 50


def test_packages_hold_what_their_kind_says():
    """Unlimited data is a number of its own, throttles and voice are spelled out, prices are exact."""
    sandbox = Sandbox(packages=300)
    packages = {package["packageId"]: package for group in sandbox.catalogue for package in group["packages"]}
    throttled = packages["esim-africa-7days-un2gb-all"]
    assert (throttled["isUnlimited"], throttled["dataAmount"]) == (True, 2**53 - 1)
    assert (throttled["withThrottle"], throttled["throttle"]["throttleThreshold"]) == (True, 2)
    assert throttled["package"] == "Unlimited Data - 7 Days (2 GB / 128 KBPS)"
    plain = packages["esim-greece-30days-1gb-all"]
    assert (plain["callAmount"], plain["smsUnit"], plain["notes"]) == (-1, "", [])
    assert plain["requirements"] == {"travelDate": False}
    voice = packages["esim-greece-30days-100gb-50sms-10min-all"]
    assert (voice["withCall"], voice["callAmount"], voice["smsAmount"]) == (True, 10, 50)
    prices = {id: sandbox.price(id) for id in packages}
    assert all(Decimal(repr(package["price"])) == prices[id] for id, package in packages.items())
    assert {isinstance(package["price"], int) for package in packages.values()} == {True, False}
    assert json.loads(sandbox.package_json(plain["packageId"])) == plain
    assert prices["esim-greece-30days-3gb-all"] > prices["esim-greece-30days-1gb-all"]
    assert all(packages[id]["notes"] for id in sandbox.kinds["no_usage_check"])


def test_kinds_are_what_the_packages_show():
    """Each kind lists the packages that show it; plain ones lead a country whose eSIMs can be topped up."""
    sandbox = Sandbox(packages=2000)
    every = [(package, group) for group in sandbox.catalogue for package in group["packages"]]

    def those(fits):
        return [package["packageId"] for package, group in every if fits(package, group)]

    no_top_up = set(sandbox.kinds["no_top_up"])
    lead = {group["packages"][0]["packageId"] for group in sandbox.catalogue if group["geography"] == "local"}
    assert lead & no_top_up
    assert sandbox.kinds | {"no_top_up": []} == {
        "plain": those(lambda package, _: package["packageId"] in lead - no_top_up),
        "travel_date": those(lambda package, _: package["requirements"]["travelDate"]),
        "unlimited": those(lambda package, _: package["isUnlimited"]),
        "throttled": those(lambda package, _: package["withThrottle"]),
        "no_usage_check": those(lambda package, _: not package["withUsageCheck"]),
        "no_top_up": [],
        "voice": those(lambda package, _: package["withCall"]),
        "local": those(lambda _, group: group["geography"] == "local"),
        "regional": those(lambda _, group: group["geography"] == "regional"),
        "global": those(lambda _, group: group["geography"] == "global"),
    }


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


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ({"page": "0"}, '"page" must be greater than or equal to 1'),
        ({"page": "x"}, '"page" must be a number'),
        ({"page": ""}, '"page" must be a number'),
        ({"pageSize": "1.5"}, '"pageSize" must be an integer'),
        ({"pageSize": "-3"}, '"pageSize" must be greater than or equal to 1'),
        ({"days": "week"}, '"days" must be a number'),
        ({"isUnlimited": "True"}, '"isUnlimited" must be a boolean'),
        ({"isUnlimited": ["true", "true"]}, '"isUnlimited" must be a boolean'),
        ({"geography": "lunar"}, '"geography" must be one of [local, regional, global]'),
        ({"country": ""}, '"country" is not allowed to be empty'),
        ({"limit": "5"}, '"limit" is not allowed'),
    ],
)
async def test_a_malformed_query_is_400(reader_of, query, message):
    """A query that is not well formed is refused in the validator's words."""
    reader = await reader_of()
    assert await reader.get(status=400, **query) == {"error": message}


async def test_the_full_catalogue_is_read_in_560_pages(reader_of):
    """28,000 packages in pages of fifty are 560 pages and nothing is missing."""
    reader = await reader_of(packages=28_000)
    pages = await reader.every(50)
    assert len(pages) == 560
    assert [id for page in pages for id in ids(page)] == ids(reader.sandbox.catalogue)
