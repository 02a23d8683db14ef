"""What is done after a try follows from values alone: the kind of the endpoint, the outcome, and the time left."""

import itertools
import math

import pytest
from hypothesis import example, given, strategies as st

from roamify_async import Retries
from roamify_async._core.endpoint import ACTION, PURCHASE, READ, Safety
from roamify_async._core.retry import Retry, Stop, backoff, decide, is_success, may_repeat
from roamify_async._http.messages import HttpResponse, NoResponse

NO_RESPONSES = [
    NoResponse(failure, sent, "in words")
    for failure, sent in itertools.product(("connect", "lost", "timeout"), ("no", "maybe"))
]
PASSING = [408, 425, 429, 500, 502, 503, 504, 507, 508, 511, 520, 521, 522, 524, 530, 599]
FINAL = [300, 301, 302, 304, 307, 400, 401, 402, 403, 404, 405, 406, 407, 409, 410, 413, 415, 418, 422, 424, 426, 428,
         431, 451, 499, 501, 505]  # fmt: skip
STATUSES = [200, 201, 202, 204, 206, 299, *PASSING, *FINAL]


def answer(status: int, retry_after: str | None = None) -> HttpResponse:
    """Make an answer."""
    return HttpResponse(status, {} if retry_after is None else {"retry-after": retry_after}, b"")


OUTCOMES = st.sampled_from(NO_RESPONSES) | st.builds(
    answer, st.sampled_from(STATUSES), st.none() | st.integers(0, 200).map(str)
)
RETRIES = st.builds(
    Retries,
    tries=st.integers(1, 10),
    wait=st.just(0.0) | st.floats(1e-6, 100),
    longest_wait=st.floats(0, 100) | st.just(math.inf),
)
CHANCES = st.floats(0, 1)


# ---------------------------------------------------------------- what may be sent again


@pytest.mark.parametrize("status", PASSING)
def test_reads_are_sent_again_after_what_may_pass(status):
    """A read is sent again after a failure of the server, and after a refusal that may be over soon."""
    assert may_repeat(READ, answer(status))


@pytest.mark.parametrize("status", FINAL)
def test_reads_are_not_sent_again_after_what_lasts(status):
    """A read is not sent again after a refusal that would be repeated."""
    assert not may_repeat(READ, answer(status))


@pytest.mark.parametrize("outcome", NO_RESPONSES)
def test_reads_are_sent_again_after_any_broken_connection(outcome):
    """A read may be sent again whether or not it had left."""
    assert may_repeat(READ, outcome)


@pytest.mark.parametrize("kind", [PURCHASE, ACTION])
@pytest.mark.parametrize("status", STATUSES)
def test_changes_are_sent_again_after_a_429_only(kind, status):
    """What changes something is never sent again after an answer, except one that refuses before anything is done."""
    for readable in (True, False):
        assert may_repeat(kind, answer(status), readable=readable) == (status == 429)


@pytest.mark.parametrize("kind", [PURCHASE, ACTION])
@pytest.mark.parametrize("outcome", NO_RESPONSES)
def test_changes_are_sent_again_where_they_had_not_left(kind, outcome):
    """What changes something is sent again only where not one byte of it had left, however the try ended."""
    assert may_repeat(kind, outcome) == (outcome.sent == "no")


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_successes(status):
    """A success is sent again only where it was a read and cannot be read at all."""
    assert not may_repeat(READ, answer(status))
    assert not may_repeat(READ, answer(status), readable=True)
    assert may_repeat(READ, answer(status), readable=False)


@pytest.mark.parametrize("status", FINAL)
def test_refusals_need_not_be_readable(status):
    """Whether a refusal can be read has no say."""
    assert not may_repeat(READ, answer(status), readable=False)


@pytest.mark.parametrize(("status", "good"), [(199, False), (200, True), (299, True), (300, False), (404, False)])
def test_success(status, good):
    """Success is 200 to 299."""
    assert is_success(status) is good


