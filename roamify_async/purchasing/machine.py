"""The purchase machine: decides what to do next for one purchase, from what has happened so far.

It has no loop, no clock and no I/O. The driver (``attempt``) carries out each step and reports its result, until the
step is ``Finish`` or ``Fail``. Every purchase goes through it: single orders, top-ups, vouchers, insurance, and each
line of a bulk order.

The invariant: at most one purchase is booked under a reference, unless a booking becomes visible later than the
reconcile window after a resend that the settings allowed. Then all of them are reported. And no purchase is booked
whose reference the caller cannot have.
"""

from typing import Final, Generic, TypeVar

import attrs

from roamify_async._core.server_messages import is_insufficient_balance
from roamify_async.errors import (
    ConflictError,
    DecodeError,
    PurchaseFailedError,
    PurchaseInDoubtError,
    RateLimitError,
    RoamifyError,
)
from roamify_async.settings import OnDoubt

from .classify import Booked, BookedT, LookUpResult, Outcome, PurchaseRequest, Verdict, classify, ids, judge_response
from .failures import booked_twice, differs, doubt, not_looked_up, with_orders

ResponseT = TypeVar("ResponseT", bound=Booked)

MIN_RATE_LIMIT_DELAY: Final = 2.0
"""Seconds to wait after a 429, at least."""

# ---------------------------------------------------------------- steps


@attrs.frozen
class LookFirst:
    """Look up the reference once, before anything is sent, and check the packages at the same time."""

    look: bool
    """Whether to look up; a reference that was just created needs no look-up."""


@attrs.frozen
class Send:
    """Send the request."""


@attrs.frozen
class Wait:
    """Wait before looking up and sending again: the server asked for it."""

    seconds: float


@attrs.frozen
class Search:
    """Look up until the purchase is found or the window has passed."""

    until_answered: bool = False
    """Stop at the first look-up that succeeds, whatever it found."""


@attrs.frozen
class FindNearMatches:
    """Search the latest purchases for one whose reference the server may have changed."""


@attrs.frozen
class Refresh:
    """Read a purchase again, until it is complete or the window has passed."""

    booked: Booked


@attrs.frozen
class ReadBooked:
    """Read a purchase by its id, under which another process booked it."""

    id: str


@attrs.frozen
class Finish(Generic[ResponseT, BookedT]):
    """The purchase exists: return its response, or convert what was found to one."""

    response: ResponseT | None = None
    found: BookedT | None = None
    was_found: bool = False
    """Whether it existed before this call sent anything."""


@attrs.frozen
class Fail:
    """Raise the error."""

    error: RoamifyError | ValueError


Step = LookFirst | Send | Wait | Search | FindNearMatches | Refresh | ReadBooked | Finish[ResponseT, BookedT] | Fail
"""What the driver does next."""


