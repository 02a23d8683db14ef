"""Programs in processes of their own, which use a sandbox of the test."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import attrs
from support.clients import HANG

from roamify_async.sandbox import Sandbox

ROOT = Path(__file__).parents[2]
CHANGING = {"PYTHONWARNINGS", "PYTHONDEVMODE", "PYTHONUNBUFFERED"}
"""Variables that change what a program prints. Unbuffered, the lines of two processes may mix."""


@attrs.frozen
class Ended:
    """A program that has ended."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[str]:
        """The lines that it printed."""
        return self.out.splitlines()


def environment(sandbox: Sandbox) -> dict[str, str]:
    """Return the environment of a program: clients without arguments use the sandbox, and warnings are as usual."""
    inherited = {name: value for name, value in os.environ.items() if name not in CHANGING}
    path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
    return inherited | {"ROAMIFY_TOKEN": sandbox.token, "ROAMIFY_BASE_URL": sandbox.url, "PYTHONPATH": path}


def run_program(body: str, sandbox: Sandbox, *options: str, timeout: float = HANG) -> Ended:
    """Run a program to its end."""
    done = subprocess.run(
        [sys.executable, *options, "-c", textwrap.dedent(body)],
        capture_output=True,
        text=True,
        env=environment(sandbox),
        timeout=timeout,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
