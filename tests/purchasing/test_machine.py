"""The purchase machine, row by row of its table: no loop, no clock, no server."""

from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from roamify_async import (
    ConflictError,
    CreateOrder,
    CreateVouchers,
    InstantOrder,
    Order,
    OrderItem,
    OrderLine,
    OrderStatus,
    PackageNotFoundError,
    PurchaseFailedError,
    PurchaseInDoubtError,
    RateLimitError,
    Voucher,
    VoucherBatch,
)
from roamify_async.errors import (
    BudgetError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    RequestTimeoutError,
    RoamifyError,
    ServerError,
    error_class,
)
from roamify_async.models.esims import Esim
from roamify_async.purchasing.classify import (
    CLOCK_SKEW,
    LookUpResult,
    Outcome,
    Verdict,
    classify,
    is_api_404,
    is_near_match,
    judge_found,
    judge_response,
)
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

NOW = datetime(2027, 7, 1, 12, tzinfo=UTC)
REQUEST = CreateOrder([OrderItem("a", 2), OrderItem("b")], reference_id="order-1")
LOST = ConnectionLostError("reset", sent="maybe")
ABSENT: LookUpResult[Order] = LookUpResult()
UNANSWERED: LookUpResult[Order] = LookUpResult(failure=ServerError("busy", status=503))


def order(*packages: str, number: int = 1, **facts: Any) -> Order:
    """Return an order that holds packages."""
    items = tuple(OrderLine(esim_id=f"e-{place}", package_id=package) for place, package in enumerate(packages))
    given = {"reference_id": "order-1", "status": OrderStatus.COMPLETED, "created_at": NOW, **facts}
    return Order(id=f"id-{number}", total=Decimal(3), items=items, **given)


OURS = order("a", "a", "b")


def refusal(status: int, message: str = "no", **facts: Any) -> RoamifyError:
    """Return the error of a status."""
    return error_class(status)(message, status=status, **facts)


def machine(**facts: Any) -> Machine[Order, Order]:
    """Return the machine of a purchase under the caller's own reference."""
    return Machine(**{"request": REQUEST, "policy": "look_up", "max_sends": 5, "is_new": False, **facts})


def sent(**facts: Any) -> Machine[Order, Order]:
    """Return a machine whose request is about to be sent."""
    made = machine(**facts)
    assert isinstance(made.on_first_look(ABSENT, None), Send)
    return made


def found(*orders: Order) -> LookUpResult[Order]:
    """Return what a look-up makes of orders."""
    return judge_found(orders, REQUEST)


def failure(step: object) -> Any:
    """Return the error of a step that fails."""
    assert isinstance(step, Fail)
    return step.error


# ---------------------------------------------------------------- before sending


def test_what_is_looked_up_first():
    """A reference of the caller's is looked up; a new one, or with ``look_first=False``, is not."""
    assert machine().start() == LookFirst(look=True)
    assert machine(is_new=True).start() == LookFirst(look=False)
    assert machine(look_first=False).start() == LookFirst(look=False)
    assert machine(was_sent_before=True, is_new=True).start() == Search()


def test_first_look():
    """What the first look-up finds decides, before the packages do."""
    unknown = PackageNotFoundError("no such package", package_ids=("a",))
    assert machine().on_first_look(found(OURS), unknown) == Finish(found=OURS, was_found=True)
    older = order("a", "a", "b", number=2, created_at=NOW - timedelta(days=9))
    assert machine().on_first_look(found(OURS, older), None) == Finish(found=older, was_found=True)
    pending = order("a", status=OrderStatus.PENDING)
    assert machine().on_first_look(found(pending), None) == Refresh(pending)
    cancelled = order("a", "a", "b", status=OrderStatus.CANCELLED)
    assert type(failure(machine().on_first_look(found(cancelled), None))) is PurchaseFailedError
    assert machine().on_first_look(found(cancelled, OURS), None) == Finish(found=OURS, was_found=True)
    for other in (order("a"), order("a", "a", "c"), order("a", "a", "b", "b")):
        error = failure(machine().on_first_look(found(other), unknown))
        assert (type(error), error.sent, "id-1" in str(error)) == (ConflictError, "no", True)
    near = judge_found([order("a", "a", "b", reference_id="ORDER-1")], REQUEST)
    assert type(failure(machine().on_first_look(near, None))) is ConflictError
    assert failure(machine().on_first_look(ABSENT, unknown)) is unknown
    assert failure(machine().on_first_look(UNANSWERED, unknown)) is unknown
    assert isinstance(machine().on_first_look(ABSENT, None), Send)
    assert isinstance(machine().on_first_look(None, None), Send)


