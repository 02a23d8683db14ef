"""The tour: its output, its exit codes and its sums."""

import asyncio
import io
import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Self

import pytest
from rich.console import Console
from support.clients import HANG

from roamify_async import AuthenticationError, __main__ as command
from roamify_async.sandbox import Sandbox
from roamify_async.tour import StepError, run_without_loop, tour
from roamify_async.tour.screen import Spending
from roamify_async.tour.steps import use_data

ROOT = Path(__file__).parents[2]
TOUR = (sys.executable, "-u", "-m", "roamify_async")
BALANCE_CHECK = re.compile(r"check the balance +([\d,.]+) - ([\d,. -]+) = ([\d,.]+)")
ESCAPE = "\x1b"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Run a small sandbox in its own thread."""
    with Sandbox(packages=300) as running:
        yield running


def environment() -> Mapping[str, str]:
    """Return an environment without the variables that describe a terminal to rich."""
    removed = {"COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    kept = {name: value for name, value in os.environ.items() if name not in removed}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"}


def amounts(text: str) -> list[Decimal]:
    """Return the amounts in a difference."""
    return [Decimal(amount.replace(",", "")) for amount in text.split(" - ")]


def assert_sums(output: str) -> None:
    """Check that each client starts with the balance that the one before left, and that its sum is right."""
    checks = BALANCE_CHECK.findall(output)
    assert len(checks) == 2
    balance = Decimal(1000)
    for before, totals, after in checks:
        assert amounts(before) == [balance]
        assert len(amounts(totals)) == 3
        balance -= sum(amounts(totals))
        assert amounts(after) == [balance]


def test_piped():
    """Piped, it prints plain lines of at most 80 columns, with both clients' steps, codes and sums."""
    ended = subprocess.run(
        [*TOUR, "--packages", "300"],
        env=environment(), capture_output=True, encoding="utf-8", timeout=HANG, check=False,
    )  # fmt: skip
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "AsyncRoamify, every call is awaited" in ended.stdout
    assert "\nRoamify, every call blocks" in ended.stdout
    assert ended.stdout.count("300 packages, 37 destinations") == 2
    assert len(re.findall(r"^    LPA:1\$smdp\.sandbox\.example\$[0-9A-F]{32}$", ended.stdout, re.MULTILINE)) == 6
    assert ended.stdout.count("1,748 of 2,048 MB") == 2
    assert ended.stdout.count("\u2588 \u2584\u2584\u2584\u2584\u2584 \u2588") >= 3  # the corners of one QR code
    assert ESCAPE not in ended.stdout
    assert "\r" not in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80
    assert_sums(ended.stdout)


@pytest.mark.parametrize("packages", [20, 35])
def test_ascii(packages, monkeypatch):
    """An ASCII output has no QR code but everything else; of 35 packages, none is a top-up for Greece."""
    buffer = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(buffer, encoding="ascii", write_through=True))
    monkeypatch.setenv("COLUMNS", "80")
    assert command.main(["--packages", str(packages)]) == 0
    output = buffer.getvalue().decode("ascii")
    assert output.count("no QR code") == 1
    assert output.count("LPA:1$") == 6
    assert output.count("none fits") == (2 if packages == 35 else 0)
    assert "Both balances add up to the cent" in output


@pytest.mark.parametrize("missing", ["rich", "segno"])
def test_missing_library(missing, monkeypatch, capsys):
    """Without one of its libraries, the exit code is 2 and one line says what to install."""
    for name in [*sys.modules]:
        if name.startswith((f"{missing}.", "roamify_async.tour")):
            monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, missing, None)
    assert command.main([]) == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err == f"The tour needs {missing}: pip install 'roamify-async[tour]'\n"


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="a signal is sent")
def test_interrupted():
    """Ctrl-C in the middle of a step ends it with 130 and one word."""
    with subprocess.Popen(
        TOUR, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8"
    ) as running:
        assert running.stdout is not None
        assert any("list the countries" in line for line in running.stdout)
        running.send_signal(signal.SIGINT)
        output, error = running.communicate(timeout=HANG)
    assert running.returncode == 130
    assert error == "Interrupted.\n"
    assert "catalogue" not in output


