"""Make sure that a purchase exists, once.

The API has no key that makes a purchase repeatable. A reference is the only handle: the client makes one before the
first byte is sent, one reference is one purchase, and what is not known is looked up and never guessed.
"""

import logging
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, TypeVar
from uuid import uuid4

import attrs

from roamify_async._engine.engine import Engine
from roamify_async._engine.facade import Endpoint, LookUp
from roamify_async._engine.waiting import looks
from roamify_async._engine.wire import Trail
from roamify_async.errors import (
    ConfigurationError,
    ConflictError,
    DecodeError,
    PurchaseInDoubtError,
    RoamifyError,
    ServerError,
)

from .judgement import CLOCK_SKEW, Meaning, Seen, doubt, ids, is_ours, meaning, sift, with_others

T = TypeVar("T")

log: logging.Logger = logging.getLogger("roamify_async")

# ---------------------------------------------------------------- looking


async def search(look: Callable[[], Awaitable[Seen]], window: float) -> Seen:
    """Look until something of ours is seen or the window has passed; the last look comes when it has."""
    seen = Seen()
    async for _ in looks(window):
        try:
            seen = await look()
        except RoamifyError as error:
            log.info("a look-up failed: %s", error)
            seen = Seen(failure=error.with_traceback(None))
        if seen.ours or isinstance(seen.failure, ConfigurationError):  # found, or the client was closed
            break
    return seen


async def _look(engine: Engine, look_up: LookUp[Any], request: Any, first_sent: datetime) -> Seen:
    orders = await look_up.find(engine, request)
    seen = sift(orders, lambda order: is_ours(order, request, first_sent))
    if seen.ours or look_up.traces is None:
        return seen
    return attrs.evolve(seen, others=seen.others + await look_up.traces(engine, request, first_sent - CLOCK_SKEW))


# ---------------------------------------------------------------- buying


async def purchase(engine: Engine, endpoint: Endpoint[..., T], request: Any, /) -> T:
    """Buy what *request* names, and give the answer; the reference is made here where the caller gave none.

    A reference that this client left in doubt is looked for before anything is sent again.
    """
    if request.reference_id is None:
        request = attrs.evolve(request, reference_id=str(uuid4()))
    return await make_sure(engine, endpoint, request, Trail(engine.doubts.get(request.reference_id)))


async def make_sure(engine: Engine, endpoint: Endpoint[..., T], request: Any, trail: Trail) -> T:
    """Make sure that the purchase of *request* exists, once, and give its answer.

    Where the trail says that it may have left before, it is looked for first, and sent only if the settings allow that
    after a proven absence. Everything it needs is in its arguments, so that it can be called again after a crash.
    """
    reference = request.reference_id
    if reference in engine.under_way:
        raise ConflictError(
            "a purchase with this reference is under way in this client; nothing was sent",
            status=409,
            sent="no",
            reference_id=reference,
        )
    engine.under_way.add(reference)
    try:
        answer: T = await _Attempt(engine, endpoint, request, trail).run()
    except RoamifyError as error:
        if isinstance(error, PurchaseInDoubtError) and trail.first_left is not None:
            engine.doubts[reference] = trail.first_left
        raise error.about(reference_id=reference, package_ids=tuple(request.packages())) from None
    except BaseException as cut:
        _leave_word(engine, request, trail, cut)
        raise
    finally:
        engine.under_way.discard(reference)
    engine.doubts.pop(reference, None)
    return _with_reference(answer, reference)


async def refuse_second(engine: Engine, endpoint: Endpoint[..., Any], request: Any, trail: Trail) -> None:
    """Raise ``PurchaseInDoubtError`` where a purchase that may have been sent more than once is seen more than once."""
    await _Attempt(engine, endpoint, request, trail).alone(None)


def _leave_word(engine: Engine, request: Any, trail: Trail, cut: BaseException) -> None:
    """Leave the reference of a purchase that is cut off in the log, and as a note on what cut it off."""
    if trail.first_left is None:
        note = f"the purchase with reference {request.reference_id} was cut off before it was sent: nothing was bought"
    else:
        engine.doubts[request.reference_id] = trail.first_left
        note = (
            f"the purchase with reference {request.reference_id} was cut off and may have been booked: "
            f"look it up with {request.look_up.format(request.reference_id)} before buying again"
        )
    log.warning("%s", note)
    cut.add_note(note)