def test_first_look_that_is_not_answered():
    """Without an answer nothing is sent, and the error says what to do."""
    error = failure(machine().on_first_look(LookUpResult(failure=ServerError("busy", status=503)), None))
    assert (type(error), error.sent) == (ServerError, "no")
    assert "nothing was sent" in str(error)
    assert "look_first=False" in str(error)


# ---------------------------------------------------------------- what an answer means


def test_failures_are_classified():
    """Each failure has one meaning, and whatever is not known to be harmless is unknown."""
    for status in (400, 401, 402, 403, 404, 405, 407, 413, 415, 422, 301, 307, 308):
        assert classify(refusal(status)) is Outcome.REFUSED, status
    for status in (302, 303, 304, 408, 410, 418, 425, 451, 500, 501, 502, 503, 504, 520, 599):
        assert classify(refusal(status)) is Outcome.UNKNOWN, status
    assert classify(refusal(409)) is Outcome.CONFLICT
    assert classify(refusal(429)) is Outcome.RATE_LIMITED
    for error in (ConnectError("no"), ConfigurationError("closed"), BudgetError("over"), RequestTimeoutError("queue")):
        assert classify(error) is Outcome.NOT_SENT, error
    for error in (LOST, RequestTimeoutError("late", sent="maybe"), DecodeError("garbled"), RoamifyError("?")):
        assert classify(error) is Outcome.UNKNOWN, error


def test_responses_are_judged():
    """A 2xx is the purchase only if it has our reference or none, an id, and the same packages as often."""
    cases = {
        Verdict.OURS: [OURS, order("b", "a", "a"), order("a", "a", "b", reference_id=None), order("a", "a", "")],
        Verdict.FOREIGN: [
            order("a", "a"), order(), order("c", "c", "c"), order("a", "a", "b", reference_id="other"),
            order("a", "a", "b", "b"), order("a", "", ""), Order(id="", total=Decimal(1), items=OURS.items),
        ],
        Verdict.NOT_KEPT: [
            order("a", "a", "b", status=status) for status in ("CANCELLED", "REFUNDED", "FAILED", "failed")
        ] + [order(status=OrderStatus.CANCELLED)],
        Verdict.INCOMPLETE: [order("a", status=OrderStatus.PENDING), order(status=OrderStatus.PENDING)],
    }  # fmt: skip
    cases[Verdict.FOREIGN].remove(order("a", "", ""))
    for verdict, responses in cases.items():
        for response in responses:
            assert judge_response(response, REQUEST) is verdict, (verdict, response)
    for status in ("REQUIRE_ACTION", "ARCHIVED", "SOMETHING_NEW"):
        assert judge_response(order("a", "a", "b", status=OrderStatus(status)), REQUEST) is Verdict.OURS
    stranger = order("c", "c", status=OrderStatus.CANCELLED, reference_id=None)
    assert judge_response(stranger, REQUEST) is Verdict.FOREIGN


