"""What a failed purchase means, and whether an order is what it bought, follow from values alone."""

import pickle
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from roamify_async import CreateOrder, CreateTopUp, CreateVouchers, Order, OrderInsurance, OrderItem, OrderLine
from roamify_async.errors import (
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    PurchaseInDoubtError,
    RequestTimeoutError,
    RoamifyError,
    ServerError,
    TransportError,
    error_class,
)
from roamify_async.purchasing.classify import CLOCK_SKEW, REFUSED, Outcome, doubt, is_ours, meaning

SENT = datetime(2027, 7, 1, 12, 0, 0, tzinfo=UTC)
REQUEST = CreateOrder([OrderItem("esim-a", 2), OrderItem("esim-b")], reference_id="my-ref")
REFUSALS = {400, 401, 402, 403, 404, 405, 413, 415, 422, 429}


def refusal(status: int) -> RoamifyError:
    """Make the error of a status."""
    return error_class(status)("no", status=status)


def order(*packages: str, reference: str | None = "my-ref", created: datetime | None = SENT) -> Order:
    """Make an order of packages."""
    lines = tuple(OrderLine(package_id=package, esim_id=f"esim-{place}") for place, package in enumerate(packages))
    return Order(id="order-1", reference_id=reference, total=Decimal(5), items=lines, created_at=created)


# ---------------------------------------------------------------- what a failure means


@pytest.mark.parametrize("status", sorted(REFUSALS))
def test_refusals_buy_nothing(status):
    """A plain refusal means that nothing was bought."""
    assert meaning(refusal(status)) is Outcome.NOT_BOUGHT


def test_refusals_are_these():
    """No other answer is known to be harmless."""
    assert REFUSED == REFUSALS


def test_conflict_is_looked_into():
    """A 409 means that the order exists, or was refused: it says too little to be taken for either."""
    assert meaning(refusal(409)) is Outcome.CONFLICT


@pytest.mark.parametrize("status", [301, 302, 304, 307, 308, 408, 500, 501, 502, 503, 504, 520, 522, 524, 599])
def test_failures_are_in_doubt(status):
    """A redirect, a time-out of the server and every 5xx may hide an order that was booked."""
    assert meaning(refusal(status)) is Outcome.UNKNOWN


@pytest.mark.parametrize("status", sorted(set(range(300, 600)) - REFUSALS - {409}))
def test_all_else_is_in_doubt(status):
    """Any status that is not known to be harmless is in doubt."""
    assert meaning(refusal(status)) is Outcome.UNKNOWN


@pytest.mark.parametrize("error", [ConfigurationError("closed"), ConnectError("refused"), ConnectError("x", sent="no")])
def test_what_was_never_sent_buys_nothing(error):
    """What could not be sent bought nothing."""
    assert meaning(error) is Outcome.NOT_BOUGHT


@pytest.mark.parametrize("kind", [TransportError, ConnectionLostError, RequestTimeoutError])
@pytest.mark.parametrize(("sent", "means"), [("no", Outcome.NOT_BOUGHT), ("maybe", Outcome.UNKNOWN)])
def test_broken_connections(kind, sent, means):
    """A broken connection or a time-out is harmless only where not one byte had left."""
    assert meaning(kind("broken", sent=sent)) is means


@pytest.mark.parametrize(("last", "means"), [("no", Outcome.NOT_BOUGHT), ("maybe", Outcome.UNKNOWN)])
def test_last_try_decides(last, means):
    """After a refusal for now and a next try that broke, it is the last try that may have left or not."""
    error = RequestTimeoutError("late", sent=last).with_facts(sent="answered")
    assert (error.sent, error.last_try) == ("answered", last)
    assert meaning(error) is means


@pytest.mark.parametrize(
    "error", [DecodeError("what?"), DecodeError("cut off", garbled=True), RoamifyError("unheard of")]
)
def test_unreadable_answers_are_in_doubt(error):
    """A success that cannot be read may well be an order, and what is unheard of is not guessed."""
    assert meaning(error) is Outcome.UNKNOWN


# ---------------------------------------------------------------- whose order it is


def test_our_order():
    """An order of the same reference, packages and time is ours."""
    assert is_ours(order("esim-a", "esim-a", "esim-b"), REQUEST, SENT)


def test_order_of_lines_has_no_say():
    """In which order the server lists the eSIMs does not matter."""
    assert is_ours(order("esim-b", "esim-a", "esim-a"), REQUEST, SENT)
    assert is_ours(order("esim-a", "esim-b", "esim-a"), REQUEST, SENT)


@pytest.mark.parametrize(
    "packages",
    [
        (),
        ("esim-a",),
        ("esim-a", "esim-b"),
        ("esim-a", "esim-a"),
        ("esim-a", "esim-a", "esim-a", "esim-b"),
        ("esim-a", "esim-b", "esim-b"),
        ("esim-a", "esim-a", "esim-b", "esim-c"),
        ("esim-a", "esim-a", "esim-c"),
        ("esim-a", "esim-a", "ESIM-B"),
        ("esim-a", "esim-a", ""),
    ],
)
def test_other_packages_are_not_ours(packages):
    """An order of other packages, or of the same ones less or more often, is not ours."""
    assert not is_ours(order(*packages), REQUEST, SENT)


