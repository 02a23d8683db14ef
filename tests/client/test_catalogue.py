"""The catalogue is a sequence that can be filtered, compared, saved, loaded and refreshed."""

import errno
import os
import pickle
import zlib
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path

import attrs
import pytest
from hypothesis import given, strategies as st
from support.clients import QUICK

from roamify_async import AsyncRoamify, Catalogue, CatalogueDiff, Destination, Package, Roamify, capture_responses
from roamify_async._serde.fast_decoder import fast_decoder
from roamify_async.models import _catalogue_file
from roamify_async.sandbox import Sandbox


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """Return a catalogue that was read from a sandbox."""
    with Sandbox(packages=600) as sandbox, Roamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify:
        return roamify.packages.list()


def package(name: str, price: str = "1.55", **fields: object) -> Package:
    """Return a package."""
    return Package(package_id=name, price=Decimal(price), **fields)  # type: ignore[arg-type]


# ---------------------------------------------------------------- sequence


def test_sequence(catalogue):
    """It has the methods of a sequence of packages, and is no subclass of one."""
    packages = catalogue.packages
    assert (len(catalogue), [*catalogue], [*reversed(catalogue)]) == (600, [*packages], [*reversed(packages)])
    assert (catalogue[0], catalogue[-1], catalogue.index(packages[7])) == (packages[0], packages[-1], 7)
    assert packages[7] in catalogue
    assert pickle.loads(pickle.dumps(packages[7])) in catalogue
    assert package("another") not in catalogue
    assert (catalogue.count(packages[7]), catalogue.count(package("another"))) == (1, 0)
    part = catalogue[5:1:-2]
    assert isinstance(part, Catalogue)
    assert part.packages == packages[5:1:-2]
    assert not isinstance(catalogue, Sequence)
    assert all(hasattr(Catalogue, name) for name in dir(Sequence) if not name.startswith("_"))
    with pytest.raises(IndexError):
        catalogue[600]
    with pytest.raises(ValueError, match="not in tuple"):
        catalogue.index(packages[7], 8)


# ---------------------------------------------------------------- selection


@pytest.mark.parametrize("country", ["Greece", "greece", "GREECE", "GR", "gr", "Gr"])
def test_filter_by_country(catalogue, country):
    """A country is a name or a code, in any case."""
    found = catalogue.filter(country=country)
    assert found
    assert found.packages == tuple(p for p in catalogue if p.destination.country_name == "Greece")


def test_filter_by_common_name():
    """A common name of a country is known, as in searches; one that means no destination finds nothing."""
    america, europe = Destination(id="us", country_name="United States", country_code="US"), Destination(id="eu")
    offers = Catalogue((package("a", destination=america), package("b", destination=europe)))
    assert offers.filter(country="USA").packages == offers.packages[:1]
    assert not offers.filter(country="Atlantis")
    assert not Catalogue().filter(country="USA")


def test_filters(catalogue):
    """Each filter is exact, and all of them together are the packages that fit each."""
    assert {p.day for p in catalogue.filter(days=7)} == {7}
    assert {p.data_amount for p in catalogue.filter(gbs=1)} == {Decimal(1024)}
    assert all(p.is_unlimited for p in catalogue.filter(unlimited=True))
    assert len(catalogue.filter(unlimited=True)) + len(catalogue.filter(unlimited=False)) == len(catalogue)
    price = catalogue[0].price
    assert catalogue[0] in catalogue.filter(max_price=price)
    assert all(p.price <= 5 for p in catalogue.filter(max_price=5))
    both = catalogue.filter(country="gr", days=30, max_price=9)
    assert both.packages == catalogue.filter(country="gr").filter(days=30).filter(max_price=9).packages
    assert catalogue.filter().packages == catalogue.packages


