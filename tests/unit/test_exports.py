"""The public names: what the package exports, when it imports it, and that it is documented."""

import ast
import inspect
import re
import subprocess
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path

import attrs
import pytest

import roamify_async
from roamify_async import RoamifyError, errors, testing

SOURCE = ast.parse(Path(roamify_async.__file__).read_text("utf-8"))


def type_checking_imports() -> dict[str, str]:
    """Return the names that type checkers see, with their modules."""
    block = next(node for node in SOURCE.body if isinstance(node, ast.If) and isinstance(node.test, ast.Name))
    imports = [node for node in block.body if isinstance(node, ast.ImportFrom)]
    return {alias.asname or alias.name: str(node.module) for node in imports for alias in node.names}


def modules() -> dict[str, str]:
    """Return the names that are imported at first use, with their modules."""
    assignments = {
        node.target.id: node.value
        for node in SOURCE.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    value: dict[str, str] = ast.literal_eval(assignments["_MODULES"])
    return value


def run(code: str) -> subprocess.CompletedProcess[str]:
    """Run code in a fresh interpreter."""
    return subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)


def test_all_names_what_is_imported():
    """``__all__``, the table of modules and the imports for type checkers name the same objects."""
    assert modules() == type_checking_imports()
    assert sorted(roamify_async.__all__) == sorted([*modules(), "__version__"])
    assert {*roamify_async.__all__} <= {*dir(roamify_async)}


def test_names_are_those_of_their_modules():
    """A name that is imported at first use is the object of its module."""
    for name, module in modules().items():
        assert getattr(roamify_async, name) is getattr(import_module(f"roamify_async.{module}"), name), name


def test_subpackages_are_imported_at_first_use():
    """The subpackages can be reached from the package."""
    for name in ("errors", "models", "purchasing", "sandbox", "testing", "webhooks", "client"):
        assert getattr(roamify_async, name) is import_module(f"roamify_async.{name}"), name


def test_names_of_testing_are_imported_at_first_use():
    """The types of the pytest plugin's fixtures can be imported, and nothing comes with the package itself."""
    for name in testing.__all__:
        assert inspect.isclass(getattr(testing, name)), name
    with pytest.raises(AttributeError, match="has no attribute 'Inbox'"):
        testing.Inbox  # type: ignore[attr-defined]  # noqa: B018


def test_unknown_names():
    """An unknown name raises ``AttributeError``, or ``ImportError`` in an import statement."""
    with pytest.raises(AttributeError, match="has no attribute 'Ordre'"):
        roamify_async.Ordre  # type: ignore[attr-defined]  # noqa: B018
    with pytest.raises(ImportError):
        exec("from roamify_async import Ordre")


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import roamify_async", "aiohttp attrs roamify_async.client"),
        ("from roamify_async import NotFoundError", "aiohttp roamify_async.client"),
        ("import roamify_async.testing.plugin", "aiohttp anyio attrs roamify_async.client roamify_async.sandbox"),
        ("import roamify_async.webhooks", "aiohttp roamify_async.client roamify_async.api.orders"),
        ("from roamify_async import AsyncRoamify", "roamify_async.webhooks roamify_async.sandbox"),
        (
            (
                "import pkgutil, importlib, roamify_async.models as m\n"
                "[importlib.import_module(f'{m.__name__}.{i.name}') for i in pkgutil.iter_modules(m.__path__)]"
            ),
            "aiohttp anyio cattrs msgspec roamify_async.api roamify_async._core roamify_async._http",
        ),
    ],
    ids=["package", "error", "plugin", "webhooks", "client", "models"],
)
def test_nothing_else_is_imported(statement, absent):
    """Errors, models, webhooks and clients do not import one another's dependencies."""
    done = run(f"{statement}\nimport sys\nprint(*(set({absent.split()!r}) & sys.modules.keys()))")
    assert (done.stdout.split(), done.stderr) == ([], "")


def test_journal_in_a_fresh_interpreter(tmp_path):
    """``Journal.open`` works before anything else of the package is imported."""
    path = tmp_path / "j.db"
    done = run(
        "from roamify_async.purchasing import Journal\n"
        "from roamify_async.errors import JournalError\n"
        f"try: Journal.open({str(path)!r})\n"
        "except JournalError as error: print(type(error).__name__)"
    )
    assert (done.stdout, done.stderr) == ("JournalError\n", "")


def test_all_errors_are_exported():
    """Every error is a ``RoamifyError`` and can be imported from the package."""
    found = {name: kind for name, kind in vars(errors).items() if inspect.isclass(kind) and issubclass(kind, Exception)}
    for name, kind in found.items():
        assert issubclass(kind, RoamifyError), name
        assert getattr(roamify_async, name) is kind, name


def test_public_classes_are_documented():
    """Each public class has a docstring that begins with a sentence."""
    for name in roamify_async.__all__:
        value = getattr(roamify_async, name)
        if inspect.isclass(value):
            assert re.match(r"\S.*[.:]", value.__doc__ or ""), name


def test_values_have_slots():
    """A public attrs class has slots, so that a misspelt attribute is an error."""
    for name in roamify_async.__all__:
        value = getattr(roamify_async, name)
        if inspect.isclass(value) and attrs.has(value):
            assert "__slots__" in vars(value), name


def test_version():
    """The version is that of the installed distribution."""
    assert roamify_async.__version__ == version("roamify-async")
