"""The purchase machine, driven step by step: what it decides before sending, after each answer, and after a look-up."""

from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from roamify_async import CreateOrder, CreateVouchers, Order, OrderItem, OrderLine, Voucher, VoucherBatch
from roamify_async.errors import (
    APIStatusError,
    BudgetError,
    ConfigurationError,
    ConflictError,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    PackageNotFoundError,
    PurchaseFailedError,
    PurchaseInDoubtError,
    RateLimitError,
    RequestTimeoutError,
    RoamifyError,
    ServerError,
    error_class,
)
from roamify_async.purchasing.classify import LookUpResult, judge_found
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

REQUEST = CreateOrder([OrderItem("esim-a", 2)], reference_id="r")
WANTED = ("esim-a", "esim-a")
NOW = datetime(2027, 7, 1, 12, 0, 0, tzinfo=UTC)
LOST = ConnectionLostError("reset", sent="maybe")
POLICIES = ["raise", "look_up", "look_up_then_resend"]


def machine(**changes: Any) -> Machine[Order, Order]:
    """Make a machine for a reference of the caller's."""
    options = {"policy": "look_up", "max_sends": 5, "is_new": False, **changes}
    return Machine(request=REQUEST, **options)


def resending(**changes: Any) -> Machine[Order, Order]:
    """Make a machine that may send again what is absent."""
    return machine(policy="look_up_then_resend", **changes)


def order(
    packages: Sequence[str] = WANTED, *, id: str = "order-1", status: str = "COMPLETED", reference: str | None = "r"
) -> Order:
    """Make an order."""
    lines = tuple(OrderLine(package_id=package, esim_id=f"esim-{place}") for place, package in enumerate(packages))
    return Order(  # type: ignore[call-arg]
        id=id, reference_id=reference, total=Decimal(5), items=lines, created_at=NOW, status=status
    )


def found(*orders: Order) -> LookUpResult[Order]:
    """Make the result of a look-up."""
    return judge_found(orders, REQUEST)


def status(code: int, message: str = "no", **facts: Any) -> APIStatusError:
    """Make the error of a status."""
    return error_class(code)(message, status=code, **facts)


def failed(code: int = 503) -> LookUpResult[Order]:
    """Make the result of a look-up that failed."""
    return LookUpResult(failure=status(code))


def error_of(step: object) -> Any:
    """Return the error of a step that must be a failure."""
    assert isinstance(step, Fail), step
    return step.error


def doubt_of(step: object) -> PurchaseInDoubtError:
    """Return the doubt of a step."""
    error = error_of(step)
    assert isinstance(error, PurchaseInDoubtError), error
    assert error.reference_id == "r"
    return error


def sent(made: Machine[Order, Order]) -> Machine[Order, Order]:
    """Lead a machine to its first send."""
    assert made.start() == LookFirst(look=True)
    assert made.on_first_look(found(), None) == Send()
    return made


def resent(made: Machine[Order, Order]) -> Machine[Order, Order]:
    """Lead a machine through a lost send and a proven absence to its second send."""
    assert sent(made).on_failure(LOST) == Search()
    assert made.on_search(found()) == FindNearMatches()
    assert made.on_near_matches((), None) == Send()
    return made


# ---------------------------------------------------------------- before sending


def test_new_reference_is_not_looked_up():
    """Nothing can be booked under a reference that was just created."""
    made = machine(is_new=True)
    assert made.start() == LookFirst(look=False)
    assert made.on_first_look(None, None) == Send()


def test_reference_of_the_caller_is_looked_up():
    """A reference of the caller's is looked up before it is sent."""
    assert machine().start() == LookFirst(look=True)


def test_look_first_can_be_turned_off():
    """With ``look_first=False`` it is sent without a look-up; packages are checked all the same."""
    assert machine(look_first=False).start() == LookFirst(look=False)


def test_reference_that_may_have_been_sent_is_searched():
    """What an earlier call or run may have sent is searched for a whole window, whatever the settings."""
    assert machine(was_sent_before=True, look_first=False, is_new=True).start() == Search()


def test_order_that_exists_is_returned():
    """An order that exists under the reference and matches is the response, and nothing is sent."""
    assert machine().on_first_look(found(order()), None) == Finish(found=order(), was_found=True)


def test_order_that_may_match_is_returned():
    """An order whose items name no packages fits by their number."""
    instant = order(("", ""))
    assert machine().on_first_look(found(instant), None) == Finish(found=instant, was_found=True)


