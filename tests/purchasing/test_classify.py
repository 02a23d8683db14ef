"""What an answer to a purchase means, and what a look-up found, follow from values alone."""

import pickle
from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given, strategies as st

from roamify_async import (
    CreateOrder,
    CreateTopUp,
    CreateVouchers,
    InstantOrder,
    Order,
    OrderInsurance,
    OrderItem,
    OrderLine,
    Voucher,
    VoucherBatch,
)
from roamify_async.errors import (
    BudgetError,
    ConfigurationError,
    ConnectError,
    ConnectionLostError,
    DecodeError,
    JournalError,
    NotFoundError,
    PurchaseInDoubtError,
    RequestTimeoutError,
    RoamifyError,
    ServerError,
    TransportError,
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
    is_permanent,
    judge_found,
    judge_response,
)
from roamify_async.purchasing.failures import doubt

SENT = datetime(2027, 7, 1, 12, 0, 0, tzinfo=UTC)
REQUEST = CreateOrder([OrderItem("esim-a", 2), OrderItem("esim-b")], reference_id="my-ref")
WANTED = ("esim-a", "esim-a", "esim-b")
REFUSALS = {400, 401, 402, 403, 404, 405, 407, 413, 415, 422}
MOVED = {301, 307, 308}
LONG = "0123456789abcdef0123456789abcdef"


def status_error(status: int) -> RoamifyError:
    """Make the error of a status."""
    return error_class(status)("no", status=status)


def order(
    packages: Sequence[str] = WANTED,
    *,
    reference: str | None = "my-ref",
    status: str = "COMPLETED",
    created: datetime | None = SENT,
    id: str = "order-1",
) -> Order:
    """Make an order of packages."""
    lines = tuple(OrderLine(package_id=package, esim_id=f"esim-{place}") for place, package in enumerate(packages))
    return Order(id=id, reference_id=reference, total=Decimal(5), items=lines, created_at=created, status=status)  # type: ignore[arg-type]


def found(*orders: Order, not_before: datetime | None = None) -> LookUpResult[Order]:
    """Judge what a look-up returned."""
    return judge_found(orders, REQUEST, not_before=not_before)


# ---------------------------------------------------------------- failures


@pytest.mark.parametrize("status", sorted(REFUSALS | MOVED))
def test_refusals_buy_nothing(status):
    """A plain refusal, or a permanent redirect, means that nothing was bought."""
    assert classify(status_error(status)) is Outcome.REFUSED


@pytest.mark.parametrize("status", sorted(set(range(300, 600)) - REFUSALS - MOVED - {409, 429}))
def test_all_other_statuses_are_unknown(status):
    """Any status that is not known to be harmless leaves open whether the purchase was booked."""
    assert classify(status_error(status)) is Outcome.UNKNOWN


def test_conflict():
    """A 409 says that the purchase exists, or was refused: too little to be taken for either."""
    assert classify(status_error(409)) is Outcome.CONFLICT


def test_rate_limit():
    """A 429 is no refusal: the purchase may have been booked before the server counted it."""
    assert classify(status_error(429)) is Outcome.RATE_LIMITED


@pytest.mark.parametrize(
    "error",
    [
        ConfigurationError("closed"),
        ConnectError("refused"),
        BudgetError("too much"),
        JournalError("the disk is full"),
        TransportError("broken", sent="no"),
        RequestTimeoutError("late", sent="no"),
    ],
)
def test_what_was_never_sent(error):
    """What could not be sent bought nothing."""
    assert classify(error) is Outcome.NOT_SENT


@pytest.mark.parametrize("kind", [TransportError, ConnectionLostError, RequestTimeoutError])
def test_broken_connections_are_unknown(kind):
    """A connection that broke, or a time-out, after bytes had left, is unknown."""
    assert classify(kind("broken", sent="maybe")) is Outcome.UNKNOWN


@pytest.mark.parametrize(("last", "outcome"), [("no", Outcome.NOT_SENT), ("maybe", Outcome.UNKNOWN)])
def test_last_try_decides(last, outcome):
    """After several tries it is the last one that counts; the earlier ones were harmless."""
    error = RequestTimeoutError("late", sent=last).with_facts(sent="answered")
    assert (error.sent, error.last_try) == ("answered", last)
    assert classify(error) is outcome


@pytest.mark.parametrize(
    "error", [DecodeError("what?"), DecodeError("cut off", garbled=True), RoamifyError("unheard of")]
)
def test_unreadable_responses_are_unknown(error):
    """A success that cannot be read may be an order, and what is unheard of is not guessed."""
    assert classify(error) is Outcome.UNKNOWN


