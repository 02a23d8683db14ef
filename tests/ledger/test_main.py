"""The command that looks after a ledger."""

import asyncio
import os
import subprocess
import sys

import pytest
from support.ledgers import expire, wanted
from support.purchases import INSURANCE, PLAIN, came, refill, under

from roamify_async import AsyncRoamify, OrderItem, PurchaseInDoubtError, Settings
from roamify_async.ledger import Outcome, SqliteLedger, Start
from roamify_async.ledger.__main__ import main
from roamify_async.sandbox import Sandbox

PATIENT = Settings(reconcile_window=0.05)


@pytest.fixture
def path(tmp_path, monkeypatch) -> str:
    """Name the ledger in the environment."""
    path = str(tmp_path / "purchases.db")
    monkeypatch.setenv("ROAMIFY_LEDGER", path)
    return path


async def _fill(path: str) -> None:
    with SqliteLedger(path) as ledger:
        for reference, status in (("bought", "ordered"), ("doubt", "in_doubt")):
            lease = (await ledger.claim(wanted(reference, packages={PLAIN: 2}))).lease
            await ledger.start(lease, wanted(reference), Start())
            await ledger.settle(lease, Outcome(status=status, error="ServerError 503"))


async def test_status(path, capsys):
    """The status counts purchases, and names those in doubt; with such the exit code is 1."""
    assert main(["migrate"]) == 0
    assert main(["status"]) == 0
    await _fill(path)
    capsys.readouterr()
    assert main(["status"]) == 1
    printed = capsys.readouterr().out
    assert "ordered: 1\n" in printed
    assert f"in doubt: order 'doubt' (2x {PLAIN}), sent 0 s ago, ServerError 503" in printed


async def test_purge(path, capsys):
    """Old purchases are deleted, but for those in doubt."""
    await _fill(path)
    assert main(["purge", "--days", "1"]) == 0
    assert main(["purge", "--days", "-1"]) == 0
    assert capsys.readouterr().out.splitlines() == ["0 purchases were deleted", "1 purchases were deleted"]
    with SqliteLedger(path) as ledger:
        assert ledger.counts() == {"in_doubt": 1}


def test_no_ledger(monkeypatch, capsys, tmp_path):
    """Without a ledger, or with one that cannot be opened, the command says so."""
    monkeypatch.delenv("ROAMIFY_LEDGER", raising=False)
    assert main(["status"]) == 1
    assert "no ledger: pass --ledger, or set ROAMIFY_LEDGER" in capsys.readouterr().err
    assert main(["status", "--ledger", str(tmp_path / "none" / "purchases.db")]) == 1
    assert "the ledger cannot be used" in capsys.readouterr().err


async def test_reconcile(path):
    """All kinds of purchases that their processes left in doubt are found and recorded; nothing is bought."""
    async with Sandbox(packages=300) as sandbox:
        with SqliteLedger(path) as ledger:
            await _leave_doubts(sandbox, ledger)
            sent = {what: count for what, count in sandbox.state()["requests"].items() if what.startswith("POST")}
            assert len(ledger.doubts()) == 5
        sandbox.advance(3600)
        process = await _run(sandbox, "reconcile", "--window", "0.1")
        assert process.returncode == 1, process.stderr
        lines = process.stdout.splitlines()
        assert [line.split(":")[0] for line in lines] == ["found"] * 4 + ["in doubt"]
        for reference in ("order", "top-up", "insurance"):
            (booked,) = under(sandbox, reference)
            assert f"booked as {booked['id']}" in process.stdout
        assert {what: came(sandbox, what) for what in sent} == sent
        with SqliteLedger(path) as ledger:
            assert [row.reference for row in ledger.doubts()] == ["lost"]


async def _leave_doubts(sandbox: Sandbox, ledger: SqliteLedger) -> None:
    async with AsyncRoamify(sandbox.token, base_url=sandbox.url, settings=PATIENT, ledger=ledger) as one:
        (esim,) = await one.esims.buy(PLAIN)
        package = await refill(one, esim.iccid)
        sandbox.fail("POST", "*", "book_but_hide", when="after", seconds=3600, times=3)
        for call in (
            lambda: one.orders.create([OrderItem(PLAIN)], reference_id="order"),
            lambda: one.topups.create(esim.iccid, package, reference_id="top-up"),
            lambda: one.vouchers.create(PLAIN, reference_id="vouchers"),
        ):
            with pytest.raises(PurchaseInDoubtError):
                await call()
        sandbox.fail("POST", "*", "drop", when="after")
        sandbox.fail("GET", "/api/insurance/order", "503", times=None)
        with pytest.raises(PurchaseInDoubtError):
            await one.with_settings(look_first=False).insurance.order([OrderItem(INSURANCE)], reference_id="insurance")
        sandbox._running().faults.clear()
        sandbox.fail("POST", "*", "drop", when="before")
        with pytest.raises(PurchaseInDoubtError):
            await one.orders.create([OrderItem(PLAIN)], reference_id="lost")
    await expire(ledger)


async def _run(sandbox: Sandbox, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "ROAMIFY_TOKEN": sandbox.token, "ROAMIFY_BASE_URL": sandbox.url}
    environment["PYTHONPATH"] = os.pathsep.join(sys.path)
    return await asyncio.to_thread(
        subprocess.run, [sys.executable, "-m", "roamify_async.ledger", *arguments], capture_output=True, text=True,
        check=False, env=environment,
    )  # fmt: skip


def test_import_is_light():
    """The ledger is imported without the client and its HTTP library."""
    code = "import sys, roamify_async.ledger; print([name for name in ('aiohttp', 'psycopg') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
