"""The clock of a sandbox, which can be ahead of the system time."""

import re
import time
from typing import Final

LONGEST_ADVANCE: Final = 10 * 365 * 86_400
"""The most seconds that the clock can be advanced at once: ten years."""

_UNITS: Final = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}
_DURATION: Final = re.compile(r"(\d{1,9})([smhd])")


class Clock:
    """The only place where a sandbox reads the time, apart from headers that are compared with the client's clock."""

    ahead: float = 0.0
    """How many seconds it is ahead of the system time."""

    def now(self) -> float:
        """Return the Unix time in seconds."""
        return time.time() + self.ahead


def parse_duration(value: object) -> float:
    """Return a duration in seconds from a number of seconds, or a text such as `90s`, `15m`, `4h`, `30d`.

    Raises ValueError for anything else, and for more than ten years.
    """
    if isinstance(value, str) and (found := _DURATION.fullmatch(value)):
        value = int(found[1]) * _UNITS[found[2]]
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= LONGEST_ADVANCE:
        raise ValueError(f"advance must be seconds or a text such as '4h', ten years at most, not {value!r}")
    return float(value)
