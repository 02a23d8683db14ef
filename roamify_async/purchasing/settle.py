"""Make sure that a purchase exists, once.

The API has no key that makes a purchase repeatable. A reference is the only handle: the client makes one before the
first byte is sent, one reference is one purchase, and what is not known is looked up and never guessed.
"""

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from enum import Enum
from http import HTTPStatus
from typing import Any, ClassVar, Final, Protocol, TypeVar
from uuid import uuid4

import attrs

from roamify_async._engine.engine import Engine
from roamify_async._engine.facade import Endpoint, LookUp
from roamify_async._engine.waiting import looks
from roamify_async._engine.wire import Trail
from roamify_async.errors import (
    APIStatusError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    DecodeError,
    PurchaseInDoubtError,
    RateLimitError,
    RoamifyError,
    ServerError,
    TransportError,
)

T = TypeVar("T")

log: logging.Logger = logging.getLogger("roamify_async")

CLOCK_SKEW: Final = timedelta(minutes=5)
"""An order may look so much older than the purchase that made it, if the two clocks differ."""
REFUSED: Final = frozenset({400, 401, 402, 403, 404, 405, 413, 415, 422, 429})
"""Answers to a purchase that say that nothing was bought."""


# ---------------------------------------------------------------- judgement


class PurchaseRequest(Protocol):
    """A request that buys."""

    look_up: ClassVar[str]
    """What a user calls to look it up, with ``{!r}`` for its reference."""

    @property
    def reference_id(self) -> str | None:
        """The caller's own key for it."""
        ...

    def packages(self) -> Mapping[str, int]:
        """How many of each package it buys."""
        ...


class Bought(Protocol):
    """What a purchase came to: an order, or a batch of vouchers."""

    @property
    def reference_id(self) -> str | None:
        """The reference that it carries."""
        ...

    @property
    def created_at(self) -> datetime | None:
        """When it was made."""
        ...

    def holds(self, packages: Mapping[str, int]) -> bool:
        """Tell whether it is what one purchase of so many of these packages comes to."""
        ...


class Meaning(Enum):
    """What a failed purchase may have done."""

    NOTHING = "nothing was bought"
    CONFLICT = "it exists already, or it was refused"
    DOUBT = "it may have been booked"


def meaning(failure: RoamifyError) -> Meaning:
    """Tell what the failure of a purchase means. Whatever is not known to be harmless is in doubt."""
    if isinstance(failure, ConfigurationError | ConnectError):
        return Meaning.NOTHING
    if isinstance(failure, TransportError):
        return Meaning.NOTHING if failure.last_try == "no" else Meaning.DOUBT
    if isinstance(failure, ConflictError):
        return Meaning.CONFLICT
    if isinstance(failure, APIStatusError) and failure.status in REFUSED:
        return Meaning.NOTHING
    return Meaning.DOUBT


def is_lasting(failure: RoamifyError) -> bool:
    """Tell whether asking again would not help."""
    passing = isinstance(failure, TransportError | RateLimitError | ConfigurationError)
    return not passing and meaning(failure) is not Meaning.DOUBT


def is_ours(order: Bought, request: PurchaseRequest, first_sent: datetime) -> bool:
    """Tell whether an order is what a request bought: same reference, same packages as often, not older than it."""
    return (
        order.reference_id == request.reference_id
        and order.holds(request.packages())
        and order.created_at is not None
        and order.created_at >= first_sent - CLOCK_SKEW
    )


@attrs.frozen
class Seen:
    """What a search for a purchase came to."""

    ours: tuple[Any, ...] = ()
    """Orders that are the purchase; more than one is one too many."""
    others: tuple[Any, ...] = ()
    """What else stands under the reference, or speaks for it."""
    failure: RoamifyError | None = None
    """Why the last look-up told nothing."""

    @property
    def is_absent(self) -> bool:
        """Whether the last look-up was answered, and with nothing that might be the purchase."""
        return not self.ours and not self.others and self.failure is None


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


def sift(orders: Iterable[Any], is_one: Callable[[Any], bool], traces: tuple[Any, ...] = ()) -> Seen:
    """Part the orders that are the purchase from what else was found."""
    found = tuple(orders)
    ours = tuple(order for order in found if is_one(order))
    return Seen(ours, tuple(order for order in found if order not in ours) + traces)


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
                raise _with_others(failure, seen.ours + seen.others)
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
            log.warning("under the reference %s stand others too: %s", self.request.reference_id, _ids(seen.others))
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
        message = f"the purchase was booked {len(orders)} times, as {_ids(orders)}: have Roamify take back all but one"
        return doubt(self.request, self.reason, orders, message)


def _with_others(failure: RoamifyError, others: tuple[Any, ...]) -> RoamifyError:
    ids = _ids(others)
    if ids:
        failure.args = (f"{failure.args[0]}; other orders stand under this reference: {ids}",)
    return failure


def _ids(found: Iterable[object]) -> str:
    return " ".join(str(getattr(one, "id", None) or getattr(one, "esim_id", "")) for one in found)


def doubt(
    request: Any, reason: RoamifyError | None, found: tuple[object, ...] = (), message: str = ""
) -> PurchaseInDoubtError:
    """Make the error for a purchase of which it is not known whether it was booked once."""
    facts: dict[str, Any] = {}
    if reason is not None:
        reason.about(reference_id=request.reference_id, package_ids=tuple(request.packages()))
        facts = {name: getattr(reason, name) for name in ("sent", "method", "path", "request_id")}
    advice = f"Look it up with {request.look_up.format(request.reference_id)} before buying again"
    seen = f"; under its reference stand {_ids(found)}" if found and not message else ""
    return PurchaseInDoubtError(
        message or f"the purchase may have been booked: {_shown(reason)}{seen}. {advice}",
        request=request,
        reason=reason,
        found=found,
        **facts,
    )


def _shown(reason: RoamifyError | None) -> str:
    if reason is None:
        return "it was begun before, and is not found"
    status = f" {reason.status}" if isinstance(reason, APIStatusError) else ""
    return f"{type(reason).__name__}{status}: {reason.args[0]}"


def _with_reference(answer: T, reference: str) -> T:
    """Let an answer that does not repeat the reference carry it all the same: it is the caller's only handle."""
    if getattr(answer, "reference_id", reference) is None:
        answer.reference_id = reference  # type: ignore[attr-defined]
    return answer
