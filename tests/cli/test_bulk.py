"""Bulk orders: the files that are read and written, what is bought, and what happens when they are cut off."""

import csv
import io
import os
import signal
import stat
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.clients import HANG
from support.commands import PROGRAM, Run
from support.purchases import APPLY, ORDER, OTHER, PLAIN, came, under

from roamify_async.sandbox import Sandbox

LINES = 40


def rows(text: str) -> list[dict[str, str]]:
    """Read CSV."""
    return list(csv.DictReader(io.StringIO(text)))


def test_output_is_another_file(run: Run, shop: Sandbox, tmp_path: Path):
    """The result never replaces the orders or the journal, which would be bought again without it."""
    orders = tmp_path / "orders.csv"
    orders.write_text(f"package_id\n{PLAIN}\n")
    for name in ("orders.csv", "orders.csv.journal"):
        assert run("bulk", orders, "-o", tmp_path / name, "--yes").code == 2
    assert came(shop, f"POST {ORDER}") == 0


@pytest.fixture
def orders(shop: Sandbox, tmp_path: Path) -> Path:
    """Write three orders, of which one has a wrong package."""
    path = tmp_path / "orders.csv"
    path.write_text(f"reference_id,package_id,quantity,note\nr-1,{PLAIN},2,for Ann\n,{OTHER},,\nr-3,none,1,\n")
    return path


def test_result(run: Run, shop: Sandbox, orders: Path, tmp_path: Path):
    """The result has the columns of the file and the outcome. Only its owner may read it."""
    result = tmp_path / "result.csv"
    ran = run("bulk", orders, "-o", result, "--apply", "--yes", "--csv")
    assert ran.code == 6
    assert ran.out == "ordered,refused,inDoubt,notSent,spent\n2,1,0,0,4.6\n"
    assert stat.S_IMODE(result.stat().st_mode) == 0o600
    first, second, third = rows(result.read_text())
    assert list(first) == [
        "reference_id", "package_id", "quantity", "note", "status", "order_id", "iccid", "lpa_code", "price", "error"
    ]  # fmt: skip
    (order,) = under(shop, "r-1")
    assert (first["status"], first["order_id"], first["price"], first["note"]) == (
        "ordered", order["id"], "3.1", "for Ann"
    )  # fmt: skip
    assert len(first["iccid"].split()) == len(first["lpa_code"].split()) == 2
    assert len(under(shop, second["reference_id"])) == 1
    assert (third["status"], third["order_id"]) == ("refused", "")
    assert "no package 'none'" in third["error"]
    assert [*tmp_path.glob(".result*")] == []


def test_repeated(run: Run, shop: Sandbox, orders: Path):
    """The same command buys nothing again; ``bulk status`` shows the same outcome without a request."""
    for _ in range(2):
        ran = run("bulk", orders, "--yes", "--json")
        assert [line["status"] for line in ran.json] == ["ordered", "ordered", "refused"]
        assert ran.json[0]["order"]["referenceId"] == "r-1"
        assert ran.json[2]["error"]["type"] == "PackageNotFoundError"
    assert came(shop, f"POST {ORDER}") == 2
    before = shop.state()["requests"]
    shown = rows(run("bulk", "status", f"{orders}.journal", "--csv").out)
    assert [line["status"] for line in shown] == ["ordered", "ordered", "refused"]
    assert shop.state()["requests"] == before


def test_control_another_journal_buys_again(run: Run, shop: Sandbox, orders: Path, tmp_path: Path):
    """With another journal, lines without a reference are other orders."""
    for journal in ("one", "two"):
        run("bulk", orders, "--yes", "--journal", tmp_path / journal)
    assert came(shop, f"POST {ORDER}") == 3


def test_question(run: Run, shop: Sandbox, orders: Path):
    """Without a terminal it needs ``--yes``; ``--dry-run`` shows the cost. Neither creates a journal."""
    assert run("bulk", orders).code == 2
    offer = run("bulk", orders, "--dry-run", "--json").json
    assert (offer["lines"], offer["esims"], offer["total"], offer["unknown"]) == (3, 4, 4.6, ["none"])
    assert run("bulk", orders, "--dry-run", "--max-spend", "4").code == 1
    assert run("bulk", orders, "--yes", "--max-spend", "4").code == 1
    assert not Path(f"{orders}.journal").exists()
    assert shop.orders == ()


def test_dates(run: Run, shop: Sandbox, tmp_path: Path):
    """Lines with a date of travel get their profiles for that date, and the others theirs, also after a repetition."""
    (dated,) = shop.kinds["travel_date"][:1]
    path = tmp_path / "dated.csv"
    path.write_text(f"package_id;start_date\n{dated};2030-07-01\n{PLAIN};\n")
    shop.fail("POST", APPLY, "400", times=1)
    ran = run("bulk", path, "--apply", "--yes", "--csv")
    assert (ran.code, sum(bool(line["lpa_code"]) for line in rows(ran.out))) == (6, 1)
    ran = run("bulk", path, "--apply", "--yes", "--csv")
    assert (ran.code, all(line["lpa_code"] for line in rows(ran.out))) == (0, True)
    assert came(shop, f"POST {ORDER}") == 2
    assert [esim["startDate"] for esim in shop.state()["esims"] if esim["packageId"] == dated] == ["2030-07-01"]


