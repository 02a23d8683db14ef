"""The program that decodes what a mock of the API answers."""

import json

import pytest
from support.endpoints import sample
from support.servers import Raw, answer, answering

from tests.contract import mock


@pytest.mark.parametrize("name", ["account.balance"])
async def test_responses_are_counted(monkeypatch, name):
    """Responses that are decoded are counted, and the others are told with the reason."""
    monkeypatch.setattr(mock, "ROWS", {name: mock.ROWS[name]})
    right = answer(json.dumps(sample(name)["answer"]))
    async with Raw(answering(right, answer('{"data": {"balance": []}}'), answer("", 500))) as server:
        found = await mock.check(server.url, 3)
    assert found.pop("decoded") == 1
    failed, refused = sorted(found)
    assert "$.data.balance: a number expected" in refused
    assert "the mock answered 500" in failed
