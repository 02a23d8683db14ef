"""A damaged journal is refused, or resumed as if it were intact: nothing is bought again, and nothing hangs."""

import pytest

from roamify_async.purchasing import journal
from tests.chaos import damage
from tests.chaos.damage import Result, judge


async def test_damaged_journals():
    """A short campaign: damages from a seed, truncation, files of 0 and 1 bytes."""
    result = await damage.campaign(count=50, seed=1, step=9001)
    assert judge(result) == []
    assert result.refused > 40


@pytest.mark.long
@pytest.mark.timeout(900)
def test_two_thousand_damaged_journals(capsys):
    """The whole campaign."""
    assert damage.main(["--count", "2000", "--seed", "2"]) == 0, capsys.readouterr().out


@pytest.mark.long
async def test_damage_that_is_believed(monkeypatch):
    """Control: without the checks of a file, damaged lines are believed, and the campaign says so."""
    monkeypatch.setattr(journal, "checksum", lambda _: 0)
    monkeypatch.setattr(journal.JournalFile, "_verify", lambda _: None)
    monkeypatch.setattr(damage, "DAMAGES", (damage.words,))
    result = await damage.campaign(count=20, seed=1, step=10**9)
    assert "untrue" in " ".join(judge(result))


def test_verdict():
    """Each way in which a resume can go wrong is told."""
    assert judge(Result(refused=1, resumed=1)) == []
    for name in ("again", "untrue", "raised"):
        assert len(judge(Result(**{name: ["seed 1"]}))) == 1
