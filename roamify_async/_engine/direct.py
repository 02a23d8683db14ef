"""Answers straight from their bytes: the way of those that are as described.

msgspec checks a body and reads it into plain records with the wire's names; a function that is made for each class
moves a record's values into an object. Money stays exact, since msgspec reads its digits as they stand. Bodies that do
not fit, and classes with fields of other kinds, are left to the codec, which is tolerant and says what is wrong.
"""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from operator import attrgetter
from types import GenericAlias, UnionType
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

import attrs
import msgspec

from .names import SAME, wire_names
from .readers import NOT_APPLICABLE, READERS, UNLIMITED, State, refuse

Make = Callable[[Any], Any]
"""Makes a value of ours of what msgspec read."""
Part = tuple[str, Any, Any]
"""A field of a record: its name, its type, its default."""

SCALAR: Final = str | int | bool | None
"""What a value may be that one of the codec's own readers gets: no float, for that is not exact."""
ABSENT: Final = frozenset({None, NOT_APPLICABLE, UNLIMITED})
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
"""The type that msgspec reads for each primitive, and what is made of it, as Python."""


class NotDirectError(TypeError):
    """There is a field that cannot be read so."""


@cache
def direct(kind: Any, answer: str) -> Callable[[bytes], Any] | None:
    """Give what reads a *kind* that lies at *answer* in a body; ``None`` where there is no such way for it.

    What it gives raises anything where a body is not as described.
    """
    keys = answer.split(".") if answer else []
    if not all(map(str.isidentifier, keys)):
        return None
    try:
        read, make = _reading(kind)
    except NotDirectError:
        return None
    for key in reversed(keys):
        read = msgspec.defstruct("Envelope", [(key, read)], gc=False)
    parse = msgspec.json.Decoder(read).decode
    if not answer:
        return lambda body: make(parse(body))
    inside = attrgetter(answer)
    return lambda body: make(inside(parse(body)))


def _reading(kind: Any) -> tuple[Any, Make]:
    """Give the type that msgspec reads for a type of ours, and what makes ours of it."""
    if get_origin(kind) is tuple:
        item, *_ = get_args(kind)
        if item is str:
            return kind, tuple
        read, make = _reading(item)
        return GenericAlias(tuple, (read, ...)), lambda records: tuple(map(make, records))
    if isinstance(kind, type) and issubclass(kind, State):
        known: dict[str, State] = {state.value: state for state in kind}
        return str, lambda word: known.get(word) or kind(word)
    if isinstance(kind, type) and attrs.has(kind):
        return _record(kind), _object(kind)[1]
    if isinstance(kind, UnionType) and len(get_args(kind)) == 2 and get_args(kind)[1] is type(None):  # noqa: PLR2004
        read, make = _reading(get_args(kind)[0])
        return read | None, lambda record: None if record is None else make(record)
    raise NotDirectError(kind)


@cache
def _record(kind: Any) -> Any:
    parts = [part[:2] if part[2] is attrs.NOTHING else part for part in _object(kind)[0]]
    return msgspec.defstruct(kind.__name__, parts, kw_only=True, gc=False)


@cache
def _object(kind: Any) -> tuple[tuple[Part, ...], Make]:
    """Give the fields of a record for an attrs class, and the function that makes an object of one."""
    if not attrs.has(kind) or kind.__setattr__ is not object.__setattr__:
        raise NotDirectError(kind)
    hints, names = get_type_hints(kind), wire_names(kind)
    scope: dict[str, Any] = {
        "new": object.__new__, "kind": kind, "Decimal": Decimal, "ABSENT": ABSENT, "finite": _finite
    }  # fmt: skip
    parts: dict[str, Part] = {}
    lines = ["def make(record):", "it = new(kind)"]
    for field in attrs.fields(kind):
        read, source, scope[f"_{field.name}"] = _field(field, names[field.name], hints[field.name])
        if any(parts.get(part[0], part) != part for part in read):
            raise NotDirectError(field)
        parts |= {part[0]: part for part in read}
        lines.append(f"it.{field.name} = {source}")
    if hasattr(kind, "__attrs_post_init__"):
        lines.append("it.__attrs_post_init__()")
    exec("\n    ".join([*lines, "return it"]), scope)  # noqa: S102 -- as attrs and cattrs make theirs
    return tuple(parts.values()), scope["make"]


def _field(field: Any, name: str | None, hint: Any) -> tuple[tuple[Part, ...], str, Any]:
    """Give what a record has for a field, the field's value as Python, and what goes by its name after a ``_``."""
    if not field.init or field.converter is not None or field.validator is not None:
        raise NotDirectError(field)
    default: Any = field.default
    factory = default.factory if isinstance(default, cast("type[Any]", attrs.Factory)) else None
    if name is None:
        return (), f"_{field.name}()" if factory else f"_{field.name}", factory or default
    if name == SAME:
        if not attrs.has(hint):
            raise NotDirectError(field)
        parts, make = _object(hint)
        return parts, f"_{field.name}(record)", make
    value = f"record.{name}"
    if "read" in field.metadata or (hint in READERS and hint not in SOURCES):
        hook = field.metadata.get("read", READERS.get(hint))
        return ((name, SCALAR, default),), f"_{field.name}({value}, None)", hook
    if hint in SOURCES:
        read, source = SOURCES[hint]
        return ((name, read, default),), source.format(value), None
    read, make = _reading(hint)
    if factory is not None:
        return ((name, read | None, None),), f"_{field.name}({value})", _or_new(make, factory)
    return ((name, read, default),), f"_{field.name}({value})", make


def _or_new(make: Make, factory: Callable[[], Any]) -> Make:
    return lambda record: factory() if record is None else make(record)


def _finite(number: Decimal) -> Decimal:
    return number if number.is_finite() else refuse(number, "a number")
