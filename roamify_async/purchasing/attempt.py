"""Makes one purchase: carries out the steps of the machine, which sends, looks up and waits."""

import logging
import math
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from typing import Generic, TypeVar, cast

import anyio

from roamify_async._core.concurrency import gather, raise_first
from roamify_async._core.endpoint import Endpoint, Reconciliation
from roamify_async._core.engine import MIN_DEADLINE, Engine, log_facts
from roamify_async._core.memory import Doubt
from roamify_async._http.messages import SendState
from roamify_async.errors import (
    EsimsNotReadyError,
    JournalError,
    PackageNotFoundError,
    PurchaseFailedError,
    PurchaseInDoubtError,
    RoamifyError,
    Sent,
    ServerError,
)
from roamify_async.models.orders import CreateOrder

from .classify import Booked, BookedT, LookUpResult, PurchaseRequest, ids
from .failures import doubt
from .look_up import LookUp
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
)
from .shared import SharedClaim, throttle

log: logging.Logger = logging.getLogger("roamify_async")

ResponseT = TypeVar("ResponseT", bound=Booked)


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
        self.look_up: LookUp[ResponseT, BookedT] = LookUp(engine, self.reconciliation, request, send_state)
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
                    step = machine.on_search(await self.look_up.search(until_answered=until_answered))
                case FindNearMatches():
                    step = machine.on_near_matches(*await self.look_up.find_near_matches())
                case Refresh(booked=booked):
                    step = machine.on_refreshed(await self.look_up.refresh(booked.id))
                case ReadBooked(id=booked_id):
                    step = machine.on_read(await self.look_up.refresh(booked_id))
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
            found.append(await self.look_up.once())

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

    # ---------------------------------------------------------------- the end

    async def _finish(self, step: Finish[ResponseT, BookedT]) -> ResponseT:
        if step.response is not None:
            complete = self.reconciliation.complete
            return step.response if complete is None else await complete(self.engine, step.response)
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
                request=cast("CreateOrder", self.request),  # or another purchase
                reason=reason,
                looked_first=self.send_state.looked_first,
                seen=self.machine.seen,
            )
        )


def add_note(cancelled: BaseException, note: str, reference: str) -> None:
    """Add a note, and the reference as an attribute, to the exception that cancels a purchase."""
    cancelled.add_note(note)
    cancelled.reference_id = reference  # type: ignore[attr-defined]  # pyright: ignore[reportAttributeAccessIssue]
