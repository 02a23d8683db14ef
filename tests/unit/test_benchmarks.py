"""Each benchmark runs and returns its lines; how fast it is does not matter here."""

# ruff: noqa: E402 -- missing packages are found before they are imported

import json
from contextlib import nullcontext
from importlib.util import find_spec

import pytest

for needed in ("httpx", "msgspec", "orjson", "pydantic", "requests"):
    pytest.importorskip(needed, reason="the bench extra is not installed")

import attrs
from pydantic import BaseModel

from benchmarks import measuring, models, ours, peers, table
from benchmarks.measuring import Line, Scale, in_turns, ratios
from benchmarks.server import SIZE, serving
from roamify_async import AsyncRoamify
from roamify_async.models import packages as ours_models

TINY = Scale(
    rounds=1,
    rounds_here=1,
    rounds_of_short_ones=1,
    rounds_of_long_ones=1,
    packages=100,
    few=50,
    many=200,
    decodes=1,
    calls=1,
    orders=1,
    lines=(2, 4),
    latency=1,
)


@pytest.fixture(scope="module")
def server():
    """Run a server with few rendered packages."""
    with serving(packages=100) as running:
        yield running


@pytest.fixture
def quickly(monkeypatch):
    """Measure in this process, since a new one takes most of a second."""
    monkeypatch.setattr(measuring, "apart", in_here)


def in_here(way, given, warm=None, *, gives=None):
    """Measure a function in this process, in its own kind of event loop."""
    cost = measuring.here(way, {key: value for key, value in given.items() if key != "uvloop"})
    assert gives in (None, cost.answer), cost
    return cost


@pytest.mark.long
@pytest.mark.parametrize("name", table.NAMES + table.LONG)
def test_each_benchmark_runs(name, server, quickly):
    """Each benchmark reads what it should, and returns one value for each round."""
    found = [line for _, line in table.lines([name], server, TINY)]
    assert found
    assert all(line.what and len(line.values) == 1 for line in found)


PEERS = [peers.bare, peers.models, peers.structs, peers.sdk, peers.script]


@pytest.mark.parametrize("way", [ours.listed, *(pytest.param(way, marks=pytest.mark.long) for way in PEERS)])
def test_all_clients_read_the_same(way, server):
    """Each client reads the whole catalogue, also if it is larger than what was rendered."""
    assert measuring.here(way, {"url": server.url(350), "pages": 350 // SIZE}).answer == 350


@pytest.mark.long
def test_process_of_its_own(server):
    """A measurement runs in a process of its own, which reports time and memory."""
    given = {"url": server.url(100), "uvloop": find_spec("uvloop") is not None}
    cost = measuring.apart(ours.iterated_blocking, given, {"url": server.url(50)}, gives=100)
    assert cost.cpu > 0
    assert cost.wall > 0
    assert cost.peak > 1


async def test_ids_of_a_large_catalogue_differ(server):
    """The ids of packages beyond the rendered ones differ."""
    async with AsyncRoamify("token", base_url=server.url(250)) as roamify:
        assert len({package.package_id async for package in roamify.packages.iter()}) == 250


def fields(kind):
    """Return the field names of a model or struct."""
    return {*kind.model_fields} if issubclass(kind, BaseModel) else {*kind.__struct_fields__}


@pytest.mark.parametrize("make", [lambda model: model, models.struct])
def test_models_have_the_same_fields(make):
    """The peers' models have the fields of ours."""
    ours_of = {
        name: {field.name for field in attrs.fields(getattr(ours_models, name))}
        for name in ("Signal", "Throttle", "Requirements")
    }
    ours_of["Package"] = {field.name for field in attrs.fields(ours_models.Package)} - {"destination"}
    ours_of["Destination"] = {field.name for field in attrs.fields(ours_models.Destination)} | {"packages"}
    ours_of["Page"] = {field.name for field in attrs.fields(ours_models.PackagePage)} - {"groups", "etag"} | {
        "packages"
    }
    assert {name: fields(make(getattr(models, name))) for name in ours_of} == ours_of


@pytest.mark.long
def test_rounds_alternate():
    """Rounds alternate in order, and ratios are those of one round."""
    order: list[str] = []
    costs = in_turns({name: lambda name=name: order.append(name) or len(order) for name in "ab"}, 2)
    assert order == ["a", "b", "b", "a"]
    assert ratios(costs, "a", "b") == [1 / 2, 4 / 3]


def test_goals():
    """The median decides about a goal, and the spread is that of the middle half."""
    assert Line("x", [9, 1, 2, 3, 4]).spread == (2, 4)
    assert Line("x", [5]).spread == (5, 5)
    assert Line("x", [1, 2, 9], goal=2).is_met is True
    assert Line("x", [1, 3, 3], goal=2).is_met is False
    assert Line("x", [1]).is_met is None


@pytest.mark.long
def test_table(tmp_path, monkeypatch, capsys):
    """The table has the machine and the lines, is written to a file on request, and sets the exit code."""
    measured = {"calls": [Line("one", [1.5], 1), Line("two", [2.0])], "imports": [Line("three", [0.5], 1, "MB")]}
    monkeypatch.setattr(table, "lines", lambda names, *_: [(name, line) for name in names for line in measured[name]])
    monkeypatch.setattr(table, "serving", nullcontext)
    monkeypatch.chdir(tmp_path)
    assert table.main(["--only", "imports"]) == 0
    assert [*tmp_path.iterdir()] == []
    assert table.main(["--only", "calls", "--only", "imports", "--json", "found.json"]) == 1
    printed = capsys.readouterr().out
    assert "cores" in printed
    assert "0.50 MB" in printed
    kept = json.loads((tmp_path / "found.json").read_text("utf-8"))
    assert [line["what"] for line in kept["lines"]] == ["one", "two", "three"]
    assert kept["cores"]