def test_instant_orders_and_vouchers_are_judged_by_number():
    """Instant orders show no packages, so their number counts; a batch of vouchers may come short."""
    for count, verdict in ((2, Verdict.FOREIGN), (3, Verdict.OURS), (4, Verdict.FOREIGN)):
        esims = tuple(Esim(id=f"e-{place}") for place in range(count))
        instant = InstantOrder(id="i", total=Decimal(3), esims=esims, status=OrderStatus.COMPLETED)
        assert judge_response(instant, REQUEST) is verdict
    request = CreateVouchers("a", quantity=2, reference_id="order-1")
    for count, verdict in ((0, Verdict.FOREIGN), (1, Verdict.OURS), (2, Verdict.OURS), (3, Verdict.FOREIGN)):
        vouchers = tuple(Voucher(id=f"v-{place}", package_id="a") for place in range(count))
        batch = VoucherBatch(requested_quantity=2, quantity=count, vouchers=vouchers)
        assert judge_response(batch, request) is verdict


def test_response_is_returned():
    """A response that is the purchase is returned at once."""
    assert sent().on_response(OURS) == Finish(OURS)


def test_response_that_differs_is_a_doubt():
    """A 2xx of something else is looked up, and kept in ``found`` if nothing else is."""
    made = sent()
    assert made.on_response(order("a", number=7, status=OrderStatus.COMPLETED)) == Search()
    error = failure(made.on_search(ABSENT))
    assert type(error) is PurchaseInDoubtError
    assert [one.id for one in error.found] == ["id-7"]
    assert made.on_search(found(OURS)) == Finish(found=OURS)


def test_order_that_was_not_kept():
    """An order that was not kept fails for good, in a response and in a look-up."""
    gone = order("a", "a", "b", status=OrderStatus.REFUNDED)
    for step in (sent().on_response(gone), lost().on_search(found(gone))):
        error = failure(step)
        assert (type(error), error.order) == (PurchaseFailedError, gone)


def test_incomplete_order_is_read_again():
    """A pending order whose items are missing is read by its id, and is the purchase once they are there."""
    made, pending = sent(), order("a", status=OrderStatus.PENDING)
    assert made.on_response(pending) == Refresh(pending)
    assert made.on_refreshed(OURS) == Finish(found=OURS)
    for seen in (pending, None):
        assert type(failure(made.on_refreshed(seen))) is PurchaseInDoubtError


def test_not_sent_and_refused():
    """What was not sent, or was refused, is that error, unless an earlier send is in doubt."""
    for error in (ConnectError("no"), refusal(402), refusal(301), refusal(404)):
        assert failure(sent().on_failure(error)) is error
        made = lost()
        assert made.on_failure(error) == Search()
        assert type(failure(made.on_search(ABSENT))) is PurchaseInDoubtError
        assert made.on_search(found(OURS)) == Finish(found=OURS)


def test_held_back():
    """A send that the budget holds back was not sent, unless an earlier one is in doubt."""
    assert failure(sent().on_veto(BudgetError("over"))).sent == "no"
    made = lost(policy="look_up_then_resend")
    assert made.on_veto(BudgetError("over")) == Search()
    assert type(failure(made.on_search(ABSENT))) is PurchaseInDoubtError


def test_rate_limit():
    """A 429 waits at least two seconds, looks, and sends again only after an answered look that is empty."""
    for asked, waited in ((None, 2), (0, 2), (7, 7)):
        made = sent()
        assert made.on_failure(refusal(429, retry_after=asked)) == Wait(waited)
        assert made.on_waited() == Search(until_answered=True)
        assert made.on_search(found(OURS)) == Finish(found=OURS)
        assert type(failure(made.on_search(UNANSWERED))) is PurchaseInDoubtError
        assert made.on_search(ABSENT) == FindNearMatches()
        assert isinstance(made.on_near_matches((), None), Send)
    made = sent(max_sends=1)
    made.on_failure(refusal(429))
    assert type(failure(made.on_search(ABSENT))) is RateLimitError
    made = sent()
    made.on_failure(refusal(429))
    made.on_waited(may_send=False)
    assert type(failure(made.on_search(ABSENT))) is RateLimitError


