"""Processes that a test kills, stops and continues at certain points."""

import asyncio
import json
import signal
from typing import Any


class Started:
    """A process of its own, which prints JSON, and waits for lines of input."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        """Take the process."""
        self._process = process

    async def read(self) -> dict[str, Any]:
        """Return the next line that it prints."""
        assert self._process.stdout is not None
        line = await self._process.stdout.readline()
        assert line, "the worker ended"
        value: dict[str, Any] = json.loads(line)
        return value

    async def reach(self, point: str) -> None:
        """Wait until it is at a point."""
        assert await self.read() == {"at": point}

    def go_on(self) -> None:
        """Continue it where it waits."""
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    async def kill(self) -> None:
        """Kill it, and wait for its end."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
