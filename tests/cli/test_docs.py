"""The how-to guide of the command: its script runs, and its table has all exit codes."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from support.clients import HANG

from roamify_async.cli import exits

PAGE = (Path(__file__).parents[2] / "docs" / "howto" / "command-line.md").read_text("utf-8")


@pytest.mark.long
def test_script(tmp_path: Path):
    """The script of a day's work runs, twice with the same result: its references buy once."""
    (script,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    assert len(script.splitlines()) <= 22
    folder = tmp_path / "bin"
    folder.mkdir()
    command = folder / "roamify"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m roamify_async.cli "$@"\n')
    command.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", "PYTHONPATH": os.pathsep.join(sys.path)}
    reports = []
    for _ in range(2):
        done = subprocess.run(
            ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=HANG,
            check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        reports.append((done.stdout.splitlines()[-1], (tmp_path / "report.csv").read_text()))
    assert reports[0] == reports[1]
    assert reports[0][1].count("\n") == 5


def test_exit_codes():
    """The table has all exit codes."""
    documented = {int(code) for code in re.findall(r"^\| (\d+) \|", PAGE, re.MULTILINE)}
    assert documented == {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)}
