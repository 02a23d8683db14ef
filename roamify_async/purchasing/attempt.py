"""Makes one purchase: carries out the steps of the machine, which sends, looks up and waits.

The API has no idempotency key. A reference is the only handle: the client creates one before the first byte is sent,
one reference is one purchase, and what is not known is looked up and never guessed.
"""

import logging
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Generic, TypeVar, cast
from uuid import uuid4

import anyio
import attrs

from roamify_async._core.callbacks import note_purchase
from roamify_async._core.concurrency import FIRST_PAUSE, LONGEST_PAUSE, gather, poll, raise_first
from roamify_async._core.endpoint import Endpoint, Reconciliation
from roamify_async._core.engine import MIN_DEADLINE, Engine, log_facts
from roamify_async._core.memory import Doubt
from roamify_async._http.messages import SendState
from roamify_async.errors import (
    ConfigurationError,
    ConflictError,
    EsimsNotReadyError,
    JournalError,
    PackageNotFoundError,
    PurchaseFailedError,
    PurchaseInDoubtError,
    RoamifyError,
    Sent,
    ServerError,
)
from roamify_async.ledger.lease import LeaseLostError
from roamify_async.settings import DEFAULT_TIMEOUTS

from .classify import (
    CLOCK_SKEW,
    Booked,
    BookedT,
    LookUpResult,
    PurchaseRequest,
    Verdict,
    ids,
    is_near_match,
    is_same_kind,
    judge_found,
    judge_response,
)
from .machine import (
    Fail,
    FindNearMatches,
    Finish,
    LookFirst,
    Machine,
    ReadBooked,
    Refresh,
    Search,
    Send,
    Step,
    Wait,
    booked_twice,
    doubt,
)
from .shared import Hold, SharedClaim, claim_reference, throttle

T = TypeVar("T")

log: logging.Logger = logging.getLogger("roamify_async")


ResponseT = TypeVar("ResponseT", bound=Booked)
RequestT = TypeVar("RequestT", bound=PurchaseRequest)


async def purchase(engine: Engine, endpoint: Endpoint[..., T], request: object, /) -> T:
    """Make the purchase of *request* exactly once, and return the response. A missing reference is created here.

    A second call with the same reference waits for the first, and returns the same purchase.
    """
    # The endpoint declares a reconciliation, and with it that its types are those of a purchase.
    bought = await buy_once(engine, cast("Endpoint[..., Booked]", endpoint), cast("PurchaseRequest", request))
    note_purchase(bought.reference_id or "")
    return cast("T", bought)


async def buy_once(engine: Engine, endpoint: Endpoint[..., ResponseT], request: PurchaseRequest) -> ResponseT:
    """Make a purchase, holding its reference until the outcome is known."""
    if request.reference_id is None:
        return await make_purchase(engine, endpoint, with_reference(request), SendState(), is_new=True)
    async with engine.memory.claims.hold(request.reference_id, patience(engine, endpoint.timeout)) as was_held:
        return await make_purchase(engine, endpoint, request, SendState(), must_look=was_held)


def with_reference(request: RequestT) -> RequestT:
    """Return a request with a reference, which is created if there is none."""
    if request.reference_id is not None:
        return request
    evolve = cast("Callable[..., RequestT]", attrs.evolve)
    return evolve(request, reference_id=str(uuid4()))


def patience(engine: Engine, timeout: float | None) -> float:
    """Return the seconds for which a call, with its endpoint's *timeout*, waits for another one under its reference."""
    timeouts = engine.settings.timeouts
    return (timeouts.total or timeout or DEFAULT_TIMEOUTS.total or 0) + engine.settings.reconcile_window