def test_conflict():
    """A 409 is looked up for the whole window: our order, or the refusal, naming what else is there."""
    made = sent()
    assert made.on_failure(refusal(409)) == Search()
    assert made.on_search(found(OURS)) == Finish(found=OURS)
    assert type(failure(made.on_search(ABSENT))) is ConflictError
    assert "id-1" in str(failure(made.on_search(found(order("c")))))
    assert type(failure(made.on_search(UNANSWERED))) is PurchaseInDoubtError
    assert sent().on_failure(refusal(409, "Insufficient partner balance")) == Search(until_answered=True)


# ---------------------------------------------------------------- doubts


def lost(**facts: Any) -> Machine[Order, Order]:
    """Return a machine whose request was sent and whose response was lost."""
    made = sent(**facts)
    assert made.on_failure(LOST) == Search()
    return made


def test_policies():
    """A doubt is raised at once, looked up, or sent again after an absence that was proven."""
    made = sent(policy="raise")
    assert type(failure(made.on_failure(LOST))) is PurchaseInDoubtError
    error = failure(lost().on_search(ABSENT))
    assert (type(error), error.reason, error.reference_id) == (PurchaseInDoubtError, LOST, "order-1")
    made = lost(policy="look_up_then_resend")
    assert made.on_search(ABSENT) == FindNearMatches()
    assert isinstance(made.on_near_matches((), None), Send)


def test_what_proves_no_absence():
    """A failed look-up, other orders, near matches and other evidence block a resend, and are told."""
    for result in (UNANSWERED, found(order("c")), LookUpResult(evidence=("history",))):
        error = failure(lost(policy="look_up_then_resend").on_search(result))
        assert type(error) is PurchaseInDoubtError
        assert error.look_up_error is result.failure
        assert error.found == result.foreign + result.evidence
    near, broken = order("a", "a", "b", reference_id="Order-1"), ServerError("busy", status=503)
    made = lost(policy="look_up_then_resend")
    made.on_search(ABSENT)
    assert failure(made.on_near_matches((near,), None)).found == (near,)
    assert failure(made.on_near_matches((), broken)).look_up_error is broken


def test_resends_are_limited():
    """It is sent as often as the settings allow."""
    made = lost(policy="look_up_then_resend", max_sends=2)
    made.on_search(ABSENT)
    made.on_near_matches((), None)
    made.on_failure(LOST)
    assert type(failure(made.on_search(ABSENT))) is PurchaseInDoubtError


def test_booked_twice():
    """A response after a resend is checked: two orders are a doubt that names both."""
    made = lost(policy="look_up_then_resend")
    made.on_search(ABSENT)
    assert made.on_response(OURS) == Search(until_answered=True)
    assert made.on_search(found(OURS)) == Finish(OURS)
    assert made.on_search(UNANSWERED) == Finish(OURS)
    twin = order("a", "a", "b", number=2)
    error = failure(made.on_search(found(OURS, twin)))
    assert (type(error), error.found) == (PurchaseInDoubtError, (OURS, twin))


def test_sent_by_an_earlier_run():
    """What an earlier run may have sent is looked up first, and sent again only by policy."""
    assert machine(was_sent_before=True).on_search(found(OURS)) == Finish(found=OURS, was_found=True)
    assert type(failure(machine(was_sent_before=True).on_search(ABSENT))) is PurchaseInDoubtError
    made = machine(was_sent_before=True, policy="look_up_then_resend")
    assert made.on_search(ABSENT) == FindNearMatches()


# ---------------------------------------------------------------- look-ups


def test_dates_count_only_without_a_look():
    """An order that is older than the purchase is foreign only if nobody looked before sending."""
    old = order("a", "a", "b", created_at=NOW - timedelta(minutes=6))
    assert judge_found([old], REQUEST).ours == (old,)
    assert judge_found([old], REQUEST, not_before=NOW - CLOCK_SKEW).foreign == (old,)
    undated = order("a", "a", "b", created_at=None)
    assert judge_found([undated], REQUEST, not_before=NOW).foreign == (undated,)


