"""What a row means to a purchase that asks for its reference."""

import attrs
import pytest
from support.ledgers import wanted

from roamify_async.ledger import Row, Verdict
from roamify_async.ledger.rows import digest_of, judge

ASKED = wanted()
ROW = Row(
    reference="r", action="buy", kind=ASKED.kind, digest=ASKED.digest, packages='{"a": 1}', status="not_sent",
    owner=None, is_live=False, sent_ago=None, looked_first=True, resent=False, order_id=None, total=None, account=None,
    reserved=0, error=None, tries=1,
)  # fmt: skip
HELD = {"owner": "other", "is_live": True}
DEAD = {"owner": "other", "is_live": False}
SENT = {"sent_ago": 5.0}
BOOKED = {"status": "ordered", "order_id": "o1", **SENT}
OTHERS = [wanted(packages={"b": 1}), wanted(packages={"a": 2}), wanted(kind="top-up")]


@pytest.mark.parametrize(
    ("facts", "same", "other"),
    [
        ({}, Verdict.FREE, Verdict.FREE),
        (HELD, Verdict.WAIT, Verdict.OTHER),
        (DEAD, Verdict.FREE, Verdict.FREE),
        ({"status": "refused", **SENT}, Verdict.FREE, Verdict.FREE),
        ({"status": "refused", "order_id": "o1", **SENT}, Verdict.BOUGHT, Verdict.OTHER),
        ({"status": "sending", **SENT, **HELD}, Verdict.WAIT, Verdict.OTHER),
        ({"status": "sending", **SENT, **DEAD}, Verdict.TAKE_OVER, Verdict.OTHER),
        ({"status": "in_doubt", **SENT}, Verdict.TAKE_OVER, Verdict.OTHER),
        ({"status": "in_doubt", **SENT, **HELD}, Verdict.WAIT, Verdict.OTHER),
        (BOOKED, Verdict.BOUGHT, Verdict.OTHER),
        ({**BOOKED, **HELD}, Verdict.WAIT, Verdict.OTHER),
        ({**BOOKED, **DEAD}, Verdict.BOUGHT, Verdict.OTHER),
    ],
)
def test_verdict(facts, same, other):
    """The same purchase continues, waits or reads; another one is refused unless nothing was bought."""
    row = attrs.evolve(ROW, **facts)
    assert judge(row, ASKED) is same
    assert [judge(row, asked) for asked in OTHERS] == [other] * 3


def test_repetition():
    """A reference is ordered again as often as is asked, by one process at a time, unless one is in doubt."""
    row = attrs.evolve(ROW, action="repeat", **BOOKED)
    asked = attrs.evolve(ASKED, action="repeat")
    assert judge(row, asked) is Verdict.FREE
    assert judge(attrs.evolve(row, **HELD), asked) is Verdict.WAIT
    assert judge(attrs.evolve(row, status="in_doubt", order_id=None), asked) is Verdict.TAKE_OVER


def test_digest():
    """A digest depends on what is bought and not on the order in which it is named."""
    first = digest_of("order", {"packages": {"a": 1, "b": 2}}, "r")
    assert first == digest_of("order", {"packages": {"b": 2, "a": 1}}, "r")
    others = [("order", {"packages": {"a": 1}}, "r"), ("top-up", {"packages": {"a": 1, "b": 2}}, "r")]
    assert first not in {digest_of(*facts) for facts in others}
    assert first != digest_of("order", {"packages": {"a": 1, "b": 2}}, "s")
