"""The page on night batches: its code runs, in this order, and buys each line once."""

import re
from pathlib import Path
from typing import Any

import pytest

from roamify_async.durable.__main__ import _parser
from roamify_async.sandbox import Sandbox

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "night-batches.md"
TEXT = PAGE.read_text("utf-8")
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)


def test_blocks_run(monkeypatch, tmp_path, capsys):
    """The batch of the page is submitted, shown, and bought."""
    with Sandbox(packages=300) as sandbox:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("ROAMIFY_TOKEN", sandbox.token)
        monkeypatch.setenv("ROAMIFY_BASE_URL", sandbox.url)
        monkeypatch.setenv("ROAMIFY_LEDGER", "purchases.db")
        for block in BLOCKS:
            scope: dict[str, Any] = {"__name__": "night_batches_page"}
            exec(compile(block, PAGE.name, "exec"), scope)
        assert len(sandbox.state()["orders"]) == 20
    assert "0 of 20 lines" in capsys.readouterr().out


@pytest.mark.parametrize(
    "command", re.findall(r"python -m roamify_async\.durable (\w+(?: --?[a-z].*?)?)(?:  |\n|``)", TEXT)
)
def test_commands(command):
    """The commands of the page exist."""
    assert _parser().parse_args(command.split()).command


def test_commands_of_the_table():
    """So do those of the table, with their options."""
    commands = re.findall(r"^\| `batch\.[^|]*\| `([^`]*)`", TEXT, re.MULTILINE)
    assert len(commands) == 4
    for command in commands:
        words = re.sub(r"[\[\]]", "", command).replace("NAME", "night-11-25").split()
        assert _parser().parse_args(words).batch == "night-11-25"
