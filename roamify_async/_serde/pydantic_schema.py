"""Schemas of values for pydantic, which is imported by its users only."""

import types
from collections.abc import Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final, cast, get_args, get_origin, get_type_hints

import attrs

from .fields import SAME_OBJECT, State
from .scalars import json_names
from .values import from_dict, to_dict

SCALARS: Final[dict[Any, dict[str, Any]]] = {
    str: {"type": "string"},
    bool: {"type": "boolean"},
    int: {"type": "integer"},
    Decimal: {"type": "number"},
    datetime: {"type": "integer", "description": "Unix seconds"},
    date: {"type": "string"},
    types.NoneType: {"type": "null"},
    dict: {"type": "object"},
}


def core_schema(cls: type[Any]) -> Any:
    """Return the pydantic schema of a value: an instance, or an object as ``to_dict`` returns it."""
    from pydantic_core import core_schema as schemas

    def read(value: object) -> object:
        if isinstance(value, cls):
            return value
        if isinstance(value, Mapping):
            return from_dict(cls, cast("Mapping[str, Any]", value))
        raise ValueError(f"a {cls.__name__} or an object expected")

    return schemas.no_info_plain_validator_function(
        read,
        ref=f"{cls.__module__}.{cls.__qualname__}",
        serialization=schemas.plain_serializer_function_ser_schema(to_dict),
        metadata={"pydantic_js_functions": [cls.__get_pydantic_json_schema__]},
    )


def json_schema(cls: type[Any]) -> dict[str, Any]:
    """Return the JSON schema of what ``to_dict`` returns."""
    hints, names = get_type_hints(cls), json_names(cls, is_whole=True)
    properties: dict[str, Any] = {}
    required: list[str] = []
    for field in attrs.fields(cls):
        key = names[field.name]
        if key is None:
            continue
        schema = _schema(hints[field.name])
        if key == SAME_OBJECT:
            properties |= schema.get("properties", {})
            continue
        properties[key] = schema
        if field.default is attrs.NOTHING:
            required.append(key)
    found: dict[str, Any] = {"type": "object", "title": cls.__name__, "properties": properties}
    summary = (cls.__doc__ or "").partition("\n")[0]
    if summary:
        found["description"] = summary
    return found | ({"required": required} if required else {})


def _schema(hint: Any) -> dict[str, Any]:
    origin, arguments = get_origin(hint), get_args(hint)
    found: dict[str, Any] = dict(SCALARS.get(hint, {}))
    if origin is tuple:
        found = {"type": "array", "items": _schema(arguments[0])}
    elif origin is types.UnionType:
        found = {"anyOf": [_schema(item) for item in arguments]}
    elif isinstance(hint, type) and attrs.has(hint):
        found = json_schema(hint)
    elif isinstance(hint, type) and issubclass(hint, State):
        found = {"type": "string", "examples": [state.value for state in hint]}
    return found