@pytest.mark.parametrize(
    ("error", "permanent"),
    [
        (status_error(404), True),
        (status_error(409), True),
        (status_error(429), False),
        (status_error(503), False),
        (ConnectError("refused"), False),
        (ConfigurationError("closed"), False),
        (DecodeError("what?"), False),
    ],
)
def test_permanent_failures(error, permanent):
    """Repeating helps against overload and lost connections, and not against refusals."""
    assert is_permanent(error) is permanent


@pytest.mark.parametrize(
    ("body", "is_api"),
    [
        ('{"status": "failed", "message": "Order not found"}', True),
        (' \n{"message": "no"}', True),
        ("<html>404 Not Found</html>", False),
        ("", False),
        ("Not Found", False),
    ],
)
def test_404_of_the_api(body, is_api):
    """Only a 404 with JSON comes from the API; others come from a gateway and prove nothing."""
    assert is_api_404(NotFoundError("no", status=404, body=body)) is is_api


def test_404_is_not_403():
    """A 403 with JSON is no absence."""
    assert not is_api_404(error_class(403)("no", status=403, body="{}"))


# ---------------------------------------------------------------- responses


@pytest.mark.parametrize("status", ["COMPLETED", "PENDING", "REQUIRE_ACTION", "ARCHIVED", "SOMETHING_NEW", ""])
def test_states_that_stand(status):
    """An order of the right items is the purchase in every state that stands, unknown ones included."""
    assert judge_response(order(status=status), REQUEST) is Verdict.OURS


@pytest.mark.parametrize("status", ["CANCELLED", "REFUNDED", "FAILED", "cancelled"])
def test_states_that_do_not_stand(status):
    """An order that was cancelled, refunded or failed is the purchase, and not kept, also if items are missing."""
    assert judge_response(order(status=status), REQUEST) is Verdict.NOT_KEPT
    for packages in ([], ["esim-a"]):
        assert judge_response(order(packages, status=status), REQUEST) is Verdict.NOT_KEPT
        assert judge_response(order(packages, status=status, reference=None), REQUEST) is Verdict.FOREIGN
    assert judge_response(order(["esim-c"], status=status), REQUEST) is Verdict.FOREIGN


def test_response_without_a_reference():
    """A response that does not repeat the reference is judged by its items."""
    assert judge_response(order(reference=None), REQUEST) is Verdict.OURS
    assert judge_response(order(["esim-c"], reference=None), REQUEST) is Verdict.FOREIGN


@pytest.mark.parametrize("reference", ["", "MY-REF", "my-ref-2", "other"])
def test_response_with_another_reference(reference):
    """A response with another reference is another purchase, whatever it holds."""
    assert judge_response(order(reference=reference), REQUEST) is Verdict.FOREIGN


def test_response_without_an_id():
    """A response without an id is no purchase that could be looked up."""
    assert judge_response(order(id=""), REQUEST) is Verdict.FOREIGN


@pytest.mark.parametrize(
    "packages",
    [
        ("esim-a", "esim-a"),
        (),
        ("esim-a", "esim-b"),
    ],
)
def test_items_that_are_missing(packages):
    """Items may still be added to a pending order; to any other one they are missing."""
    assert judge_response(order(packages, status="PENDING"), REQUEST) is Verdict.INCOMPLETE
    assert judge_response(order(packages, status="COMPLETED"), REQUEST) is Verdict.FOREIGN


@pytest.mark.parametrize(
    "packages",
    [
        ("esim-a", "esim-a", "esim-a", "esim-b"),
        ("esim-a", "esim-b", "esim-b"),
        ("esim-a", "esim-a", "esim-b", "esim-c"),
        ("esim-a", "esim-a", "esim-c"),
        ("esim-a", "esim-a", "ESIM-B"),
        ("esim-c",),
    ],
)
@pytest.mark.parametrize("status", ["COMPLETED", "PENDING"])
def test_other_items(packages, status):
    """An order of other packages, or of the same ones more often, is another purchase."""
    assert judge_response(order(packages, status=status), REQUEST) is Verdict.FOREIGN


def test_items_in_any_order():
    """The order in which the server lists the items does not matter."""
    assert judge_response(order(("esim-b", "esim-a", "esim-a")), REQUEST) is Verdict.OURS


def test_items_without_package_ids():
    """Items that do not name their package fit by their number; those that name one must name the right one."""
    assert judge_response(order(("", "", "")), REQUEST) is Verdict.OURS
    assert judge_response(order(("", "esim-b", "")), REQUEST) is Verdict.OURS
    assert judge_response(order(("", "esim-b", "esim-b")), REQUEST) is Verdict.FOREIGN
    assert judge_response(order(("", "")), REQUEST) is Verdict.FOREIGN


