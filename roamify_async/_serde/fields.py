"""Metadata that maps the fields of a value to JSON, and the base class of states."""

from enum import StrEnum
from typing import Any, Final

SAME_OBJECT: Final = "."
"""JSON name of a field whose value is read from the object that holds it."""

HINT: Final[dict[str, Any]] = {"hint": True}
"""Field metadata: the value is optional and redundant, and one that cannot be decoded counts as missing."""
DISPLAY: Final[dict[str, Any]] = {"display": True}
"""Field metadata: objects that are only displayed. Those that cannot be decoded are omitted."""
SLASHED_DATE: Final[dict[str, Any]] = {"date_format": "%d/%m/%Y"}
"""Field metadata: the date is encoded as ``31/12/2027``."""


def json_name(name: str | None) -> dict[str, Any]:
    """Return field metadata that sets the JSON key. The default key is the name of the field in camelCase.

    ``None`` means that the field does not appear in JSON.
    """
    return {"json_name": name}


INTERNAL: Final[dict[str, Any]] = {"json_name": None, "internal": True}
"""Field metadata: the field never appears in JSON, not even in that of ``to_json``."""


def without(*keys: str) -> dict[str, Any]:
    """Return field metadata that omits some keys of the objects in the field where they repeat the object around."""
    return {"without": keys}


class State(StrEnum):
    """Base class of states. It is a string enumeration that accepts unknown values and keeps their text."""

    @classmethod
    def _missing_(cls, value: object) -> "State | None":
        if not isinstance(value, str):
            return None
        state = str.__new__(cls, value)
        state._name_, state._value_ = value, value
        return state

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        """Pickle by value, since an unknown state is not an attribute of its class."""
        return type(self), (str(self),)

    def __deepcopy__(self, memo: object) -> "State":
        """Return the state itself, which is immutable."""
        return self

    def __copy__(self) -> "State":
        """Return the state itself, which is immutable."""
        return self