def test_order_that_exists_makes_a_refusal_irrelevant():
    """An order that exists is returned although its package is no longer in the catalogue."""
    refusal = PackageNotFoundError("gone")
    assert machine().on_first_look(found(order()), refusal) == Finish(found=order(), was_found=True)


def test_oldest_of_several_is_returned():
    """Of several matching orders that exist before anything is sent, the oldest is the response."""
    old = order(id="old")
    new = order(id="new")
    new.created_at = datetime(2028, 1, 1, tzinfo=UTC)
    assert machine().on_first_look(found(new, old), None) == Finish(found=old, was_found=True)


@pytest.mark.parametrize("other", [order(["esim-b"]), order(["esim-a"]), order(["esim-a"] * 3)])
def test_other_items_are_a_conflict(other):
    """An order of other items under the reference is a conflict that names it; nothing is sent."""
    error = error_of(machine().on_first_look(found(other), None))
    assert isinstance(error, ConflictError)
    assert (error.sent, error.status, error.body) == ("no", 409, "")
    assert "order-1" in str(error)


def test_near_match_is_a_conflict():
    """An order whose reference differs in spelling only is a conflict: the server may take them for one."""
    error = error_of(machine().on_first_look(found(order(reference="R")), None))
    assert isinstance(error, ConflictError)
    assert "differs in spelling only" in str(error)


def test_order_that_was_not_kept_before_sending():
    """An order under the reference that was not kept fails for good; nothing is sent."""
    error = error_of(machine().on_first_look(found(order(status="REFUNDED")), None))
    assert isinstance(error, PurchaseFailedError)
    assert error.order == order(status="REFUNDED")


def test_one_kept_and_one_not_before_sending():
    """Where an order was cancelled and another one stands, the one that stands is the response."""
    step = machine().on_first_look(found(order(status="CANCELLED", id="first"), order(id="second")), None)
    assert step == Finish(found=order(id="second"), was_found=True)


def test_order_that_grows_before_sending():
    """A pending order under the reference that is incomplete is waited for; nothing is sent."""
    growing = order(["esim-a"], status="PENDING")
    made = machine()
    assert made.on_first_look(found(growing), None) == Refresh(growing)
    assert made.on_refreshed(order()) == Finish(found=order(), was_found=True)


def test_unknown_package_is_refused():
    """An unknown package is refused before anything is sent, also if the look-up failed."""
    refusal = PackageNotFoundError("no such package")
    assert error_of(machine().on_first_look(found(), refusal)) is refusal
    assert error_of(machine().on_first_look(failed(), refusal)) is refusal
    assert error_of(machine(is_new=True).on_first_look(None, refusal)) is refusal


def test_conflict_comes_before_an_unknown_package():
    """The conflict is reported where both the reference and the package are wrong."""
    step = machine().on_first_look(found(order(["esim-b"])), PackageNotFoundError("no such package"))
    assert isinstance(error_of(step), ConflictError)


def test_package_that_needs_a_date():
    """What a check raises for wrong arguments is raised as it is."""
    refusal = ValueError("needs a start_date")
    assert error_of(machine().on_first_look(found(), refusal)) is refusal


@pytest.mark.parametrize("policy", POLICIES)
def test_first_look_that_failed(policy):
    """Nothing is sent if the reference could not be looked up; the error says so, and how to do without."""
    error = error_of(machine(policy=policy).on_first_look(failed(), None))
    assert isinstance(error, ServerError)
    assert error.sent == "no"
    assert "nothing was sent" in str(error)
    assert "look_first=False" in str(error)


@pytest.mark.parametrize("error", [BudgetError("too much"), status(503), status(401), LOST])
def test_veto(error):
    """Whatever the caller's refusal of a send is, nothing was sent, and nothing is in doubt."""
    made = sent(resending())
    assert error_of(made.on_veto(error)) is error
    assert (error.sent, made.may_be_booked, made.sends) == ("no", False, 0)


def test_veto_of_a_resend():
    """A refused resend does not undo the doubt about the first send, and no other resend follows."""
    made = resent(resending())
    assert made.on_veto(BudgetError("too much")) == Search()
    assert doubt_of(made.on_search(found())).reason is LOST


