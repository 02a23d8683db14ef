"""What follows an attempt depends only on the endpoint's safety, the result and the time left."""

import itertools
import math

import pytest
from hypothesis import example, given, strategies as st

from roamify_async import Retries
from roamify_async._core.endpoint import ACTION, PURCHASE, READ, Safety
from roamify_async._core.retry import Retry, Stop, backoff, decide, is_success, may_repeat
from roamify_async._http.messages import HttpResponse, NoResponse

NO_RESPONSES = [
    NoResponse(failure, sent, "reason")
    for failure, sent in itertools.product(("connect", "lost", "timeout"), ("no", "maybe"))
]
TRANSIENT = [408, 425, 429, 500, 502, 503, 504, 507, 508, 511, 520, 521, 522, 524, 530, 599]
PERMANENT = [
    300, 301, 302, 304, 307, 400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 413, 415, 418, 422, 424, 426, 428, 431,
    451, 499, 501, 505,
]  # fmt: skip
STATUSES = [200, 201, 202, 204, 206, 299, *TRANSIENT, *PERMANENT]


def response(status: int, retry_after: str | None = None) -> HttpResponse:
    """Return a response."""
    return HttpResponse(status, {} if retry_after is None else {"retry-after": retry_after}, b"")


RESULTS = st.sampled_from(NO_RESPONSES) | st.builds(
    response, st.sampled_from(STATUSES), st.none() | st.integers(0, 200).map(str)
)
RETRIES = st.builds(
    Retries,
    tries=st.integers(1, 10),
    wait=st.just(0.0) | st.floats(1e-6, 100),
    longest_wait=st.floats(0, 100) | st.just(math.inf),
)
CHANCES = st.floats(0, 1)


# ---------------------------------------------------------------- what may be sent again


def test_reads_are_repeated_after_transient_failures():
    """A read is sent again after a server failure, and after a refusal that may be over soon."""
    assert [status for status in STATUSES if may_repeat(READ, response(status))] == TRANSIENT
    assert all(may_repeat(READ, result) for result in NO_RESPONSES)


def test_writes_are_repeated_after_a_429_only():
    """An action that was answered is sent again only after a 429, and a purchase never: a 429 may have booked it."""
    for safety, statuses in ((PURCHASE, []), (ACTION, [429])):
        for readable in (True, False):
            repeated = [status for status in STATUSES if may_repeat(safety, response(status), readable=readable)]
            assert repeated == statuses, (safety, readable)


def test_writes_are_repeated_if_they_had_not_left():
    """A purchase or action without a response is sent again only if not one byte of its body had left."""
    for safety in (PURCHASE, ACTION):
        assert {result.sent for result in NO_RESPONSES if may_repeat(safety, result)} == {"no"}, safety
        assert {result.sent for result in NO_RESPONSES if not may_repeat(safety, result)} == {"maybe"}, safety


def test_unreadable_reads_are_repeated():
    """A successful read is sent again only if its body cannot be parsed; the body of a refusal does not matter."""
    for status in (200, 201, 204, 299):
        assert not may_repeat(READ, response(status)), status
        assert may_repeat(READ, response(status), readable=False), status
    assert not any(may_repeat(READ, response(status), readable=False) for status in PERMANENT)


def test_success():
    """The statuses 200 to 299 are success."""
    assert [status for status in range(600) if is_success(status)] == [*range(200, 300)]


# ---------------------------------------------------------------- whether and when it is sent again


@pytest.mark.parametrize("safety", Safety)
def test_tries_are_counted(safety):
    """A request is sent as often as is allowed, and not once more."""
    never_sent = NoResponse("connect", "no", "refused")
    decisions = [
        decide(safety, never_sent, tries=tries, time_left=99, retries=Retries(tries=3, wait=1), chance=lambda: 0)
        for tries in (1, 2, 3, 4)
    ]
    assert decisions == [Retry(1), Retry(2), Stop(), Stop()]


def test_one_try_is_never_repeated():
    """With one try nothing is sent again, whatever the server asks for."""
    assert decide(READ, response(503, "0"), tries=1, time_left=99, retries=Retries(tries=1)) == Stop()


def test_unsafe_repetition_stops():
    """Neither time nor tries allow a repetition that is not safe."""
    for result in (response(500, "1"), response(503, "0"), NoResponse("lost", "maybe", "reset")):
        for safety in (PURCHASE, ACTION):
            assert decide(safety, result, tries=1, time_left=math.inf, retries=Retries()) == Stop()


def test_unreadable_responses():
    """An unreadable response to a read is requested again; a readable one is not, and a purchase never is."""
    facts = {"tries": 1, "time_left": 99, "retries": Retries(wait=1), "chance": lambda: 0}
    assert decide(READ, response(200), readable=False, **facts) == Retry(1)
    assert decide(READ, response(200), **facts) == Stop()
    assert decide(PURCHASE, response(200), readable=False, **facts) == Stop()


@pytest.mark.parametrize("safety", [READ, ACTION])
def test_retry_after_is_kept(safety):
    """The longer of the server's ``Retry-After`` and the backoff is waited."""
    for seconds, waited in (("0", 2), ("0.25", 2), ("3", 3), ("60", 60)):
        retries = Retries(wait=1, longest_wait=2)
        decision = decide(safety, response(429, seconds), tries=2, time_left=99, retries=retries, chance=lambda: 0)
        assert decision == Retry(waited)