@pytest.mark.parametrize(("count", "verdict"), [(3, Verdict.OURS), (2, Verdict.FOREIGN), (4, Verdict.FOREIGN)])
def test_instant_orders(count, verdict):
    """An instant order shows eSIMs and no packages: the number must fit."""
    esims = tuple(Esim(id=f"esim-{number}") for number in range(count))
    response = InstantOrder(id="order-1", total=Decimal(5), esims=esims, status="COMPLETED")  # type: ignore[arg-type]
    assert judge_response(response, REQUEST) is verdict


def test_packages_named_twice():
    """A package that a request names in two lines is counted as often as both say."""
    request = CreateOrder([OrderItem("esim-a"), OrderItem("esim-b"), OrderItem("esim-a")], reference_id="my-ref")
    assert judge_response(order(), request) is Verdict.OURS
    assert judge_response(order(("esim-a", "esim-b")), request) is Verdict.FOREIGN


def test_top_ups():
    """A top-up is an order of its one package."""
    request = CreateTopUp("8910", "esim-a", reference_id="my-ref")
    assert judge_response(order(["esim-a"]), request) is Verdict.OURS
    assert judge_response(order(["esim-a", "esim-a"]), request) is Verdict.FOREIGN
    assert judge_response(order(["esim-b"]), request) is Verdict.FOREIGN


@pytest.mark.parametrize(
    ("packages", "verdict"),
    [
        (["esim-a", "esim-a"], Verdict.OURS),
        (["esim-a"], Verdict.OURS),
        ([], Verdict.FOREIGN),
        (["esim-b", "esim-b"], Verdict.FOREIGN),
        (["esim-a"] * 3, Verdict.FOREIGN),
    ],
)
def test_vouchers(packages, verdict):
    """A batch of vouchers that came short is a purchase; one of another package, or with too many, is not."""
    request = CreateVouchers("esim-a", quantity=2, reference_id="my-ref")
    vouchers = tuple(Voucher(id=f"v-{number}", package_id=package) for number, package in enumerate(packages))
    batch = VoucherBatch(reference_id="my-ref", requested_quantity=2, quantity=len(vouchers), vouchers=vouchers)
    assert judge_response(batch, request) is verdict


NAMES = st.sampled_from(["esim-a", "esim-b", "esim-c"])


@given(st.dictionaries(NAMES, st.integers(1, 3), min_size=1), st.lists(NAMES, max_size=6))
def test_ours_has_the_same_packages_as_often(wanted, lines):
    """For any request and any order: the purchase is what has each package exactly as often."""
    request = CreateOrder([OrderItem(name, count) for name, count in wanted.items()], reference_id="my-ref")
    expected = sorted(name for name, count in wanted.items() for _ in range(count))
    assert (judge_response(order(lines), request) is Verdict.OURS) == (sorted(lines) == expected)
    assert judge_response(order(expected), request) is Verdict.OURS


@given(st.lists(st.sampled_from(["esim-a", "esim-b", "esim-c", ""]), max_size=6))
def test_items_without_package_ids_fit_where_the_others_do(packages):
    """Items that name no package fit if the number is right and those that name one are part of the request."""
    named = Counter(filter(None, packages))
    fits = len(packages) == len(WANTED) and named <= Counter(WANTED)
    assert (judge_response(order(packages), REQUEST) is Verdict.OURS) == fits


# ---------------------------------------------------------------- look-ups


def test_nothing_was_found():
    """A look-up that found nothing is empty; one that failed is not."""
    assert found().is_empty
    assert not LookUpResult[Order](failure=status_error(503)).is_empty


def test_other_references_are_ignored():
    """Orders under other references prove nothing, and do not hide that ours is absent."""
    assert found(order(reference="another-ref")).is_empty


@pytest.mark.parametrize("reference", ["MY-REF", "my-ref ", None])
def test_near_matches_are_evidence(reference):
    """An order without a reference, or with one that differs in spelling only, may be the purchase."""
    result = found(order(reference=reference))
    assert (result.booked, len(result.evidence), result.is_empty) == ((), 1, False)


def test_groups_of_a_look_up():
    """A look-up tells apart what is the purchase, what grows, what was not kept, and what differs."""
    ours, growing = order(id="ours"), order(["esim-a"], status="PENDING", id="growing")
    cancelled, foreign = order(status="CANCELLED", id="cancelled"), order(["esim-c"], id="foreign")
    result = found(foreign, cancelled, growing, ours)
    assert (result.ours, result.incomplete, result.not_kept, result.foreign) == (
        (ours,), (growing,), (cancelled,), (foreign,)
    )  # fmt: skip


