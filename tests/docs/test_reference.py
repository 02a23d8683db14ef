"""The reference of the site has every public name, and is built from the code without warnings."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

import roamify_async
from roamify_async import AsyncRoamify, ledger, purchasing, testing
from roamify_async._core.endpoint import Resource

DOCS = Path(__file__).parents[2] / "docs"
TEXT = "\n".join(page.read_text("utf-8") for page in sorted((DOCS / "reference").glob("*.md")))
LISTED = {name.rpartition(".")[2] for name in re.findall(r"^\.\. auto\w+:: (\S+)", TEXT, re.MULTILINE)}
NOT_FOR_USERS = {"__version__", "load_ipython_extension"}
FOR_OTHER_LEDGERS = {"Claim", "Lease", "LedgerLike", "Outcome", "Row", "Start", "Verdict", "Wanted", "open_ledger"}
"""What only somebody needs who writes a ledger, for whom the module is the reference."""


def test_every_public_name_is_listed():
    """Each public name of the package, and of those below it, has an entry."""
    names = {*roamify_async.__all__, *testing.__all__, *purchasing.__all__} - NOT_FOR_USERS - {"Lines"}
    assert names | {*ledger.__all__} - FOR_OTHER_LEDGERS <= LISTED


def test_every_resource_is_listed():
    """Each resource of the clients has its calls in the reference."""
    resources = {name for name, value in vars(AsyncRoamify("token")).items() if isinstance(value, Resource)}
    assert {*re.findall(r"^\.\. calls:: (\w+)", TEXT, re.MULTILINE)} == resources


@pytest.mark.long
def test_the_site_is_built(tmp_path):
    """Sphinx builds the site without a warning."""
    for module in ("sphinx", "furo", "myst_parser", "sphinx_copybutton", "sphinxext.opengraph"):
        pytest.importorskip(module)
    command = [sys.executable, "-m", "sphinx", "-q", "-W", "-b", "html", str(DOCS), str(tmp_path)]
    built = subprocess.run(command, capture_output=True, text=True, check=False)
    assert built.returncode == 0, built.stderr
    assert "orders.create" in (tmp_path / "reference" / "calls.html").read_text("utf-8")