def test_veto_of_what_an_earlier_run_may_have_sent():
    """A veto leaves in doubt what an earlier run may have sent."""
    made = resending(was_sent_before=True)
    assert made.on_search(found()) == FindNearMatches()
    assert made.on_near_matches((), None) == Send()
    assert made.on_veto(BudgetError("too much")) == Search()
    assert isinstance(doubt_of(made.on_search(found())).reason, BudgetError)


def test_purchase_of_this_client_that_is_not_listed_yet():
    """What this client bought is searched for a window where a look-up does not show it, and never sent again."""
    for made in (machine(was_bought=True), resending(was_bought=True)):
        assert made.on_first_look(found(), PackageNotFoundError("sold out")) == Search()
        assert made.on_search(found(order())) == Finish(found=order(), was_found=True)
        doubt_of(made.on_search(found()))


def test_purchase_of_this_client_that_cannot_be_looked_up():
    """What this client bought is not sent if the look-up fails."""
    assert isinstance(error_of(machine(was_bought=True).on_first_look(failed(), None)), ServerError)


def test_other_items_under_the_reference_of_this_clients_purchase():
    """Other items are a conflict at once, also under a reference that this client bought."""
    assert isinstance(error_of(machine(was_bought=True).on_first_look(found(order(["esim-b"])), None)), ConflictError)


# ---------------------------------------------------------------- answers: not sent, bought


@pytest.mark.parametrize(
    "error", [ConnectError("refused"), RequestTimeoutError("queue", sent="no"), ConfigurationError("closed")]
)
@pytest.mark.parametrize("policy", POLICIES)
def test_not_sent(error, policy):
    """What provably never left is raised as it is, and leaves no doubt."""
    made = sent(machine(policy=policy))
    assert error_of(made.on_failure(error)) is error
    assert (made.may_be_booked, made.sends) == (False, 0)


@pytest.mark.parametrize("state", ["COMPLETED", "PENDING", "REQUIRE_ACTION", "ARCHIVED", "SOMETHING_NEW"])
def test_bought(state):
    """A 2xx response with our items, in a state that stands, is returned without a look-up."""
    assert sent(machine()).on_response(order(status=state)) == Finish(order(status=state))


def test_bought_without_a_reference_in_the_response():
    """A response that does not repeat the reference is the purchase if it holds our items."""
    assert sent(machine()).on_response(order(reference=None)) == Finish(order(reference=None))


def test_incomplete_response():
    """A pending order with items missing is read again by its id, whatever the policy."""
    growing = order(["esim-a"], status="PENDING")
    made = sent(machine(policy="raise"))
    assert made.on_response(growing) == Refresh(growing)
    assert made.on_refreshed(order()) == Finish(found=order())


def test_order_that_stays_incomplete():
    """An order that is still incomplete at the end of the window is in doubt, with the order as last seen."""
    growing = order(["esim-a"], status="PENDING")
    made = sent(resending())
    made.on_response(order([], status="PENDING"))
    assert doubt_of(made.on_refreshed(growing)).found == (growing,)
    assert made.may_be_booked


def test_incomplete_order_that_cannot_be_read():
    """The order of an incomplete response that cannot be read again is named in the doubt."""
    growing = order(["esim-a"], status="PENDING")
    made = sent(resending())
    made.on_response(growing)
    assert doubt_of(made.on_refreshed(None)).found == (growing,)


def test_incomplete_order_that_is_cancelled():
    """An incomplete order that is cancelled meanwhile has failed for good."""
    made = sent(machine())
    made.on_response(order(["esim-a"], status="PENDING"))
    assert isinstance(error_of(made.on_refreshed(order(["esim-a"], status="CANCELLED"))), PurchaseFailedError)


# ---------------------------------------------------------------- answers: unknown

OTHERS = [
    order(["esim-b", "esim-b"]),
    order(["esim-a"]),
    order(["esim-a"] * 3),
    order(reference="another"),
    order(id=""),
]


@pytest.mark.parametrize("other", OTHERS)
def test_success_that_differs(other):
    """A 2xx response with other items, another reference or no id is reconciled, and kept in the doubt."""
    made = sent(machine())
    assert made.on_response(other) == Search()
    error = doubt_of(made.on_search(found()))
    assert error.found == (other,)
    assert isinstance(error.reason, DecodeError)


@pytest.mark.parametrize("other", OTHERS)
def test_success_that_differs_is_never_sent_again(other):
    """After a 2xx response that differs something was bought: it is not sent again, whatever the policy."""
    made = sent(resending())
    made.on_response(other)
    assert doubt_of(made.on_search(found())).found == (other,)


