"""Looking again and again for something that takes its time."""

from collections.abc import AsyncGenerator
from typing import Final

import anyio

FIRST_PAUSE: Final = 0.25
"""Seconds between the first two looks; then twice as many each time."""
LONGEST_PAUSE: Final = 5.0
"""The most seconds between two looks."""


async def looks(window: float) -> AsyncGenerator[None, None]:
    """Give a turn to look at once, then after ever longer pauses; the last one comes when the window has passed."""
    end, pause = anyio.current_time() + window, FIRST_PAUSE
    while True:
        begun = anyio.current_time()
        yield
        if begun >= end:
            return
        await anyio.sleep(max(0.0, min(pause, end - anyio.current_time())))
        pause = min(2 * pause, LONGEST_PAUSE)