def test_options(capsys):
    """``--help`` exits with 0; a catalogue of a wrong size exits with 2 and names the right ones."""
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    assert "--packages N" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        command.main(["--packages", "3"])
    assert ended.value.code == 2
    assert "from 20 to" in capsys.readouterr().err


def prepare(monkeypatch: pytest.MonkeyPatch, change: Callable[[Sandbox], None]) -> None:
    """Make the command change its sandbox once that runs."""

    class Prepared(Sandbox):
        def __enter__(self) -> Self:
            super().__enter__()
            change(self)
            return self

    monkeypatch.setattr(command, "Sandbox", Prepared)


def test_failed_step(monkeypatch, capsys):
    """A failed step is an exit code of 1 and a line with the step and the error."""
    prepare(monkeypatch, lambda sandbox: sandbox.fail("POST", "/api/esim/apply", "401", times=2))
    assert command.main(["--packages", "20"]) == 1
    output = capsys.readouterr()
    expected = "The tour stopped: with AsyncRoamify, it could not apply both eSIMs.\nAuthenticationError: "
    assert output.err.startswith(expected)
    assert "401" in output.err
    assert "Traceback" not in output.err
    assert "order two eSIMs" in output.out
    assert "apply both" not in output.out


def test_failed_step_of_the_blocking_client(sandbox):
    """A failed step of the blocking client is named as well; the cause is the client's error."""
    top_up = {"method": "POST", "path": "/api/esim/order/topup", "fault": "401"}

    class Output(io.StringIO):
        def write(self, text: str) -> int:
            if "every call blocks" in text:
                sandbox.fail(**top_up)
            return super().write(text)

    with pytest.raises(StepError, match=r"with Roamify, it could not top it up\.\nAuthenticationError: ") as failed:
        tour(sandbox, Console(file=Output()))
    assert isinstance(failed.value.__cause__, AuthenticationError)


def test_sandbox_does_not_start(monkeypatch, capsys):
    """If the sandbox cannot start, the exit code is 2 and one line has the reason."""

    def refuse(_: Sandbox) -> None:
        raise OSError("no ports left")

    prepare(monkeypatch, refuse)
    assert command.main(["--packages", "20"]) == 2
    assert capsys.readouterr().err == "The sandbox could not start: no ports left\n"


def test_terminal(sandbox):
    """On a terminal it has colours and counts the packages while they arrive."""
    output = io.StringIO()
    tour(sandbox, Console(file=output, force_terminal=True, color_system="standard", width=80, _environ={}))
    assert re.search(r"300 packages, [\d,]+ a second", output.getvalue())
    assert f"{ESCAPE}[" in output.getvalue()
    assert_sums(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", output.getvalue()))


def test_summary(sandbox):
    """The summary has the requests, the balance and the orders that the sandbox counted."""
    output = io.StringIO()
    tour(sandbox, Console(file=output, width=80, _environ={}))
    state = sandbox.state()
    assert f"{sum(state['requests'].values())} requests" in output.getvalue()
    [after] = re.findall(r"^  balance after .* ([\d,.]+)$", output.getvalue(), re.MULTILINE)
    assert amounts(after) == [Decimal(state["balance"])]
    totals: Sequence[Decimal] = [Decimal(order["total"]) for order in state["orders"]]
    assert len(totals) == 6
    assert f"{sum(totals)} USD" in output.getvalue()


def test_wrong_sum():
    """A balance that is off by a cent is an error."""
    assert Spending(Decimal(10), Decimal("7.5"), [Decimal("1.25"), Decimal("1.25")]).total == Decimal("2.5")
    with pytest.raises(ArithmeticError, match=r"10 - 2\.50 is not 7\.49"):
        Spending(Decimal(10), Decimal("7.49"), [Decimal("2.50")])


def test_use_data_refused(sandbox):
    """If the sandbox refuses to use data, the error is an ``OSError`` with its reason."""
    with pytest.raises(OSError, match="no such eSIM"):
        use_data(sandbox.url, "123", 1)


def test_blocking_steps_must_not_wait():
    """Steps that wait for an event loop cannot run without one."""

    async def steps() -> Spending:
        await asyncio.sleep(0)
        raise AssertionError("never resumed")

    with pytest.raises(RuntimeError, match="must not wait"):
        run_without_loop(steps())