async def make_purchase(
    engine: Engine,
    endpoint: Endpoint[..., ResponseT],
    request: PurchaseRequest,
    send_state: SendState,
    *,
    is_new: bool = False,
    must_look: bool = False,
    check: Callable[[], Awaitable[None]] | None = None,
    before_send: Callable[[], Awaitable[None]] | None = None,
    on_doubt: Callable[[], None] | None = None,
    hold: Hold | None = None,
) -> ResponseT:
    """Make the purchase of *request*, whose reference the caller holds in this client.

    If there is a ledger, it is claimed there first, and held until the outcome is known, or to the end of *hold*.

    *send_state* says whether it may have been sent before; then it is looked up first. *is_new* means that the
    reference was just created, so that nothing can be booked under it. *must_look* looks it up whatever the settings.
    *check* replaces the endpoint's own check of the packages. *before_send* runs before each send, and may refuse it.
    *on_doubt* is called after a send which leaves open whether it was booked.

    All failures carry the reference. So does whatever cancels the call: as a note, in the log, and in ``doubts()``.
    """
    _refuse_other(engine, request)
    make = partial(
        _make, engine, endpoint, request, send_state, check=check, before_send=before_send, on_doubt=on_doubt
    )
    ledger = engine.memory.ledger
    if ledger is None:
        return await make(is_new=is_new, must_look=must_look)
    limit = patience(engine, endpoint.timeout)
    while True:
        claim = await claim_reference(
            engine, ledger, endpoint, request, send_state, patience=limit, is_new=is_new, hold=hold
        )
        try:
            return await make(is_new=is_new, must_look=must_look or claim.had_row, claim=claim)
        except LeaseLostError:
            if send_state.first_sent_at is not None:
                raise
            log.info("purchase %s was taken over by another process before it was sent", request.reference_id)
            is_new, must_look = False, True


async def _make(
    engine: Engine,
    endpoint: Endpoint[..., ResponseT],
    request: PurchaseRequest,
    send_state: SendState,
    *,
    is_new: bool,
    must_look: bool,
    check: Callable[[], Awaitable[None]] | None,
    before_send: Callable[[], Awaitable[None]] | None,
    on_doubt: Callable[[], None] | None,
    claim: SharedClaim | None = None,
) -> ResponseT:
    attempt: Attempt[ResponseT, Booked] = Attempt(
        engine,
        endpoint,
        request,
        send_state,
        is_new=is_new,
        must_look=must_look,
        check=check,
        before_send=before_send,
        on_doubt=on_doubt,
        claim=claim,
    )
    reference = request.reference_id or ""
    engine.memory.references.remember(reference, None)
    try:
        response = await attempt.run()
        if claim is not None:
            await claim.settle(response)
    except RoamifyError as error:
        attempt.remember(error)
        await _give_back(claim, attempt, error)
        raise error.with_facts(
            reference_id=reference, package_ids=error.package_ids or tuple(request.packages())
        ) from None
    except Exception as error:
        if send_state.first_sent_at is None and isinstance(error, ValueError):
            await _give_back(claim, attempt, error)
            raise  # A package that needs a date.
        log.exception("an unexpected exception ended purchase %s", reference, extra=attempt.facts("unexpected"))
        failure = attempt.unexpected()
        await _give_back(claim, attempt, error)
        raise failure from None
    except BaseException as cancelled:
        attempt.leave_note(cancelled)
        await _give_back(claim, attempt, cancelled)
        raise
    engine.memory.add_bought(reference, request)
    response.reference_id = response.reference_id or reference
    return response


async def _give_back(claim: SharedClaim | None, attempt: "Attempt[ResponseT, Booked]", error: BaseException) -> None:
    if claim is not None:
        await claim.fail(error, is_in_doubt=attempt.reference in attempt.engine.memory.doubts)


def _refuse_other(engine: Engine, request: PurchaseRequest) -> None:
    """Refuse a purchase if another one under its reference is in doubt or was bought: one reference is one purchase.

    Whether what was bought has other packages is left to the look-up, which names the order.
    """
    reference = request.reference_id or ""
    earlier, bought = engine.memory.doubts.get(reference), engine.memory.bought.get(reference)
    if earlier is not None:
        other = cast("PurchaseRequest", earlier.request)
        is_other, state = not is_same_kind(other, request) or other.packages() != request.packages(), "is in doubt"
    else:
        is_other, state = bought is not None and not is_same_kind(bought, request), "was made"
    if not is_other:
        return
    raise ConflictError(
        f"another purchase under the reference {request.reference_id!r} {state}; nothing was sent. "
        "One reference is one purchase: use another one",
        status=409,
        sent="no",
        reference_id=request.reference_id,
        package_ids=tuple(request.packages()),
    )


