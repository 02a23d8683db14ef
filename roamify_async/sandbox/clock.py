"""The time of day, as one sandbox tells it."""

import time


class Clock:
    """Where a sandbox reads the time; nothing else of it does, but for headers that the client's own clock reads."""

    def now(self) -> float:
        """Tell the Unix time in seconds."""
        return time.time()