def test_near_matches():
    """A reference that differs by case, width, space or a cut end may be ours; another one is not."""
    long = "x" * 40
    for seen, reference in (
        ("order-1", "Order-1"), (" order-1", "order-1"), ("order-1", "order-\uff11"), (long[:32], long), ("ﬁx", "fix"),
    ):  # fmt: skip
        assert is_near_match(seen, reference), (seen, reference)
    for seen, reference in (("order-1", "order-1"), ("order-2", "order-1"), ("order", "order-1"), (long[:31], long)):
        assert not is_near_match(seen, reference), (seen, reference)


def test_what_a_404_is():
    """The API's own 404 is JSON; a gateway's is not, and proves nothing."""
    assert is_api_404(refusal(404, body='{"message": "Order not found"}'))
    for body in ("", "<html>not found</html>", "not found"):
        assert not is_api_404(refusal(404, body=body))
    assert not is_api_404(refusal(503, body="{}"))


# ---------------------------------------------------------------- against a server


class Purchases(RuleBasedStateMachine):
    """A purchase against a server that loses, delays, lies and crashes, step by step.

    Whatever happens, at most one order is booked, unless one became visible later than the window after a resend that
    the policy allowed; and no call ends as if nothing had been bought while an order is booked.
    """

    @initialize(policy=st.sampled_from(["look_up", "look_up_then_resend"]), is_new=st.booleans())
    def begin(self, policy: Any, is_new: bool) -> None:  # noqa: FBT001
        """Start a purchase."""
        self.policy, self.is_new = policy, is_new
        self.visible: list[Order] = []
        self.hidden: list[Order] = []
        self.is_late = False
        self.was_resent = False
        self.posts = 0
        self.ends: list[Any] = []
        self.call(was_sent_before=False)

    def call(self, *, was_sent_before: bool) -> None:
        """Start a call, the first or one after a crash."""
        self.machine = machine(
            policy=self.policy, is_new=self.is_new and not was_sent_before, was_sent_before=was_sent_before, max_sends=3
        )
        self.step: Any = self.machine.start()

    def running(self) -> bool:
        """Return whether the call has not ended."""
        return not isinstance(self.step, Finish | Fail)

    def book(self, *, visible: bool) -> Order:
        """Book an order."""
        made = order("a", "a", "b", number=len(self.visible) + len(self.hidden) + 1)
        (self.visible if visible else self.hidden).append(made)
        return made

    @precondition(lambda self: self.running() and isinstance(self.step, LookFirst))
    @rule(is_answered=st.booleans())
    def look_first(self, is_answered: bool) -> None:  # noqa: FBT001
        """Look up before sending."""
        result = None
        if self.step.look:
            result = found(*self.visible) if is_answered else UNANSWERED
        self.step = self.machine.on_first_look(result, None)

    @precondition(lambda self: self.running() and isinstance(self.step, Send))
    @rule(
        is_booked=st.booleans(),
        is_visible=st.booleans(),
        answer=st.sampled_from(["order", "lost", "500", "402", "409", "429", "short", "refused connection"]),
    )
    def send(self, is_booked: bool, is_visible: bool, answer: str) -> None:  # noqa: FBT001
        """Send: it is booked or not, and answered or not."""
        self.posts += 1
        self.was_resent = self.was_resent or self.posts > 1
        if answer in {"402", "refused connection"} or (answer == "409" and not self.visible):
            is_booked = False
        if answer == "order":
            is_booked = is_visible = True
        made = self.book(visible=is_visible) if is_booked else None
        if answer == "order":
            assert made is not None
            self.step = self.machine.on_response(made)
        elif answer == "short":
            self.step = self.machine.on_response(order("a", number=99))
        else:
            errors: dict[str, Callable[[], RoamifyError]] = {
                "lost": lambda: ConnectionLostError("reset", sent="maybe"),
                "refused connection": lambda: ConnectError("refused"),
            }
            self.step = self.machine.on_failure(errors.get(answer, lambda: refusal(int(answer)))())

    @precondition(lambda self: self.running() and isinstance(self.step, Search | Wait))
    @rule(is_answered=st.booleans(), appears=st.booleans())
    def look(self, is_answered: bool, appears: bool) -> None:  # noqa: FBT001
        """Look up to the end of the window; what is hidden appears by then, or is late."""
        if isinstance(self.step, Wait):
            self.step = self.machine.on_waited()
            return
        if self.hidden and appears:
            self.visible += self.hidden
            self.hidden = []
        self.is_late = self.is_late or bool(self.hidden and is_answered)
        self.step = self.machine.on_search(found(*self.visible) if is_answered else UNANSWERED)

    @precondition(lambda self: self.running() and isinstance(self.step, FindNearMatches | Refresh))
    @rule()
    def no_near_matches(self) -> None:
        """Find no near match."""
        if isinstance(self.step, Refresh):
            self.step = self.machine.on_refreshed(next(iter(self.visible), None))
        else:
            self.step = self.machine.on_near_matches((), None)

    @rule()
    def call_again(self) -> None:
        """Crash or end, and be called again: by a journal that knows whether it may have been sent."""
        self.call(was_sent_before=self.posts > 0)

    @invariant()
    def booked_once(self) -> None:
        """Hold the promise."""
        if not hasattr(self, "machine"):
            return
        booked = self.visible + self.hidden
        if len(booked) > 1:
            assert self.is_late
            assert self.was_resent
            assert self.policy == "look_up_then_resend" or self.rate_limited_resend()
        if isinstance(self.step, Fail) and booked:
            told = isinstance(self.step.error, PurchaseInDoubtError)
            # Nothing was bought by this call, or it says that something may have been.
            assert told or self.posts == 0 or self.is_hidden_rate_limit(), self.step.error
        if isinstance(self.step, Finish):
            assert booked
            assert (self.step.response or self.step.found) in booked

    def rate_limited_resend(self) -> bool:
        """Return whether a 429 that booked, and stayed hidden over an answered look, allowed the resend."""
        return self.is_late

    def is_hidden_rate_limit(self) -> bool:
        """Return whether the only booked orders became visible later than an answered look after a 429 or 409."""
        return (
            self.is_late and isinstance(self.step, Fail) and isinstance(self.step.error, RateLimitError | ConflictError)
        )