@attrs.define(kw_only=True)
class Machine(Generic[ResponseT, BookedT]):
    """The state of one purchase. Each method takes the result of a step and returns the next one."""

    request: PurchaseRequest
    policy: OnDoubt
    max_sends: int
    is_new: bool
    """Whether the reference was created for this call, so that nothing can be booked under it."""
    look_first: bool = True
    """Whether a reference of the caller's is looked up before sending."""
    was_sent_before: bool = False
    """Whether an earlier call or run may have sent it."""
    was_bought: bool = False
    """Whether this client bought it before, so that a look-up that finds nothing only lags. It is never sent again."""
    doubt: RoamifyError | None = None
    """The first failure which left open whether the purchase was booked."""
    seen: tuple[object, ...] = ()
    """Responses that differ from the request."""
    booked_id: str | None = None
    """Id under which another process booked it."""
    sends: int = attrs.field(default=0, init=False)
    """How often this call may have sent it."""
    _failure: RoamifyError | None = attrs.field(default=None, init=False)
    """The failure of the last send."""
    _bought: Finish[ResponseT, BookedT] | None = attrs.field(default=None, init=False)
    """The end, while it is checked whether the purchase was booked twice."""
    _incomplete: Booked | None = attrs.field(default=None, init=False)
    """A purchase that is read again until it is complete."""
    _look_up_error: RoamifyError | None = attrs.field(default=None, init=False)

    @property
    def may_be_booked(self) -> bool:
        """Whether a send whose outcome is not known may have been booked."""
        return self.was_sent_before or self.doubt is not None

    @property
    def was_resent(self) -> bool:
        """Whether this call sent what may have been sent already."""
        return self.sends + self.was_sent_before > 1

    # ---------------------------------------------------------------- before sending

    def start(self) -> Step[ResponseT, BookedT]:
        """Return the first step."""
        if self.booked_id is not None:
            return ReadBooked(self.booked_id)
        return Search() if self.was_sent_before else LookFirst(look=self.look_first and not self.is_new)

    def on_first_look(
        self, result: LookUpResult[BookedT] | None, refusal: RoamifyError | ValueError | None
    ) -> Step[ResponseT, BookedT]:
        """Decide after the look-up, which is ``None`` if there was none, and the check of the packages."""
        found = None if result is None else self._on_found(result)
        if found is not None:
            return found
        if self.was_bought and result is not None and result.is_empty:
            self.was_sent_before = True
            return Search()
        if refusal is not None and (result is None or not result.foreign):
            return Fail(refusal)
        if result is not None and (result.foreign or result.evidence):
            return Fail(self._conflict(result))
        if result is not None and result.failure is not None:
            return Fail(not_looked_up(result.failure))
        return Send()

    def on_read(self, booked: BookedT | None) -> Step[ResponseT, BookedT]:
        """Decide after reading what another process booked. It is ``None`` if it cannot be read."""
        verdict = None if booked is None else judge_response(booked, self.request)
        if booked is not None and verdict is Verdict.OURS:
            return Finish(found=booked, was_found=True)
        if booked is not None and verdict is Verdict.NOT_KEPT:
            return Fail(self._not_kept(booked))
        advice = f"Read it with {self.request.look_up.format(self.request.reference_id)}; do not buy it again"
        message = f"the purchase was booked as {self.booked_id}, and could not be read. {advice}"
        return Fail(doubt(self.request, self.doubt, () if booked is None else (booked,), message))

    # ---------------------------------------------------------------- after sending

    def on_response(self, response: ResponseT) -> Step[ResponseT, BookedT]:
        """Decide after a 2xx response."""
        self.sends += 1
        verdict = judge_response(response, self.request)
        if verdict is Verdict.OURS:
            return self._confirm(Finish(response))
        if verdict is Verdict.NOT_KEPT:
            return Fail(self._not_kept(response))
        if verdict is Verdict.INCOMPLETE:
            return self._refresh(response)
        self.seen += (response,)
        return self._on_unknown(DecodeError(differs(response, self.request), ids=(response.id,)))

    def on_veto(self, error: RoamifyError) -> Step[ResponseT, BookedT]:
        """Decide after the caller refused a send, whatever the error: not one byte of it left."""
        self._failure = error.with_facts(sent="no")
        self.max_sends = 0
        return Search() if self.may_be_booked else Fail(error)

    def on_failure(self, failure: RoamifyError) -> Step[ResponseT, BookedT]:
        """Decide after a send that failed."""
        outcome = classify(failure)
        self._failure = failure
        self.sends += outcome is not Outcome.NOT_SENT
        if outcome in {Outcome.NOT_SENT, Outcome.REFUSED}:  # A refusal does not undo an earlier send of this purchase.
            return Search() if self.may_be_booked else Fail(failure)
        if outcome is Outcome.RATE_LIMITED and isinstance(failure, RateLimitError):
            return Wait(max(MIN_RATE_LIMIT_DELAY, failure.retry_after or 0))
        if outcome is Outcome.CONFLICT:
            return Search(until_answered=is_insufficient_balance(failure))
        return self._on_unknown(failure)

    def _on_unknown(self, failure: RoamifyError) -> Step[ResponseT, BookedT]:
        self._failure = failure
        self.doubt = self.doubt or failure
        return Fail(self._in_doubt()) if self.policy == "raise" else Search()

    def on_waited(self, *, may_send: bool = True) -> Step[ResponseT, BookedT]:
        """Decide after a wait, or instead of one that would take too long."""
        if not may_send:
            self.max_sends = self.sends
        return Search(until_answered=True)

    # ---------------------------------------------------------------- after looking up

    def on_search(self, result: LookUpResult[BookedT]) -> Step[ResponseT, BookedT]:
        """Decide after a search."""
        self._look_up_error = result.failure
        booked = self._all_booked(result)
        if len(booked) > 1:
            return Fail(booked_twice(self.request, booked, self.doubt or self._failure))
        return self._bought or self._on_found(result) or self._on_absent(result)

    def _all_booked(self, result: LookUpResult[BookedT]) -> tuple[Booked, ...]:
        """Return the purchases that stand under the reference.

        What differs from the request counts only after a resend, which needs a look-up that found nothing.
        """
        booked: list[Booked] = [*result.ours, *result.incomplete]
        if self.was_resent:
            booked += result.foreign
        end = self._bought
        one = None if end is None else end.response or end.found
        # A batch of vouchers has their ids, in any order.
        known = frozenset[str]() if one is None else frozenset(one.id.split())
        others = tuple(other for other in booked if not known.issuperset(other.id.split()))
        return others if one is None else (one, *others)

    def _confirm(self, end: Finish[ResponseT, BookedT]) -> Step[ResponseT, BookedT]:
        """Finish, after checking that what may have been sent twice was booked once."""
        if not self.was_resent:
            return end
        self._bought = end
        return Search(until_answered=True)

    def _refresh(self, booked: Booked) -> Refresh:
        self._incomplete = booked
        return Refresh(booked)

    def _on_absent(self, result: LookUpResult[BookedT]) -> Step[ResponseT, BookedT]:
        failure = self._failure
        outcome = None if failure is None else classify(failure)
        if failure is not None and result.failure is None and not self.may_be_booked:
            if outcome is Outcome.CONFLICT:
                return Fail(with_orders(failure, result))
            if result.is_empty and self.sends >= self.max_sends:
                return Fail(failure)  # Rate limited to the end.
        # Whatever a response holds, the server says that something was bought.
        if self.seen or not result.is_empty or not self._may_resend(outcome):
            return Fail(self._in_doubt(result))
        return FindNearMatches()

    def _may_resend(self, outcome: Outcome | None) -> bool:
        """Return whether a purchase that was not found may be sent again."""
        if self.was_bought or max(self.sends, 1) >= self.max_sends:
            return False
        if outcome in {Outcome.REFUSED, Outcome.NOT_SENT, Outcome.CONFLICT}:
            return False
        is_rate_limited = outcome is Outcome.RATE_LIMITED and not self.may_be_booked
        return is_rate_limited or self.policy == "look_up_then_resend"

    def on_near_matches(self, found: tuple[object, ...], failure: RoamifyError | None) -> Step[ResponseT, BookedT]:
        """Decide after the search for a reference that the server may have changed."""
        if found or failure is not None:
            self._look_up_error = failure
            return Fail(self._in_doubt(found=found))
        return Send()

    def on_refreshed(self, booked: BookedT | None) -> Step[ResponseT, BookedT]:
        """Decide after an incomplete purchase was read again. It is ``None`` if it cannot be read."""
        verdict = None if booked is None else judge_response(booked, self.request)
        if booked is not None and verdict is Verdict.OURS:
            return self._confirm(Finish(found=booked, was_found=self.sends == 0))
        if booked is not None and verdict is Verdict.NOT_KEPT:
            return Fail(self._not_kept(booked))
        self.doubt = self.doubt or RoamifyError("the order is incomplete: items are missing", sent="answered")
        seen = booked or self._incomplete
        return Fail(self._in_doubt(found=() if seen is None else (seen,)))

    def _on_found(self, result: LookUpResult[BookedT]) -> Step[ResponseT, BookedT] | None:
        """Return the step for a purchase that was found, if there is one."""
        if result.ours:
            booked = result.ours[0]
            is_growing = self.sends > 0 and booked.is_pending and booked.falls_short(self.request.packages())
            return self._refresh(booked) if is_growing else Finish(found=booked, was_found=self.sends == 0)
        if result.incomplete:
            return self._refresh(result.incomplete[0])
        return Fail(self._not_kept(result.not_kept[0])) if result.not_kept else None

    # ---------------------------------------------------------------- errors

    def _in_doubt(
        self, result: LookUpResult[BookedT] | None = None, found: tuple[object, ...] = ()
    ) -> PurchaseInDoubtError:
        seen = found if result is None else result.foreign + result.evidence
        return doubt(self.request, self.doubt or self._failure, self.seen + seen, look_up_error=self._look_up_error)

    def _not_kept(self, booked: Booked) -> PurchaseFailedError | PurchaseInDoubtError:
        if self.was_resent and self.may_be_booked:  # It says nothing of the other send.
            return self._in_doubt(found=(booked,))
        return PurchaseFailedError(
            f"the purchase was booked as {booked.id} and not kept: {getattr(booked, 'status', '')}. The state FAILED "
            "is not documented, so check the balance; buy again under another reference",
            order=booked,
        )

    def _conflict(self, result: LookUpResult[BookedT]) -> ConflictError:
        seen = result.booked + result.evidence
        what = "differ from this purchase" if result.booked else "have a reference that differs in spelling only"
        return ConflictError(
            f"orders under the reference {self.request.reference_id!r} {what}: {ids(seen)}; nothing was sent. "
            "One reference is one purchase: use another one",
            status=409,
            sent="no",
        )
