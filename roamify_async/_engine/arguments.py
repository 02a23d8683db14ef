"""Wrong arguments, said in the words of the one who called."""

import difflib
import inspect
from collections.abc import Iterable
from typing import Any


def explain(name: str, signature: inspect.Signature, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    """Raise a ``TypeError`` that names the call and the nearest argument, where the arguments do not fit it."""
    refuse_unknown_arguments(name, kwargs, signature.parameters)
    try:
        signature.bind(*args, **kwargs)
    except TypeError as error:
        raise TypeError(f"{name}(): {error}") from None


def refuse_unknown_arguments(name: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise a ``TypeError`` for the first name that is not known."""
    names = [*known]
    for argument in given:
        if argument not in names:
            near = difflib.get_close_matches(argument, names, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(names) or 'none'}"
            raise TypeError(f"{name}() has no argument {argument!r}; {hint}")
