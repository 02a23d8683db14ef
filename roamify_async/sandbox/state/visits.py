"""The last requests of the API, as a person wants to see them."""

from collections import deque
from typing import Final

from attrs import define, field

UNDER_WAY: Final = "under way"

_KEPT: Final = 50
_LONGEST: Final = 120  # letters of a path


@define(eq=False)
class Visit:
    """One request; its status is that of the answer, or a word where no whole answer was sent."""

    method: str
    path: str
    at: float
    fault: str
    status: int | str = UNDER_WAY


@define
class Visits:
    """The last requests, and the last of them that a fault hit."""

    recent: "deque[Visit]" = field(factory=lambda: deque[Visit](maxlen=_KEPT), init=False)
    hit: "deque[Visit]" = field(factory=lambda: deque[Visit](maxlen=_KEPT), init=False)

    def note(self, method: str, path: str, at: float, fault: str) -> Visit:
        """Keep a request that has come; whoever answers it sets its status."""
        shown = path if len(path) <= _LONGEST else path[: _LONGEST - 1] + "…"
        visit = Visit(method, shown, at, fault)
        self.recent.append(visit)
        if fault:
            self.hit.append(visit)
        return visit

    def reset(self) -> None:
        """Forget them all."""
        self.recent.clear()
        self.hit.clear()
