"""Conversion of values to JSON and back, for users: exact, and without loss."""

import json
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from functools import cache, partial
from typing import Any, Final, TypeVar, cast, get_args

import attrs
import cattrs
import msgspec
from cattrs.gen import make_dict_unstructure_fn, override

from .converter import date_writer, parse, structure
from .fields import SAME_OBJECT, State
from .scalars import EPOCH, json_names

T = TypeVar("T")

_MICROSECOND: Final = Decimal("0.000001")


def _write_object(target: type[Any], converter: cattrs.Converter, without: tuple[str, ...] = ()) -> Any:
    """Return the unstructure hook of an attrs class. A field of the same object is merged into it."""
    names, fields = json_names(target, is_whole=True), attrs.fields_dict(target)
    overrides = {
        name: override(omit=True)
        if key is None or key in without
        else override(rename=key, unstruct_hook=date_writer(fields[name]) or _without_writer(fields[name], converter))
        for name, key in names.items()
    }
    generated = make_dict_unstructure_fn(target, converter, **cast("dict[str, Any]", overrides))
    if SAME_OBJECT not in names.values():
        return generated

    def hook(value: object) -> dict[str, Any]:
        written: dict[str, Any] = generated(value)
        inner: Any = written.pop(SAME_OBJECT)
        return {**inner, **written} if inner.__class__ is dict else written

    return hook


def _without_writer(field: "attrs.Attribute[Any]", converter: cattrs.Converter) -> Any:
    """Return the unstructure hook of a field whose objects are written without some keys, or ``None``."""
    keys: tuple[str, ...] = field.metadata.get("without", ())
    if not keys:
        return None
    write = _write_object(get_args(field.type)[0], converter, keys)

    def hook(values: Any) -> list[Any]:
        return [write(value) for value in values]

    return hook


def _write_time(moment: datetime) -> int | Decimal:
    """Return Unix seconds."""
    since = moment - EPOCH
    seconds = since.days * 86_400 + since.seconds
    return seconds if not since.microseconds else seconds + since.microseconds * _MICROSECOND


@cache
def _writer() -> cattrs.Converter:
    converter = cattrs.Converter()
    converter.register_unstructure_hook_factory(attrs.has, partial(_write_object, converter=converter))
    converter.register_unstructure_hook_func(
        lambda target: getattr(target, "__origin__", target) is tuple,
        lambda values: [converter.unstructure(value) for value in values],
    )
    converter.register_unstructure_hook(State, str)
    converter.register_unstructure_hook(datetime, _write_time)
    converter.register_unstructure_hook(date, date.isoformat)
    converter.register_unstructure_hook(Decimal, lambda number: number)
    return converter


def to_dict(value: object) -> dict[str, Any]:
    """Convert a value to JSON-ready objects."""
    return cast("dict[str, Any]", _plain(_writer().unstructure(value)))


def _plain(value: Any) -> Any:
    if value.__class__ is dict:
        return {key: _plain(item) for key, item in value.items()}
    if value.__class__ is list:
        return [_plain(item) for item in value]
    return _number(value) if value.__class__ is Decimal else value


def _number(number: Decimal) -> int | float | str:
    """Return an exact number for JSON: an integer, a float with the same digits, or text."""
    if number == number.to_integral_value() and number.adjusted() < 15:  # noqa: PLR2004 -- exact in every JSON reader
        return int(number)
    nearest = float(number)
    return nearest if Decimal(repr(nearest)) == number else format(number, "f")


def to_json(value: object) -> str:
    """Convert a value to JSON text."""
    written = _writer().unstructure(value)
    try:
        return msgspec.json.Encoder(decimal_format="number").encode(written).decode()
    except UnicodeEncodeError:  # A lone surrogate, which JSON can only escape.
        return json.dumps(_plain(written))


def from_dict(cls: type[T], value: Mapping[str, Any]) -> T:
    """Convert JSON-ready objects to a value."""
    return structure(_exact(dict(value)), cls, is_whole=True)


def from_json(cls: type[T], text: str | bytes) -> T:
    """Convert JSON text to a value."""
    return structure(parse(text.encode(errors="surrogatepass") if isinstance(text, str) else text), cls, is_whole=True)


def _exact(value: Any) -> Any:
    """Return JSON-ready objects with the decimal digits of each float."""
    if value.__class__ is dict:
        return {key: _exact(item) for key, item in value.items()}
    if value.__class__ in {list, tuple}:
        return [_exact(item) for item in value]
    return Decimal(repr(value)) if value.__class__ is float else value
