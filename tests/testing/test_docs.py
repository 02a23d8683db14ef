"""The page on tests: its shop and the tests of that run in a folder of their own."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "testing.md"
FILES = dict(re.findall(r"```python\n# (\w+)\.py\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL))


@pytest.mark.long
def test_the_shop_of_the_page(run, pytester):
    """The page's tests of its shop pass, and with what they guard against they fail."""
    assert [*FILES] == ["shop", "test_shop", "test_webhooks"]
    pytester.makepyfile(shop=FILES["shop"], test_webhooks=FILES["test_webhooks"])
    run(FILES["test_shop"]).assert_outcomes(passed=3)
    pytester.makepyfile(shop=FILES["shop"].replace(", reference_id=order_number", ""))
    run(FILES["test_shop"], "test_shop.py").assert_outcomes(passed=1, failed=1)


def test_the_tests_are_short():
    """The tests of the shop take twenty lines."""
    assert len([line for line in FILES["test_shop"].splitlines() if line.strip()]) <= 20
