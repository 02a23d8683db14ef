"""Fast decoding (msgspec) of responses that are as documented.

msgspec validates a body and decodes it into plain records with JSON names. A function that is generated for each class
converts a record to an object. Amounts are exact, since msgspec decodes Decimals from their digits. Other bodies, and
classes with fields of unsupported types, are left to the converter, which is tolerant and reports problems.
"""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from operator import attrgetter
from types import GenericAlias, UnionType
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

import attrs
import msgspec

from .fields import SAME_OBJECT, State
from .scalars import NOT_APPLICABLE, SCALARS, UNLIMITED, hint_hook, json_names, read_decimal

Make = Callable[[Any], Any]
"""Converts a value decoded by msgspec."""
Part = tuple[str, Any, Any]
"""A field of a record: its name, type and default."""

SCALAR: Final = str | int | bool | None
"""Type of a value that is passed to a structure hook. Floats are excluded, since they are not exact."""
ABSENT: Final = frozenset({None, NOT_APPLICABLE, UNLIMITED})
"""Values that mean that there is no number."""
SOURCES: Final[dict[Any, tuple[Any, str]]] = {
    str: (str, "{}"),
    bool: (bool, "{}"),
    int: (int, "{}"),
    str | None: (str | None, "{} or None"),
    int | None: (int | None, "None if (v := {}) in ABSENT else v"),
    Decimal: (Decimal | int, "Decimal(v) if (v := {}).__class__ is int else finite(v)"),
    Decimal | None: (
        Decimal | int | None,
        "None if (v := {}) in ABSENT else Decimal(v) if v.__class__ is int else finite(v)",
    ),
}
"""The type that msgspec decodes for each scalar type, and the Python expression that converts it."""


class NotFastError(TypeError):
    """A field has a type that the fast decoder does not support."""


@cache
def fast_decoder(target: Any, data_path: str) -> Callable[[bytes], Any] | None:
    """Return a function that decodes a value of type *target* at *data_path*, or ``None`` if that is not supported.

    The function may raise any exception for a body that is not as documented.
    """
    keys = data_path.split(".") if data_path else []
    if not all(map(str.isidentifier, keys)):
        return None
    try:
        read, make = _plan(target)
    except NotFastError:
        return None
    for key in reversed(keys):
        read = msgspec.defstruct("Envelope", [(key, read)], gc=False)
    parse = msgspec.json.Decoder(read).decode
    if not data_path:
        return lambda body: make(parse(body))
    inside = attrgetter(data_path)
    return lambda body: make(inside(parse(body)))


def _plan(target: Any) -> tuple[Any, Make]:
    """Return the type that msgspec decodes for a type, and the function that converts it."""
    if get_origin(target) is tuple:
        item, *_ = get_args(target)
        if item is str:
            return target, tuple
        read, make = _plan(item)
        return GenericAlias(tuple, (read, ...)), lambda records: tuple(map(make, records))
    if isinstance(target, type) and issubclass(target, State):
        known: dict[str, State] = {state.value: state for state in target}
        return str, lambda word: known.get(word) or target(word)
    if isinstance(target, type) and attrs.has(target):
        return _record(target), _object(target)[1]
    if isinstance(target, UnionType) and len(args := get_args(target)) == 2 and args[1] is type(None):  # noqa: PLR2004
        read, make = _plan(args[0])
        return read | None, lambda record: None if record is None else make(record)
    raise NotFastError(target)


@cache
def _record(target: Any) -> Any:
    parts = [part[:2] if part[2] is attrs.NOTHING else part for part in _object(target)[0]]
    return msgspec.defstruct(target.__name__, parts, kw_only=True, gc=False)


@cache
def _object(target: Any) -> tuple[tuple[Part, ...], Make]:
    """Return the fields of the record for an attrs class, and the function that converts a record to an object."""
    if not attrs.has(target) or target.__setattr__ is not object.__setattr__:
        raise NotFastError(target)
    hints, names = get_type_hints(target), json_names(target)
    scope: dict[str, Any] = {
        "new": object.__new__, "target": target, "Decimal": Decimal, "ABSENT": ABSENT, "finite": read_decimal
    }  # fmt: skip
    parts: dict[str, Part] = {}
    lines = ["def make(record):", "it = new(target)"]
    for field in attrs.fields(target):
        read, source, scope[f"_{field.name}"] = _field(field, names[field.name], hints[field.name])
        if any(parts.get(part[0], part) != part for part in read):
            raise NotFastError(field)
        parts |= {part[0]: part for part in read}
        lines.append(f"it.{field.name} = {source}")
    if hasattr(target, "__attrs_post_init__"):
        lines.append("it.__attrs_post_init__()")
    exec("\n    ".join([*lines, "return it"]), scope)  # noqa: S102 -- attrs and cattrs generate code in the same way
    return tuple(parts.values()), scope["make"]


def _field(field: Any, name: str | None, hint: Any) -> tuple[tuple[Part, ...], str, Any]:
    """Return the record fields of a field, its Python expression, and the object that the expression names."""
    if not field.init or field.converter is not None or field.validator is not None:
        raise NotFastError(field)
    default: Any = field.default
    factory = default.factory if isinstance(default, cast("type[Any]", attrs.Factory)) else None
    if name is None:
        return (), f"_{field.name}()" if factory else f"_{field.name}", factory or default
    if name == SAME_OBJECT:
        if not attrs.has(hint):
            raise NotFastError(field)
        parts, make = _object(hint)
        return parts, f"_{field.name}(record)", make
    value = f"record.{name}"
    hook = hint_hook(field)
    if hook is not None or (hint in SCALARS and hint not in SOURCES):
        hook = hook or SCALARS[hint]
        return ((name, SCALAR, default),), f"_{field.name}({value}, None)", hook
    if hint in SOURCES:
        read, source = SOURCES[hint]
        return ((name, read, default),), source.format(value), None
    read, make = _plan(hint)
    if factory is not None:
        return ((name, read | None, None),), f"_{field.name}({value})", _or_new(make, factory)
    return ((name, read, default),), f"_{field.name}({value})", make


def _or_new(make: Make, factory: Callable[[], Any]) -> Make:
    return lambda record: factory() if record is None else make(record)
