"""The command, run in this process or as a program, against a sandbox."""

import logging
import os
import signal
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest
from support.clients import QUICK
from support.commands import Ran, Run
from support.leaks import TOKENS
from support.programs import environment

import roamify_async
from roamify_async import Settings
from roamify_async.cli import main
from roamify_async.sandbox import Sandbox


@pytest.fixture(autouse=True)
def folders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Use empty folders for profiles and state."""
    for name in ("ROAMIFY_TOKEN", "ROAMIFY_BASE_URL", "ROAMIFY_LEDGER", "ROAMIFY_WEBHOOK_SECRET"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return tmp_path


@pytest.fixture
def shop(folders: Path, configured: Sandbox) -> Sandbox:
    """Run a sandbox that the command uses, in an empty folder."""
    return configured


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    """Restore what the command changes in its process: the logger, and the handlers of signals."""
    logger = logging.getLogger("roamify_async")
    handlers, level = logger.handlers[:], logger.level
    numbers = (signal.SIGTERM, signal.SIGHUP)
    signals = [signal.getsignal(number) for number in numbers]
    yield
    logger.handlers[:] = handlers
    logger.setLevel(level)
    for number, handler in zip(numbers, signals, strict=True):
        signal.signal(number, handler)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run the command in this process, with few and quick retries. No token may show in what it prints."""
    monkeypatch.setattr(roamify_async, "Settings", partial(Settings, retries=QUICK.retries))

    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        ran = Ran(code, *capsys.readouterr())
        assert not any(token in ran.out + ran.err for token in TOKENS)
        return ran

    return run


@pytest.fixture
def program(shop: Sandbox) -> dict[str, str]:
    """Return the environment of a program that uses the sandbox."""
    removed = {"COLUMNS", "FORCE_COLOR", "NO_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
    path = {"PYTHONPATH": os.pathsep.join(sys.path)}
    return {name: value for name, value in environment(shop).items() if name not in removed} | path
