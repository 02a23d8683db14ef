"""The purchase machine against a model of the server that loses, delays, hides, changes and refuses.

Time is a number; a booking has a moment from which look-ups show it. Every rule is one step of one call.
"""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import attrs
import pytest
from hypothesis import Phase, settings, strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from roamify_async import CreateOrder, Order, OrderItem, OrderLine
from roamify_async.errors import (
    BudgetError,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    PackageNotFoundError,
    PurchaseFailedError,
    PurchaseInDoubtError,
    RoamifyError,
    error_class,
)
from roamify_async.models.common import Match
from roamify_async.purchasing.classify import LookUpResult, is_near_match, judge_found
from roamify_async.purchasing.machine import (
    Fail,
    FindNearMatches,
    Finish,
    LookFirst,
    Machine,
    Refresh,
    Search,
    Send,
    Wait,
)

REFERENCE = "r"
REQUEST = CreateOrder([OrderItem("esim-a", 2)], reference_id=REFERENCE)
EPOCH = datetime(2027, 7, 1, tzinfo=UTC)
WINDOW = 10
ON_TIME = (0, 4, WINDOW)
LATE = (3 * WINDOW, 9 * WINDOW)
POLICIES = ("raise", "look_up", "look_up_then_resend")


@attrs.define
class Booking:
    """A purchase in the server's books."""

    id: str
    sent_at: int
    visible_at: int
    reference: str = REFERENCE
    packages: tuple[str, ...] = ("esim-a", "esim-a")
    status: str = "COMPLETED"
    was_told: bool = False
    """Whether the caller got it, or an error that names it."""
    is_left_behind: bool = False
    """Whether it shows up late, after the policy sent the purchase again and that was bought."""

    @property
    def is_late(self) -> bool:
        """Whether it shows up later than the window."""
        return self.visible_at > self.sent_at + WINDOW

    @property
    def is_kept(self) -> bool:
        """Whether it costs money."""
        return self.status != "CANCELLED"

    def order(self) -> Order:
        """Return it as the API shows it."""
        lines = tuple(OrderLine(package_id=package) for package in self.packages)
        created = EPOCH + timedelta(seconds=self.sent_at)
        return Order(  # type: ignore[call-arg]
            id=self.id, reference_id=self.reference, total=Decimal(5), items=lines, created_at=created,
            status=self.status,
        )  # fmt: skip


KINDS: dict[str, dict[str, Any]] = {
    "complete": {},
    "incomplete": {"packages": ("esim-a",), "status": "PENDING"},
    "short": {"packages": ("esim-a",)},
    "cancelled": {"status": "CANCELLED"},
    "renamed": {"reference": "R"},
}
"""What a server may make of a purchase."""
REFUSALS = (301, 400, 401, 402, 403, 404, 422)
LOSSES: tuple[Callable[[], RoamifyError], ...] = (
    lambda: ConnectionLostError("reset", sent="maybe"),
    lambda: status(500),
    lambda: status(503),
    lambda: status(408),
    lambda: DecodeError("the response says that it failed"),
    lambda: DecodeError("cut off", garbled=True),
)


def status(code: int, message: str = "no") -> RoamifyError:
    """Make the error of a status."""
    return error_class(code)(message, status=code)


def one_of(*choices: tuple[Any, ...], weight: int = 10) -> Any:
    """Draw the name and the arguments of a step; rarely, the process crashes instead."""
    drawn = [st.tuples(st.just(name), *map(st.sampled_from, arguments)) for name, *arguments in choices]
    crashes = st.integers(0, 2 * weight).map(lambda number: number == weight)
    return crashes.flatmap(lambda is_crash: st.just(("crash",)) if is_crash else st.one_of(drawn))


