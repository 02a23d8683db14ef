"""Responses with one corrupted field."""

import json
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any, Final, cast

from roamify_async.sandbox.data.encoding import Json, dumps

_TYPES: Final[Mapping[type, str]] = {
    dict: "object",
    list: "array",
    str: "string",
    int: "number",
    float: "number",
    bool: "boolean",
}
_SAMPLES: Final[tuple[object, ...]] = ("7", 7, True, [], {})


def corrupt(fault: str, text: str, random: Random) -> str:
    """Return a JSON response with one field corrupted, at any depth of its data; without fields it is unchanged."""
    body: object = json.loads(text)
    objects = list(_objects(_data(body)))
    if fault == "extra_field" and objects:
        random.choice(objects)["unknownField"] = "unknown"
    elif fields := [(parent, name) for parent in objects for name in parent]:
        _CHANGES[fault](*random.choice(fields), random)
    return dumps(body)


def _data(body: object) -> object:
    return cast("Json", body).get("data", body) if isinstance(body, dict) else body


def _objects(value: object) -> Iterator[Json]:
    """Yield every object within a value, outermost first."""
    parts: list[object] = []
    if isinstance(value, dict):
        parent = cast("Json", value)
        yield parent
        parts = list(parent.values())
    elif isinstance(value, list):
        parts = cast("list[object]", value)
    for part in parts:
        yield from _objects(part)


def _remove(parent: Json, name: str, _random: Random) -> None:
    del parent[name]


def _set_null(parent: Json, name: str, _random: Random) -> None:
    parent[name] = None


def _change_type(parent: Json, name: str, random: Random) -> None:
    value: object = parent[name]
    correct = _TYPES.get(type(value))
    parent[name] = random.choice([sample for sample in _SAMPLES if _TYPES[type(sample)] != correct])


_CHANGES: Final[Mapping[str, Callable[[Json, str, Random], Any]]] = {
    "missing_field": _remove,
    "null_field": _set_null,
    "wrong_type": _change_type,
}
CORRUPTIONS: Final = ("extra_field", *_CHANGES)
"""The faults that corrupt a field."""
