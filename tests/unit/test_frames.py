"""Data frames of a catalogue: their columns, types and values, and what they need."""

import math
import subprocess
import sys
from decimal import Decimal

import attrs
import pytest

from roamify_async import Catalogue, Destination, Package, Requirements, Throttle
from roamify_async.models import _frames

GREECE = Destination(
    id="greece-esims", country_name="Greece", country_code="GR", geography="local", min_price=Decimal("1.1")
)
CATALOGUE = Catalogue(
    (
        Package(
            package_id="a",
            price=Decimal("1.55"),
            day=30,
            data_amount=Decimal(1024),
            throttle=Throttle(throttle_speed=Decimal(128), throttle_speed_unit="kbps"),
            requirements=Requirements(travel_date=True),
            notes=("one", "two"),
            destination=GREECE,
        ),
        Package(package_id="b", price=Decimal("0.125"), is_unlimited=True, destination=GREECE),
    )
)
EXPECTED = {
    "package_id": ["a", "b"],
    "price": [1.55, 0.125],
    "day": [30, None],
    "is_unlimited": [False, True],
    "data_amount": [1024.0, None],
    "throttle_speed": [128.0, None],
    "throttle_speed_unit": ["kbps", None],
    "travel_date": [True, False],
    "notes": ["one\ntwo", None],
    "destination_id": ["greece-esims", "greece-esims"],
    "country_name": ["Greece", "Greece"],
    "destination_min_price": [1.1, 1.1],
    "destination_max_price": [None, None],
}


def test_columns():
    """Each field of packages and destinations is a column, apart from coverage, and no name is used twice."""
    names = [column.name for column in _frames.COLUMNS]
    assert len(names) == len({*names})
    fields = {field.name for field in attrs.fields(Package)} - {"throttle", "requirements", "destination"}
    assert fields <= {*names}
    places = {field.name for field in attrs.fields(Destination)} - {"signals"}
    assert {name if name in names else f"destination_{name}" for name in places} <= {*names}
    assert {field.name for field in attrs.fields(Throttle)} <= {*names}


def frame_of(library: str, catalogue: Catalogue, *, exact: bool = False) -> tuple[dict, dict]:
    """Return the values and the types of the columns of a frame."""
    pytest.importorskip(library)
    frame = getattr(catalogue, f"to_{library.removeprefix('py')}")(exact=exact)
    if library == "pandas":
        columns = {name: [None if is_null(value) else value for value in frame[name]] for name in frame.columns}
        return columns, {name: str(kind) for name, kind in frame.dtypes.items()}
    if library == "polars":
        return frame.to_dict(as_series=False), {name: str(kind) for name, kind in frame.schema.items()}
    return frame.to_pydict(), {field.name: str(field.type) for field in frame.schema}


def is_null(value: object) -> bool:
    """Return whether a value of pandas is missing."""
    return value is None or type(value).__name__ == "NAType" or (isinstance(value, float) and math.isnan(value))


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_values(library):
    """The values are those of the packages, with prices as floats."""
    columns, _ = frame_of(library, CATALOGUE)
    assert [*columns] == [column.name for column in _frames.COLUMNS]
    for name, values in EXPECTED.items():
        assert columns[name] == values, name


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
def test_exact_prices(library):
    """With ``exact``, prices have all of their digits, and no others."""
    columns, _ = frame_of(library, CATALOGUE, exact=True)
    assert columns["price"] == [Decimal("1.55"), Decimal("0.125")]
    assert columns["destination_min_price"] == [Decimal("1.1")] * 2
    assert columns["destination_max_price"] == [None, None]
    assert columns["data_amount"] == [1024.0, None]
    large = Catalogue(
        (Package(package_id="a", price=Decimal("1E+2")), Package(package_id="b", price=Decimal("0.0001")))
    )
    columns, _ = frame_of(library, large, exact=True)
    assert columns["price"] == [Decimal(100), Decimal("0.0001")]


@pytest.mark.parametrize("library", ["pandas", "polars", "pyarrow"])
@pytest.mark.parametrize("exact", [False, True])
def test_types_do_not_depend_on_the_packages(library, exact):
    """An empty catalogue, and one without a value in a column, have the columns and types of any other."""
    _, empty = frame_of(library, Catalogue(), exact=exact)
    _, types = frame_of(library, CATALOGUE, exact=exact)
    texts = {column.name for column in _frames.COLUMNS if column.kind == "text"}
    loose = texts if library == "pandas" else set()  # pandas has no type of its own for text before version 3
    loose |= {column.name for column in _frames.COLUMNS if column.kind == "money"} if exact else set()
    assert [*empty] == [*types]
    assert {name: kind for name, kind in empty.items() if name not in loose} == {
        name: kind for name, kind in types.items() if name not in loose
    }


def test_stream():
    """Libraries that take Arrow streams take a catalogue as it is."""
    pa = pytest.importorskip("pyarrow")
    pl = pytest.importorskip("polars")
    assert pa.table(CATALOGUE).equals(CATALOGUE.to_arrow())
    assert pl.DataFrame(CATALOGUE).equals(CATALOGUE.to_polars())


@pytest.mark.parametrize(("method", "package"), [("pandas", "pandas"), ("polars", "polars"), ("arrow", "pyarrow")])
def test_without_the_extra(monkeypatch, method, package):
    """If the library is missing, the error names the extra."""
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ImportError, match=rf"needs {package}: pip install 'roamify-async\[frames\]'"):
        getattr(CATALOGUE, f"to_{method}")()
    if package == "pyarrow":
        with pytest.raises(ImportError, match=r"roamify-async\[frames\]"):
            CATALOGUE.__arrow_c_stream__()


def test_a_broken_library(tmp_path):
    """If the library is there and what it needs is not, the error is that of the library."""
    (tmp_path / "polars.py").write_text("import a_package_that_is_missing")
    code = (
        f"import sys; sys.path.insert(0, {str(tmp_path)!r}); from roamify_async import Catalogue\n"
        "try: Catalogue().to_polars()\n"
        "except ImportError as error: print(error.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert (done.stdout.strip(), done.stderr) == ("a_package_that_is_missing", "")
