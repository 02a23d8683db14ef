"""The package is a house: a module uses only what lies below it, and the sandbox nothing of the client."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import roamify_async

PACKAGE = Path(roamify_async.__file__).parent
FLOORS = (
    {"_version", "errors"},
    {
        "settings",
        "_engine.wire",
        "_engine.crowd",
        "_engine.readers",
        "_engine.names",
        "_engine.waiting",
        "_engine.caller",
        "_engine.arguments",
    },
    {"_engine.access", "_engine.blocking", "_engine.paging", "_engine.answers"},
    {"_engine.facade", "_engine.transport", "_engine.direct"},
    {"_engine.codec", "_engine.retry"},
    {"_engine.envelope"},
    {"_engine.engine", "_engine.unlisted"},
    {"purchasing.judgement", "purchasing.journal", "purchasing.source"},
    {"purchasing.settle", "purchasing.report", "purchasing.budget"},
    {"purchasing.buyer"},
    {"purchasing.bulk"},
    {"webhooks.signature", "webhooks.events"},
    {"webhooks.once", "webhooks.reading"},
    {"webhooks.receiver"},
    {"webhooks.asgi", "webhooks.aiohttp_web"},
    {"api.values"},
    {"api.applying"},
    {
        "api.countries",
        "api.devices",
        "api.account",
        "api.service",
        "api.profiles",
        "api.policies",
        "api.vouchers",
        "api.events",
        "api.messages",
        "api.refunds",
        "api.rates",
    },
    {"api.packages", "api.usage"},
    {"api.orders", "api.affiliates"},
    {"api.esims", "api.insurance"},
    {"api.topups"},
    {"client"},
    {"__init__"},
)
FLOOR = {name: level for level, names in enumerate(FLOORS) for name in names}
TOP = ("__main__", "tour", "sandbox")
"""Programs around the client, on no floor of it."""


def modules() -> Iterator[tuple[str, Path]]:
    """Give the client's modules by their names below the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).with_suffix("").as_posix().replace("/", ".")
        if name.split(".")[0] not in TOP and not name.endswith(".__init__"):
            yield name, path


def imported(path: Path) -> Iterator[str]:
    """Give what a file imports of the package, with names below the package, also where it does so late."""
    inside = path.relative_to(PACKAGE).parent.parts
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (
                alias.name.removeprefix("roamify_async.") for alias in node.names if "roamify_async" in alias.name
            )
        if not isinstance(node, ast.ImportFrom):
            continue
        if node.level:
            base = [*inside[: len(inside) - node.level + 1], *(node.module or "").split(".")]
            yield ".".join(filter(None, base))
        elif (node.module or "").startswith("roamify_async."):
            yield node.module.removeprefix("roamify_async.")


def test_every_module_has_a_floor():
    """A new module says where it lives."""
    assert {name for name, _ in modules()} == set(FLOOR)


def test_imports_point_down():
    """A module imports only from lower floors."""
    upward = [
        f"{name} -> {used}" for name, path in modules() for used in imported(path) if FLOOR.get(used, -1) >= FLOOR[name]
    ]
    assert not upward
    assert "client" in set(imported(PACKAGE / "__init__.py"))
    assert "_engine.engine" in set(imported(PACKAGE / "purchasing" / "settle.py"))


def test_imports_name_modules():
    """What the package imports of itself is a module that the floors know."""
    assert all(used in FLOOR for _, path in modules() for used in imported(path))


def test_two_files_know_aiohttp():
    """One file of the client sends with the network library, and one serves with it."""
    users = {name for name, path in modules() if "aiohttp" in libraries(path)}
    assert users == {"_engine.transport", "webhooks.aiohttp_web"}


def test_sandbox_knows_nothing_of_the_client():
    """The sandbox speaks HTTP and JSON, and imports no line of the code that it is there to test."""
    for path in (PACKAGE / "sandbox").rglob("*.py"):
        assert all(used.split(".")[0] == "sandbox" for used in imported(path)), path.name
        assert libraries(path) <= {"aiohttp", "attrs", "jinja2", "markupsafe"}, path.name


def libraries(path: Path) -> set[str]:
    """Give the third-party libraries that a file imports."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names.add((node.module or "").split(".")[0])
    return names - set(sys.stdlib_module_names) - {"roamify_async"}
