"""Values to JSON and back: a strict writer and a tolerant reader.

What goes out is exactly what the caller said, without what is ``None``. What comes in may have more keys than are
known, or fewer; a key that is missing or null takes the field's default. Names change between snake_case and
camelCase, or to what ``wire`` says at the field.
"""

import json
from collections.abc import Iterator, Mapping, MutableSequence
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from itertools import islice
from typing import Any, Final, TypeVar, cast

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from .names import SAME, wire_names
from .readers import READERS, State, read_json, read_optional_whole, read_text, refuse

T = TypeVar("T")

JSON: Final = cast("type[Any]", Any)
"""Any JSON, as it was parsed: the answer of a row whose answer is not documented."""


def _read_hint(value: Any, _: object) -> int | None:
    with suppress(ValueError):
        return read_optional_whole(value, int)
    return None


def _slashed(day: date | None) -> str | None:
    return None if day is None else f"{day:%d/%m/%Y}"


SLASHED_DAY: Final[dict[str, Any]] = {"write": _slashed}
"""Says of a date that it is written like ``31/12/2027``."""
HINT: Final[dict[str, Any]] = {"read": _read_hint}
"""Says of a field that it is a hint only: what cannot be read counts as missing."""


def _overrides(kind: type[Any]) -> dict[str, Any]:
    names, fields = wire_names(kind), attrs.fields_dict(kind)
    return {
        name: override(omit=True)
        if key is None
        else override(
            rename=key,
            struct_hook=fields[name].metadata.get("read"),
            unstruct_hook=fields[name].metadata.get("write"),
        )
        for name, key in names.items()
    }


def _objects(kind: type[Any], converter: cattrs.Converter) -> Any:
    """Make the reader of an attrs class."""
    generated = make_dict_structure_fn(
        kind, converter, _cattrs_detailed_validation=converter.detailed_validation, **_overrides(kind)
    )
    whole = SAME in wire_names(kind).values()

    def read(value: Any, _: object) -> Any:
        if value.__class__ is not dict:
            refuse(value, "an object")
        return generated({**value, SAME: value} if whole else value, kind)

    return read


def _mappings(kind: Any, converter: cattrs.Converter) -> Any:
    """Make the reader of ``dict``, with or without the kinds of its keys and values."""
    as_mapping: Any = Mapping[getattr(kind, "__args__", (str, Any))]  # type: ignore[misc]
    generated = converter.get_structure_hook(as_mapping)

    def read(value: Any, _: object) -> Any:
        if value.__class__ is not dict:
            refuse(value, "an object")
        return generated(value, as_mapping)

    return read


def _read_state(value: Any, kind: type[State]) -> State:
    return kind(read_text(value, str))


def _arrays(kind: Any, converter: cattrs.Converter) -> Any:
    """Make the reader of ``tuple[X, ...]``, or of ``list``."""
    as_sequence: Any = MutableSequence[getattr(kind, "__args__", (Any,))[0]]  # type: ignore[misc]
    generated = converter.get_structure_hook(as_sequence)
    gathered = getattr(kind, "__origin__", kind)

    def read(value: Any, _: object) -> Any:
        if value.__class__ is not list:
            refuse(value, "an array")
        return gathered(generated(value, as_sequence))

    return read


@cache
def _reader(*, detailed: bool) -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=detailed)
    for kind, hook in READERS.items():
        converter.register_structure_hook(kind, hook)
    converter.register_structure_hook(State, _read_state)
    converter.register_structure_hook_func(lambda kind: kind is Any or kind is object, read_json)
    converter.register_structure_hook_factory(attrs.has, _objects)
    converter.register_structure_hook_factory(lambda kind: getattr(kind, "__origin__", kind) in {tuple, list}, _arrays)
    converter.register_structure_hook_factory(lambda kind: getattr(kind, "__origin__", kind) is dict, _mappings)
    return converter


def can_read(kind: object) -> bool:
    """Tell whether there is a reader for something."""
    with suppress(Exception):  # asked for what is no type, cattrs raises from many places
        return bool(_reader(detailed=False).get_structure_hook(kind))
    return False


def read(value: object, kind: type[T]) -> T:
    """Make a *kind* of parsed JSON.

    Raises ``ValueError`` with a line for each problem: ``$.items[3].price: a number expected, not "x"``.
    """
    with suppress(Exception):  # whatever it was, the second reading says it better
        return _reader(detailed=False).structure(value, kind)
    # The same once more: without nulls, which stand for missing keys, and with the place of each problem.
    try:
        return _reader(detailed=True).structure(_without_nulls(value), kind)
    except Exception as error:  # noqa: BLE001 -- hostile answers break readers in ways nobody lists
        lines = [*islice(_problems(error, "$"), 20)]
    raise ValueError("\n".join(lines))


def _problems(error: BaseException, path: str) -> Iterator[str]:
    """Say what is wrong and where, with the names that stand on the wire."""
    if isinstance(error, cattrs.ClassValidationError):
        names, (located, others) = wire_names(error.cl), error.group_exceptions()
        steps = [(inner, names[note.name]) for inner, note in located]
        places = [(inner, path if name == SAME else f"{path}.{name}") for inner, name in steps]
    elif isinstance(error, cattrs.IterableValidationError):
        indexed, others = error.group_exceptions()
        places = [(inner, f"{path}[{note.index}]") for inner, note in indexed]
    else:
        yield f"{path}: {'missing' if isinstance(error, KeyError) else error}"
        return
    for inner, place in [*places, *((other, path) for other in others)]:
        yield from _problems(inner, place)


def _without_nulls(value: Any) -> Any:
    if value.__class__ is dict:
        return {key: _without_nulls(item) for key, item in value.items() if item is not None}
    if value.__class__ is list:
        return [_without_nulls(item) for item in value]
    return value


def parse(body: bytes) -> Any:
    """Parse JSON with the exact value of each number; raises ``ValueError`` where it is none."""
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=lambda name: refuse(name, "a JSON number"))
    except (RecursionError, ArithmeticError) as error:
        raise ValueError(f"not a JSON text that can be read: {type(error).__name__}") from None


# ---------------------------------------------------------------- writing


def _record(kind: type[Any], converter: cattrs.Converter) -> Any:
    """Make the writer of an attrs class: its fields under their wire names, without what is ``None``."""
    generated = make_dict_unstructure_fn(kind, converter, **_overrides(kind))

    def write(value: object) -> dict[str, Any]:
        return {key: item for key, item in generated(value).items() if item is not None}

    return write


def _moment(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone, so it is no moment: pass tzinfo=UTC, or another zone")
    try:
        return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        raise ValueError(f"{moment!r} is beyond the times that can be written in UTC") from None


@cache
def _writer() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook_factory(attrs.has, _record)
    converter.register_unstructure_hook(date, date.isoformat)
    converter.register_unstructure_hook(datetime, _moment)
    converter.register_unstructure_hook(Decimal, lambda number: format(number, "f"))
    return converter


def write(value: object) -> Any:
    """Make JSON-ready values of a request."""
    return _writer().unstructure(value)
