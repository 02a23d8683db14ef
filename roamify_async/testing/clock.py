"""The clock of a test's sandbox."""

from datetime import datetime, timedelta

import attrs

from roamify_async.sandbox import Sandbox


@attrs.frozen
class Clock:
    """The clock of the sandbox, which runs as the system's does, and can be advanced.

    It changes neither the time of the test's own process nor the waits of a client.
    """

    _sandbox: Sandbox

    @property
    def now(self) -> datetime:
        """The time of the sandbox, in UTC."""
        return self._sandbox.now

    def advance(self, by: float | str | timedelta) -> None:
        """Advance the clock: eSIMs are installed, used and expire, and webhook events of that are sent.

        Args:
            by: Seconds, a ``timedelta``, or a text such as ``"90s"``, ``"15m"``, ``"4h"`` or ``"30d"``.
        """
        self._sandbox.advance(by)
