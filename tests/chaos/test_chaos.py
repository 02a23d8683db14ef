"""Whoever is killed and whatever goes wrong on the way, a bulk order buys each line once and the money is exact."""

import json
import os
from argparse import Namespace
from collections import Counter
from decimal import Decimal
from types import SimpleNamespace

import attrs
import pytest

from roamify_async import PurchaseInDoubtError
from roamify_async.sandbox.faults.rules import FaultRule
from tests.chaos import bulk as chaos
from tests.chaos.bulk import compare, faults, judge, kills, look_up_faults
from tests.chaos.driver import Plan, requests, twins

PLAN = Plan(
    url="http://127.0.0.1:1",
    token="token",
    journal="orders.db",
    seed=7,
    orders=300,
    packages=["a", "b", "c"],
    policy="look_up_then_resend",
    window=1.5,
    concurrency=64,
    patience=1,
    look_up_is_broken=False,
    is_streamed=False,
)


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.name != "posix", reason="processes are killed as POSIX does it")
@pytest.mark.parametrize("failing", ["0", "0.03"])
def test_nothing_is_bought_twice_or_lost(failing, capsys):
    """A driver and a server that are killed in turn end with books that agree, also if look-ups fail."""
    arguments = ["--orders", "150", "--kills", "2", "--seed", "1", "--late", "0.3", "--window", "1"]
    assert chaos.main([*arguments, "--look-up-faults", failing]) == 0, capsys.readouterr().out


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.name != "posix", reason="processes are killed as POSIX does it")
def test_a_blind_look_up_is_found_out(capsys):
    """Where no look-up sees anything, what is sent again is bought twice, and the books tell."""
    arguments = ["--orders", "80", "--kills", "0", "--faults", "0.5", "--late", "0.1", "--window", "0.2"]
    assert chaos.main([*arguments, "--break-look-up"]) == 1
    assert "WRONG: " in capsys.readouterr().out


# ---------------------------------------------------------------- what the verdict rests on


def test_all_comes_from_the_seed():
    """Requests, faults and kills are the same for the same seed, and others for another."""
    assert [*requests(PLAN)] == [*requests(PLAN)] != [*requests(attrs.evolve(PLAN, seed=8))]
    assert kills(1000, 10, 1) == kills(1000, 10, 1) != kills(1000, 10, 2)
    assert twins(PLAN)


def test_faults_hit_their_share():
    """The faults hit together the share that was asked for, each as often as any other."""
    scripted = faults(0.2, 0.6, chaos.Random(1))
    left, hit = 1.0, []
    for fault in scripted:
        assert FaultRule.from_json(json.loads(json.dumps(fault))).times is None
        hit.append(left * fault["probability"])
        left -= hit[-1]
    assert hit == pytest.approx([0.2 / len(hit)] * len(hit))


def test_look_ups_fail_as_often_as_requested():
    """The faults of each look-up hit together the requested share, each as often as any other."""
    scripted = look_up_faults(0.03)
    assert {fault["path"] for fault in scripted} == set(chaos.LOOK_UP_PATHS)
    for path in chaos.LOOK_UP_PATHS:
        left, hit = 1.0, []
        for fault in scripted:
            if fault["path"] == path:
                hit.append(left * fault["probability"])
                left -= hit[-1]
        assert hit == pytest.approx([0.01] * 3)
    assert look_up_faults(0) == []


def books(change):
    """Make a journal and a server that agree, then change them; return what is wrong then."""
    made = SimpleNamespace(lines=[], orders=[], left=Decimal(1000))
    expected = twins(PLAN)
    for position, request in enumerate(requests(PLAN)):
        reference = request.reference_id or f"made-{position}"
        status, order = ("refused", None) if position in expected else ("ordered", SimpleNamespace())
        if order is not None:
            order.id, order.total = f"order-{position}", Decimal(1)
            items = [{"packageId": package} for package in Counter(request.packages()).elements()]
            made.orders.append({"id": order.id, "referenceId": reference, "total": "1", "items": items})
        made.lines.append(
            SimpleNamespace(
                position=position, request=request, status=status, reference_id=reference, order=order, error=None
            )
        )
    made.left -= len(made.orders)
    change(made)
    said = Decimal(sum(line.status == "ordered" for line in made.lines))
    state = {"orders": made.orders, "balance": str(made.left)}
    return [compare(made.lines, said, state, Decimal(1000), PLAN), made]


def wrong(change, **choice: object):
    """Describe what is wrong after a change, in one text."""
    given = {"policy": "look_up_then_resend", "late": 0.6, "window": 1.5} | choice
    return " ".join(judge(books(change)[0], Namespace(**given)))


def twice(made):
    """Book the first line a second time."""
    made.orders.append(made.orders[0] | {"id": "again"})
    made.left -= 1


def told(made):
    """Book the first line a second time, and let its line report that."""
    twice(made)
    first = made.lines[0]
    first.status, first.order = "in_doubt", None
    found = tuple(SimpleNamespace(id=order["id"]) for order in made.orders[:: len(made.orders) - 1])
    first.error = PurchaseInDoubtError("twice", found=found)


def unsent(made, status):
    """Make the first line one that is never booked."""
    made.lines[0].status, made.lines[0].order = status, None
    made.orders.pop(0)
    made.left += 1


def unseen(made):
    """Make the first line one that does not know its order."""
    made.lines[0].status, made.lines[0].order = "in_doubt", None


def test_books_that_agree():
    """Nothing is wrong where each line has its order."""
    assert wrong(lambda _: None) == ""


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (twice, "1 duplicates"),
        (told, "1 duplicates"),
        (lambda made: made.orders.pop(0), "1 lost"),
        (lambda made: made.lines.pop(), "1 lost"),
        (lambda made: made.lines.pop(3), "1 lost"),
        (lambda made: made.orders[0].update(items=[]), "1 lost"),
        (unseen, "1 lines that hide an order"),
        (lambda made: made.orders.append(made.orders[0] | {"referenceId": "?", "id": "?"}), "1 orders that no line"),
        (lambda made: unsent(made, "not_sent"), "1 lines astray"),
        (lambda made: unsent(made, "refused"), "1 lines astray"),
        (lambda made: unsent(made, "in_doubt"), "1 lines in doubt"),
        (lambda made: setattr(made, "left", made.left - 1), "the balance fell"),
    ],
)
def test_books_that_do_not_agree(change, text):
    """Each way in which a purchase can go wrong is told."""
    assert text in wrong(change)


def test_books_under_other_promises():
    """A line that was never booked may stay in doubt where nothing is sent again; a late second order must be told."""
    assert wrong(lambda made: unsent(made, "in_doubt"), policy="look_up") == ""
    assert "duplicates" in wrong(told, policy="look_up")
    assert wrong(told, late=3) == ""
    assert "1 silent duplicates" in wrong(twice, late=3)
