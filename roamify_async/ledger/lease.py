"""Leases: how long a process may rely on a reference that it claimed, and the thread that renews them."""

import logging
import os
import threading
import time
from collections.abc import Callable, Collection
from concurrent.futures import Future
from typing import Final

import attrs

from roamify_async.errors import LedgerError

from .rows import Action

log: logging.Logger = logging.getLogger("roamify_async")

RENEWALS: Final = 4
"""Number of renewals within the time of a lease."""


class LeaseLostError(LedgerError):
    """The lease of a purchase is over, so that another process may be making it. Nothing was sent."""


def clock() -> float:
    """Return a time in seconds that advances while the process is stopped and, if the system supports it, suspended."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


@attrs.define(eq=False, kw_only=True)
class Lease:
    """A claimed reference."""

    reference: str
    action: Action
    token: str
    """Unique name of this claim, which is the owner in its row."""
    until: float
    """When it is over, by ``clock``; at the latest when the database takes it for over."""
    pid: int = attrs.field(factory=os.getpid)
    account: str | None = None
    """Account of the shared limits in which its cost is reserved."""
    reserved: int = 0
    """Reserved cost in millionths of a US dollar."""
    is_written: bool = True
    """Whether there is a row. The reference of a new purchase is written when it is sent."""
    is_started: bool = False
    """Whether the row says that it may have been sent."""
    starting: "Future[tuple[str | None, int]] | None" = None
    """The work of ``start`` whose caller left before it was done."""

    def check(self) -> None:
        """Raise ``LeaseLostError`` unless nobody else can hold the reference: the veto before each send."""
        if os.getpid() != self.pid:
            raise LeaseLostError(f"the purchase {self.reference!r} was claimed before a fork, by the parent process")
        if clock() >= self.until:
            raise LeaseLostError(f"the lease of {self.reference!r} is over: another process may buy it now")


class Renewal:
    """A daemon thread that renews all leases of a process. It ends when there are none."""

    def __init__(self, renew: Callable[[Collection[Lease]], None], seconds: float) -> None:
        self._renew = renew
        self._pause = seconds / RENEWALS
        self._changed = threading.Condition()
        self._leases: set[Lease] = set()
        self._thread: threading.Thread | None = None
        self._is_closed = False

    def add(self, lease: Lease) -> None:
        """Renew a lease from now on."""
        with self._changed:
            self._leases.add(lease)
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._run, name="roamify_async ledger", daemon=True)
                self._thread.start()

    def discard(self, lease: Lease) -> None:
        """Stop renewing a lease."""
        with self._changed:
            self._leases.discard(lease)

    def close(self) -> None:
        """End the thread."""
        with self._changed:
            self._is_closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join()

    def _run(self) -> None:
        while True:
            with self._changed:
                if not self._is_closed:
                    self._changed.wait(self._pause)
                leases = [*self._leases]
                if not leases or self._is_closed:
                    self._thread = None
                    return
            try:
                self._renew(leases)
            except LedgerError as error:
                log.warning("leases that could not be renewed: %d: %s", len(leases), error)
