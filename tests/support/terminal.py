"""Programs in a pseudo-terminal.

The child is started by ``subprocess``, since forking a process with threads, as ``pty.fork`` does, may deadlock.
"""

import fcntl
import os
import pty
import selectors
import struct
import subprocess
import sys
import termios
from collections.abc import Mapping, Sequence
from time import monotonic
from typing import Self

from support.clients import HANG

SIZE = (40, 100)
CONTROLLED = "import fcntl, os, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
"""Program that makes the terminal that of its session, so that Ctrl-C becomes a signal, and then becomes another."""


class Terminal:
    """A program in a terminal of 100 columns."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start the program."""
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", *SIZE, 0, 0))
        self._process = subprocess.Popen(
            [sys.executable, "-c", CONTROLLED, *command], stdin=slave, stdout=slave, stderr=slave,
            env={**environment, "TERM": "xterm-256color"}, start_new_session=True,
        )  # fmt: skip
        os.close(slave)
        self._text = ""

    def __enter__(self) -> Self:
        """Return the terminal."""
        return self

    def __exit__(self, *_: object) -> None:
        """Kill the program if it runs."""
        self._process.kill()
        self._process.wait()
        os.close(self._master)

    def send(self, text: str) -> None:
        """Type text."""
        os.write(self._master, text.encode())

    def kill(self) -> None:
        """Kill the program, as by ``kill -9``."""
        self._process.kill()
        self._process.wait()

    def until(self, *texts: str) -> str:
        """Wait until texts were printed, one after the other, and return all that was."""
        position = 0
        for text in texts:
            while (found := self._text.find(text, position)) < 0:
                assert self._read(), f"the program ended without {text!r}: {self._text}"
            position = found + len(text)
        return self._text

    def finish(self) -> tuple[int, str]:
        """Wait for the end, and return the exit code and all that was printed."""
        while self._read():
            pass
        return self._process.wait(HANG), self._text

    def _read(self) -> bool:
        """Read what was printed. Returns whether there may be more."""
        end = monotonic() + HANG
        with selectors.DefaultSelector() as selector:
            selector.register(self._master, selectors.EVENT_READ)
            assert selector.select(end - monotonic()), f"nothing more was printed: {self._text}"
        try:
            content = os.read(self._master, 65536)
        except OSError:  # Linux reports the end of a terminal as an error.
            return False
        self._text += content.decode("utf-8", "replace").replace("\r\n", "\n")
        return bool(content)
