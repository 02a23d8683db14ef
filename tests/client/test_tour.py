"""The tour: what it prints, what it ends with, and that its sums add up."""

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

from roamify_async import AuthenticationError, __main__ as command
from roamify_async.sandbox import Sandbox
from roamify_async.tour import StepError, blocking, tour
from roamify_async.tour.bill import Bill
from roamify_async.tour.phone import use_data
from roamify_async.tour.show import Show

ROOT = Path(__file__).parents[2]
TOUR = ("-m", "roamify_async")
CHECKED = re.compile(r"check the balance +([\d,.]+) - ([\d,. -]+) = ([\d,.]+)")
ESCAPE = "\x1b"


@pytest.fixture
def sandbox() -> Iterator[Sandbox]:
    """Run a small sandbox in its own thread."""
    with Sandbox(packages=300) as running:
        yield running


def environment(**changes: str) -> Mapping[str, str]:
    """Give an environment in which nothing tells rich what the screen is."""
    told = {"COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    kept = {name: value for name, value in os.environ.items() if name not in told}
    return kept | {"PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"} | changes


def run(*arguments: str, **changes: str) -> subprocess.CompletedProcess[str]:
    """Run Python with its output piped."""
    encoding = changes.get("PYTHONIOENCODING", "utf-8")
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment(**changes), capture_output=True, encoding=encoding, timeout=30, check=False,
    )  # fmt: skip


def amounts(text: str, separator: str = " - ") -> list[Decimal]:
    """Read amounts of money."""
    return [Decimal(amount.replace(",", "")) for amount in text.split(separator)]


def assert_adds_up(output: str, *, walks: int = 2) -> None:
    """Check that each walk begins with what the one before left, and left what it did not spend."""
    checks = CHECKED.findall(output)
    assert len(checks) == walks
    left = Decimal(1000)
    for before, spent, after in checks:
        assert amounts(before) == [left]
        assert len(amounts(spent)) == 3
        left -= sum(amounts(spent))
        assert amounts(after) == [left]


def test_piped():
    """It ends with 0 after both walks, in plain lines of 80 columns, with codes and sums that add up."""
    ended = run(*TOUR, "--packages", "300")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "AsyncRoamify, every call is awaited" in ended.stdout
    assert "\nRoamify, every call blocks" in ended.stdout
    assert ended.stdout.count("300 packages, 37 destinations") == 2
    assert len(re.findall(r"^    LPA:1\$smdp\.sandbox\.example\$[0-9A-F]{32}$", ended.stdout, re.MULTILINE)) == 6
    assert ended.stdout.count("1,748 of 2,048 MB") == 2
    assert "\u2588\u2588 \u2584\u2584\u2584\u2584\u2584 \u2588" in ended.stdout
    assert ESCAPE not in ended.stdout
    assert "\r" not in ended.stdout
    assert max(map(len, ended.stdout.splitlines())) <= 80
    assert_adds_up(ended.stdout)


@pytest.mark.parametrize("packages", [20, 35])
def test_ascii(packages):
    """Where the output is ASCII there is no QR code, and all else is there; 35 packages have no top-up for Greece."""
    ended = run(*TOUR, "--packages", str(packages), LC_ALL="C", PYTHONIOENCODING="ascii")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert "no QR code" in ended.stdout
    assert ended.stdout.count("LPA:1$") == 6
    assert ended.stdout.count("none fits") == (2 if packages == 35 else 0)
    assert "Both balances add up to the cent" in ended.stdout


@pytest.mark.parametrize("missing", ["rich", "segno"])
def test_missing(missing):
    """Without its libraries it ends with 2 and one line that says what to install."""
    code = f"import sys; sys.modules[{missing!r}] = None; from roamify_async.__main__ import main; sys.exit(main())"
    ended = run("-c", code)
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr == f"The tour needs {missing}: pip install 'roamify-async[tour]'\n"


@pytest.mark.skipif(sys.platform == "win32", reason="a signal is sent")
def test_interrupted():
    """Ctrl-C ends it with 130 and one word, in the middle of the catalogue."""
    with subprocess.Popen(
        [sys.executable, "-u", *TOUR],
        env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8",
    ) as running:  # fmt: skip
        assert running.stdout is not None
        assert any("list the countries" in line for line in running.stdout)
        running.send_signal(signal.SIGINT)
        output, complaint = running.communicate(timeout=30)
    assert running.returncode == 130
    assert complaint == "Interrupted.\n"
    assert "catalogue" not in output