@pytest.mark.parametrize("reference", [None, "", "MY-REF", "my-ref ", "my-ref-2", "other"])
def test_other_references_are_not_ours(reference):
    """An order that the server found but that bears another reference, or none, is not ours."""
    assert not is_ours(order("esim-a", "esim-a", "esim-b", reference=reference), REQUEST, SENT)


@pytest.mark.parametrize(
    ("after", "ours"),
    [
        (timedelta(), True),
        (timedelta(minutes=-5), True),
        (timedelta(minutes=-5, microseconds=-1), False),
        (timedelta(minutes=-6), False),
        (timedelta(days=-1), False),
        (timedelta(seconds=6), True),
        (timedelta(days=1), True),
    ],
)
def test_older_orders_are_not_ours(after, ours):
    """An order from more than five minutes before our first try is another's; clocks may differ by that much."""
    assert timedelta(minutes=5) == CLOCK_SKEW
    assert is_ours(order("esim-a", "esim-a", "esim-b", created=SENT + after), REQUEST, SENT) is ours


def test_time_zones_have_no_say():
    """Times are compared as moments."""
    there = (SENT - CLOCK_SKEW).astimezone(timezone(timedelta(hours=9)))
    assert is_ours(order("esim-a", "esim-a", "esim-b", created=there), REQUEST, SENT)


def test_orders_without_a_time_are_not_ours():
    """An order that does not say when it was made is not provably ours."""
    assert not is_ours(order("esim-a", "esim-a", "esim-b", created=None), REQUEST, SENT)


def test_packages_named_twice():
    """A package that a request names in two lines is counted as often as both say."""
    request = CreateOrder([OrderItem("esim-a", 1), OrderItem("esim-b"), OrderItem("esim-a", 1)], reference_id="my-ref")
    assert is_ours(order("esim-a", "esim-a", "esim-b"), request, SENT)
    assert not is_ours(order("esim-a", "esim-b"), request, SENT)


def test_top_ups():
    """A top-up is an order of its one package."""
    request = CreateTopUp("8910", "esim-a", reference_id="my-ref")
    assert is_ours(order("esim-a"), request, SENT)
    assert not is_ours(order("esim-a", "esim-a"), request, SENT)
    assert not is_ours(order("esim-b"), request, SENT)


NAMES = st.sampled_from(["esim-a", "esim-b", "esim-c"])


@given(st.dictionaries(NAMES, st.integers(1, 3), min_size=1), st.lists(NAMES, max_size=6))
def test_ours_means_the_same_packages_as_often(wanted, lines):
    """For any request and any order: ours is what has each package exactly as often."""
    request = CreateOrder([OrderItem(name, count) for name, count in wanted.items()], reference_id="my-ref")
    expected = sorted(name for name, count in wanted.items() for _ in range(count))
    assert is_ours(order(*lines), request, SENT) == (sorted(lines) == expected)
    assert is_ours(order(*expected), request, SENT)


# ---------------------------------------------------------------- a doubt as an error


def test_doubt():
    """A doubt has the request, the reason, and what was found, and says how to look the purchase up."""
    facts = {"method": "POST", "path": "/api/esim/order", "request_id": "ray-1"}
    reason = ServerError("Bad gateway", status=502, sent="answered", **facts)
    found = (order("esim-c"),)
    error = doubt(REQUEST, reason, found)
    assert isinstance(error, PurchaseInDoubtError)
    assert (error.request, error.reason, error.found) == (REQUEST, reason, found)
    assert (error.sent, error.method, error.path, error.request_id) == ("answered", *facts.values())
    assert "may have been booked" in str(error)
    assert "ServerError 502: Bad gateway" in str(error)
    assert "orders.reconcile('my-ref')" in str(error)
    assert (reason.reference_id, reason.package_ids) == ("my-ref", ("esim-a", "esim-b"))


@pytest.mark.parametrize(
    ("request_", "told"),
    [
        (CreateTopUp("8910", "esim-a", reference_id="it's"), 'orders.reconcile("it\'s")'),
        (CreateVouchers("esim-a", reference_id="r"), "vouchers.list(reference_id='r')"),
        (OrderInsurance([OrderItem("insurance-a")], reference_id="r"), "insurance.get_order(reference_id='r')"),
    ],
)
def test_advice_of_a_doubt(request_, told):
    """A doubt says how just this kind of purchase is looked up."""
    assert f"Look it up with {told} before buying again" in str(doubt(request_, refusal(503)))


def test_doubt_without_anything_found():
    """Where nothing stands under the reference, nothing was found."""
    assert doubt(REQUEST, ConnectionLostError("reset", sent="maybe")).found == ()


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (ConnectionLostError("reset", sent="maybe"), "ConnectionLostError: reset."),
        (RequestTimeoutError("late", sent="maybe"), "RequestTimeoutError: late."),
        (DecodeError("what?"), "DecodeError: what?."),
        (refusal(408), "APIStatusError 408: no."),
    ],
)
def test_reason_of_a_doubt(reason, shown):
    """The reason stands in the text, with its status where it has one; how far it got is how far the purchase got."""
    error = doubt(REQUEST, reason)
    assert f"may have been booked: {shown}" in str(error)
    assert error.sent == reason.sent


def test_doubt_can_be_pickled():
    """A doubt comes back from pickling with its request, its reason and the orders that were seen."""
    error = pickle.loads(pickle.dumps(doubt(REQUEST, refusal(500), (order("esim-a"),))))
    assert error.request == REQUEST
    assert error.reason.status == 500
    assert error.found == (order("esim-a"),)
