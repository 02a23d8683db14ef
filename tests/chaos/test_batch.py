"""Whoever is killed, workers that share a batch buy each line once, and all report the same orders."""

import os

import pytest
from support import postgres

from tests.chaos import batch
from tests.chaos.batch import judge

long = [
    pytest.mark.long,
    pytest.mark.timeout(300),
    pytest.mark.skipif(os.name != "posix", reason="processes are killed as POSIX does it"),
]


def marked(test):
    """Mark a test that starts processes."""
    for mark in long:
        test = mark(test)
    return test


@marked
@pytest.mark.parametrize("database", ["sqlite", "postgres"])
@pytest.mark.parametrize("way", [[], ["--submitted"]], ids=["bulk", "submitted"])
def test_nothing_is_bought_twice_or_lost(database, way, capsys):
    """Workers that are killed while they share a batch end with reports that agree with the server."""
    if database == "postgres" and (reason := postgres.missing()):
        pytest.skip(reason)
    arguments = ["--orders", "80", "--workers", "3", "--kills", "3", "--seed", "1", "--database", database]
    assert batch.main([*arguments, *way]) == 0, capsys.readouterr().out


@marked
def test_without_a_ledger(capsys):
    """Control: workers with a journal each, which look up each reference first, buy lines twice."""
    assert batch.main(["--orders", "40", "--workers", "3", "--kills", "1", "--seed", "1", "--without-ledger"]) == 1
    assert "bought twice" in capsys.readouterr().out


# ---------------------------------------------------------------- what the verdict rests on

BOOKED = [{"id": f"order-{number}", "referenceId": f"line-{number}"} for number in range(3)]
REPORT = [("ordered", f"order-{number}") for number in range(3)]


def test_books_that_agree():
    """Reports that name all orders of the server are right."""
    assert judge(3, BOOKED, [REPORT, REPORT]) == []


@pytest.mark.parametrize(
    ("orders", "reports"),
    [
        ([*BOOKED, {"id": "order-3", "referenceId": "line-0"}], [REPORT]),
        (BOOKED, [REPORT, REPORT[:2]]),
        (BOOKED, [[*REPORT[:2], ("in_doubt", None)]]),
        (BOOKED[:2], [REPORT]),
    ],
    ids=["twice", "short report", "doubt", "lost"],
)
def test_books_that_differ(orders, reports):
    """A line that was bought twice, or is missing in a report or on the server, is found."""
    assert judge(3, orders, reports) != []