# ---------------------------------------------------------------- whether and when it is sent again


@pytest.mark.parametrize("kind", Safety)
def test_tries_are_counted(kind):
    """A request is sent as often as is allowed, and not once more."""
    never_sent = NoResponse("connect", "no", "refused")
    verdicts = [
        decide(kind, never_sent, tries=tries, time_left=99, retries=Retries(tries=3, wait=1), chance=lambda: 0)
        for tries in (1, 2, 3, 4)
    ]
    assert verdicts == [Retry(1), Retry(2), Stop(), Stop()]


def test_one_try_is_never_repeated():
    """A single try is a single try, whatever the server asks for."""
    assert decide(READ, answer(503, "0"), tries=1, time_left=99, retries=Retries(tries=1)) == Stop()


def test_what_may_not_be_repeated_is_given_up():
    """Neither time nor tries bring back what may not be sent again."""
    for outcome in (answer(500, "1"), answer(503, "0"), NoResponse("lost", "maybe", "reset")):
        for kind in (PURCHASE, ACTION):
            assert decide(kind, outcome, tries=1, time_left=math.inf, retries=Retries()) == Stop()


def test_unreadable_reads_are_judged():
    """A read that came but cannot be read is sent again; one that can be is not, and a purchase never."""
    facts = {"tries": 1, "time_left": 99, "retries": Retries(wait=1), "chance": lambda: 0}
    assert decide(READ, answer(200), readable=False, **facts) == Retry(1)
    assert decide(READ, answer(200), **facts) == Stop()
    assert decide(PURCHASE, answer(200), readable=False, **facts) == Stop()


@pytest.mark.parametrize("kind", Safety)
@pytest.mark.parametrize("asked", ["0", "0.25", "3", "60"])
def test_the_server_s_wait_is_kept(kind, asked):
    """The wait that the server asks for takes the place of our own, whether it is shorter or longer than ours."""
    verdict = decide(kind, answer(429, asked), tries=2, time_left=99, retries=Retries(wait=1, longest_wait=2))
    assert verdict == Retry(float(asked))


def test_the_server_s_wait_is_kept_after_failures_too():
    """A failure of the server may say when to ask again, too."""
    assert decide(READ, answer(503, "7"), tries=1, time_left=99, retries=Retries()) == Retry(7)


@pytest.mark.parametrize(("left", "verdict"), [(7.1, Retry(7)), (7, Stop()), (6.9, Stop()), (0, Stop())])
def test_a_wait_that_does_not_end_in_time_is_not_begun(left, verdict):
    """Where the server's wait would outlast the time that is left, the outcome is given at once."""
    assert decide(READ, answer(429, "7"), tries=1, time_left=left, retries=Retries()) == verdict


@pytest.mark.parametrize(("left", "verdict"), [(1.01, Retry(1)), (1, Stop()), (0, Stop()), (-1, Stop())])
def test_our_own_wait_ends_in_time_too(left, verdict):
    """Our own wait is not begun either where it would outlast the time."""
    outcome = NoResponse("timeout", "maybe", "late")
    facts = {"tries": 1, "retries": Retries(wait=1), "chance": lambda: 0}
    assert decide(READ, outcome, time_left=left, **facts) == verdict


@pytest.mark.parametrize(("kind", "sent"), [(READ, "no"), (READ, "maybe"), (PURCHASE, "no"), (ACTION, "no")])
def test_first_lost_connection(kind, sent):
    """A connection that is lost at the first try had died while it was kept: the second try comes at once."""
    facts = {"retries": Retries(wait=1), "chance": lambda: 0}
    lost = NoResponse("lost", sent, "reset")
    assert decide(kind, lost, tries=1, time_left=0.1, **facts) == Retry(0)
    assert decide(kind, lost, tries=1, time_left=0, **facts) == Stop()
    assert decide(kind, lost, tries=2, time_left=99, **facts) == Retry(2)


