"""Conversion between values and JSON (cattrs): strict for requests, tolerant for responses.

Requests are converted without fields that are ``None``. Responses may contain unknown keys, and a missing or null key
takes the default of its field. Names are converted between snake_case and camelCase, or to the ``json_name`` of a
field.
"""

import json
import logging
from collections.abc import Iterator, Mapping, MutableSequence
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache, partial
from itertools import islice
from typing import Any, Final, TypeVar, cast, get_args

import attrs
import cattrs
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override

from .fields import SAME_OBJECT, State
from .scalars import SCALARS, hint_hook, json_names, read_items, read_json, read_text, read_texts, refuse

T = TypeVar("T")

log: logging.Logger = logging.getLogger("roamify_async")

JSON: Final = cast("type[Any]", Any)
"""Response type of an endpoint whose response is not documented: any parsed JSON."""


def date_writer(field: "attrs.Attribute[Any]") -> Any:
    """Return the unstructure hook of a date that the API does not write as ISO text, or ``None``."""
    pattern: str | None = field.metadata.get("date_format")

    def write(day: date | None) -> str | None:
        return None if day is None or pattern is None else day.strftime(pattern)

    return None if pattern is None else write


def _field_hook(field: "attrs.Attribute[Any]", converter: cattrs.Converter) -> Any:
    """Return the structure hook of a field whose type does not say all, or ``None``."""
    if field.metadata.get("display"):
        item: Any = get_args(field.type)[0]
        return _display_hook(converter.get_structure_hook(item), item)
    if field.type == tuple[str, ...]:
        return read_texts
    if field.type == tuple[Any, ...]:
        return read_items
    return hint_hook(field)


def _display_hook(read: Any, item: Any) -> Any:
    """Return the structure hook of a tuple of objects that are only displayed."""

    def hook(values: Any, _: object) -> tuple[Any, ...]:
        found: list[Any] = []
        for value in read_items(values, object):
            try:
                found.append(read(value, item))
            except Exception as error:  # noqa: BLE001 -- malformed responses cause various exceptions
                log.debug("a %s is omitted, since it cannot be decoded: %r", item.__name__, error)
        return tuple(found)

    return hook


def _overrides(target: type[Any], converter: cattrs.Converter, *, is_whole: bool = False) -> dict[str, Any]:
    names, fields = json_names(target, is_whole=is_whole), attrs.fields_dict(target)
    return {
        name: override(omit=True)
        if key is None
        else override(
            rename=key, struct_hook=_field_hook(fields[name], converter), unstruct_hook=date_writer(fields[name])
        )
        for name, key in names.items()
    }


def _object_hook(target: type[Any], converter: cattrs.Converter, *, is_whole: bool) -> Any:
    """Return the structure hook of an attrs class."""
    overrides = _overrides(target, converter, is_whole=is_whole)
    generated = make_dict_structure_fn(
        target, converter, _cattrs_detailed_validation=converter.detailed_validation, **overrides
    )
    needs_whole = SAME_OBJECT in json_names(target).values()

    def hook(value: Any, _: object) -> Any:
        if value.__class__ is not dict:
            refuse(value, "an object")
        return generated({**value, SAME_OBJECT: value} if needs_whole else value, target)

    return hook


def _mapping_hook(target: Any, converter: cattrs.Converter) -> Any:
    """Return the structure hook of ``dict``, with or without type arguments."""
    as_mapping: Any = Mapping[getattr(target, "__args__", (str, Any))]  # type: ignore[misc]
    generated = converter.get_structure_hook(as_mapping)

    def hook(value: Any, _: object) -> Any:
        if value.__class__ is not dict:
            refuse(value, "an object")
        return generated(value, as_mapping)

    return hook


def _read_state(value: Any, target: type[State]) -> State:
    return target(read_text(value, str))