TestPurchases = Purchases.TestCase
TestPurchases.settings = settings(
    max_examples=settings.default.max_examples * 4 if settings.default else 60, stateful_step_count=25, deadline=None
)


@given(st.lists(st.sampled_from(["a", "b", "c", ""]), max_size=6))
def test_match_is_a_comparison_of_multisets(packages: list[str]) -> None:
    """Items match a request exactly if they are the same packages as often, whatever their order."""
    named = [package for package in packages if package]
    verdict = judge_response(order(*packages), REQUEST)
    if len(named) == len(packages):
        assert (verdict is Verdict.OURS) == (Counter(packages) == Counter({"a": 2, "b": 1}))
    elif len(packages) == 3:
        assert (verdict is Verdict.OURS) == (Counter(named) <= Counter({"a": 2, "b": 1}))
    else:
        assert verdict is Verdict.FOREIGN


@pytest.mark.parametrize("policy", ["raise", "look_up", "look_up_then_resend"])
def test_doubt_outlives_a_refusal(policy):
    """A doubt that an earlier call left is not erased by a later refusal."""
    made = machine(policy=policy, was_sent_before=True, doubt=LOST)
    made.on_search(ABSENT)
    assert made.on_failure(refusal(402)) == Search()
    assert failure(made.on_search(ABSENT)).reason is LOST
