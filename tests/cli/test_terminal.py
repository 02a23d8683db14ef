"""The program in a terminal: tables, questions, colours, and Ctrl-C."""

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from support.clients import HANG
from support.commands import PROGRAM, Run
from support.purchases import ORDER, PLAIN, came
from support.terminal import Terminal

from roamify_async.cli.accounts import config_file
from roamify_async.sandbox import Sandbox

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="pseudo-terminals")

COLOUR = "\x1b["
CTRL_C = "\x03"


@pytest.fixture
def start(program: dict[str, str]) -> Iterator[Callable[..., Terminal]]:
    """Start the command in a terminal of 100 columns."""
    with ExitStack() as stack:

        def start(*arguments: str, **environment: str) -> Terminal:
            return stack.enter_context(Terminal([*PROGRAM, *arguments], {**program, **environment}))

        yield start


TABLE = """
packageId                      destination.countryName   package          day   price
───────────────────────────────────────────────────────────────────────────────────────
esim-greece-30days-1gb-all     Greece                    1 GB - 30 Days    30    1.55
"""


@pytest.mark.long
def test_table(start):
    """Results are a table on a terminal. A single value is a list of its fields."""
    code, text = start("packages", "--country", "greece", "--days", "30", "--gb", "1", NO_COLOR="1").finish()
    lines = [re.sub(" +", " ", line.strip()) for line in text.splitlines() if line.strip()]
    expected = [re.sub(" +", " ", line.strip()) for line in TABLE.splitlines() if line.strip()]
    assert (code, lines[0], lines[2]) == (0, expected[0], expected[2])
    assert set(lines[1]) == {"─"}
    assert COLOUR not in text
    assert start("balance", NO_COLOR="1").finish() == (0, "balance   1000\ncurrency  USD\n")


@pytest.mark.long
def test_options_on_a_terminal(start):
    """Colours, formats for programs, and empty results."""
    assert COLOUR in start("balance").finish()[1]
    assert start("balance", "--tsv").finish() == (0, "1000\tUSD\n")
    assert start("esims").finish() == (0, "no results\n")


@pytest.mark.long
def test_narrow_terminal(start, run: Run):
    """A few values that do not fit are lists of their fields, so that codes can be copied."""
    run("buy", PLAIN, "-n", 2, "--yes")
    code, text = start("esims", NO_COLOR="1").finish()
    assert code == 0
    assert len(re.findall(r"^esim\.lpaCode  LPA:1\$\S{40,}$", text, re.MULTILINE)) == 2


@pytest.mark.parametrize(("answer", "code", "orders"), [("n", 1, 0), ("", 1, 0), ("y", 0, 1)])
def test_question(start, shop: Sandbox, answer: str, code: int, orders: int):
    """A purchase is made only after a yes to its price."""
    child = start("buy", PLAIN, NO_COLOR="1")
    child.until(f"Buy 1 x {PLAIN} for 1.55 USD, from a balance of 1000?")
    child.send(answer + "\n")
    ended, text = child.finish()
    assert ended == code
    assert ("nothing was bought" in text) is (orders == 0)
    assert len(shop.orders) == orders


@pytest.mark.long
def test_interrupted(start, shop: Sandbox, run: Run):
    """Ctrl-C ends a purchase with 130, and the command that it names buys nothing twice."""
    shop.fail("POST", ORDER, "hang", when="after")
    child = start("buy", PLAIN, "--yes", "--window", "0.05")
    shop.wait_for(f"POST {ORDER}", timeout=HANG)
    child.send(CTRL_C)
    code, text = child.finish()
    assert code == 130
    (command,) = re.findall(r"to continue, without buying anything twice: roamify (.*)", text)
    assert run(*command.split()).code == 0
    assert came(shop, f"POST {ORDER}") == 1


@pytest.mark.long
def test_login(start, shop: Sandbox):
    """The key is asked for without an echo."""
    child = start("login")
    child.until("API key: ")
    child.send(shop.token + "\n")
    code, text = child.finish()
    assert code == 0
    assert "the key works" in text
    assert shop.token not in text
    assert shop.token in config_file().read_text()


@pytest.mark.long
def test_qr(start, shop: Sandbox, tmp_path: Path):
    """QR codes are drawn beside the data."""
    child = start("buy", PLAIN, "--yes", "--json", "--qr", "--qr-dir", str(tmp_path / "codes"))
    code, text = child.finish()
    assert code == 0
    assert "█" in text
    (picture,) = (tmp_path / "codes").iterdir()
    assert picture.read_text().startswith("<svg")
    assert picture.stat().st_mode & 0o077 == 0


@pytest.mark.long
def test_killed(start, shop: Sandbox, run: Run):
    """``kill -9`` in the middle of a purchase: its reference was printed before, and buys nothing again."""
    shop.fail("POST", ORDER, "hang", when="after")
    child = start("buy", PLAIN, "--yes")
    (reference,) = re.findall(r"reference ([0-9a-f-]{36})", child.until("reference ", "\n"))
    shop.wait_for(f"POST {ORDER}", timeout=HANG)
    child.kill()
    assert run("buy", PLAIN, "--yes", "--ref", reference).code == 0
    assert came(shop, f"POST {ORDER}") == 1
