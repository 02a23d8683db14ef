"""How many requests came for what, and waiting until so many have come."""

from collections import Counter
from concurrent.futures import Future

from attrs import define, field

from roamify_async.sandbox.faults.rules import METHODS


def request_name(what: str) -> str:
    """Insist on a method and a path; ValueError shows one."""
    method, _, path = what.partition(" ")
    if method not in METHODS or not path.startswith("/"):
        raise ValueError(f"a request is named by method and path such as 'POST /api/esim/order', not {what!r}")
    return what


@define
class Arrivals:
    """The count of requests by method and path, and who waits for it."""

    counts: Counter[str] = field(factory=Counter[str], init=False)
    _waiting: list[tuple[str, int, "Future[None]"]] = field(factory=list[tuple[str, int, "Future[None]"]], init=False)

    def note(self, what: str) -> None:
        """Count a request."""
        self.counts[what] += 1
        self._wake()

    def expect(self, what: str, count: int) -> "Future[None]":
        """Give what is done once so many such requests have come."""
        future: Future[None] = Future()
        self._waiting.append((request_name(what), count, future))
        self._wake()
        return future

    def reset(self) -> None:
        """Count from nothing; who waits goes on waiting."""
        self.counts.clear()

    def close(self) -> None:
        """Let nobody wait any longer."""
        for _, _, future in self._waiting:
            if future.set_running_or_notify_cancel():
                future.set_exception(RuntimeError("the sandbox stopped"))

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for what, count, future in waiting:
            if self.counts[what] < count:
                self._waiting.append((what, count, future))
            elif future.set_running_or_notify_cancel():
                future.set_result(None)