def test_success_that_differed_in_an_earlier_call():
    """What an earlier call got for a response that differs keeps a later one from sending again."""
    made = resending(was_sent_before=True, doubt=LOST, seen=(order(reference="another"),))
    assert doubt_of(made.on_search(found())).found == (order(reference="another"),)


def test_success_that_differs_and_is_found():
    """After a 2xx response that differs, our order that a look-up shows is returned."""
    made = sent(machine())
    made.on_response(order(["esim-b"]))
    assert made.on_search(found(order())) == Finish(found=order())


UNKNOWN = [
    DecodeError("the response says that it failed"),
    DecodeError("cut off", garbled=True),
    status(408),
    status(500),
    status(502),
    status(503),
    status(302),
    status(303),
    LOST,
    RequestTimeoutError("late", sent="maybe"),
    RoamifyError("unheard of", sent="maybe"),
]


@pytest.mark.parametrize("failure", UNKNOWN, ids=str)
def test_unknown(failure):
    """What may have been booked is searched, and in doubt if the window passes without it."""
    made = sent(machine())
    assert made.on_failure(failure) == Search()
    error = doubt_of(made.on_search(found()))
    assert (error.reason, error.found) == (failure, ())


@pytest.mark.parametrize("failure", UNKNOWN, ids=str)
def test_unknown_with_the_policy_raise(failure):
    """With the policy ``raise`` it is in doubt at once."""
    assert doubt_of(sent(machine(policy="raise")).on_failure(failure)).reason is failure


@pytest.mark.parametrize("failure", UNKNOWN, ids=str)
def test_unknown_that_is_found(failure):
    """A purchase whose answer was lost and that is found is returned."""
    made = sent(machine())
    made.on_failure(failure)
    assert made.on_search(found(order())) == Finish(found=order(), was_found=False)


# ---------------------------------------------------------------- answers: not kept


@pytest.mark.parametrize("state", ["CANCELLED", "REFUNDED", "FAILED"])
def test_not_kept(state):
    """An order that comes back as not kept has failed for good, and is part of the error."""
    error = error_of(sent(resending()).on_response(order(status=state)))
    assert isinstance(error, PurchaseFailedError)
    assert error.order == order(status=state)
    assert "not documented" in str(error)
    assert "balance" in str(error)


@pytest.mark.parametrize("state", ["CANCELLED", "REFUNDED", "FAILED"])
def test_not_kept_is_found(state):
    """An order that a look-up shows as not kept has failed for good; nothing is sent again."""
    made = sent(resending())
    made.on_failure(LOST)
    assert isinstance(error_of(made.on_search(found(order(status=state)))), PurchaseFailedError)


@pytest.mark.parametrize("is_found", [True, False])
def test_not_kept_after_a_doubt(is_found):
    """An order of the second send that is not kept says nothing of the first one, which stays in doubt."""
    made, cancelled = resent(resending()), order(status="CANCELLED")
    if is_found:
        made.on_failure(LOST)
    step = made.on_search(found(cancelled)) if is_found else made.on_response(cancelled)
    error = doubt_of(step)
    assert (error.reason, error.found) == (LOST, (cancelled,))


def test_not_kept_after_a_rate_limit():
    """A 429 that an answered look ruled out leaves no doubt: the order that is not kept is the purchase."""
    made = sent(resending())
    made.on_failure(status(429))
    made.on_waited()
    made.on_search(found())
    made.on_near_matches((), None)
    assert isinstance(error_of(made.on_response(order(status="CANCELLED"))), PurchaseFailedError)


def test_one_kept_and_one_not():
    """Where one order was cancelled and another stands, the one that stands is the purchase."""
    made = sent(machine())
    made.on_failure(LOST)
    step = made.on_search(found(order(status="CANCELLED", id="first"), order(id="second")))
    assert step == Finish(found=order(id="second"))


# ---------------------------------------------------------------- answers: refused


@pytest.mark.parametrize("code", [400, 401, 402, 403, 404, 405, 407, 413, 415, 422, 301, 307, 308])
@pytest.mark.parametrize("policy", POLICIES)
def test_refused(code, policy):
    """A refusal or a permanent redirect is raised as it is, and leaves no doubt."""
    made, error = sent(machine(policy=policy)), status(code)
    assert error_of(made.on_failure(error)) is error
    assert not made.may_be_booked