class _Attempt:
    """One purchase on its way: sent, and looked for where the answer leaves a doubt."""

    def __init__(self, engine: Engine, endpoint: Endpoint[..., Any], request: Any, trail: Trail) -> None:
        if endpoint.look_up is None:
            raise TypeError(f"{endpoint!r} has no look_up: it cannot be made sure of")
        self.engine = engine
        self.endpoint = endpoint
        self.look_up: LookUp[Any] = endpoint.look_up
        self.request = request
        self.trail = trail
        self.reason: RoamifyError | None = None
        """What the last sending came to, where it did not come to an answer."""

    async def run(self) -> Any:
        """Send it, or look for it where it was sent before; send it again as often as the settings allow."""
        policy, sends = self.engine.settings.on_doubt, 0
        is_new = self.trail.first_left is None
        while True:
            if sends or self.trail.first_left is None:
                sends += 1
                try:
                    answer = await self.engine.exchange(self.endpoint, self.request, self.trail)
                except RoamifyError as error:
                    self.reason = error.with_traceback(None)
                else:
                    return await self.alone(self._own(answer)) if sends > 1 else self._own(answer)
                settled = await self._judge(self.reason, is_new=is_new and sends == 1)
                if settled is not None:
                    return settled[0]
            if self.reason is not None and policy == "raise":
                raise self._doubt(self.reason)
            seen = await self._search()
            if seen.ours:
                return await self._take(seen)
            sends = max(sends, 1)
            if policy != "look_up_then_resend" or not seen.is_absent or sends >= self.engine.settings.retries.tries:
                raise self._doubt(self.reason or seen.failure, seen.others)
            self.trail.resent = True
            log.info("purchase %s is not there: sent again", self.request.reference_id)

    def _own(self, answer: Any) -> Any:
        """Give the answer, if it is not that to another purchase."""
        reference = getattr(answer, "reference_id", None)
        if reference in (None, self.request.reference_id):
            return answer
        strange = DecodeError(f"the answer carries another reference: {reference}", ids=(answer.id,))
        raise self._doubt(strange, (answer,))

    async def _judge(self, failure: RoamifyError, *, is_new: bool) -> tuple[Any] | None:
        """Raise what is no doubt; give our order that stands in the way of itself; else nothing.

        Where a reference is refused that is new to this client, several orders under it are not ours.
        """
        what = meaning(failure)
        if what is Meaning.NOTHING:
            raise failure
        if what is Meaning.CONFLICT:
            seen = await self._search(window=0)
            if seen.ours and not (is_new and len(seen.ours) > 1):
                return (await self._take(seen),)
            if seen.failure is None:
                raise with_others(failure, seen.ours + seen.others)
        elif isinstance(failure, ServerError) and failure.status == HTTPStatus.INTERNAL_SERVER_ERROR:
            await self._refuse_missing(failure)
        return None

    async def _refuse_missing(self, failure: RoamifyError) -> None:
        """Raise where the purchase names packages that are not offered: a 500 is what the server answers to a typo."""
        if self.look_up.missing is None:
            return
        try:
            missing = await self.look_up.missing(self.engine, self.request)
        except RoamifyError as error:
            log.info("the packages could not be checked: %s", error)
            return
        if missing:
            names = ", ".join(map(repr, missing))
            failure.args = (
                f"there is no package {names} (the server answered: {failure.args[0]}); see {self.look_up.offers}",
            )
            raise failure

    async def _search(self, window: float | None = None) -> Seen:
        first_sent = self.trail.first_left or datetime.now(UTC)
        # A look-up that fails is made again by the search, as long as its window is open.
        settings = self.engine.settings
        engine = self.engine.view(settings.changed(retries=attrs.evolve(settings.retries, tries=1)))

        async def look() -> Seen:
            return await _look(engine, self.look_up, self.request, first_sent)

        return await search(look, self.engine.settings.settle_window if window is None else window)

    async def _take(self, seen: Seen) -> Any:
        """Give the one order that was found as the row's own answer."""
        if len(seen.ours) > 1:
            raise self._twice(seen.ours)
        if seen.others:
            log.warning("under the reference %s stand others too: %s", self.request.reference_id, ids(seen.others))
        try:
            return await self.look_up.become(self.engine, next(iter(seen.ours)))
        except RoamifyError as error:
            raise self._doubt(error.with_traceback(None), seen.ours) from None

    async def alone(self, answer: Any) -> Any:
        """Give an answer to what was sent more than once, if it was booked no more than once."""
        seen = await self._search(window=0)
        if len(seen.ours) > 1:
            raise self._twice(seen.ours)
        return answer

    def _doubt(self, reason: RoamifyError | None, found: tuple[Any, ...] = ()) -> PurchaseInDoubtError:
        return doubt(self.request, reason, found)

    def _twice(self, orders: tuple[Any, ...]) -> PurchaseInDoubtError:
        message = f"the purchase was booked {len(orders)} times, as {ids(orders)}: have Roamify take back all but one"
        return doubt(self.request, self.reason, orders, message)


def _with_reference(answer: T, reference: str) -> T:
    """Let an answer that does not repeat the reference carry it all the same: it is the caller's only handle."""
    if getattr(answer, "reference_id", reference) is None:
        answer.reference_id = reference  # type: ignore[attr-defined]
    return answer
