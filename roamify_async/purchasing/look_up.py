"""Looks up a purchase: once, until it is found, by near matches of its reference, and until it is complete."""

import logging
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar, cast

import anyio
import attrs

from roamify_async._core import telemetry
from roamify_async._core.concurrency import FIRST_PAUSE, LONGEST_PAUSE, poll
from roamify_async._core.endpoint import Reconciliation
from roamify_async._core.engine import Engine, log_facts
from roamify_async._http.messages import SendState
from roamify_async.errors import ConfigurationError, RoamifyError, Sent

from .classify import (
    CLOCK_SKEW,
    Booked,
    BookedT,
    LookUpResult,
    PurchaseRequest,
    Verdict,
    is_near_match,
    judge_found,
    judge_response,
)
from .failures import booked_twice

ResponseT = TypeVar("ResponseT", bound=Booked)

log: logging.Logger = logging.getLogger("roamify_async")


class LookUp(Generic[ResponseT, BookedT]):
    """The look-ups of one purchase."""

    def __init__(
        self,
        engine: Engine,
        reconciliation: Reconciliation[PurchaseRequest, BookedT, ResponseT],
        request: PurchaseRequest,
        send_state: SendState,
    ) -> None:
        self.engine = engine
        self.reconciliation = reconciliation
        self.request = request
        self.send_state = send_state
        self.reference: str = request.reference_id or ""

    async def once(self, engine: Engine | None = None) -> LookUpResult[BookedT]:
        """Look up once, with the tries of *engine*."""
        engine = engine or self.engine
        first_sent = self.send_state.first_sent_at
        not_before = None
        if first_sent is not None:
            not_before = engine.memory.server_time(first_sent) - CLOCK_SKEW
        try:
            found = await self.reconciliation.find(engine, self.request)
            result = judge_found(found, self.request, not_before=None if self.send_state.looked_first else not_before)
            if not_before is None or result.booked or self.reconciliation.other_evidence is None:
                return result
            evidence = await self.reconciliation.other_evidence(engine, self.request, not_before)
        except RoamifyError as error:
            text = "purchase %s could not be looked up: %s"
            log.info(text, self.reference, error, extra=self._facts())
            return LookUpResult(failure=error.with_traceback(None))
        return attrs.evolve(result, evidence=result.evidence + evidence)

    async def search(self, *, until_answered: bool) -> LookUpResult[BookedT]:
        """Look up until the purchase is found or the reconcile window has passed."""
        engine = self.engine.single_try  # A poll that fails is repeated anyway, within the window.
        window = self.engine.settings.reconcile_window
        return await search(lambda: self.once(engine), window, until_answered=until_answered)

    async def find_near_matches(self) -> tuple[tuple[object, ...], RoamifyError | None]:
        """Return the latest purchases whose reference may be this one, changed by the server."""
        try:
            latest = await self.reconciliation.latest(self.engine)
        except RoamifyError as error:
            return (), error.with_traceback(None)
        known = self.engine.memory.references
        near = [
            booked
            for booked in latest
            if is_near_match(booked.reference_id, self.reference) and booked.reference_id not in known
        ]
        return tuple(near), None

    async def refresh(self, booked_id: str) -> BookedT | None:
        """Read a purchase until it is complete or the window has passed; return it as last seen."""
        engine, last = self.engine.single_try, cast("BookedT | None", None)
        async for _ in poll(self.engine.settings.reconcile_window):
            try:
                last = await self.reconciliation.refresh(engine, self.request, booked_id) or last
            except RoamifyError as error:
                text = "purchase %s could not be read again: %s"
                log.info(text, self.reference, error, extra=self._facts())
                continue
            if last is None:
                continue
            is_complete = not (last.is_pending and last.falls_short(self.request.packages()))
            if is_complete or judge_response(last, self.request) is Verdict.NOT_KEPT:
                break
        return last

    async def refuse_second(self) -> None:
        """Raise if the purchase is booked more than once; it is known to be booked."""
        result = await self.once()
        if len(result.ours) > 1:
            raise booked_twice(self.request, result.ours, None)

    def _facts(self) -> dict[str, object]:
        sent: Sent = "no" if self.send_state.first_sent_at is None else "maybe"
        return log_facts(reference_id=self.reference, tries=1, sent=sent, outcome="look_up_failed")


async def search(
    look: Callable[[], Awaitable[LookUpResult[BookedT]]], window: float, *, until_answered: bool = False
) -> LookUpResult[BookedT]:
    """Look up until the purchase is found or *window* seconds have passed, with ever longer pauses.

    A look-up that failed proves nothing: the search goes on, up to twice the window, until one succeeds at its end or
    later. With *until_answered* the first one that succeeds ends it.
    """
    with telemetry.reconciling():
        return await _search(look, window, until_answered=until_answered)


async def _search(
    look: Callable[[], Awaitable[LookUpResult[BookedT]]], window: float, *, until_answered: bool
) -> LookUpResult[BookedT]:
    start, pause = anyio.current_time(), FIRST_PAUSE
    end = start + window
    while True:
        started = anyio.current_time()
        result = await look()
        if result.ours or result.incomplete or result.not_kept or isinstance(result.failure, ConfigurationError):
            return result
        is_answered = result.failure is None
        if is_answered and (until_answered or started >= end):
            return result
        limit = end if started < end else start + 2 * window
        if not is_answered and started >= start + 2 * window:
            return result
        await anyio.sleep(max(0.0, min(pause, limit - anyio.current_time())))
        pause = min(2 * pause, LONGEST_PAUSE)
