"""The README and the pages of docs: their code runs, their links have targets, and the table of calls is complete."""

import inspect
import re
import typing
from pathlib import Path
from typing import Any

import httpx
import pytest

from roamify_async import AsyncRoamify, OrderItem, errors
from roamify_async._core.endpoint import Endpoint, Resource, dual_iterator, dual_method

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
TEXT = README.read_text("utf-8")
PAGES = [README, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
EXPLANATIONS = [ROOT / "docs" / "explanation" / f"{name}.md" for name in ("purchases", "catalogue")]
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)
BLOCKS = CODE.findall(TEXT)
TABLE = re.compile(r"(?<=<!-- calls -->\n).*?(?=<!-- /calls -->)", re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_blocks_run(block, configured):
    """Each block of code in the README runs by itself."""
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("page", EXPLANATIONS, ids=[page.stem for page in EXPLANATIONS])
def test_blocks_of_explanations_run(page, configured):
    """Each block of code in these pages runs by itself."""
    blocks = CODE.findall(page.read_text("utf-8"))
    assert blocks
    for block in blocks:
        exec(compile(block, page.name, "exec"), {"__name__": page.stem})


async def test_fastapi(configured):
    """The README's FastAPI app returns the usage of an eSIM."""
    scope: dict[str, Any] = {"__name__": "readme"}
    exec(next(block for block in BLOCKS if "FastAPI" in block), scope)
    async with scope["lifespan"](scope["app"]):
        order = await scope["app"].state.roamify.orders.create_instant([OrderItem("esim-greece-30days-1gb-all")])
        transport = httpx.ASGITransport(app=scope["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as browser:
            response = await browser.get(f"/usage/{order.esims[0].iccid}")
    assert response.json() == {"left": "1024 of 1024 MB"}


def type_name(kind: Any) -> str:
    """Return a type as users write it."""
    text = kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
    return re.sub(r"(?:\w+\.)+(?=[A-Z])", "", text)


def table_row(name: str, declaration: Any, call: Any) -> str:
    """Return the row of a call: its signature, its endpoint or the summary of its docstring, and what it returns."""
    signature = inspect.signature(call)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    if isinstance(declaration, Endpoint):
        summary = f"{declaration.method} {declaration.path}"
    else:
        summary = inspect.getdoc(declaration).splitlines()[0].partition(". ")[0].rstrip(".").replace("``", "`")
    return f"| `{name}{inspect.Signature(bare)}` | {summary} | `{type_name(signature.return_annotation)}` |"


def table_of_calls() -> str:
    """Return the table of all calls."""
    rows = ["| call | request, or what it does | returns |", "|---|---|---|"]
    for group, resource in vars(AsyncRoamify("token")).items():
        if isinstance(resource, Resource):
            for name, declaration in vars(type(resource)).items():
                if isinstance(declaration, dual_method | dual_iterator) and not name.startswith("_"):
                    rows.append(table_row(f"{group}.{name}", declaration, getattr(resource, name)))
    return "\n".join(rows) + "\n"


def test_table_is_up_to_date():
    """The table of calls is that of the endpoints. Run ``python tests/client/test_readme.py`` to write it."""
    assert TABLE.search(TEXT).group() == table_of_calls()


def test_both_clients_come_first():
    """The README begins with six lines of code for each client."""
    assert "Roamify()" in BLOCKS[0]
    assert "AsyncRoamify()" in BLOCKS[1]
    assert len([line for line in BLOCKS[0].splitlines() if line.strip()]) == 6


def test_commands_are_kept():
    """The commands that run the tour and the tests are in the README as programs look for them."""
    create = "python3 -m venv .venv && .venv/bin/pip install -q"
    assert f"\n{create} '.[tour]' && .venv/bin/python -m roamify_async\n" in TEXT
    assert f"\n{create} -e '.[test]' && .venv/bin/python -m pytest\n" in TEXT


def test_every_error_is_in_the_tree():
    """The README's tree has every error, and no other."""
    tree, _, _ = TEXT[TEXT.index("RoamifyError        ") :].partition("```")
    names = {*re.findall(r"\w+Error\b", tree)} - {"TimeoutError"}
    assert names == {name for name in vars(errors) if name.endswith("Error")}


@pytest.mark.parametrize("page", PAGES, ids=[str(page.relative_to(ROOT)) for page in PAGES])
def test_links_have_targets(page):
    """Each link to a file leads to one, and each link to a heading to one of that page."""
    for target in re.findall(r"\]\((?!https?:|mailto:)([^)\s]+)\)", page.read_text("utf-8")):
        name, _, anchor = target.partition("#")
        linked = (page.parent / name).resolve() if name else page
        assert linked.exists(), target
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text("utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}, target


def test_paths_of_the_architecture_page_exist():
    """Each module that the page on the architecture names exists."""
    text = (ROOT / "docs" / "explanation" / "architecture.md").read_text("utf-8")
    for path in re.findall(r"`((?:api|models|purchasing|webhooks|sandbox|_\w+)/\w+\.py|\w+\.py)`", text):
        assert (ROOT / "roamify_async" / path).exists(), path


if __name__ == "__main__":
    README.write_text(TABLE.sub(lambda _: table_of_calls(), TEXT), "utf-8")