def test_prices_and_amounts_of_filters_are_those_that_were_written():
    """A float means its digits, so that a limit of 0.3 includes a price of 0.3."""
    offers = Catalogue(
        (
            package("a", "0.3", data_amount=Decimal("0.3"), data_unit="GB"),
            package("b", "0.30000001", data_amount=Decimal(512)),
            package("c", "0.1", data_amount=Decimal(500)),
            package("d", "0.1", is_unlimited=True),
        )
    )
    assert [p.package_id for p in offers.filter(max_price=0.3)] == ["a", "c", "d"]
    assert [p.package_id for p in offers.filter(gbs=0.3)] == ["a"]
    assert [p.package_id for p in offers.filter(gbs=0.5)] == ["b", "c"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"max_price": 0}, ValueError),
        ({"max_price": "5"}, TypeError),
        ({"gbs": float("nan")}, ValueError),
        ({"days": 7.0}, TypeError),
        ({"unlimited": 1}, TypeError),
        ({"country": ""}, ValueError),
    ],
)
def test_wrong_filters(catalogue, wrong, error):
    """A filter that cannot be meant is refused by its name."""
    with pytest.raises(error, match=next(iter(wrong))):
        catalogue.filter(**wrong)


def test_cheapest(catalogue):
    """Each country has one package, the first of its cheapest ones; so has each of another group."""
    found = catalogue.cheapest(by="country")
    assert {p.destination.country_name for p in found} == {p.destination.country_name for p in catalogue}
    assert len(found) == len(catalogue.destinations)
    for p in found:
        assert p is min(catalogue.filter(country=p.destination.country_name), key=lambda other: other.price)
    assert {p.day for p in catalogue.cheapest("days")} == {p.day for p in catalogue}
    assert {p.destination.geography for p in catalogue.cheapest("geography")} == {
        p.destination.geography for p in catalogue
    }
    with pytest.raises(ValueError, match="by must be one of country, geography, region, days"):
        catalogue.cheapest("price")  # type: ignore[arg-type]


def test_diff():
    """Packages that were added, removed and repriced are told apart."""
    old = Catalogue((package("a"), package("b", "2"), package("c", "3.0")))
    new = Catalogue((package("d"), package("c", "3.00"), package("b", "2.5")))
    diff = old.diff(new)
    assert (diff.added, diff.removed) == (new.packages[:1], old.packages[:1])
    assert [(change.old.price, change.new.price) for change in diff.repriced] == [(Decimal(2), Decimal("2.5"))]
    assert repr(diff) == "<CatalogueDiff: 1 added, 1 removed, 1 repriced>"
    assert repr(diff.repriced[0]) == "<PriceChange b: 2.00 USD -> 2.50 USD>"
    assert "2.50 USD" in diff._repr_html_()
    assert (bool(diff), bool(old.diff(old))) == (True, False)
    assert CatalogueDiff.from_json(diff.to_json()) == diff


# ---------------------------------------------------------------- files


def test_save_and_load(catalogue, tmp_path):
    """A loaded catalogue is equal, in its order, with what a refresh needs and shared destinations."""
    catalogue.save(tmp_path / "c.json")
    loaded = Catalogue.load(str(tmp_path / "c.json"))
    assert loaded == catalogue
    assert loaded.source == catalogue.source
    assert [page.etag for page in loaded.source.pages] == [page.etag for page in catalogue.source.pages]
    assert loaded.destinations == catalogue.destinations
    assert len({id(p.destination) for p in loaded}) == len(loaded.destinations)


def test_load_is_fast():
    """The decoder of msgspec reads the file."""
    assert fast_decoder(_catalogue_file._Pages, "") is not None


@given(
    st.lists(
        st.builds(
            lambda name, price, place: Package(package_id=name, price=price, destination=place, notes=(name,)),
            st.text(),
            st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**30), max_value=10**30),
            st.sampled_from([Destination(), Destination(id="x"), Destination(id="x", country_name="X")]),
        )
    )
)
def test_any_catalogue_survives(packages):
    """Packages with any text and any price survive, in any order, whatever their destinations."""
    made = Catalogue(tuple(packages))
    path = Path(os.environ["PYTEST_SAVED"]) / "c.json"
    made.save(path)
    assert Catalogue.load(path) == made


