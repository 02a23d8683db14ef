"""The page on the catalogue and notebooks: its code runs."""

import re
from pathlib import Path

import pytest

PAGE = Path(__file__).parents[2] / "docs" / "howto" / "frames.md"
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
NEEDS = {
    "to_pandas": "pandas",
    "to_polars": "polars",
    "to_arrow": "pyarrow",
    "import polars": "polars",
    "pl.DataFrame(": "pyarrow",
    ".qr()": "segno",
}
"""The optional packages of a block, by what it contains."""


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_blocks_run(block, configured, capsys):
    """Each block of code runs by itself, twice in the same folder, and prints something."""
    for text, package in NEEDS.items():
        if text in block:
            pytest.importorskip(package)
    for _ in range(2):
        exec(compile(block, PAGE.name, "exec"), {"__name__": "frames_page"})
    assert capsys.readouterr().out.strip()