@pytest.mark.parametrize("failure", ["connect", "timeout"])
def test_other_failures_wait_from_the_first_try_on(failure):
    """Where no connection could be made, or no answer came in time, the second try waits."""
    facts = {"tries": 1, "time_left": 99, "retries": Retries(wait=1), "chance": lambda: 0}
    assert decide(READ, NoResponse(failure, "no", "x"), **facts) == Retry(1)
    assert decide(READ, answer(503), **facts) == Retry(1)


@pytest.mark.parametrize("left", [0, -5])
def test_no_time_is_no_time(left):
    """Where no time is left, nothing is sent again, even where no wait is due."""
    assert decide(READ, answer(429, "0"), tries=1, time_left=left, retries=Retries()) == Stop()
    assert decide(READ, answer(500), tries=1, time_left=left, retries=Retries(wait=0)) == Stop()


@given(st.sampled_from(Safety), OUTCOMES, st.integers(1, 12), st.floats(-10, 300), RETRIES, st.booleans(), CHANCES)
def test_never_again_beyond_tries_and_time(kind, outcome, tries, left, retries, readable, chance):
    """Retry is only ever said within the tries, within the time, and of what may be repeated."""
    verdict = decide(
        kind, outcome, tries=tries, time_left=left, retries=retries, readable=readable, chance=lambda: chance
    )
    repeatable = may_repeat(kind, outcome, readable=readable)
    if isinstance(verdict, Retry):
        assert tries < retries.tries
        assert 0 <= verdict.delay < left
        assert repeatable
    else:
        asked = outcome.retry_after() if isinstance(outcome, HttpResponse) else None
        wait = backoff(tries, retries, chance) if asked is None else asked
        assert tries >= retries.tries or wait >= left or not repeatable


# ---------------------------------------------------------------- our own waits


def test_waits_double():
    """Without luck the waits double until the longest."""
    retries = Retries(wait=0.5, longest_wait=10)
    assert [backoff(tries, retries, 0) for tries in range(1, 9)] == [0.5, 1, 2, 4, 8, 10, 10, 10]


def test_chance_takes_up_to_a_half():
    """Chance takes up to a half of a wait away."""
    retries = Retries(wait=4, longest_wait=100)
    assert [backoff(1, retries, chance) for chance in (0, 0.25, 0.5, 1)] == [4, 3.5, 3, 2]


def test_waits_differ():
    """By default the waits of many clients are spread by chance."""
    outcome = answer(500)
    waits = {decide(READ, outcome, tries=1, time_left=99, retries=Retries(wait=1)).delay for _ in range(50)}
    assert len(waits) > 10
    assert all(0.5 <= wait <= 1 for wait in waits)


@given(st.integers(1, 10_000), RETRIES, CHANCES)
@example(1024, Retries(), 0.0)
@example(1025, Retries(), 0.0)
def test_waits_have_bounds(tries, retries, chance):
    """A wait lies between half and all of what doubling gives, and is never longer than the longest.

    The number of tries has no end: with a deadline to stop them, it may be set as high as one likes.
    """
    wait = backoff(tries, retries, chance)
    doubled = retries.wait * 2.0 ** min(tries - 1, 200)  # beyond, every wait is the longest
    full = retries.longest_wait if doubled and tries > 200 else min(doubled, retries.longest_wait)
    assert full / 2 <= wait <= full or full == math.inf


@given(st.integers(1, 50), RETRIES, CHANCES)
def test_waits_never_shrink(tries, retries, chance):
    """With the same luck a later wait is never shorter."""
    assert backoff(tries + 1, retries, chance) >= backoff(tries, retries, chance)


@given(st.integers(1, 50), RETRIES, CHANCES, CHANCES)
def test_luck_shortens_waits(tries, retries, one, other):
    """More luck never makes a wait longer."""
    assert backoff(tries, retries, max(one, other)) <= backoff(tries, retries, min(one, other))
