"""Each benchmark runs and tells its lines; how fast anything is, is no business of the tests."""

# ruff: noqa: E402 -- what is missing is looked for before it is imported

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
from roamify_async.models import packages as room

TINY = Scale(
    rounds=1,
    rounds_here=1,
    rounds_of_short_ones=1,
    rounds_of_long_ones=1,
    packages=200,
    few=50,
    many=400,
    decodes=2,
    calls=3,
    orders=3,
    lines=(5, 20),
    latency=1,
)


@pytest.fixture(scope="module")
def server():
    """Run a server that has rendered few packages."""
    with serving(packages=100) as running:
        yield running


@pytest.fixture
def quickly(monkeypatch):
    """Run ways in this process: a new one for each takes most of a second."""
    monkeypatch.setattr(measuring, "apart", in_here)


def in_here(way, given, warm=None, *, gives=None):
    """Run a way in this process, whose kind of loop is nobody's to change."""
    cost = measuring.here(way, {key: value for key, value in given.items() if key != "uvloop"})
    assert gives in (None, cost.answer), cost
    return cost


@pytest.mark.long
@pytest.mark.parametrize("name", table.NAMES + table.LONG)
def test_each_benchmark_gives_its_lines(name, server, quickly):
    """Each benchmark reads what it says it reads, and tells one value a round."""
    found = [line for _, line in table.lines([name], server, TINY)]
    assert found
    assert all(line.what and len(line.values) == 1 for line in found)


@pytest.mark.parametrize("way", [ours.listed, peers.bare, peers.models, peers.structs, peers.sdk, peers.script])
def test_all_ways_read_the_same(way, server):
    """Each way to read the catalogue comes to all of its packages, also where they are more than were rendered."""
    assert measuring.here(way, {"url": server.url(350), "pages": 350 // SIZE}).answer == 350


def test_a_way_runs_apart(server):
    """A way runs in a process of its own, which tells its time and its memory."""
    given = {"url": server.url(100), "uvloop": find_spec("uvloop") is not None}
    cost = measuring.apart(ours.iterated_blocking, given, {"url": server.url(50)}, gives=100)
    assert cost.cpu > 0
    assert cost.wall > 0
    assert cost.peak > 1


async def test_ids_of_a_large_catalogue_differ(server):
    """The server makes packages of other ids of those that it has rendered."""
    async with AsyncRoamify("token", base_url=server.url(250)) as roamify:
        assert len({package.package_id async for package in roamify.packages.iter()}) == 250


def fields(kind):
    """Name the fields of a model or a struct."""
    return {*kind.model_fields} if issubclass(kind, BaseModel) else {*kind.__struct_fields__}


@pytest.mark.parametrize("make", [lambda model: model, models.struct])
def test_models_have_the_same_fields(make):
    """The models and structs have the fields of ours, and each key of the wire finds its field."""
    ours_of = {
        name: {field.name for field in attrs.fields(getattr(room, name))}
        for name in ("Signal", "Throttle", "Requirements")
    }
    ours_of["Package"] = {field.name for field in attrs.fields(room.Package)} - {"destination"}
    ours_of["Destination"] = {field.name for field in attrs.fields(room.Destination)} | {"packages"}
    ours_of["Page"] = {field.name for field in attrs.fields(room.PackagePage)} - {"groups"} | {"packages"}
    assert {name: fields(make(getattr(models, name))) for name in ours_of} == ours_of


def test_rounds_alternate():
    """Each round begins with another way, and ratios are those of one round."""
    order: list[str] = []
    costs = in_turns({name: lambda name=name: order.append(name) or len(order) for name in "ab"}, 2)
    assert order == ["a", "b", "b", "a"]
    assert ratios(costs, "a", "b") == [1 / 2, 4 / 3]


def test_a_goal_is_met_or_not():
    """The median of the rounds decides, and the spread is that of their middle half."""
    assert Line("x", [9, 1, 2, 3, 4]).spread == (2, 4)
    assert Line("x", [5]).spread == (5, 5)
    assert Line("x", [1, 2, 9], goal=2).is_met is True
    assert Line("x", [1, 3, 3], goal=2).is_met is False
    assert Line("x", [1]).is_met is None


def test_the_table_is_printed_and_kept_where_asked(tmp_path, monkeypatch, capsys):
    """The table tells machine and lines; a file is written only where one is named; the exit code tells of goals."""
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
