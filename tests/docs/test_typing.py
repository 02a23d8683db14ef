"""The code in the README and the pages of docs, as a strict type checker sees it."""

import ast
import builtins
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
CODE = re.compile(r"```python\n(.*?)```", re.DOTALL)


def defined(tree: ast.Module, module: str) -> Iterator[tuple[str, str]]:
    """Yield the names that a block defines at its top level, each with the statement that imports it elsewhere."""
    for node in tree.body:
        if isinstance(node, ast.ImportFrom):
            yield from ((name.name, f"from {node.module} import {name.name}") for name in node.names)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name, f"from {module} import {node.name}"
        elif isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            yield node.targets[0].id, f"from {module} import {node.targets[0].id}"


def modules(page: Path) -> Iterator[tuple[str, str]]:
    """Yield each block of a page as a module, which imports what the blocks before it define."""
    earlier: dict[str, str] = {}
    for number, block in enumerate(CODE.findall(page.read_text("utf-8"))):
        name = f"{page.stem.lower()}_{number}"
        nodes = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Name)]
        bound = {node.id for node in nodes if not isinstance(node.ctx, ast.Load)} | vars(builtins).keys()
        own = dict(defined(ast.parse(block), name))
        lines = [line for word, line in earlier.items() if word in {node.id for node in nodes} - bound - own.keys()]
        yield name, "\n".join([*lines, block])
        earlier |= own


@pytest.mark.long
def test_snippets_are_typed(tmp_path):
    """Each block of code passes ``mypy --strict``, apart from decorators of libraries without types."""
    pytest.importorskip("mypy")
    names = []
    for page in PAGES:
        for name, source in modules(page):
            (tmp_path / f"{name}.py").write_text(source, "utf-8")
            names.append(f"{name}.py")
    assert len(names) > 40
    options = ["--strict", "--ignore-missing-imports", "--disable-error-code=untyped-decorator", "--cache-dir=cache"]
    done = subprocess.run(
        [sys.executable, "-m", "mypy", *options, *names],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "MYPYPATH": str(ROOT)},
        cwd=tmp_path,
    )
    assert done.stdout.startswith("Success"), done.stdout + done.stderr
