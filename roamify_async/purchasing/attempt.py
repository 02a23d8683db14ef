"""A purchase, from sending it to a known outcome: sent, looked up, and sent again only if that is safe.

The API has no idempotency key. A reference is the only handle: the client creates one before the first byte is sent,
one reference is one purchase, and what is not known is looked up and never guessed.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar
from uuid import uuid4

import attrs

from roamify_async._core.concurrency import poll
from roamify_async._core.endpoint import Endpoint, Reconciliation
from roamify_async._core.engine import Engine
from roamify_async._http.messages import SendState
from roamify_async.errors import (
    ConfigurationError,
    ConflictError,
    DecodeError,
    PurchaseInDoubtError,
    RoamifyError,
    ServerError,
)

from .classify import CLOCK_SKEW, LookUpResult, Outcome, classify, doubt, ids, is_ours, partition, with_orders

T = TypeVar("T")

log: logging.Logger = logging.getLogger("roamify_async")

# ---------------------------------------------------------------- looking up


async def search(look: Callable[[], Awaitable[LookUpResult]], window: float) -> LookUpResult:
    """Look up until the purchase is found or the window has passed. The last look-up comes at its end."""
    result = LookUpResult()
    async for _ in poll(window):
        try:
            result = await look()
        except RoamifyError as error:
            log.info("a look-up failed: %s", error)
            result = LookUpResult(failure=error.with_traceback(None))
        if result.ours or isinstance(result.failure, ConfigurationError):  # found, or the client was closed
            break
    return result


async def _look(
    engine: Engine, reconciliation: Reconciliation[Any], request: Any, first_sent: datetime
) -> LookUpResult:
    orders = await reconciliation.find(engine, request)
    result = partition(orders, lambda order: is_ours(order, request, first_sent))
    if result.ours or reconciliation.other_evidence is None:
        return result
    evidence = await reconciliation.other_evidence(engine, request, first_sent - CLOCK_SKEW)
    return attrs.evolve(result, others=result.others + evidence)


# ---------------------------------------------------------------- buying


async def purchase(engine: Engine, endpoint: Endpoint[..., T], request: Any, /) -> T:
    """Make the purchase of *request* and return the response. A missing reference is created here.

    A reference that this client left in doubt is looked up before anything is sent again.
    """
    if request.reference_id is None:
        request = attrs.evolve(request, reference_id=str(uuid4()))
    return await make_sure(engine, endpoint, request, SendState(engine.doubts.get(request.reference_id)))


async def make_sure(engine: Engine, endpoint: Endpoint[..., T], request: Any, send_state: SendState) -> T:
    """Ensure that the purchase of *request* exists exactly once, and return its response.

    If *send_state* says that it may have left before, it is looked up first, and sent only if the settings allow that
    after a look-up found nothing. All state is in the arguments, so that it can be called again after a crash.
    """
    reference = request.reference_id
    if reference in engine.in_progress:
        raise ConflictError(
            "a purchase with this reference is under way in this client; nothing was sent",
            status=409,
            sent="no",
            reference_id=reference,
        )
    engine.in_progress.add(reference)
    try:
        response: T = await _Attempt(engine, endpoint, request, send_state).run()
    except RoamifyError as error:
        if isinstance(error, PurchaseInDoubtError) and send_state.first_sent_at is not None:
            engine.doubts[reference] = send_state.first_sent_at
        raise error.with_facts(reference_id=reference, package_ids=tuple(request.packages())) from None
    except BaseException as cancelled:
        _add_note(engine, request, send_state, cancelled)
        raise
    finally:
        engine.in_progress.discard(reference)
    engine.doubts.pop(reference, None)
    return _with_reference(response, reference)


async def find_second(engine: Engine, endpoint: Endpoint[..., Any], request: Any, send_state: SendState) -> None:
    """Raise ``PurchaseInDoubtError`` if a purchase that may have been sent more than once was booked more than once."""
    await _Attempt(engine, endpoint, request, send_state).single(None)


def _add_note(engine: Engine, request: Any, send_state: SendState, cancelled: BaseException) -> None:
    """Report the reference of a purchase that is cancelled: in the log, and as a note on the exception."""
    if send_state.first_sent_at is None:
        note = (
            f"the purchase with reference {request.reference_id} was cancelled before it was sent: nothing was bought"
        )
    else:
        engine.doubts[request.reference_id] = send_state.first_sent_at
        note = (
            f"the purchase with reference {request.reference_id} was cancelled and may have been booked: "
            f"look it up with {request.look_up.format(request.reference_id)} before buying again"
        )
    log.warning("%s", note)
    cancelled.add_note(note)


class _Attempt:
    """A purchase under way: sent, and looked up when the response leaves a doubt."""

    def __init__(self, engine: Engine, endpoint: Endpoint[..., Any], request: Any, send_state: SendState) -> None:
        if endpoint.reconciliation is None:
            raise TypeError(f"{endpoint!r} has no reconciliation: its purchases cannot be looked up")
        self.engine = engine
        self.endpoint = endpoint
        self.reconciliation: Reconciliation[Any] = endpoint.reconciliation
        self.request = request
        self.send_state = send_state
        self.reason: RoamifyError | None = None
        """Why the last send gave no response."""

    async def run(self) -> Any:
        """Send it, or look it up if it was sent before; send it again as often as the settings allow."""
        policy, sends = self.engine.settings.on_doubt, 0
        is_new = self.send_state.first_sent_at is None
        while True:
            if sends or self.send_state.first_sent_at is None:
                sends += 1
                try:
                    response = await self.engine.exchange(self.endpoint, self.request, self.send_state)
                except RoamifyError as error:
                    self.reason = error.with_traceback(None)
                else:
                    own = self._own(response)
                    return await self.single(own) if sends > 1 else own
                settled = await self._interpret(self.reason, is_new=is_new and sends == 1)
                if settled is not None:
                    return settled[0]
            if self.reason is not None and policy == "raise":
                raise self._doubt(self.reason)
            result = await self._search()
            if result.ours:
                return await self._take(result)
            sends = max(sends, 1)
            if policy != "look_up_then_resend" or not result.is_absent or sends >= self.engine.settings.retries.tries:
                raise self._doubt(self.reason or result.failure, result.others)
            self.send_state.resent = True
            log.info("purchase %s was not found: sent again", self.request.reference_id)

    def _own(self, response: Any) -> Any:
        """Return a response unless it belongs to another purchase."""
        reference = getattr(response, "reference_id", None)
        if reference in (None, self.request.reference_id):
            return response
        foreign = DecodeError(f"the response carries another reference: {reference}", ids=(response.id,))
        raise self._doubt(foreign, (response,))

    async def _interpret(self, failure: RoamifyError, *, is_new: bool) -> tuple[Any] | None:
        """Raise a failure that leaves no doubt; return our order if a conflict is with itself; else ``None``.

        If a reference is refused that is new to this client, several orders under it are not ours.
        """
        outcome = classify(failure)
        if outcome is Outcome.NOT_BOUGHT:
            raise failure
        if outcome is Outcome.CONFLICT:
            result = await self._search(window=0)
            if result.ours and not (is_new and len(result.ours) > 1):
                return (await self._take(result),)
            if result.failure is None:
                raise with_orders(failure, result.ours + result.others)
        elif isinstance(failure, ServerError) and failure.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            await self._refuse_unknown_packages(failure)
        return None

    async def _refuse_unknown_packages(self, failure: RoamifyError) -> None:
        """Raise if the purchase names packages that do not exist, to which the server responds with a 500."""
        if self.reconciliation.unknown_packages is None:
            return
        try:
            unknown = await self.reconciliation.unknown_packages(self.engine, self.request)
        except RoamifyError as error:
            log.info("the packages could not be checked: %s", error)
            return
        if unknown:
            names = ", ".join(map(repr, unknown))
            hint = self.reconciliation.catalogue_hint
            failure.args = (f"there is no package {names} (the server answered: {failure.args[0]}); see {hint}",)
            raise failure

    async def _search(self, window: float | None = None) -> LookUpResult:
        first_sent = self.send_state.first_sent_at or datetime.now(UTC)
        # The search itself repeats a look-up that fails, as long as its window is open.
        settings = self.engine.settings
        engine = self.engine.view(settings.changed(retries=attrs.evolve(settings.retries, tries=1)))

        async def look() -> LookUpResult:
            return await _look(engine, self.reconciliation, self.request, first_sent)

        return await search(look, self.engine.settings.reconcile_window if window is None else window)

    async def _take(self, result: LookUpResult) -> Any:
        """Return the order that was found as the endpoint's response."""
        if len(result.ours) > 1:
            raise self._booked_twice(result.ours)
        if result.others:
            log.warning("other orders under the reference %s: %s", self.request.reference_id, ids(result.others))
        try:
            return await self.reconciliation.to_response(self.engine, next(iter(result.ours)))
        except RoamifyError as error:
            raise self._doubt(error.with_traceback(None), result.ours) from None

    async def single(self, response: Any) -> Any:
        """Return the response to a purchase that was sent more than once, if it was booked only once."""
        result = await self._search(window=0)
        if len(result.ours) > 1:
            raise self._booked_twice(result.ours)
        return response

    def _doubt(self, reason: RoamifyError | None, found: tuple[Any, ...] = ()) -> PurchaseInDoubtError:
        return doubt(self.request, reason, found)

    def _booked_twice(self, orders: tuple[Any, ...]) -> PurchaseInDoubtError:
        message = f"the purchase was booked {len(orders)} times, as {ids(orders)}: ask Roamify to refund all but one"
        return doubt(self.request, self.reason, orders, message)


def _with_reference(response: T, reference: str) -> T:
    """Set the reference of a response that does not repeat it: it is the caller's only handle."""
    if getattr(response, "reference_id", reference) is None:
        response.reference_id = reference  # type: ignore[attr-defined]
    return response
