"""Commands that make one call of the client: their options and their help come from the call."""

import datetime as dt
import inspect
import re
from collections.abc import Callable
from decimal import Decimal
from functools import cache
from operator import attrgetter
from types import UnionType
from typing import Annotated, Any, Final, Union, get_args, get_origin

import attrs
from cyclopts import Parameter

from roamify_async import Roamify

from .context import current
from .output import View, show
from .table import Call, calls

RENAMED: Final = {"reference_id": "ref"}
"""Options that are shorter than the parameters of the calls."""


def _to_option(found: re.Match[str]) -> str:
    return f"--{found[1].replace('_', '-')}"


WORDING: Final[tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...]] = (
    (re.compile(r"a ``datetime\.date`` or ISO text"), "an ISO date"),
    (re.compile(r'``"([^"`]*)"``'), r"`\1`"),
    (re.compile(r"``\w+Status\.(\w+)``"), r"`\1`"),
    (re.compile(r"``(?:Voucher|Order|Esim|Policy)\w*\.(\w+)``"), r"`\1`"),
    (re.compile(r"``Settings\.reconcile_window`` seconds"), "the seconds of `--window`"),
    (re.compile(r"``([^`]*)``"), r"`\1`"),
    (re.compile(r"with a time zone, to the second"), "in ISO 8601 with a time zone"),
    (re.compile(r"\*(\w+)\*"), _to_option),
)
"""How the words of docstrings, which are about Python, are changed for the command line."""


@cache
def _described() -> Roamify:
    """Return a client that is never opened, for the signatures of its calls."""
    return Roamify("no-token")


def help_of(doc: str | None) -> str:
    """Return the text and the parameters of a docstring, in the words of the command line."""
    text = re.split(r"\n\s*(?:Raises:|See: )", inspect.cleandoc(doc or ""))[0]
    for pattern, replacement in WORDING:
        text = pattern.sub(replacement, text)
    return text.strip()


def result_class(annotation: Any) -> Any:
    """Return the class of what a call returns, or of the items; ``None`` if its content is not documented."""
    for kind in (annotation, *get_args(annotation)):
        if attrs.has(kind):
            return kind
    return None


def option(parameter: inspect.Parameter, *, is_positional: bool = False) -> inspect.Parameter:
    """Return a parameter of a call as a parameter of a command."""
    name = RENAMED.get(parameter.name, parameter.name).replace("_", "-")
    kind = _type(parameter.annotation)
    if is_positional or parameter.kind is not inspect.Parameter.KEYWORD_ONLY:
        annotated: Any = Annotated[kind, Parameter(name=parameter.name.upper())]
        return parameter.replace(kind=inspect.Parameter.POSITIONAL_ONLY, annotation=annotated)
    annotated = Annotated[kind, Parameter(name=f"--{name}", negative="")]
    return parameter.replace(annotation=annotated)


def _type(annotation: Any) -> Any:
    """Return the type in which an option is parsed. What is no simple type is passed on as text."""
    is_union = get_origin(annotation) in {Union, UnionType}
    kinds = [kind for kind in (get_args(annotation) if is_union else (annotation,)) if kind is not type(None)]
    if Decimal in kinds:
        kind: Any = Decimal
    else:
        kind = kinds[0] if len(kinds) == 1 and kinds[0] in {int, bool, str} else str
    return kind | None if is_union else kind


def command(row: Call) -> Callable[..., None]:
    """Return the function of a command."""
    call = attrgetter(row.call)
    signature = inspect.signature(call(_described()))
    parameters = [option(each, is_positional=each.name == row.positional) for each in signature.parameters.values()]
    parameters.sort(key=lambda each: each.kind)
    moments = {each.name for each in signature.parameters.values() if dt.datetime in get_args(each.annotation)}
    view = View.of(row.columns, result_class(signature.return_annotation) if not row.rows else None, row.rows)
    own = inspect.Signature(parameters)

    def run(*args: Any, **kwargs: Any) -> None:
        context = current()
        given = dict(own.bind(*args, **kwargs).arguments)
        for name in moments & given.keys():
            given[name] = given[name] and dt.datetime.fromisoformat(given[name])
        view.chosen(context)
        with context.client() as client:
            show(context, _call(call(client), signature, given), view)

    run.__doc__ = help_of(call(_described()).__doc__)
    run.__name__ = row.name.replace(" ", "_")
    run.__signature__ = own  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _call(call: Callable[..., Any], signature: inspect.Signature, given: dict[str, Any]) -> Any:
    """Call with the arguments that were given; the others are left to their defaults."""
    named = {name: value for name, value in given.items() if value != signature.parameters[name].default}
    positional = [
        named.pop(name)
        for name, parameter in signature.parameters.items()
        if parameter.kind is not inspect.Parameter.KEYWORD_ONLY and name in named
    ]
    return call(*positional, **named)


def __getattr__(name: str) -> Callable[..., None]:
    """Return the function of a command, with underscores for the spaces in its name."""
    row = calls().get(name.replace("_", " "))
    if row is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return command(row)