class Attempt(Generic[ResponseT, BookedT]):
    """A purchase under way."""

    def __init__(
        self,
        engine: Engine,
        endpoint: Endpoint[..., ResponseT],
        request: PurchaseRequest,
        send_state: SendState,
        *,
        is_new: bool = False,
        must_look: bool = False,
        check: Callable[[], Awaitable[None]] | None = None,
        before_send: Callable[[], Awaitable[None]] | None = None,
        on_doubt: Callable[[], None] | None = None,
        claim: SharedClaim | None = None,
    ) -> None:
        if endpoint.reconciliation is None:
            raise TypeError(f"{endpoint!r} has no reconciliation: its purchases cannot be looked up")
        self.engine = engine
        self.endpoint = endpoint
        self.request = request
        self.send_state = send_state
        self.reference: str = request.reference_id or ""
        self.reconciliation: Reconciliation[PurchaseRequest, BookedT, ResponseT] = endpoint.reconciliation
        settings = engine.settings
        was_bought = self.reference in engine.memory.bought
        look_first = must_look or was_bought or settings.look_first
        earlier = engine.memory.doubts.get(self.reference)
        if earlier is not None and send_state.first_sent_at is None:
            send_state.first_sent_at = earlier.first_sent_at
            send_state.looked_first = earlier.looked_first
        elif send_state.first_sent_at is None:
            send_state.looked_first = is_new or look_first
        self.machine: Machine[ResponseT, BookedT] = Machine(
            request=request,
            policy=settings.on_doubt,
            max_sends=settings.retries.tries,
            is_new=is_new,
            look_first=look_first,
            was_sent_before=send_state.first_sent_at is not None,
            was_bought=was_bought,
            doubt=None if earlier is None else earlier.reason,
            seen=() if earlier is None else earlier.seen,
            booked_id=None if claim is None else claim.booked_id,
        )
        self._check = check
        self._before_send = before_send
        self._on_doubt = on_doubt
        self._claim = claim
        self._deadline = math.inf

    # ---------------------------------------------------------------- the steps

    async def run(self) -> ResponseT:  # noqa: C901 -- one case for each step
        """Carry out steps until the purchase exists. Raises why it does not, or may not."""
        allowance = self.engine.settings.retries.deadline or max(MIN_DEADLINE, self.endpoint.timeout or 0)
        self._deadline = min(anyio.current_effective_deadline(), anyio.current_time() + allowance)
        machine, step = self.machine, self.machine.start()
        while True:
            match step:
                case LookFirst(look=look):
                    step = machine.on_first_look(*await self._look_first(look=look))
                case Send():
                    step = await self._send()
                case Wait(seconds=seconds):
                    step = machine.on_waited(may_send=await self._wait(seconds))
                case Search(until_answered=until_answered):
                    step = machine.on_search(await self._search(until_answered=until_answered))
                case FindNearMatches():
                    step = machine.on_near_matches(*await self._find_near_matches())
                case Refresh(booked=booked):
                    step = machine.on_refreshed(await self._refresh(booked.id))
                case ReadBooked(id=booked_id):
                    step = machine.on_read(await self._refresh(booked_id))
                case Finish():
                    return await self._finish(step)
                case Fail(error=error):
                    raise error

    async def _look_first(self, *, look: bool) -> tuple[LookUpResult[BookedT] | None, RoamifyError | ValueError | None]:
        """Look up the reference and check the packages, at the same time."""
        settings = self.engine.settings
        refusal: list[RoamifyError | ValueError] = []
        found: list[LookUpResult[BookedT]] = []

        async def check() -> None:
            try:
                if self._check is None:
                    await self.reconciliation.check(self.engine.single_try, self.request)
                else:
                    await self._check()
            except (PackageNotFoundError, ValueError) as error:
                refusal.append(error)
            except RoamifyError as error:
                text = "the packages of purchase %s could not be checked: %s"
                log.info(text, self.reference, error, extra=self.facts("unchecked"))

        async def look_up() -> None:
            found.append(await self._look(self.engine))

        calls: list[Callable[[], Awaitable[None]]] = []
        calls += [check] if settings.check_packages else []
        calls += [look_up] if look else []
        if len(calls) == 1 or self._is_check_known():
            for call in calls:
                await call()
        else:
            raise_first(await gather(lambda call: call(), calls))
        if found and len(found[0].ours) > 1:
            text = "several orders under the reference %s: %s"
            log.warning(text, self.reference, ids(found[0].ours), extra=self.facts("found_several"))
        return next(iter(found), None), next(iter(refusal), None)

    def _is_check_known(self) -> bool:
        """Return whether the check needs no request of its own: all lines of a bulk order share theirs."""
        packages = self.request.packages()
        return self._check is not None or all(self.engine.memory.package(one) is not None for one in packages)

    async def _send(self) -> Step[ResponseT, BookedT]:
        was_sent = self.send_state.first_sent_at is not None or self.machine.was_sent_before
        self.send_state.resent = self.send_state.resent or was_sent
        if self.machine.sends:
            log.info("purchase %s was not found: sent again", self.reference, extra=self.facts("resent"))
        try:
            if self._claim is not None:
                await self._claim.find_price()
            if self._before_send is not None:
                await self._before_send()
        except JournalError:
            raise  # What cannot be written is not sent.
        except RoamifyError as error:
            return self.machine.on_veto(error.with_traceback(None))
        try:
            response = await self.engine.exchange(self.endpoint, self.request, self.send_state)
        except RoamifyError as error:
            if isinstance(error, ServerError):
                self.engine.memory.forget_packages(tuple(self.request.packages()))
            await throttle(self.send_state, error)
            step = self.machine.on_failure(error.with_traceback(None))
        else:
            step = self.machine.on_response(response)
        if self._on_doubt is not None and self.machine.may_be_booked:
            self._on_doubt()
        return step

    async def _wait(self, seconds: float) -> bool:
        """Wait, and return whether there is time to send again."""
        if anyio.current_time() + seconds >= self._deadline:
            return False
        text = "purchase %s: the server is busy; looked up again in %.2f s"
        log.info(text, self.reference, seconds, extra=self.facts("rate_limited"))
        await anyio.sleep(seconds)
        return True

    # ---------------------------------------------------------------- looking up

    async def _look(self, engine: Engine) -> LookUpResult[BookedT]:
        """Look up once."""
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
            log.info(text, self.reference, error, extra=self.facts("look_up_failed"))
            return LookUpResult(failure=error.with_traceback(None))
        return attrs.evolve(result, evidence=result.evidence + evidence)

    async def _search(self, *, until_answered: bool) -> LookUpResult[BookedT]:
        engine = self.engine.single_try  # A poll that fails is repeated anyway, within the window.
        window = self.engine.settings.reconcile_window
        return await search(lambda: self._look(engine), window, until_answered=until_answered)

    async def _find_near_matches(self) -> tuple[tuple[object, ...], RoamifyError | None]:
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

    async def _refresh(self, booked_id: str) -> BookedT | None:
        """Read a purchase until it is complete or the window has passed; return it as last seen."""
        engine, last = self.engine.single_try, cast("BookedT | None", None)
        async for _ in poll(self.engine.settings.reconcile_window):
            try:
                last = await self.reconciliation.refresh(engine, self.request, booked_id) or last
            except RoamifyError as error:
                text = "purchase %s could not be read again: %s"
                log.info(text, self.reference, error, extra=self.facts("look_up_failed"))
                continue
            if last is None:
                continue
            is_complete = not (last.is_pending and last.falls_short(self.request.packages()))
            if is_complete or judge_response(last, self.request) is Verdict.NOT_KEPT:
                break
        return last

    async def refuse_second(self) -> None:
        """Raise if the purchase is booked more than once; it is known to be booked."""
        result = await self._look(self.engine)
        if len(result.ours) > 1:
            raise booked_twice(self.request, result.ours, None)

    # ---------------------------------------------------------------- the end

    async def _finish(self, step: Finish[ResponseT, BookedT]) -> ResponseT:
        if step.response is not None:
            return step.response
        found = step.found
        if found is None:
            raise TypeError("a finished purchase has a response, or was found")
        self._log_found(found, was_found=step.was_found)
        try:
            response = await self.reconciliation.to_response(self.engine, found)
        except EsimsNotReadyError:
            raise
        except RoamifyError as error:
            raise doubt(self.request, error.with_traceback(None), (found,)) from None
        response.was_found = step.was_found
        return response

    def _log_found(self, found: BookedT, *, was_found: bool) -> None:
        if not was_found:
            text = "the lost response to purchase %s was found: %s"
            log.info(text, self.reference, found.id, extra=self.facts("found"))
            return
        created = found.created_at
        age = "unknown age" if created is None else f"booked {datetime.now(UTC) - created} ago"
        text = "purchase %s exists, and is not sent again: %s, %s"
        log.info(text, self.reference, found.id, age, extra=self.facts("was_found"))

    def remember(self, error: RoamifyError) -> None:
        """Remember a doubt, or that there is none."""
        if isinstance(error, EsimsNotReadyError):
            self.engine.memory.add_bought(self.reference, self.request)
            return
        if self.send_state.first_sent_at is None:
            return
        is_over = isinstance(error, PurchaseFailedError) and not self.send_state.resent
        if isinstance(error, PurchaseInDoubtError):
            self._add_doubt(error.reason)
        elif self.machine.may_be_booked and not is_over:  # Another error does not undo a doubt.
            self._add_doubt(self.machine.doubt)
        elif is_over:
            self.engine.memory.add_bought(self.reference, self.request)
        elif self.machine.sends:
            self.engine.memory.resolve(self.reference)

    def unexpected(self) -> RoamifyError:
        """Return the error of a purchase that an unexpected exception ended."""
        failure = RoamifyError("an unexpected exception ended the call; see the log", sent="maybe")
        if self.send_state.first_sent_at is None:
            return failure.with_facts(sent="no", reference_id=self.reference)
        self._add_doubt(failure)
        return doubt(self.request, failure)

    def leave_note(self, cancelled: BaseException) -> None:
        """Report the reference of a purchase that is cancelled: in the log, as a note, and as ``reference_id``."""
        reference = self.reference
        if self.send_state.first_sent_at is None:
            note = f"the purchase with reference {reference} was cancelled before it was sent: nothing was bought"
        else:
            self._add_doubt(self.machine.doubt)
            note = (
                f"the purchase with reference {reference} was cancelled and may have been booked: "
                f"look it up with {self.request.look_up.format(reference)} before buying again"
            )
        log.warning("%s", note, extra=self.facts("cancelled"))
        add_note(cancelled, note, reference)

    def facts(self, outcome: str) -> dict[str, object]:
        """Return the ``extra`` of a log record about this purchase."""
        sent: Sent = "no" if self.send_state.first_sent_at is None else "maybe"
        return log_facts(reference_id=self.reference, tries=self.machine.sends, sent=sent, outcome=outcome)

    def _add_doubt(self, reason: RoamifyError | None) -> None:
        first_sent = self.send_state.first_sent_at or datetime.now(UTC)
        self.engine.memory.add_doubt(
            Doubt(
                reference_id=self.reference,
                first_sent_at=first_sent,
                request=self.request,
                reason=reason,
                looked_first=self.send_state.looked_first,
                seen=self.machine.seen,
            )
        )


def add_note(cancelled: BaseException, note: str, reference: str) -> None:
    """Add a note, and the reference as an attribute, to the exception that cancels a purchase."""
    cancelled.add_note(note)
    cancelled.reference_id = reference  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]


async def find_second(
    engine: Engine, endpoint: Endpoint[..., ResponseT], request: PurchaseRequest, send_state: SendState
) -> None:
    """Raise ``PurchaseInDoubtError`` if a purchase that may have been sent more than once was booked more than once."""
    attempt: Attempt[ResponseT, Booked] = Attempt(engine, endpoint, request, send_state)
    await attempt.refuse_second()


async def search(
    look: Callable[[], Awaitable[LookUpResult[BookedT]]], window: float, *, until_answered: bool = False
) -> LookUpResult[BookedT]:
    """Look up until the purchase is found or *window* seconds have passed, with ever longer pauses.

    A look-up that failed proves nothing: the search goes on, up to twice the window, until one succeeds at its end or
    later. With *until_answered* the first one that succeeds ends it.
    """
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
