"""What the package shows is what it means to show."""

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import attrs
import pytest

import roamify_async
from roamify_async import RoamifyError, errors


def declared() -> dict[str, str]:
    """Give the names that type checkers see, and the modules that they come from."""
    tree = ast.parse(Path(roamify_async.__file__).read_text("utf-8"))
    (block,) = [node for node in tree.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name)]
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.name: f"roamify_async.{node.module}" for node in imports for alias in node.names}


def test_all_is_complete():
    """``__all__`` names once what checkers see, and nothing else."""
    assert sorted(roamify_async.__all__) == sorted([*declared(), "__version__"])
    assert {*roamify_async.__all__} <= {*dir(roamify_async)}


@pytest.mark.parametrize(("name", "home"), declared().items())
def test_names_are_what_checkers_see(name, home):
    """A name that is imported at its first use is the very object of the module that it is declared to come from."""
    assert getattr(roamify_async, name) is getattr(import_module(home), name)


@pytest.mark.parametrize("part", ["errors", "webhooks", "sandbox", "purchasing", "client"])
def test_parts_are_imported_at_their_first_use(part):
    """The package's parts can be reached from it."""
    assert getattr(roamify_async, part) is import_module(f"roamify_async.{part}")


def test_names_that_are_not_there():
    """A name that is not there is an ``AttributeError``, and an ``ImportError`` where it is imported."""
    with pytest.raises(AttributeError, match="has no attribute 'Ordre'"):
        roamify_async.Ordre  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError):
        exec("from roamify_async import Ordre")


@pytest.mark.parametrize(
    ("first", "absent"),
    [
        ("import roamify_async", "aiohttp attrs roamify_async.client"),
        ("from roamify_async import NotFoundError", "aiohttp roamify_async.client"),
        ("import roamify_async.webhooks", "aiohttp roamify_async.client roamify_async.api.orders"),
        ("from roamify_async import AsyncRoamify", "roamify_async.webhooks roamify_async.sandbox"),
    ],
)
def test_what_is_not_needed_is_not_imported(first, absent):
    """Errors, webhooks and clients come without the rest."""
    code = f"{first}; import sys; print(*({absent.split()!r} & sys.modules.keys()))".replace("[", "{").replace("]", "}")
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.split() == []


def test_every_error_is_exported_and_has_one_root():
    """One ``except RoamifyError`` catches them all."""
    found = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}
    assert all(issubclass(kind, RoamifyError) for kind in found.values())
    assert all(getattr(roamify_async, name) is kind for name, kind in found.items())


@pytest.mark.parametrize("name", [name for name in roamify_async.__all__ if name.istitle() or name[0].isupper()])
def test_public_names_are_documented(name):
    """Each public class says in a sentence what it is."""
    value = getattr(roamify_async, name)
    if inspect.isclass(value):
        assert re.match(r"\S.*[.:]", value.__doc__ or ""), name


def test_values_and_errors_have_one_definition():
    """A public attrs class has slots, so that a typo in an attribute is an error."""
    for name in roamify_async.__all__:
        value = getattr(roamify_async, name)
        if inspect.isclass(value) and attrs.has(value):
            assert "__slots__" in vars(value), name


def test_version_is_the_installed_one():
    """The version that the package shows is that of the distribution."""
    from importlib.metadata import version

    assert roamify_async.__version__ == version("roamify-async")