@pytest.fixture(autouse=True, scope="module")
def saved_in(tmp_path_factory):
    """Give the test with many examples a folder."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTEST_SAVED", str(tmp_path_factory.mktemp("saved")))
        yield


def test_damaged_files(catalogue, tmp_path):
    """A file that was cut or changed anywhere is refused, and the error names it."""
    path = tmp_path / "c.json"
    catalogue[:2].save(path)
    whole = path.read_bytes()
    for size in range(0, len(whole), 7):
        path.write_bytes(whole[:size])
        with pytest.raises(ValueError, match=r"c\.json is (damaged|not a saved catalogue)"):
            Catalogue.load(path)
    for place in range(0, len(whole), 7):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(ValueError, match=r"c\.json (is damaged|is not a saved|was saved by another version)"):
            Catalogue.load(path)
    path.write_bytes(whole + b"\n")
    with pytest.raises(ValueError, match="damaged"):
        Catalogue.load(path)
    path.write_text(catalogue[:2].to_json())
    with pytest.raises(ValueError, match="not a saved catalogue"):
        Catalogue.load(path)
    content = whole.partition(b"\n")[2]
    path.write_bytes(b"roamify-catalogue 2 %08x %d\n" % (zlib.crc32(content), len(content)) + content)
    with pytest.raises(ValueError, match=r"another version of the library \(format 2, not 1\)"):
        Catalogue.load(path)
    with pytest.raises(FileNotFoundError):
        Catalogue.load(tmp_path / "missing.json")


def test_a_file_is_replaced_at_once_or_not_at_all(catalogue, tmp_path, monkeypatch):
    """If the disk is full, the old file is still there, and nothing else; a link is kept."""
    (tmp_path / "folder").mkdir()
    path, link = tmp_path / "folder" / "c.json", tmp_path / "link"
    catalogue[:2].save(path)
    link.symlink_to(path)

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "no space")

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(OSError, match="no space"):
            catalogue.save(path)
    assert Catalogue.load(path) == catalogue[:2]
    assert [*(tmp_path / "folder").iterdir()] == [path]
    catalogue[:3].save(link)
    assert (link.is_symlink(), Catalogue.load(path) == catalogue[:3]) == (True, True)


# ---------------------------------------------------------------- refresh


async def test_refresh_of_a_loaded_catalogue(tmp_path):
    """After ``load``, only pages that changed are transferred, and the difference is told."""
    path = tmp_path / "c.json"
    async with (
        Sandbox(packages=300) as sandbox,
        AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify,
    ):
        (await roamify.packages.list(geography="local", page_size=20)).save(path)
        loaded = Catalogue.load(path)
        with capture_responses() as responses:
            same = await roamify.packages.refresh(loaded)
        assert sum(response.status == 200 for response in responses) <= 2
        assert {"geography=local" in r.query and "pageSize=20" in r.query for r in responses} == {True}
        assert not loaded.diff(same)
        sandbox.change_catalogue(remove=[loaded[-1].package_id])
        diff = loaded.diff(await roamify.packages.refresh(loaded))
        assert (diff.added, diff.removed, diff.repriced) == ((), (loaded[-1],), ())


@pytest.mark.parametrize("is_saved", [False, True])
async def test_refresh_of_a_filtered_catalogue(tmp_path, is_saved):
    """A filtered catalogue is read again whole and filtered in the same way, also after ``load``."""
    async with (
        Sandbox(packages=300) as sandbox,
        AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=QUICK) as roamify,
    ):
        whole = await roamify.packages.list()
        part = whole.filter(country="gr").filter(max_price=Decimal("9.5"), days=30)
        assert part
        if is_saved:
            part.save(tmp_path / "c.json")
            part = Catalogue.load(tmp_path / "c.json")
        assert await roamify.packages.refresh(part) == part
        sandbox.change_catalogue(remove=[part[0].package_id, whole[-1].package_id])
        newer = await roamify.packages.refresh(part)
        assert newer.packages == part.packages[1:]
        assert (await roamify.packages.refresh(newer)) == newer
        sandbox.change_catalogue(remove=[p.package_id for p in part[1:]])
        assert not await roamify.packages.refresh(newer)


async def test_slices_cannot_be_refreshed(client):
    """A slice, and the cheapest packages, have no search of their own; the error says what to do."""
    whole = await client.packages.list(country="Greece")
    for part in (whole[:5], whole.cheapest()):
        assert part.source is None
        with pytest.raises(ValueError, match=r"it is a slice.*refresh the whole catalogue"):
            await client.packages.refresh(part)


def test_filters_do_not_change_the_whole(catalogue):
    """A filter leaves its catalogue as it was."""
    before = attrs.asdict(catalogue.source, recurse=False)
    catalogue.filter(days=7)
    assert attrs.asdict(catalogue.source, recurse=False) == before
