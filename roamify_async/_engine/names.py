"""The names of fields on the wire: camelCase, but for what is said at the field."""

from typing import Any, Final

import attrs

SAME: Final = "."
"""Wire name of a field that is read from the same object as its owner."""


def wire(name: str | None) -> dict[str, Any]:
    """Say a field's name on the wire where it is not the camelCase of its own; ``None``: it is not on the wire."""
    return {"wire": name}


def wire_names(kind: type[Any]) -> dict[str, str | None]:
    """Give the wire's names of the fields of an attrs class."""

    def camel(name: str) -> str:
        head, *rest = name.split("_")
        return head + "".join(map(str.capitalize, rest))

    return {field.name: field.metadata.get("wire", camel(field.name)) for field in attrs.fields(kind)}
