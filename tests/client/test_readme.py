"""The README's code runs, and its table of calls is that of the endpoints."""

import inspect
import re
import typing
from pathlib import Path
from typing import Any

import httpx
import pytest

from roamify_async import AsyncRoamify, OrderItem
from roamify_async._core.endpoint import Endpoint, Resource, dual_iterator, dual_method
from roamify_async.sandbox import Sandbox

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text("utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
TABLE = re.compile(r"(?<=<!-- calls -->\n).*?(?=<!-- /calls -->)", re.DOTALL)


@pytest.fixture
def served(monkeypatch, tmp_path):
    """Let the README's clients, which have no token and no URL, use a sandbox."""
    with Sandbox(packages=500) as sandbox:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("ROAMIFY_TOKEN", sandbox.token)
        monkeypatch.setenv("ROAMIFY_BASE_URL", sandbox.url)
        monkeypatch.setenv("ROAMIFY_WEBHOOK_SECRET", sandbox.webhook_secret)
        yield sandbox


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_blocks_run(block, served):
    """Each block of code runs as it is."""
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


async def test_fastapi(served):
    """The README's FastAPI app returns the usage of an eSIM."""
    scope: dict[str, Any] = {"__name__": "readme"}
    exec(next(block for block in BLOCKS if "FastAPI" in block), scope)
    async with scope["lifespan"](scope["app"]):
        order = await scope["app"].state.roamify.orders.create_instant([OrderItem("esim-greece-30days-1gb-all")])
        transport = httpx.ASGITransport(app=scope["app"])
        async with httpx.AsyncClient(transport=transport, base_url="http://app") as browser:
            answer = await browser.get(f"/usage/{order.esims[0].iccid}")
    assert answer.json() == {"left": "1024 of 1024 MB"}


def type_name(kind: Any) -> str:
    """Return a type as users read it."""
    text = kind.__name__ if isinstance(kind, type) and not typing.get_args(kind) else str(kind)
    return re.sub(r"(?:\w+\.)+(?=[A-Z])", "", text)


def table_row(name: str, row: Any, call: Any) -> str:
    """Return the line of a call."""
    signature = inspect.signature(call)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in signature.parameters.values()]
    what = f"{row.method} {row.path}" if isinstance(row, Endpoint) else re.split(r"[;.,]", row.__doc__ or "")[0]
    return f"| `{name}{inspect.Signature(bare)}` | {what} | `{named(signature.return_annotation)}` |"


def table_of_calls() -> str:
    """Return the table of all calls."""
    lines = ["| call | what it is | answers |", "|---|---|---|"]
    for group, resource in vars(AsyncRoamify("token")).items():
        if isinstance(resource, Resource):
            for name, row in vars(type(resource)).items():
                if isinstance(row, dual_method | dual_iterator) and not name.startswith("_"):
                    lines.append(table_row(f"{group}.{name}", row, getattr(resource, name)))
    return "\n".join(lines) + "\n"


def test_table_is_fresh():
    """The table of calls is what the rows say; ``python tests/client/test_readme.py`` writes it."""
    assert TABLE.search(TEXT).group() == calls()


def test_both_clients_first():
    """The README begins with six lines of code for each client."""
    assert "Roamify()" in BLOCKS[0]
    assert "AsyncRoamify()" in BLOCKS[1]
    assert len(re.findall(r"^    \S", BLOCKS[0], re.MULTILINE)) + 2 == 6


def test_every_error_is_named():
    """The README's tree names every error, and no other."""
    from roamify_async import errors

    tree, _, _ = TEXT[TEXT.index("RoamifyError        ") :].partition("```")
    named = {*re.findall(r"\w+Error\b", tree)} - {"TimeoutError"}
    assert named == {name for name in vars(errors) if name.endswith("Error")}


if __name__ == "__main__":
    README.write_text(TABLE.sub(lambda _: table_of_calls(), TEXT), "utf-8")
