"""The reference of the command is what its help says. ``python tests/cli/test_reference.py`` writes it again."""

import re
from functools import cache
from pathlib import Path

from roamify_async.cli.app import create_app
from roamify_async.cli.exits import EXIT_CODES

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "cli.md"
GLOBAL = re.compile(r"\*\*Global options\*\*:\n\n(?:\* .*\n)+\n?")


@cache
def reference() -> str:
    """Return the page: the help of all commands, with the global options once."""
    text = create_app().generate_docs(usage_name="roamify")
    first = GLOBAL.search(text)
    assert first is not None
    head, rest = text[: first.end()], GLOBAL.sub("", text[first.end() :])
    lines = (line.rstrip() for line in f"{head.rstrip()}\n\n{EXIT_CODES}\n\n{rest.lstrip()}".splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).rstrip() + "\n"


def test_current():
    """The page is current."""
    assert PAGE.read_text("utf-8") == reference(), "run: python tests/cli/test_reference.py"


def test_complete():
    """It describes purchases, their options, and the exit codes."""
    text = reference()
    for word in ("## roamify buy", "--max-spend", "Exit codes: 0 done", "### roamify bulk status", "--token-file"):
        assert word in text
    assert text.count("`--token-file STR`") == 1


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(reference(), "utf-8")