@pytest.mark.parametrize("code", [0, 400, 401, 402, 403, 404, 405, 413, 415, 422, 301, 409])
def test_refused_after_a_doubt(code):
    """A refusal, or a failed connection, does not undo an earlier send: it stays in doubt for its own reason."""
    made = resent(resending())
    assert made.on_failure(status(code) if code else ConnectError("refused")) == Search()
    assert doubt_of(made.on_search(found())).reason is LOST


@pytest.mark.parametrize("code", [402, 409])
def test_refused_after_a_doubt_and_found(code):
    """The first send, which a look-up shows after the second was refused, is the purchase."""
    made = resent(resending())
    made.on_failure(status(code))
    assert made.on_search(found(order())) == Finish(found=order())


@pytest.mark.parametrize("policy", POLICIES)
def test_refused_after_the_doubt_of_an_earlier_call(policy):
    """A refusal does not undo the doubt that an earlier call left, whatever the policy."""
    made = machine(policy=policy, was_sent_before=True, doubt=LOST)
    made.on_search(found())
    assert made.on_failure(status(402)) == Search()
    assert doubt_of(made.on_search(found())).reason is LOST


def test_refused_after_an_earlier_run():
    """A refusal does not undo what an earlier run may have sent."""
    made = resending(was_sent_before=True)
    made.on_search(found())
    made.on_near_matches((), None)
    assert made.on_failure(status(402)) == Search()
    doubt_of(made.on_search(found()))


def test_refused_after_a_doubt_whose_look_up_failed():
    """The doubt tells why the look-up after a refusal failed."""
    made = resent(resending())
    made.on_failure(status(402))
    assert doubt_of(made.on_search(failed())).look_up_error.status == 503  # type: ignore[union-attr]


# ---------------------------------------------------------------- answers: 409


def test_conflict_is_searched():
    """After a 409 the server says that the order exists: it is looked up within the window, and returned."""
    made = sent(machine())
    assert made.on_failure(status(409)) == Search(until_answered=False)
    assert made.on_search(found(order())) == Finish(found=order())


def test_conflict_without_our_order():
    """A 409 without an order is raised as it is; it is never sent again."""
    made, error = sent(resending()), status(409)
    made.on_failure(error)
    assert error_of(made.on_search(found())) is error


def test_conflict_with_other_orders():
    """A 409 names the other orders under the reference."""
    made = machine(look_first=False)
    made.on_first_look(None, None)
    made.on_failure(status(409, "taken"))
    error = error_of(made.on_search(found(order(["esim-b"], id="theirs"))))
    assert isinstance(error, ConflictError)
    assert "taken; there are other orders under this reference: theirs" in str(error)


def test_conflict_that_cannot_be_looked_up():
    """A 409 whose look-ups all failed is in doubt: the server may mean our order."""
    made = sent(resending())
    made.on_failure(status(409))
    assert doubt_of(made.on_search(failed())).reason.status == 409  # type: ignore[union-attr]


def test_insufficient_balance():
    """A balance that is too low is a refusal, after a single look."""
    error = status(409, "Insufficient balance, please top up your account")
    made = sent(resending())
    assert made.on_failure(error) == Search(until_answered=True)
    assert error_of(made.on_search(found())) is error


# ---------------------------------------------------------------- answers: 429


@pytest.mark.parametrize(("retry_after", "seconds"), [(None, 2.0), (0, 2.0), (1.5, 2.0), (7.0, 7.0)])
@pytest.mark.parametrize("policy", POLICIES)
def test_rate_limited(retry_after, seconds, policy):
    """After a 429 it waits as long as the server says, and two seconds at least; it leaves no doubt."""
    made = sent(machine(policy=policy))
    assert made.on_failure(status(429, retry_after=retry_after)) == Wait(seconds)
    assert not made.may_be_booked


@pytest.mark.parametrize("policy", POLICIES)
def test_rate_limited_and_sent_again(policy):
    """After the wait an answered look that found nothing, and no near match, lets it be sent again."""
    made = sent(machine(policy=policy))
    made.on_failure(status(429))
    assert made.on_waited() == Search(until_answered=True)
    assert made.on_search(found()) == FindNearMatches()
    assert made.on_near_matches((), None) == Send()


def test_rate_limited_and_booked():
    """A purchase that was booked in spite of its 429 is found, and not sent again."""
    made = sent(machine())
    made.on_failure(status(429))
    made.on_waited()
    assert made.on_search(found(order())) == Finish(found=order())