ENCODINGS: dict[str, Callable[[str], bytes]] = {
    "Excel's CSV UTF-8, with semicolons": lambda text: ("\ufeff" + text.replace(",", ";")).encode(),
    "Excel's Unicode text, with tabs": lambda text: text.replace(",", "\t").encode("utf-16"),
    "spaces and capitals": lambda text: text.replace("package_id", " Package ID ").encode(),
    "empty lines": lambda text: (text + "\n\n,,\n").encode(),
    "Windows line ends": lambda text: text.replace("\n", "\r\n").encode(),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_encodings(run: Run, shop: Sandbox, tmp_path: Path, name: str):
    """Files as spreadsheets write them are read."""
    path = tmp_path / "orders.csv"
    path.write_bytes(ENCODINGS[name](f"reference_id,package_id,quantity\nfür-1,{PLAIN},1\n"))
    assert run("bulk", path, "--yes").code == 0
    assert len(under(shop, "für-1")) == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "needs a header with the column package_id"),
        ("", "needs a header"),
        ("package_id,package_id\nx,y\n", "names a column twice"),
        (f"package_id,quantity\n{PLAIN},1\n{PLAIN},two\nx,0\n", "line 3: quantity 'two' is no whole number; line 4"),
        (f"package_id,start_date\n{PLAIN},1.7.2030\n", "line 2: start_date '1.7.2030' is no ISO date"),
        (f"package_id\n{PLAIN},x\n", "line 2: 2 cells under 1 columns"),
        ("package_id,quantity\n,1\n", "line 2: package_id"),
    ],
)  # fmt: skip
def test_wrong_files(run: Run, shop: Sandbox, tmp_path: Path, text: str, message: str):
    """Wrong files are refused, with the lines, before anything is sent."""
    path = tmp_path / "orders.csv"
    path.write_text(text)
    ran = run("bulk", path, "--yes")
    assert (ran.code, ran.out) == (2, "")
    assert message in ran.err
    assert shop.state()["requests"] == {}


def test_other_lines(run: Run, shop: Sandbox, orders: Path):
    """A file that was changed does not belong to its journal any more. Lines may be added."""
    run("bulk", orders, "--yes")
    with orders.open("a") as file:
        file.write(f"r-4,{PLAIN},1,\n")
    assert run("bulk", orders, "--yes").code == 6
    assert came(shop, f"POST {ORDER}") == 3
    orders.write_text(orders.read_text().replace("r-1", "r-2"))
    ran = run("bulk", orders, "--yes")
    assert ran.code == 1
    assert "with another --journal, lines without a reference_id" in ran.err
    assert came(shop, f"POST {ORDER}") == 3


def test_in_doubt(run: Run, shop: Sandbox, orders: Path):
    """A line in doubt is exit code 4, and the command that looks again is named."""
    shop.fail("POST", ORDER, "book_but_hide", seconds=3600)
    ran = run("bulk", orders, "--yes", "--window", "0.05", "--concurrency", 1)
    assert ran.code == 4
    assert "look again with: roamify reconcile r-1" in ran.err


def test_refused_account(run: Run, shop: Sandbox, orders: Path):
    """If nothing was ordered, the exit code is that of the first error."""
    shop.fail("POST", ORDER, "401", times=None)
    assert run("bulk", orders, "--yes", "--concurrency", 1).code == 3


@pytest.fixture
def many(shop: Sandbox, tmp_path: Path) -> Path:
    """Write many orders without references, and make the sandbox slow."""
    path = tmp_path / "many.csv"
    path.write_text("package_id\n" + f"{PLAIN}\n" * LINES)
    shop.fail("POST", ORDER, "slow", seconds=0.1, times=None)
    return path


def _cut_off(shop: Sandbox, many: Path, program: dict[str, str], number: int) -> tuple[int, str]:
    """Start the command, and send a signal in the middle. Returns its exit code and what it said."""
    command = (*PROGRAM, "bulk", str(many), "-o", f"{many}.out", "--yes", "--concurrency", "2")
    with subprocess.Popen(
        command, env=program, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    ) as running:
        shop.wait_for(f"POST {ORDER}", 6, timeout=HANG)
        os.kill(running.pid, number)
        _, err = running.communicate(timeout=HANG)
    return running.returncode, err


@pytest.mark.long
def test_interrupted(run: Run, shop: Sandbox, many: Path, program: dict[str, str]):
    """Ctrl-C: 130. It tells how to continue, and writes what is known; every line is bought once in the end."""
    code, err = _cut_off(shop, many, program, signal.SIGINT)
    assert code == 130
    assert f"to continue, without buying anything twice: roamify bulk {many} --journal {many}.journal" in err
    before = [line["status"] for line in rows(Path(f"{many}.out").read_text())]
    assert 0 < before.count("ordered") == len(shop.orders) < LINES
    assert run("bulk", many, "--yes").code == 0
    assert len(shop.orders) == LINES


@pytest.mark.long
def test_killed(run: Run, shop: Sandbox, many: Path, program: dict[str, str]):
    """``kill -9``: the journal is read, and the same command buys each line once; the server counts."""
    for _ in range(3):
        code, _ = _cut_off(shop, many, program, signal.SIGKILL)
        assert code == -signal.SIGKILL
        assert run("bulk", "status", f"{many}.journal").code == 0
    assert run("bulk", many, "--yes").code == 0
    assert len(shop.orders) == LINES
    assert len({order.reference_id for order in shop.orders}) == LINES
