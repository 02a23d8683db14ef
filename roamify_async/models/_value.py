"""Base class of values: comparison, hashes, ``repr``, and conversion to JSON and back."""

from collections.abc import Iterable, Mapping
from functools import cache
from operator import attrgetter
from typing import Any, Final, Self, cast

import attrs

OPAQUE: Final = (Any, dict[str, Any], tuple[Any, ...])
"""Types of fields with any JSON, which may not be hashable."""


def _nothing(_: object) -> tuple[()]:
    return ()


@cache
def _compared_as(cls: Any) -> Any:
    """Return the class as which values of *cls* are compared: one that only narrows types is compared as its base."""
    return cls.__base__ if "_narrows_base" in vars(cls) else cls


@cache
def _key(cls: Any, *, is_hash: bool) -> Any:
    """Return a function from a value to what it is compared by, or hashed by."""
    names = [field.name for field in attrs.fields(cls) if field.eq and not (is_hash and field.type in OPAQUE)]
    return attrgetter(*names) if names else _nothing


@cache
def _shown(cls: Any) -> tuple[tuple["attrs.Attribute[Any]", object], ...]:
    """Return the fields that ``repr`` shows, with their defaults."""

    def default(field: "attrs.Attribute[Any]") -> object:
        value: Any = field.default
        return value.factory() if isinstance(value, cast("type[Any]", attrs.Factory)) else value

    return tuple((field, default(field)) for field in attrs.fields(cls) if field.repr)


class Value:
    """Base class of requests and responses.

    Values are compared and hashed by their fields. Responses are not frozen, since that would make decoding slower, but
    they should be treated as if they were.
    """

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        """Compare the fields of values of the same class."""
        own: Any = self.__class__
        others: Any = other.__class__
        cls = _compared_as(own)
        if others is not own and _compared_as(others) is not cls:
            return NotImplemented
        key = _key(cls, is_hash=False)
        return bool(key(self) == key(other))

    def __hash__(self) -> int:
        """Return a hash of the fields, apart from undocumented content."""
        own: Any = self.__class__
        cls = _compared_as(own)
        return hash((cls, _key(cls, is_hash=True)(self)))

    def __repr__(self) -> str:
        """Return the name of the class with the fields that differ from their defaults."""
        cls: Any = self.__class__
        parts: list[str] = []
        for field, default in _shown(cls):
            value = getattr(self, field.name)
            if value != default:
                parts.append(f"{field.name}={field.repr(value) if callable(field.repr) else repr(value)}")
        return f"{cls.__name__}({', '.join(parts)})"

    def __dir__(self) -> Iterable[str]:
        """Return the public names."""
        return [name for name in super().__dir__() if not name.startswith("_")]

    def _html_cells(self) -> Mapping[str, object]:
        """Return what a notebook shows of the value, by label; nothing if it shows the ``repr``."""
        return {}

    def _repr_html_(self) -> str | None:
        """Return a table for a notebook, or ``None`` if it shows the ``repr``."""
        from ._html import card

        return card(self)

    # ---------------------------------------------------------------- JSON

    def to_dict(self) -> dict[str, Any]:
        """Convert to JSON-ready objects with the keys of the API.

        Times are Unix seconds. Numbers are exact: one that no float holds exactly is text.
        """
        from roamify_async._serde.values import to_dict

        return to_dict(self)

    def to_json(self) -> str:
        """Convert to JSON text with the keys of the API. Numbers are exact, and times are Unix seconds."""
        from roamify_async._serde.values import to_json

        return to_json(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Create a value from what ``to_dict`` returned, or from an object of the API.

        Raises:
            ValueError: A field is missing or has another type. The message has a line with the path of each problem.
        """
        from roamify_async._serde.values import from_dict

        return from_dict(cls, value)

    @classmethod
    def from_json(cls, text: str | bytes) -> Self:
        """Create a value from what ``to_json`` returned, or from an object of the API in JSON.

        Raises:
            ValueError: The text is not JSON, or a field is missing or has another type.
        """
        from roamify_async._serde.values import from_json

        return from_json(cls, text)

    @classmethod
    def __get_pydantic_core_schema__(cls, source: object, handler: object) -> Any:
        """Return the schema for pydantic, so that values can be fields of models and responses of web frameworks."""
        from roamify_async._serde.pydantic_schema import core_schema

        return core_schema(cls)

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: object, handler: object) -> Any:
        """Return the JSON schema for pydantic."""
        from roamify_async._serde.pydantic_schema import json_schema

        return json_schema(cls)