def test_retry_after_of_a_failure_is_kept():
    """The ``Retry-After`` of a 503 counts too."""
    assert decide(READ, response(503, "7"), tries=1, time_left=99, retries=Retries()) == Retry(7)


@pytest.mark.parametrize(("left", "decision"), [(7.1, Retry(7)), (7, Stop()), (6.9, Stop()), (0, Stop())])
def test_retry_after_beyond_the_time_left(left, decision):
    """A ``Retry-After`` that would not end in time is not waited for."""
    assert decide(READ, response(429, "7"), tries=1, time_left=left, retries=Retries()) == decision


@pytest.mark.parametrize(("left", "decision"), [(1.01, Retry(1)), (1, Stop()), (0, Stop()), (-1, Stop())])
def test_backoff_beyond_the_time_left(left, decision):
    """A backoff that would not end in time is not started."""
    result = NoResponse("timeout", "maybe", "late")
    facts = {"tries": 1, "retries": Retries(wait=1), "chance": lambda: 0}
    assert decide(READ, result, time_left=left, **facts) == decision


@pytest.mark.parametrize(("safety", "sent"), [(READ, "no"), (READ, "maybe"), (PURCHASE, "no"), (ACTION, "no")])
def test_first_lost_connection(safety, sent):
    """After the first attempt a lost connection is taken for a dead kept-alive one: the second comes at once."""
    facts = {"retries": Retries(wait=1), "chance": lambda: 0}
    lost = NoResponse("lost", sent, "reset")
    assert decide(safety, lost, tries=1, time_left=0.1, **facts) == Retry(0)
    assert decide(safety, lost, tries=1, time_left=0, **facts) == Stop()
    assert decide(safety, lost, tries=2, time_left=99, **facts) == Retry(2)


def test_other_failures_wait():
    """After any other failure the second attempt waits too."""
    facts = {"tries": 1, "time_left": 99, "retries": Retries(wait=1), "chance": lambda: 0}
    for result in (NoResponse("connect", "no", "x"), NoResponse("timeout", "no", "x"), response(503)):
        assert decide(READ, result, **facts) == Retry(1), result


@pytest.mark.parametrize("left", [0, -5])
def test_no_time_left(left):
    """Without time left nothing is sent again, even without a delay."""
    assert decide(READ, response(429, "0"), tries=1, time_left=left, retries=Retries()) == Stop()
    assert decide(READ, response(500), tries=1, time_left=left, retries=Retries(wait=0)) == Stop()


@given(st.sampled_from(Safety), RESULTS, st.integers(1, 12), st.floats(-10, 300), RETRIES, st.booleans(), CHANCES)
def test_retry_within_tries_and_time(safety, result, tries, left, retries, readable, chance):
    """A retry is decided only within the tries, within the time, and if repeating is safe."""
    decision = decide(
        safety, result, tries=tries, time_left=left, retries=retries, readable=readable, chance=lambda: chance
    )
    repeatable = may_repeat(safety, result, readable=readable)
    if isinstance(decision, Retry):
        assert tries < retries.tries
        assert 0 <= decision.delay < left
        assert repeatable
    else:
        asked = result.retry_after() if isinstance(result, HttpResponse) else None
        delay = backoff(tries, retries, chance) if asked is None else asked
        assert tries >= retries.tries or delay >= left or not repeatable


# ---------------------------------------------------------------- backoff


def test_delays_double():
    """Without jitter the delay doubles up to the longest."""
    retries = Retries(wait=0.5, longest_wait=10)
    assert [backoff(tries, retries, 0) for tries in range(1, 9)] == [0.5, 1, 2, 4, 8, 10, 10, 10]


def test_jitter():
    """Jitter reduces a delay by up to a half."""
    retries = Retries(wait=4, longest_wait=100)
    assert [backoff(1, retries, chance) for chance in (0, 0.25, 0.5, 1)] == [4, 3.5, 3, 2]


def test_jitter_is_random():
    """By default the delays of several clients differ."""
    result = response(500)
    delays = {decide(READ, result, tries=1, time_left=99, retries=Retries(wait=1)).delay for _ in range(50)}
    assert len(delays) > 10
    assert all(0.5 <= delay <= 1 for delay in delays)


@given(st.integers(1, 10_000), RETRIES, CHANCES)
@example(1024, Retries(), 0.0)
@example(1025, Retries(), 0.0)
def test_delays_are_bounded(tries, retries, chance):
    """A delay lies between a half and the whole of the doubled delay, for any number of tries."""
    delay = backoff(tries, retries, chance)
    doubled = retries.wait * 2.0 ** min(tries - 1, 200)  # from here on, every delay is the longest
    full = retries.longest_wait if doubled and tries > 200 else min(doubled, retries.longest_wait)
    assert full / 2 <= delay <= full or full == math.inf


@given(st.integers(1, 50), RETRIES, CHANCES)
def test_delays_never_shrink(tries, retries, chance):
    """With equal jitter, a later delay is never shorter."""
    assert backoff(tries + 1, retries, chance) >= backoff(tries, retries, chance)


@given(st.integers(1, 50), RETRIES, CHANCES, CHANCES)
def test_more_jitter_shortens_delays(tries, retries, one, other):
    """More jitter never makes a delay longer."""
    assert backoff(tries, retries, max(one, other)) <= backoff(tries, retries, min(one, other))
