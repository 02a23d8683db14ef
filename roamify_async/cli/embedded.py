"""The sandbox of ``--sandbox``: it runs while the command does, and keeps its state in a file."""

import zlib
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

from roamify_async.sandbox import Sandbox

from .accounts import Account, state_folder

PACKAGES: Final = 2_000
"""Number of packages in its catalogue."""


def sandbox_file() -> Path:
    """Return the path of its state. Without the file, a new sandbox has 1,000 USD and no orders."""
    return state_folder() / "sandbox.db"


@contextmanager
def run_sandbox() -> Generator[Account, None, None]:
    """Run the sandbox, and return its account."""
    path = sandbox_file()
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with ExitStack() as stack:
        try:
            sandbox = stack.enter_context(Sandbox(packages=PACKAGES, db=path, port=_port(path)))
        except OSError:  # Another command runs it at this port.
            sandbox = stack.enter_context(Sandbox(packages=PACKAGES, db=path))
        yield Account(token=sandbox.token, base_url=sandbox.url, source="the sandbox")


def _port(path: Path) -> int:
    """Return the port for a file, the same in every run: the journal of a bulk order belongs to one base URL."""
    return 20_000 + zlib.crc32(str(path.resolve()).encode()) % 10_000