def _array_hook(target: Any, converter: cattrs.Converter) -> Any:
    """Return the structure hook of ``tuple[X, ...]`` or ``list``."""
    as_sequence: Any = MutableSequence[getattr(target, "__args__", (Any,))[0]]  # type: ignore[misc]
    generated = converter.get_structure_hook(as_sequence)
    collection = getattr(target, "__origin__", target)

    def hook(value: Any, _: object) -> Any:
        if value.__class__ is not list:
            refuse(value, "an array")
        return collection(generated(value, as_sequence))

    return hook


@cache
def _reader(*, detailed: bool, is_whole: bool = False) -> cattrs.Converter:
    converter = cattrs.Converter(detailed_validation=detailed)
    for target, hook in SCALARS.items():
        converter.register_structure_hook(target, hook)
    converter.register_structure_hook(State, _read_state)
    converter.register_structure_hook_func(lambda target: target is Any or target is object, read_json)
    converter.register_structure_hook_factory(attrs.has, partial(_object_hook, converter=converter, is_whole=is_whole))
    converter.register_structure_hook_factory(
        lambda target: getattr(target, "__origin__", target) in {tuple, list}, _array_hook
    )
    converter.register_structure_hook_factory(
        lambda target: getattr(target, "__origin__", target) is dict, _mapping_hook
    )
    return converter


def can_structure(target: object) -> bool:
    """Return whether JSON can be converted to a type."""
    with suppress(Exception):  # cattrs raises various exceptions for values that are not types
        return bool(_reader(detailed=False).get_structure_hook(target))
    return False


def structure(value: object, target: type[T], *, is_whole: bool = False) -> T:
    """Convert parsed JSON to a value of type *target*; with *is_whole* also the fields that the API does not have.

    Raises ``ValueError`` with a line for each problem, such as ``$.items[3].price: a number expected, not "x"``.
    """
    with suppress(Exception):  # the second pass reports the problem
        return _reader(detailed=False, is_whole=is_whole).structure(value, target)
    # The second pass reports paths, and treats null as a missing key.
    try:
        return _reader(detailed=True, is_whole=is_whole).structure(_without_nulls(value), target)
    except Exception as error:  # noqa: BLE001 -- malformed responses cause various exceptions
        lines = [*islice(_problems(error, "$"), 20)]
    raise ValueError("\n".join(lines))


def _problems(error: BaseException, path: str) -> Iterator[str]:
    """Yield a line for each problem, with its path in JSON names."""
    if isinstance(error, cattrs.ClassValidationError):
        names, (located, others) = json_names(error.cl), error.group_exceptions()
        steps = [(inner, names[note.name]) for inner, note in located]
        places = [(inner, path if name == SAME_OBJECT else f"{path}.{name}") for inner, name in steps]
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
    """Parse JSON, with the exact value of each number. Raises ``ValueError`` if *body* is not JSON."""
    try:
        return json.loads(body, parse_float=Decimal, parse_constant=lambda name: refuse(name, "a JSON number"))
    except (RecursionError, ArithmeticError) as error:
        raise ValueError(f"not readable as JSON: {type(error).__name__}") from None


# ---------------------------------------------------------------- requests


def _object_writer(target: type[Any], converter: cattrs.Converter) -> Any:
    """Return the unstructure hook of an attrs class, which omits fields that are ``None``."""
    generated = make_dict_unstructure_fn(target, converter, **_overrides(target, converter))

    def hook(value: object) -> dict[str, Any]:
        return {key: item for key, item in generated(value).items() if item is not None}

    return hook


def _write_time(moment: datetime) -> str:
    if moment.tzinfo is None:
        raise ValueError(f"{moment!r} has no time zone: pass tzinfo=UTC, or another zone")
    try:
        utc = moment if moment.tzinfo is UTC else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{moment!r} is out of range in UTC") from None
    return f"{utc.isoformat(timespec='seconds')[: -len('+00:00')]}Z"


@cache
def _writer() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook_factory(attrs.has, _object_writer)
    converter.register_unstructure_hook(date, date.isoformat)
    converter.register_unstructure_hook(datetime, _write_time)
    converter.register_unstructure_hook(Decimal, lambda number: format(number, "f"))
    return converter


def unstructure(value: object) -> Any:
    """Convert a request to JSON-ready values."""
    return _writer().unstructure(value)
