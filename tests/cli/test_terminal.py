"""The program in a terminal: tables, questions, colours, and Ctrl-C."""

import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pexpect
import pytest
from support.clients import HANG
from support.commands import PROGRAM, Run
from support.purchases import ORDER, PLAIN, came

from roamify_async.cli.accounts import config_file
from roamify_async.sandbox import Sandbox

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")

Start = Callable[..., "pexpect.spawn[str]"]
COLOUR = "\x1b["


@pytest.fixture
def start(program: dict[str, str]) -> Iterator[Start]:
    """Start the command in a pseudo-terminal of 100 columns."""
    running: list[pexpect.spawn[str]] = []

    def start(*arguments: str, **environment: str) -> "pexpect.spawn[str]":
        child = pexpect.spawn(
            PROGRAM[0], [*PROGRAM[1:], *arguments], encoding="utf-8", timeout=HANG, dimensions=(40, 100),
            env={**program, "TERM": "xterm-256color", **environment},
        )  # fmt: skip
        running.append(child)
        return child

    yield start
    for child in running:
        child.close(force=True)


def finish(child: "pexpect.spawn[str]") -> tuple[int | None, str]:
    """Wait for the end, and return the exit code and what was printed."""
    text = child.read()
    child.close()
    return child.exitstatus, text.replace("\r\n", "\n")


TABLE = """
packageId                      destination.countryName   package          day   price
───────────────────────────────────────────────────────────────────────────────────────
esim-greece-30days-1gb-all     Greece                    1 GB - 30 Days    30    1.55
"""


def test_table(start: Start):
    """Results are a table on a terminal. A single value is a list of its fields."""
    code, text = finish(start("packages", "--country", "greece", "--days", "30", "--gb", "1", NO_COLOR="1"))
    lines = [re.sub(" +", " ", line.strip()) for line in text.splitlines() if line.strip()]
    expected = [re.sub(" +", " ", line.strip()) for line in TABLE.splitlines() if line.strip()]
    assert (code, lines[0], lines[2]) == (0, expected[0], expected[2])
    assert set(lines[1]) == {"─"}
    assert COLOUR not in text
    assert finish(start("balance", NO_COLOR="1")) == (0, "balance   1000\ncurrency  USD \n")
    assert COLOUR in finish(start("balance"))[1]
    assert finish(start("balance", "--tsv")) == (0, "1000\tUSD\n")
    assert finish(start("esims")) == (0, "no results\n")


@pytest.mark.parametrize(("answer", "code", "orders"), [("n", 1, 0), ("", 1, 0), ("y", 0, 1)])
def test_question(start: Start, shop: Sandbox, answer: str, code: int, orders: int):
    """A purchase is made only after a yes to its price."""
    child = start("buy", PLAIN, NO_COLOR="1")
    child.expect_exact(f"Buy 1 x {PLAIN} for 1.55 USD, from a balance of 1000?")
    child.sendline(answer)
    ended, text = finish(child)
    assert ended == code
    assert ("nothing was bought" in text) is (orders == 0)
    assert len(shop.orders) == orders


def test_interrupted(start: Start, shop: Sandbox, run: Run):
    """Ctrl-C ends a purchase with 130, and the command that it names buys nothing twice."""
    shop.fail("POST", ORDER, "hang", when="after")
    child = start("buy", PLAIN, "--yes", "--window", "0.05")
    shop.wait_for(f"POST {ORDER}", timeout=HANG)
    child.sendintr()
    code, text = finish(child)
    assert code == 130
    (command,) = re.findall(r"to continue, without buying anything twice: roamify (.*)", text)
    assert run(*command.split()).code == 0
    assert came(shop, f"POST {ORDER}") == 1


def test_login(start: Start, shop: Sandbox):
    """The key is asked for without an echo."""
    child = start("login")
    child.expect_exact("API key: ")
    child.waitnoecho()
    child.sendline(shop.token)
    code, text = finish(child)
    assert code == 0
    assert "the key works" in text
    assert shop.token not in text
    assert shop.token in config_file().read_text()


def test_qr(start: Start, shop: Sandbox, tmp_path: Path):
    """QR codes are drawn beside the data."""
    child = start("buy", PLAIN, "--yes", "--json", "--qr", "--qr-dir", str(tmp_path / "codes"))
    code, text = finish(child)
    assert code == 0
    assert "█" in text
    (picture,) = (tmp_path / "codes").iterdir()
    assert picture.read_text().startswith("<svg")
    assert picture.stat().st_mode & 0o077 == 0


@pytest.mark.long
def test_killed(start: Start, shop: Sandbox, run: Run):
    """``kill -9`` in the middle of a purchase: its reference was printed before, and buys nothing again."""
    shop.fail("POST", ORDER, "hang", when="after")
    child = start("buy", PLAIN, "--yes")
    child.expect(r"reference ([0-9a-f-]{36})")
    reference = child.match.group(1)
    shop.wait_for(f"POST {ORDER}", timeout=HANG)
    child.kill(9)
    child.wait()
    assert run("buy", PLAIN, "--yes", "--ref", reference).code == 0
    assert came(shop, f"POST {ORDER}") == 1