def test_options(capsys):
    """``--help`` ends with 0; a catalogue of a size that there is none of ends with 2 and says which there are."""
    with pytest.raises(SystemExit) as ended:
        command.main(["--help"])
    assert ended.value.code == 0
    assert "--packages N" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        command.main(["--packages", "3"])
    assert ended.value.code == 2
    assert "from 20 to" in capsys.readouterr().err


def use(monkeypatch: pytest.MonkeyPatch, fault: Callable[[Sandbox], None]) -> None:
    """Give the command a sandbox that something is wrong with."""

    class Faulty(Sandbox):
        def __enter__(self) -> Self:
            super().__enter__()
            fault(self)
            return self

    monkeypatch.setattr(command, "Sandbox", Faulty)


def test_failing(monkeypatch, capsys):
    """A step that fails ends it with 1, and is named with the error."""
    use(monkeypatch, lambda sandbox: sandbox.fail("POST", "/api/esim/apply", "401", times=2))
    assert command.main(["--packages", "20"]) == 1
    said = capsys.readouterr()
    assert said.err.startswith("The tour stopped: with AsyncRoamify, it could not apply both eSIMs.\nAuthenticationErr")
    assert "401" in said.err
    assert "Traceback" not in said.err
    assert "order two eSIMs" in said.out
    assert "apply both" not in said.out


def test_no_sandbox(monkeypatch, capsys):
    """A sandbox that cannot start ends it with 2, and is named."""

    def refuse(_: Sandbox) -> None:
        raise OSError("no ports left")

    use(monkeypatch, refuse)
    assert command.main(["--packages", "20"]) == 2
    assert capsys.readouterr().err == "The sandbox could not start: no ports left\n"


def test_failing_blocking(sandbox):
    """The blocking walk names its failing step as well; the cause is the client's own error."""
    sandbox.fail("POST", "/api/esim/order/topup", "401")
    show = Show(Console(file=io.StringIO()))
    show.chapter("Roamify", "every call blocks")
    with pytest.raises(StepError, match=r"with Roamify, it could not top it up\.\nAuthenticationError: ") as failed:
        blocking.walk(sandbox.url, sandbox.token, show)
    assert isinstance(failed.value.__cause__, AuthenticationError)


def test_terminal(sandbox):
    """A terminal shows the packages as they are counted, and colours."""
    screen = io.StringIO()
    tour(sandbox, Console(file=screen, force_terminal=True, color_system="standard", width=80, _environ={}))
    assert re.search(r"300 packages, [\d,]+ a second", screen.getvalue())
    assert f"{ESCAPE}[" in screen.getvalue()
    assert_adds_up(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", screen.getvalue()))


def test_requests(sandbox):
    """It tells the requests that the sandbox counted, and the balance that the sandbox kept."""
    screen = io.StringIO()
    tour(sandbox, Console(file=screen, width=80, _environ={}))
    state = sandbox.state()
    assert f"{sum(state['requests'].values())} requests" in screen.getvalue()
    [after] = re.findall(r"^  balance after .* ([\d,.]+)$", screen.getvalue(), re.MULTILINE)
    assert amounts(after) == [Decimal(state["balance"])]
    spent: Sequence[Decimal] = [Decimal(order["total"]) for order in state["orders"]]
    assert len(spent) == 6
    assert f"{sum(spent)} USD" in screen.getvalue()


def test_bill():
    """A bill that is a cent off is refused."""
    assert Bill(Decimal(10), Decimal("7.5"), [Decimal("1.25"), Decimal("1.25")]).spent == Decimal("2.5")
    with pytest.raises(ArithmeticError, match=r"10 - 2\.50 is not the 7\.49"):
        Bill(Decimal(10), Decimal("7.49"), [Decimal("2.50")])


def test_phone(sandbox):
    """What the sandbox refuses to a phone is an ``OSError``."""
    with pytest.raises(OSError, match="no such eSIM"):
        use_data(sandbox.url, "123", 1)
