"""Answers with one field that is not as it should be."""

import json
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, Final, cast

from roamify_async.sandbox.data.packages import Json, dumps

_TYPES: Final[Mapping[type, str]] = {
    dict: "object",
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
}
_SAMPLES: Final[tuple[object, ...]] = ("7", 7, True, [], {})


def spoil(fault: str, text: str, dice: Random) -> str:
    """Spoil one field of an answer, at any depth under its data; an answer without any stays as it is."""
    body: object = json.loads(text)
    objects = list(_objects(_data(body)))
    if fault == "extra_field" and objects:
        dice.choice(objects)["unknownField"] = "unknown"
    elif fields := [(found, name) for found in objects for name in found]:
        _CHANGES[fault](*dice.choice(fields), dice)
    return dumps(body)


def _data(body: object) -> object:
    return cast("Json", body).get("data", body) if isinstance(body, dict) else body


def _objects(value: object) -> Iterator[Json]:
    """Go through every object in a value, from the outermost on."""
    parts: list[object] = []
    if isinstance(value, dict):
        found = cast("Json", value)
        yield found
        parts = list(found.values())
    elif isinstance(value, list):
        parts = cast("list[object]", value)
    for part in parts:
        yield from _objects(part)


def _leave_out(found: Json, name: str, _dice: Random) -> None:
    del found[name]


def _empty(found: Json, name: str, _dice: Random) -> None:
    found[name] = None


def _mistype(found: Json, name: str, dice: Random) -> None:
    value: object = found[name]
    right = _TYPES.get(type(value))
    found[name] = dice.choice([sample for sample in _SAMPLES if _TYPES[type(sample)] != right])


_CHANGES: Final[Mapping[str, Callable[[Json, str, Random], Any]]] = {
    "missing_field": _leave_out,
    "null_field": _empty,
    "wrong_type": _mistype,
}
SPOILING: Final = ("extra_field", *_CHANGES)
"""The faults that spoil a field."""