def test_oldest_first():
    """Of several purchases that match, the oldest comes first, and those without a time last."""
    orders = [order(id="undated", created=None), order(id="new", created=SENT + timedelta(1)), order(id="old")]
    assert [one.id for one in found(*orders).ours] == ["old", "new", "undated"]


@pytest.mark.parametrize(
    ("after", "ours"),
    [
        (timedelta(), True),
        (timedelta(minutes=-5), True),
        (timedelta(minutes=-5, microseconds=-1), False),
        (timedelta(days=-1), False),
        (timedelta(days=1), True),
    ],
)
def test_age_counts_where_nobody_looked(after, ours):
    """Where nobody looked before sending, an order from more than five minutes earlier is another purchase."""
    assert timedelta(minutes=5) == CLOCK_SKEW
    result = found(order(created=SENT + after), not_before=SENT - CLOCK_SKEW)
    assert (len(result.ours), len(result.foreign)) == ((1, 0) if ours else (0, 1))


def test_age_does_not_count_where_the_reference_was_looked_up():
    """Where the reference was looked up before sending, an order of any age, or of none, is the purchase."""
    assert len(found(order(created=SENT - timedelta(days=400)), order(created=None)).ours) == 2


def test_order_without_a_time_where_nobody_looked():
    """Where nobody looked before sending, an order without a time may be older, and is not taken."""
    assert found(order(created=None), not_before=SENT).ours == ()


def test_time_zones_do_not_matter():
    """Times are compared as moments."""
    there = SENT.astimezone(timezone(timedelta(hours=9)))
    assert len(found(order(created=there), not_before=SENT).ours) == 1


@pytest.mark.parametrize(
    ("seen", "reference", "near"),
    [
        ("my-ref", "my-ref", False),
        ("MY-REF", "my-ref", True),
        (" my-ref\n", "my-ref", True),
        ("\uff4dy-ref", "my-ref", True),
        ("\ufb01x", "fix", True),
        ("my-re", "my-ref", False),
        ("my-ref-2", "my-ref", False),
        (LONG, f"{LONG}-rest", True),
        (LONG.upper(), f"{LONG}-rest", True),
        (LONG[:31], f"{LONG}-rest", False),
        (f"{LONG}-rest", LONG, False),
        ("", "my-ref", False),
        (None, "my-ref", False),
        ("my-ref", None, False),
    ],
)
def test_near_match(seen, reference, near):
    """A reference may have been trimmed, folded, normalised, or cut after 32 characters or more."""
    assert is_near_match(seen, reference) is near


# ---------------------------------------------------------------- a doubt as an error


def test_doubt():
    """A doubt has the request, the reason, and what was found, and says how to look the purchase up."""
    facts = {"method": "POST", "path": "/api/esim/order", "request_id": "ray-1"}
    reason = ServerError("Bad gateway", status=502, sent="answered", **facts)
    seen = (order(["esim-c"]),)
    error = doubt(REQUEST, reason, seen)
    assert isinstance(error, PurchaseInDoubtError)
    assert (error.request, error.reason, error.found) == (REQUEST, reason, seen)
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
    assert f"Look it up with {told} before buying again" in str(doubt(request_, status_error(503)))


@pytest.mark.parametrize(
    ("reason", "shown"),
    [
        (ConnectionLostError("reset", sent="maybe"), "ConnectionLostError: reset."),
        (RequestTimeoutError("late", sent="maybe"), "RequestTimeoutError: late."),
        (DecodeError("what?"), "DecodeError: what?."),
        (status_error(408), "APIStatusError 408: no."),
    ],
)
def test_reason_of_a_doubt(reason, shown):
    """The reason is part of the message, with its status; ``sent`` is that of the reason."""
    error = doubt(REQUEST, reason)
    assert f"may have been booked: {shown}" in str(error)
    assert (error.sent, error.found) == (reason.sent, ())


def test_doubt_without_a_reason():
    """A purchase that an earlier run started says so."""
    error = doubt(REQUEST, None)
    assert "it was started before, and was not found" in str(error)
    assert (error.reason, error.sent, error.reference_id) == (None, "maybe", "my-ref")


def test_doubt_can_be_pickled():
    """A doubt comes back from pickling with its request, its reason, and the orders that were seen."""
    error = pickle.loads(pickle.dumps(doubt(REQUEST, status_error(500), (order(),), look_up_error=status_error(503))))
    assert error.request == REQUEST
    assert (error.reason.status, error.look_up_error.status) == (500, 503)
    assert error.found == (order(),)
