"""The time of day, as one sandbox tells it."""

import re
import time
from typing import Final

MOST: Final = 10 * 365 * 86_400
"""The most seconds that time moves forward at once: ten years."""

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_SPAN: Final = re.compile(r"(\d{1,9})([smhd])")


class Clock:
    """Where a sandbox reads the time; nothing else of it does, but for headers that the client's own clock reads."""

    ahead: float = 0.0
    """How many seconds it was moved ahead of this machine's time."""

    def now(self) -> float:
        """Tell the Unix time in seconds."""
        return time.time() + self.ahead


def span(given: object) -> float:
    """Understand how far to move forward: seconds, or a text such as `90s`, `15m`, `4h`, `30d`; else ValueError."""
    if isinstance(given, str) and (found := _SPAN.fullmatch(given)):
        given = int(found[1]) * _UNITS[found[2]]
    if isinstance(given, bool) or not isinstance(given, (int, float)) or not 0 <= given <= MOST:
        raise ValueError(f"advance must be seconds, or a text such as '4h', and at most ten years, not {given!r}")
    return float(given)
