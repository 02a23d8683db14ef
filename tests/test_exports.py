"""What the package shows is what it means to show."""

import inspect
import re
from types import ModuleType

import attrs
import pytest

import roamify_async
from roamify_async import RoamifyError, errors


def test_all_is_sorted_and_complete():
    """``__all__`` names every public object of the package, and nothing else."""
    public = {
        name
        for name, value in vars(roamify_async).items()
        if not name.startswith("_") and not isinstance(value, ModuleType)
    }
    assert set(roamify_async.__all__) == public | {"__version__"}
    assert len(set(roamify_async.__all__)) == len(roamify_async.__all__)


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