def test_rate_limited_and_never_looked_up():
    """A purchase after a 429 whose look-ups all failed is in doubt."""
    made = sent(resending())
    made.on_failure(status(429))
    made.on_waited()
    error = doubt_of(made.on_search(failed()))
    assert isinstance(error.reason, RateLimitError)
    assert error.look_up_error.status == 503  # type: ignore[union-attr]


def test_rate_limited_to_the_end():
    """The last 429 within the tries is raised, after a last look."""
    made, last = sent(machine(max_sends=2)), status(429, "too many")
    made.on_failure(status(429))
    made.on_waited()
    made.on_search(found())
    made.on_near_matches((), None)
    assert made.on_failure(last) == Wait(2.0)
    assert made.on_waited() == Search(until_answered=True)
    assert error_of(made.on_search(found())) is last


def test_rate_limited_beyond_the_deadline():
    """A wait that would take too long is left out; after a last look the 429 is raised."""
    made, error = sent(machine()), status(429, retry_after=3600.0)
    assert made.on_failure(error) == Wait(3600.0)
    assert made.on_waited(may_send=False) == Search(until_answered=True)
    assert error_of(made.on_search(found())) is error


@pytest.mark.parametrize("policy", ["raise", "look_up"])
def test_rate_limited_after_a_doubt(policy):
    """After a doubt, a 429 does not permit what the policy does not."""
    made = machine(policy=policy, doubt=LOST, was_sent_before=True)
    made.on_failure(status(429))
    made.on_waited()
    assert doubt_of(made.on_search(found())).reason is LOST


# ---------------------------------------------------------------- reconcile


def test_absence_alone_does_not_send_again():
    """Without the policy that sends again, a purchase that is absent is in doubt."""
    made = sent(machine())
    made.on_failure(LOST)
    doubt_of(made.on_search(found()))


def test_absence_with_the_policy():
    """With the policy, a purchase that is absent and has no near match is sent again."""
    made = resent(resending())
    assert made.may_be_booked
    assert not made.sends > 1


def test_failed_look_up_is_no_absence():
    """A look-up that failed to the end proves no absence: nothing is sent again, and its error is told."""
    made = sent(resending())
    made.on_failure(LOST)
    error = doubt_of(made.on_search(failed(404)))
    assert error.look_up_error.status == 404  # type: ignore[union-attr]
    assert "could not be looked up" in str(error)


def test_other_evidence_is_no_absence():
    """An item of an eSIM's history that may be the purchase is no absence, and is named."""
    made = sent(resending())
    made.on_failure(LOST)
    assert doubt_of(made.on_search(LookUpResult(evidence=("item",)))).found == ("item",)


@pytest.mark.parametrize("other", [order(["esim-b"]), order(reference="R"), order(reference=None)])
def test_anything_under_the_reference_is_no_absence(other):
    """Another order under the reference, or one without any, is no absence: nothing is sent again."""
    made = sent(resending())
    made.on_failure(LOST)
    assert doubt_of(made.on_search(found(other))).found == (other,)


def test_near_match_is_no_absence():
    """A near match among the latest orders is no absence: nothing is sent again, and it is named."""
    made = sent(resending())
    made.on_failure(LOST)
    made.on_search(found())
    near = order(reference="R")
    assert doubt_of(made.on_near_matches((near,), None)).found == (near,)


def test_near_matches_that_cannot_be_read():
    """Where the latest orders cannot be read, nothing is sent again."""
    made = sent(resending())
    made.on_failure(LOST)
    made.on_search(found())
    assert doubt_of(made.on_near_matches((), status(503))).look_up_error.status == 503  # type: ignore[union-attr]


def test_no_more_sends_than_tries():
    """A purchase is sent at most as often as the settings say."""
    made = resent(resending(max_sends=2))
    assert made.on_failure(LOST) == Search()
    doubt_of(made.on_search(found()))


@pytest.mark.parametrize("was_sent_before", [True, False])
def test_one_try_is_never_sent_again(was_sent_before):
    """With one try nothing is sent again, whether this call or an earlier one sent it."""
    made = resending(max_sends=1, was_sent_before=was_sent_before)
    if not was_sent_before:
        made.on_failure(LOST)
    doubt_of(made.on_search(found()))


def test_earlier_run_that_was_booked():
    """What an earlier run sent and a search finds is returned."""
    made = machine(was_sent_before=True)
    assert made.on_search(found(order())) == Finish(found=order(), was_found=True)