STEPS: dict[type, Any] = {
    LookFirst: one_of(("look_first", [0, 0, 0, 0, 403, 404, 503], [1, 1, 1, 0])),
    Send: one_of(
        ("send_in_vain", ["not sent", "veto", "refused", "refused", "conflict"], REFUSALS),
        ("send", ["complete", *KINDS], ON_TIME),
        ("send_and_lose", [None, None, None, "complete", *KINDS], ON_TIME + LATE, LOSSES),
        ("send_and_lose", [None, "complete"], ON_TIME + LATE, LOSSES),
        ("send_and_be_put_off", [409, 429], [True, False], ON_TIME),
        ("crash_while_sending", ["complete", *KINDS], ON_TIME + LATE),
    ),
    Wait: one_of(("wait", [True, True, True, False])),
    Search: one_of(
        ("search_in_sunshine",),
        ("search_in_sunshine",),
        ("search_in_the_dark",),
        ("search_in_rain", *[[True, False]] * 5),
    ),
    FindNearMatches: one_of(("find_near_matches", [0, 0, 0, 0, 503])),
    Refresh: one_of(("refresh", ["grown", "grown", "the same", "cancelled", "unreadable"])),
}
"""What may come of each step."""


class Model(RuleBasedStateMachine):
    """Calls of one reference, one step at a time, and a server between them."""

    claims = True
    """Whether a second caller waits for the first."""
    machine_class: type[Machine[Order, Order]] = Machine

    def __init__(self) -> None:
        """Start with an empty server."""
        super().__init__()
        self.policies: tuple[str, ...] = POLICIES
        self.start_anew()

    def start_anew(self) -> None:
        """Start with an empty server and a client that remembers nothing."""
        self.now = 0
        self.bookings: list[Booking] = []
        self.machine: Machine[Order, Order] | None = None
        self.step: Any = None
        self.may_be_sent = False
        """What the journal or the client remembers: it may have been sent."""
        self.reason: RoamifyError | None = None
        self.seen: tuple[object, ...] = ()
        self.was_bought = False
        self.listed: set[str] = set()
        """What the last search showed that stands under the reference."""
        self.waiting: list[str] = []
        """Policies of callers that wait for the claim."""
        self.may_resend = False
        """Whether any call was allowed to send again."""
        self.is_new = False
        """Whether the first call created the reference."""

    # ---------------------------------------------------------------- the server

    def visible(self) -> list[Booking]:
        """Return the bookings that look-ups show now."""
        return [booking for booking in self.bookings if booking.visible_at <= self.now]

    def book(self, kind: str, lag: int) -> Booking:
        """Book a purchase: there must be no other one that a careful caller could know."""
        for earlier in filter(lambda booking: booking.is_kept, self.bookings):
            assert self.may_resend, "booked twice without leave"
            assert earlier.is_late, "booked twice within the window"
            assert earlier.visible_at > self.now, "booked twice although it was to be seen"
        assert not self.was_bought, "sent again although this client bought it"
        booking = Booking(f"order-{len(self.bookings)}", self.now, self.now + lag, **KINDS[kind])
        self.bookings.append(booking)
        return booking

    def look(self, *, is_answered: bool, code: int = 503) -> LookUpResult[Order]:
        """Look up by the reference once."""
        if not is_answered:
            return LookUpResult(failure=status(code))
        orders = [booking.order() for booking in self.visible() if booking.reference == REFERENCE]
        return judge_found(orders, REQUEST)

    def search(self, answers: list[bool], *, until_answered: bool) -> LookUpResult[Order]:
        """Look up as the driver does: until found, or answered at the window's end or later."""
        start = self.now
        result: LookUpResult[Order] = LookUpResult(failure=status(503))
        for after, is_answered in zip((0, WINDOW // 2, WINDOW, WINDOW + 5, 2 * WINDOW), answers, strict=True):
            self.now = start + after
            result = self.look(is_answered=is_answered)
            if result.ours or result.incomplete or result.not_kept:
                return result
            if is_answered and (until_answered or after >= WINDOW):
                return result
        return result

    def untold(self) -> list[Booking]:
        """Return the bookings that nobody was told of."""
        return [one for one in self.bookings if not (one.was_told or one.is_left_behind)]

    # ---------------------------------------------------------------- the callers

    @initialize(policies=st.sampled_from([("look_up_then_resend",), ("look_up_then_resend",), POLICIES]))
    def choose_policies(self, policies):
        """Choose the policies of all calls."""
        self.policies = policies

    @precondition(lambda self: self.machine is None)
    @rule(origin=st.sampled_from(["caller", "caller", "client", "exists"]))
    def take_another_reference(self, origin):
        """Check what is left of one reference, and go on with another, that may be new, or bought by another client."""
        self.check_the_end()
        self.start_anew()
        self.is_new = origin == "client"
        if origin == "exists":
            self.bookings.append(Booking("older", -1000, -1000, was_told=True))

    @precondition(lambda self: len(self.waiting) < 2)
    @rule(data=st.data())
    def call_with_any_policy(self, data):
        """Buy under the reference; wait for a call that is under way."""
        self.call(data.draw(st.sampled_from(self.policies)))

    def call(self, policy):
        """Buy under the reference; wait for a call that is under way."""
        if self.machine is not None:
            if self.claims:
                self.waiting.append(policy)
            return
        self.begin(policy)

    def begin(self, policy: str) -> None:
        """Start a call."""
        self.may_resend = self.may_resend or policy == "look_up_then_resend"
        self.machine = self.machine_class(
            request=REQUEST, policy=policy, max_sends=3, is_new=self.is_new, was_sent_before=self.may_be_sent,
            was_bought=self.was_bought, doubt=self.reason, seen=self.seen,
        )  # type: ignore[arg-type]  # fmt: skip
        self.is_new = False
        self.go(self.machine.start())

    def go(self, step: Any) -> None:
        """Take the next step, or the end of the call."""
        self.step = step
        if isinstance(step, Finish):
            self.finished(step)
        elif isinstance(step, Fail):
            self.failed(step.error)

    def finished(self, step: Finish[Order, Order]) -> None:
        """Check a response, as the caller gets it."""
        response = step.response or step.found
        assert response is not None
        (booking,) = [one for one in self.bookings if one.id == response.id]
        assert booking.is_kept
        assert booking.reference == REFERENCE
        assert booking.packages == ("esim-a", "esim-a")
        assert self.machine is not None
        assert not self.machine.was_resent or self.listed <= {booking.id}, "a second booking was seen, and not told"
        booking.was_told = True
        for late in self.bookings:
            late.is_left_behind = late.is_left_behind or (late.is_late and self.may_resend)
        self.was_bought, self.may_be_sent, self.reason, self.seen = True, False, None, ()
        self.end()

    def failed(self, error: RoamifyError | ValueError) -> None:
        """Check an error, as the caller gets it, and remember a doubt as the driver does."""
        machine = self.machine
        assert machine is not None
        if isinstance(error, PurchaseInDoubtError):
            assert error.reference_id == REFERENCE
            self.may_be_sent = self.may_be_sent or machine.sends > 0
            self.reason, self.seen = error.reason, machine.seen
            for booking in self.bookings:
                booking.was_told = booking.was_told or booking.id in {getattr(one, "id", "") for one in error.found}
        elif isinstance(error, PurchaseFailedError):
            (booking,) = [one for one in self.bookings if one.id == getattr(error.order, "id", "")]
            assert not booking.is_kept
            booking.was_told = True
            self.was_bought, self.may_be_sent, self.reason, self.seen = True, False, None, ()
        elif machine.sends or machine.was_sent_before:
            assert not machine.may_be_booked, f"a doubt ended with {error!r}"
            self.may_be_sent, self.reason, self.seen = False, None, ()
        is_refusal = isinstance(error, ConnectError | PackageNotFoundError | BudgetError)
        if is_refusal or getattr(error, "status", 0) in {*REFUSALS, 429}:
            assert not self.untold(), f"{error!r} says that nothing was bought"
        self.end()

    def end(self) -> None:
        """Release the claim; the next caller takes it."""
        self.machine = self.step = None
        if self.waiting:
            self.begin(self.waiting.pop(0))

    def drop(self) -> None:
        """Lose the call without an end; the journal says whether it may have been sent."""
        machine = self.machine
        assert machine is not None
        self.may_be_sent = self.may_be_sent or machine.may_be_booked or machine.sends > 0
        self.reason, self.seen = self.reason or machine.doubt, machine.seen
        self.machine = self.step = None
        self.waiting.clear()

    # ---------------------------------------------------------------- the steps

    def at(self, kind: type) -> bool:
        """Return whether a call waits for a step."""
        return isinstance(self.step, kind)

    def look_first(self, code, is_unknown):
        """Look up before sending; a look-up may fail, and the package may be unknown."""
        result = self.look(is_answered=not code, code=code) if self.step.look else None
        refusal = None if is_unknown else PackageNotFoundError("no such package")
        self.go(self.machine.on_first_look(result, refusal))

    def send_in_vain(self, fate, code):
        """Send what the server does not book, and says so."""
        if fate == "veto":
            self.go(self.machine.on_veto(BudgetError("too much")))
        elif fate == "not sent":
            self.go(self.machine.on_failure(ConnectError("refused")))
        elif fate == "refused":
            self.go(self.machine.on_failure(status(code)))
        else:
            message = "Insufficient balance" if not self.bookings else "referenceId exists"
            self.go(self.machine.on_failure(status(409, message)))

    def send(self, kind, lag):
        """Send and get the response, whatever the server made of it."""
        booking = self.book(kind, lag)
        self.go(self.machine.on_response(booking.order()))

    def send_and_lose(self, kind, lag, loss):
        """Send and lose the response; it was booked, or will be, or not."""
        if kind is not None:
            self.book(kind, lag)
        self.go(self.machine.on_failure(loss()))

    def send_and_be_put_off(self, code, is_booked, lag):
        """Send and get a 409 or 429, before or after it was booked. What a 429 booked is to be seen after the wait."""
        if is_booked:
            self.book("complete", lag if code == 409 else 0)
        self.go(self.machine.on_failure(status(code)))

    def wait(self, may_send):
        """Wait as the server asked, or not at all if that would take too long."""
        self.now += int(self.step.seconds) if may_send else 0
        self.go(self.machine.on_waited(may_send=may_send))

    def on_search(self, answers: list[bool]) -> None:
        """Search, and note what was to be seen."""
        result = self.search(answers, until_answered=self.step.until_answered)
        self.listed = {one.id for one in result.ours + result.incomplete + result.foreign}
        self.go(self.machine.on_search(result))  # type: ignore[union-attr]

    def search_in_rain(self, *answers: bool):
        """Search, while look-ups fail now and then."""
        self.on_search([*answers])

    def search_in_sunshine(self):
        """Search with look-ups that answer."""
        self.on_search([True] * 5)

    def search_in_the_dark(self):
        """Search while every look-up fails."""
        self.on_search([False] * 5)

    def find_near_matches(self, code):
        """Search the latest orders for a reference that the server changed."""
        near = tuple(one.order() for one in self.visible() if is_near_match(one.reference, REFERENCE))
        self.go(self.machine.on_near_matches(() if code else near, status(code) if code else None))

    def refresh(self, fate):
        """Read an order again until the end of the window."""
        (booking,) = [one for one in self.bookings if one.id == self.step.booked.id]
        self.now += WINDOW
        if fate == "grown" and booking.packages == ("esim-a",):
            booking.packages, booking.status = ("esim-a", "esim-a"), "COMPLETED"
        elif fate == "cancelled":
            booking.status = "CANCELLED"
        self.go(self.machine.on_refreshed(None if fate == "unreadable" else booking.order()))

    # ---------------------------------------------------------------- around the calls

    @precondition(lambda self: self.machine is not None)
    @rule(data=st.data())
    def advance(self, data):
        """Take the next step of the call, whatever comes of it."""
        name, *arguments = data.draw(STEPS[type(self.step)])
        getattr(self, name)(*arguments)

    def crash(self):
        """End the process between two steps; what is about to be sent is journaled before."""
        self.may_be_sent = self.may_be_sent or self.at(Send)
        self.drop()

    def crash_while_sending(self, kind, lag):
        """End the process, or cancel the call, after it was sent."""
        self.book(kind, lag)
        self.may_be_sent = True
        self.drop()

    @precondition(lambda self: self.machine is None)
    @rule(seconds=st.sampled_from([1, WINDOW, 10 * WINDOW]))
    def time_passes(self, seconds):
        """Time passes between two calls."""
        self.now += seconds

    # ---------------------------------------------------------------- the promise

    @invariant()
    def booked_once(self):
        """At most one booking shows up within the window of its send."""
        assert sum(booking.is_kept and not booking.is_late for booking in self.bookings) <= 1

    @invariant()
    def never_lost_from_sight(self):
        """Whatever is booked was told to the caller, or is remembered, or a call still works on it."""
        if self.machine is None and not self.may_be_sent:
            assert not self.untold()

    def teardown(self):
        """Check what is left."""
        self.check_the_end()

    def check_the_end(self):
        """Once everything is visible, the next call finds what is remembered as in doubt, however often it is there."""
        if self.machine is not None:
            self.drop()
        self.now += 100 * WINDOW
        machine = Machine(request=REQUEST, policy="look_up", max_sends=3, is_new=False, was_sent_before=True)
        step = machine.on_search(self.look(is_answered=True))
        complete = {one.id for one in self.bookings if one.order().match(REQUEST.packages()) is Match.YES}
        kept = {one.id for one in self.bookings if one.id in complete and one.is_kept and one.reference == REFERENCE}
        if len(kept) > 1:
            assert isinstance(step, Fail)
            assert {getattr(one, "id", "") for one in getattr(step.error, "found", ())} >= kept
        elif kept:
            assert isinstance(step, Finish | Fail)


Model.TestCase.settings = settings(deadline=None)
TestModel = Model.TestCase


def test_two_callers_at_once():
    """A second caller waits for the first, searches for its purchase, and buys nothing."""
    model = Model()
    model.call("look_up")
    model.look_first(0, 1)
    model.call("look_up")
    model.send("complete", WINDOW)
    model.look_first(0, 1)
    model.search_in_sunshine()
    assert (model.machine, len(model.bookings)) == (None, 1)


def test_two_callers_without_the_claim():
    """Without the claim both callers look before either sends, and the model sees two bookings."""
    model = Model()
    model.call("look_up")
    model.look_first(0, 1)
    first, model.machine = model.machine, None
    model.call("look_up")
    model.look_first(0, 1)
    model.send("complete", 0)
    model.machine, model.step = first, Send()
    with pytest.raises(AssertionError, match="booked twice without leave"):
        model.send("complete", 0)


class Trusting(Machine[Order, Order]):
    """A machine that takes a failed look-up for absence."""

    def on_search(self, result):
        """Forget why it failed."""
        return super().on_search(attrs.evolve(result, failure=None))


class Careless(Machine[Order, Order]):
    """A machine that does not search for near matches."""

    def on_near_matches(self, found, failure):
        """See nothing."""
        return super().on_near_matches((), None)


class Forgetful(Machine[Order, Order]):
    """A machine for which a refusal undoes the doubt."""

    def on_failure(self, failure):
        """Forget earlier sends."""
        self.doubt, self.was_sent_before = None, False
        return super().on_failure(failure)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.parametrize("broken", [Trusting, Careless, Forgetful])
def test_model_sees_broken_machines(broken):
    """The model is no mirror: machines that break a rule break its invariants."""

    class Broken(Model):
        machine_class = broken

    tries = settings(deadline=None, max_examples=500, derandomize=True, database=None, phases=[Phase.generate])
    with pytest.raises(Exception) as caught:  # noqa: PT011 -- hypothesis may group several
        run_state_machine_as_test(Broken, settings=tries)
    assert not isinstance(caught.value, TypeError)
