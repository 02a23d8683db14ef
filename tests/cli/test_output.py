"""What commands print: every format is read back."""

import csv
import io
import json
import os
import subprocess

import pytest
from support.commands import PROGRAM, Run
from support.endpoints import ENDPOINTS
from support.purchases import PLAIN

from roamify_async import Balance, Order, Package, Roamify
from roamify_async.cli.table import GROUPS, Call
from roamify_async.sandbox import Sandbox

OWN_COMMANDS = {
    "packages.page", "orders.create", "orders.create_instant", "esims.apply", "esims.apply_order", "esims.usage",
    "esims.usage_details", "topups.create", "vouchers.create", "insurance.order", "insurance.apply",
    "affiliates.packages",
}  # fmt: skip
"""Endpoints that are not commands as they are: they spend money, are part of another command, or need `api`."""


@pytest.fixture
def orders(shop: Sandbox) -> tuple[Order, ...]:
    """Buy twice, under references that text formats must escape."""
    with Roamify() as client:
        for reference in ('a,"b"; c', "x\\y"):
            client.esims.buy(PLAIN, reference_id=reference)
        return client.orders.list()


def test_single(run: Run, shop: Sandbox):
    """A single value is one line in a pipe, and one object in JSON."""
    assert run("balance").out == "1000\tUSD\n"
    assert run("balance", "--csv").out == "balance,currency\n1000,USD\n"
    assert Balance.from_dict(run("balance", "--json").json) == Balance(balance=1000)
    assert run("balance", "--jsonl").out.count("\n") == 1


def test_json(run: Run, orders: tuple[Order, ...]):
    """``--json`` is a list of what ``to_dict`` returns, and ``--jsonl`` the same in lines."""
    assert run("orders", "--json").json == [order.to_dict() for order in orders]
    lines = run("--jsonl", "orders").out.splitlines()
    assert tuple(Order.from_json(line) for line in lines) == orders


def test_csv(run: Run, orders: tuple[Order, ...]):
    """CSV has a header, and times in ISO 8601."""
    rows = list(csv.DictReader(io.StringIO(run("orders", "--csv").out)))
    assert [row["referenceId"] for row in rows] == [order.reference_id for order in orders]
    assert [row["total"] for row in rows] == [str(order.total) for order in orders]
    assert rows[0]["createdAt"] == orders[0].created_at.strftime("%Y-%m-%dT%H:%M:%SZ")


def test_tsv(run: Run, orders: tuple[Order, ...]):
    """Tab-separated values have no header; backslashes are escaped."""
    rows = [line.split("\t") for line in run("orders", "--columns", "referenceId,id").out.splitlines()]
    assert rows == [["x\\\\y", orders[0].id], ['a,"b"; c', orders[1].id]]


def test_columns(run: Run, orders: tuple[Order, ...], shop: Sandbox):
    """``--columns`` takes the names of JSON, with dots; objects are JSON. A wrong name is refused before a call."""
    (line, _) = run("esims", "--columns", "esim.lpaCode", "--columns", "withTopUp,notes,apn").out.splitlines()
    code, top_up, notes, apn = line.split("\t")
    assert code.startswith("LPA:1$")
    assert (top_up, notes) == ("true", "")
    assert json.loads(apn)["apnAutomatic"] is True
    before = shop.state()["requests"]
    ran = run("buy", PLAIN, "--yes", "--columns", "lpa")
    assert (ran.code, ran.out) == (2, "")
    assert "no column 'lpa': the columns are id, iccid" in ran.err
    assert shop.state()["requests"] == before


def test_formats_exclude_one_another(run: Run, shop: Sandbox):
    """Two formats are a mistake."""
    assert run("balance", "--json", "--csv").code == 2


def test_packages(run: Run, shop: Sandbox):
    """A search is cut at ``--limit``, which a line says; ``--all`` shows all, sorted if asked."""
    ran = run("packages", "--limit", 3)
    assert len(ran.out.splitlines()) == 3
    assert "only the first 3 are shown" in ran.err
    found = [Package.from_dict(each) for each in run("packages", "--all", "--sort", "-price", "--json").json]
    assert len(found) == 500
    assert found == sorted(found, key=lambda package: package.price, reverse=True)
    cheap = run("packages", "--country", "GREECE", "--max-price", "2", "--days", 30, "--gb", "1", "--csv")
    assert [row["packageId"] for row in csv.DictReader(io.StringIO(cheap.out))] == [PLAIN]
    assert run("packages", "show", PLAIN, "--json").json["packageId"] == PLAIN
    refused = run("packages", "--country", "grece")
    assert (refused.code, refused.out) == (2, "")
    assert "Greece" in refused.err


def test_diff(run: Run, shop: Sandbox, tmp_path):
    """Saved catalogues are compared with one another, and with the catalogue as it is now."""
    old, new = tmp_path / "old", tmp_path / "new"
    run("packages", "--save", old)
    shop.change_catalogue(remove=[PLAIN], reprice={"esim-germany-30days-1gb-all": "9.99"})
    run("packages", "--save", new)
    expected = {("removed", PLAIN, "1.55", ""), ("repriced", "esim-germany-30days-1gb-all", "1.5", "9.99")}
    for arguments in ((old, new), (old,)):
        lines = run("packages", "diff", *arguments).out.splitlines()
        assert {tuple(line.split("\t")) for line in lines} == expected
    assert len(run("packages", "diff", old, new, "--json").json["removed"]) == 1
    assert run("packages", "diff", tmp_path / "none").code == 2


def test_undocumented(run: Run, shop: Sandbox):
    """Responses without a documented content are printed as they are."""
    assert run("rates", "get", "--source", "USD", "--target", "EUR", "--json").json["status"] == "success"
    assert run("health", "--json").code == 0
    past = ("--start", "2026-01-01T00:00:00+00:00", "--end", "2026-01-02T00:00:00+00:00", "--interval", "day")
    assert run("rates", "get", "--source", "USD", "--target", "EUR", *past).code == 0
    assert run("rates", "get", "--datetime", "yesterday").code == 2


def test_control_characters(run: Run, shop: Sandbox):
    """Errors of a server cannot change what a terminal shows."""
    ran = run("order", "get", "\x1b[2Jx", "--json")
    assert ran.code == 1
    ran = run("packages", "show", "\x1b[2Jx")
    assert "\x1b" not in ran.err
    assert ran.err.count("\n") == 1


def test_every_endpoint_has_a_command():
    """An endpoint is a command by a line of the table, or is listed above."""
    rows = {row.call for group in GROUPS.values() for row in group if isinstance(row, Call)}
    assert {*ENDPOINTS} - rows == OWN_COMMANDS


@pytest.mark.parametrize("name", [row.name for group in GROUPS.values() for row in group])
def test_help(run: Run, name: str):
    """Every command has a help text, with its options and the global ones, and without Python's words."""
    ran = run(*name.split(), "--help")
    assert (ran.code, ran.err) == (0, "")
    assert f"Usage: roamify {name}" in ran.out
    assert "--sandbox" in ran.out
    for word in ("``", "datetime.date", "Status.", "Raises", "See:", "reference_id"):
        assert word not in ran.out


@pytest.mark.long
def test_closed_pipe(program, shop: Sandbox):
    """A reader that stops early, such as ``head``, causes no traceback."""
    read, write = os.pipe()
    os.close(read)
    done = subprocess.run([*PROGRAM, "balance"], stdout=write, stderr=subprocess.PIPE, env=program, check=False)
    os.close(write)
    assert (done.returncode, done.stderr) == (1, b"")