def test_earlier_run_that_is_absent():
    """What an earlier run may have sent is in doubt where it is absent, until the policy allows to send again."""
    error = doubt_of(machine(was_sent_before=True).on_search(found()))
    assert error.reason is None
    assert resending(was_sent_before=True).on_search(found()) == FindNearMatches()


def test_found_order_that_grows():
    """An order that is found incomplete is read until it is complete."""
    growing = order(["esim-a"], status="PENDING")
    made = sent(machine())
    made.on_failure(LOST)
    assert made.on_search(found(growing)) == Refresh(growing)


def test_several_orders_before_sending_again():
    """Two matching orders where one send is unknown are in doubt, both named."""
    made = sent(machine())
    made.on_failure(LOST)
    pair = (order(id="one"), order(id="two"))
    error = doubt_of(made.on_search(found(*pair)))
    assert error.found == pair
    assert "booked 2 times" in str(error)


# ---------------------------------------------------------------- after a resend


def test_success_after_a_resend_is_checked():
    """A success after a resend is checked for a second booking, by one answered look, and returned."""
    made = resent(resending())
    assert made.on_response(order()) == Search(until_answered=True)
    assert made.on_search(found(order())) == Finish(order())


@pytest.mark.parametrize("result", [found(), failed()])
def test_success_after_a_resend_that_is_not_listed_yet(result):
    """The response of a resend stands whatever the look-up does not show."""
    made = resent(resending())
    made.on_response(order())
    assert made.on_search(result) == Finish(order())


@pytest.mark.parametrize(
    "first",
    [
        order(id="first"),
        order(["esim-a"], id="first", status="PENDING"),
        order(["esim-a"], id="first"),
    ],
)
@pytest.mark.parametrize("is_listed", [True, False])
def test_booked_twice(first, is_listed):
    """Both orders are named where the first send shows up after the second succeeded, listed or not."""
    made, second = resent(resending()), order(id="second")
    made.on_response(second)
    error = doubt_of(made.on_search(found(*([first, second] if is_listed else [first]))))
    assert {one.id for one in error.found} == {"first", "second"}  # type: ignore[attr-defined]
    assert error.reason is LOST


def test_booked_twice_and_both_lost():
    """Both orders are named where both responses were lost."""
    made = resent(resending())
    made.on_failure(status(503))
    pair = (order(id="first"), order(["esim-a"], id="second", status="PENDING"))
    assert doubt_of(made.on_search(found(*pair))).found == pair


def test_incomplete_order_after_a_resend_is_checked():
    """An order that grew to completion after a resend is checked for a second booking too."""
    made = resent(resending())
    growing = order(["esim-a"], status="PENDING", id="second")
    assert made.on_response(growing) == Refresh(growing)
    assert made.on_refreshed(order(id="second")) == Search(until_answered=True)
    assert len(doubt_of(made.on_search(found(order(id="first"), order(id="second")))).found) == 2


def test_success_after_an_earlier_run_is_checked():
    """A success after an earlier run may have sent it is checked for a second booking."""
    made = resending(was_sent_before=True)
    made.on_search(found())
    made.on_near_matches((), None)
    assert made.on_response(order()) == Search(until_answered=True)
    assert len(doubt_of(made.on_search(found(order(), order(id="first")))).found) == 2


def batch(*ids: str) -> VoucherBatch:
    """Make a batch of vouchers."""
    vouchers = tuple(Voucher(id=id, package_id="esim-a", reference_id="r") for id in ids)
    return VoucherBatch(reference_id="r", requested_quantity=2, quantity=len(ids), vouchers=vouchers)


@pytest.mark.parametrize(("listed", "is_twice"), [(("v-2", "v-1"), False), (("v-4", "v-3", "v-2", "v-1"), True)])
def test_vouchers_created_twice(listed, is_twice):
    """Vouchers beyond those of the batch are a second booking; the same ones in another order are not."""
    request = CreateVouchers("esim-a", quantity=2, reference_id="r")
    made: Machine[VoucherBatch, VoucherBatch] = Machine(
        request=request, policy="look_up_then_resend", max_sends=5, is_new=False
    )
    made.on_failure(LOST)
    made.on_search(LookUpResult())
    made.on_near_matches((), None)
    made.on_response(batch("v-1", "v-2"))
    step = made.on_search(judge_found([batch(*listed)], request))
    assert isinstance(step, Fail if is_twice else Finish)
