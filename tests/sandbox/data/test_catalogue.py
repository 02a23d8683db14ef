"""The generated catalogue."""

import hashlib
import json
import subprocess
import sys
import time
from decimal import Decimal

import pytest

from roamify_async.sandbox import Sandbox


def ids(groups):
    """List the package ids of destinations."""
    return [package["packageId"] for group in groups for package in group["packages"]]


@pytest.fixture(scope="module")
def full():
    """Generate a catalogue of the default size once; return the sandbox and the seconds that it took."""
    sandbox, began = Sandbox(packages=28_000), time.process_time()
    assert sandbox.catalogue
    return sandbox, time.process_time() - began


def test_every_kind_is_there_at_every_size(full):
    """A catalogue has exactly its size of packages, ids unique, and each kind among them."""
    for size, sandbox in ((20, Sandbox(packages=20)), (300, Sandbox(packages=300)), (28_000, full[0])):
        listed = ids(sandbox.catalogue)
        assert len(listed) == len(set(listed)) == size
        assert all(sandbox.kinds.values())
        assert len(sandbox.kinds["travel_date"]) == max(3, size * 30 // 28_000)
        assert "esim-greece-30days-1gb-all" in sandbox.kinds["plain"]


def test_the_full_catalogue_is_generated_quickly(full):
    """28,000 packages of 260 destinations take less than a second."""
    sandbox, seconds = full
    assert seconds < 1
    assert len(sandbox.catalogue) == 260


def test_the_catalogue_depends_on_seed_and_size_only():
    """Two processes with different hash seeds make the same catalogue; another seed makes another one."""
    program = (
        "import hashlib, json; from roamify_async.sandbox import Sandbox;"
        "s = Sandbox(packages=2000, seed=3); print(hashlib.sha256(json.dumps(s.catalogue).encode()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    mine = json.dumps(Sandbox(packages=2000, seed=3).catalogue)
    assert run.stdout.strip() == hashlib.sha256(mine.encode()).hexdigest()
    assert json.dumps(Sandbox(packages=2000, seed=4).catalogue) != mine


def test_destinations_are_real_and_their_ids_plain(full):
    """Names keep their letters, slugs are ASCII, prices bound the group, and codes are not unique."""
    catalogue = full[0].catalogue
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
        place = group["countrySlug"].replace("-islands", "-island")
        assert all(package["packageId"].startswith(f"esim-{place}-") for package in group["packages"])
    assert by_name["Åland Islands"]["packages"][0]["packageId"].startswith("esim-aland-island-")
    (says_zero,) = (one for one in by_name["Greece"]["packages"] if one["packageId"].endswith("-0gb-all"))
    assert (says_zero["day"], says_zero["dataAmount"]) == (365, 1024)
    assert len(by_name["Africa"]["signals"]) > 50


def test_packages_hold_what_their_kind_says():
    """Unlimited data is the sentinel, throttles and voice have their fields, prices are exact."""
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
    """Each kind lists the packages with its property; plain ones are the first of a country that supports top-ups."""
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
