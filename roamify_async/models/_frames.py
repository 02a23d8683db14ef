"""Packages as the columns of data frames. The libraries are imported at first use."""

from collections.abc import Callable, Iterable, Sequence
from decimal import Decimal
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Final, Literal, cast

import attrs

from ._extras import missing
from .packages import Destination, Package, Requirements, Throttle

if TYPE_CHECKING:
    import pandas as pd  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]
    import polars as pl  # pyright: ignore[reportMissingImports]

Kind = Literal["text", "integer", "number", "money", "flag"]
"""Type of a column."""
Values = list[Any]
"""Values of a column."""

_KINDS: Final[dict[Any, Kind]] = {
    str: "text", str | None: "text", tuple[str, ...]: "text", int | None: "integer", bool: "flag",
    Decimal: "number", Decimal | None: "number",
}  # fmt: skip
_MONEY: Final = {"price", "min_price", "max_price"}
_NESTED: Final[dict[Any, Any]] = {
    Throttle | None: Throttle, Requirements: Requirements, Destination: Destination
}  # fmt: skip
_PREFIXED: Final = {"id", "min_price", "max_price", "image"}
"""Fields of a destination that need its name in that of their column."""
_PRECISION: Final = 38
"""Digits of a decimal in Arrow and polars."""
_DTYPES: Final[dict[Kind, str | None]] = {
    "text": None, "integer": "Int64", "number": "float64", "money": "float64", "flag": "bool"
}  # fmt: skip
"""Types of pandas. Text is left to the version of pandas."""


@attrs.frozen
class Column:
    """A column of data frames."""

    name: str
    kind: Kind
    path: str
    """Where its value is in a package."""
    is_text: bool
    """Whether the value is not a tuple of texts."""


def _columns(cls: type[Any], path: str = "") -> Iterable[Column]:
    """Yield the columns of a class."""
    for field in attrs.fields(cls):
        inner, kind = _NESTED.get(field.type), _KINDS.get(field.type)
        if inner is not None:
            yield from _columns(inner, f"{path}{field.name}.")
        elif kind is not None:
            name = f"destination_{field.name}" if cls is Destination and field.name in _PREFIXED else field.name
            is_text = field.type != tuple[str, ...]
            yield Column(name, "money" if field.name in _MONEY else kind, f"{path}{field.name}", is_text)


COLUMNS: Final = tuple(_columns(Package))
"""All columns, in their order."""


def build(packages: Sequence[Package], *, exact: bool) -> dict[str, Values]:
    """Return the values of each column. Numbers are floats, apart from prices if they are to be *exact*."""
    throttled: Values = [package.throttle or Throttle() for package in packages]
    columns: dict[str, Values] = {}
    for column in COLUMNS:
        owner, _, name = column.path.rpartition(".")
        is_throttle = owner == "throttle"
        read: Callable[[Any], Any] = attrgetter(name if is_throttle else column.path)
        values: Values = list(map(read, throttled if is_throttle else packages))
        if not column.is_text:
            values = ["\n".join(value) or None for value in values]
        elif column.kind == "number" or (column.kind == "money" and not exact):
            values = [None if value is None else float(value) for value in values]
        columns[column.name] = values
    return columns


def _scale(values: Values) -> int:
    """Return the number of decimals that all amounts of a column need."""
    exponents = [cast("int", value.as_tuple().exponent) for value in values if value is not None]
    return max(0, -min(exponents, default=0))


def to_pandas(packages: Sequence[Package], *, exact: bool) -> "pd.DataFrame":  # pyright: ignore[reportUnknownParameterType, reportUnknownMemberType]
    """Return a data frame of pandas."""
    try:
        import pandas as pd  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]
    except ModuleNotFoundError as error:
        raise missing(error, "pandas", "frames") from None
    library: Any = pd
    columns = build(packages, exact=exact)
    kinds = {column.name: "object" if exact and column.kind == "money" else _DTYPES[column.kind] for column in COLUMNS}
    series = {name: library.Series(values, dtype=kinds[name]) for name, values in columns.items()}
    frame: pd.DataFrame = library.DataFrame(series, copy=False)  # pyright: ignore[reportUnknownMemberType]
    return frame  # pyright: ignore[reportUnknownVariableType]


def to_polars(packages: Sequence[Package], *, exact: bool) -> "pl.DataFrame":  # pyright: ignore[reportUnknownParameterType, reportUnknownMemberType]
    """Return a data frame of polars."""
    try:
        import polars as pl  # pyright: ignore[reportMissingImports]
    except ModuleNotFoundError as error:
        raise missing(error, "polars", "frames") from None
    library: Any = pl
    columns = build(packages, exact=exact)
    kinds: dict[Kind, Any] = {
        "text": library.String, "integer": library.Int64, "number": library.Float64, "money": library.Float64,
        "flag": library.Boolean,
    }  # fmt: skip
    types = {column.name: kinds[column.kind] for column in COLUMNS}
    if exact:
        money = [column.name for column in COLUMNS if column.kind == "money"]
        types |= {name: library.Decimal(_PRECISION, _scale(columns[name])) for name in money}
    series = [library.Series(name, values, dtype=types[name]) for name, values in columns.items()]
    frame: pl.DataFrame = library.DataFrame(series)  # pyright: ignore[reportUnknownMemberType]
    return frame  # pyright: ignore[reportUnknownVariableType]


def to_arrow(packages: Sequence[Package], *, exact: bool) -> Any:
    """Return a table of pyarrow."""
    try:
        import pyarrow as pa  # pyright: ignore[reportMissingImports, reportMissingTypeStubs]
    except ModuleNotFoundError as error:
        raise missing(error, "pyarrow", "frames") from None
    library: Any = pa
    columns = build(packages, exact=exact)
    kinds: dict[Kind, Any] = {
        "text": library.string(), "integer": library.int64(), "number": library.float64(), "money": library.float64(),
        "flag": library.bool_(),
    }  # fmt: skip
    types = {column.name: kinds[column.kind] for column in COLUMNS}
    if exact:
        money = [column.name for column in COLUMNS if column.kind == "money"]
        types |= {name: library.decimal128(_PRECISION, _scale(columns[name])) for name in money}
    return library.table({name: library.array(values, types[name]) for name, values in columns.items()})


def to_stream(packages: Sequence[Package], requested_schema: object) -> object:
    """Return an Arrow stream in a capsule."""
    table: Any = to_arrow(packages, exact=False)
    return table.__arrow_c_stream__(requested_schema)
