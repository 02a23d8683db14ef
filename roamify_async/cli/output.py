"""What commands print on the standard output: tables on a terminal, and text, CSV or JSON for programs."""

import csv
import datetime as dt
import io
import json
import os
import sys
from collections.abc import Hashable, Iterable, Mapping, Sequence
from decimal import Decimal
from functools import cache
from typing import TYPE_CHECKING, Any, Final, cast, get_args

import attrs

from roamify_async._serde.fields import SAME_OBJECT
from roamify_async._serde.scalars import json_names
from roamify_async._serde.values import to_dict

from .context import Context, printable
from .exits import USAGE, CommandError

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

UNLIMITED: Final = 10_000
"""A width that every table fits."""
MAX_LISTS: Final = 10
"""Number of values that are shown as lists of their fields if a table of them does not fit the terminal."""
TSV_ESCAPES: Final = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})
"""How tabs and line ends in a value are written."""


@attrs.frozen
class View:
    """How the results of a command are shown."""

    columns: tuple[str, ...] = ()
    """The columns unless ``--columns`` names others: JSON names, with dots where objects contain objects."""
    kind: Any = None
    """Class of the values, for checking the names of columns; ``None`` if their content is not documented."""
    rows: str = ""
    """Name of the field that has the rows, if a single value has rows."""

    @classmethod
    def of(cls, columns: str, kind: Any = None, rows: str = "") -> "View":
        """Return a view with columns that spaces separate."""
        return cls(tuple(columns.split()), kind, rows)

    def chosen(self, context: Context) -> tuple[str, ...]:
        """Return the columns of a run.

        Raises ``CommandError`` if a name of ``--columns`` is wrong, so that a purchase is not made first.
        """
        names = context.columns or self.columns
        if self.kind is not None and context.columns:
            known = column_names(self.kind)
            unknown = [name for name in names if name not in known]
            if unknown:
                raise CommandError(f"no column {unknown[0]!r}: the columns are {', '.join(known)}", USAGE)
        return names


def _is_object(value: object) -> bool:
    return attrs.has(type(value))


@cache
def column_names(kind: Hashable) -> tuple[str, ...]:
    """Return the names of the columns of a class, with those of the objects in it."""
    cls, found = cast("Any", kind), list[str]()
    fields = attrs.fields_dict(cls)
    for field, name in json_names(cls, is_whole=True).items():
        if name is None:
            continue
        types: tuple[Any, ...] = (fields[field].type, *get_args(fields[field].type))
        inner = next((each for each in types if attrs.has(each)), None)
        if name == SAME_OBJECT:
            found += column_names(inner) if inner else ()
            continue
        found.append(name)
        if inner is not None and not str(fields[field].type).startswith("tuple"):
            found += [f"{name}.{below}" for below in column_names(inner)]
    return tuple(found)


def show(context: Context, value: Any, view: View) -> None:
    """Print the result of a command: one value, or several."""
    columns = view.chosen(context)
    many = isinstance(value, tuple | list)
    if context.format == "json":
        _write(_json(to_dict(value), indent=2) + "\n")
        return
    values: Sequence[Any] = cast("Sequence[Any]", value) if many else (value,)
    rows: Sequence[Any] = getattr(value, view.rows) if view.rows else values
    if context.format == "jsonl":
        for item in values:
            _write(_json(to_dict(item)) + "\n")
    elif context.format == "table":
        _table(rows, columns, is_one=not many and not view.rows) if rows else context.say("no results")
    else:
        _lines(rows, columns, is_csv=context.format == "csv")


def _json(value: Any, indent: int | None = None) -> str:
    is_unicode = (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"
    return json.dumps(value, indent=indent, ensure_ascii=not is_unicode)


# ---------------------------------------------------------------- cells


def cell(value: Any, path: str) -> Any:
    """Return what a column of a value holds: Python objects, with exact numbers and times."""
    for name in path.split("."):
        if isinstance(value, Mapping):
            value = cast("Mapping[str, Any]", value).get(name)
        elif _is_object(value):
            value = getattr(value, _attributes(cast("Hashable", type(value))).get(name, ""), None)
        else:
            return None
    return value


@cache
def _attributes(kind: Hashable) -> dict[str, str]:
    return {name: field for field, name in json_names(cast("Any", kind), is_whole=True).items() if name is not None}


def text(value: Any) -> str:  # noqa: PLR0911 -- one line for each type
    """Return a cell as text: times in ISO 8601, ``true`` and ``false``, nothing for ``None``, and JSON for objects."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, tuple | list) and all(isinstance(item, str) for item in cast("Sequence[Any]", value)):
        return " ".join(cast("Sequence[str]", value))
    if isinstance(value, tuple | list | Mapping) or _is_object(value):
        return _json(to_dict(cast("Any", value)))
    return str(value)


def _lines(rows: Iterable[Any], columns: Sequence[str], *, is_csv: bool) -> None:
    """Print rows as CSV with a header, or as tab-separated values without one."""
    if is_csv:
        _write(csv_line(columns))
    for row in rows:
        cells = [text(cell(row, name)) for name in columns or column_of(row)]
        _write(csv_line(cells) if is_csv else "\t".join(each.translate(TSV_ESCAPES) for each in cells) + "\n")


def column_of(row: Any) -> tuple[str, ...]:
    """Return the columns of a value whose content is not documented."""
    return tuple(row) if isinstance(row, Mapping) else column_names(cast("Hashable", type(row)))  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]


def csv_line(cells: Iterable[str]) -> str:
    """Return a line of CSV."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue()


def _write(line: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    sys.stdout.write(line.encode(encoding, "backslashreplace").decode(encoding))


# ---------------------------------------------------------------- tables


def _table(values: Sequence[Any], columns: Sequence[str], *, is_one: bool) -> None:
    """Print a table. A single value, and few that do not fit, are lists of their fields, from which can be copied."""
    from rich.console import Console

    console = Console(highlight=False, color_system=None if os.environ.get("NO_COLOR") else "auto")
    columns = columns or column_of(values[0])
    table = _grid(values, columns, is_unicode=console.encoding.lower().startswith("utf"))
    is_wide = console.measure(table, options=console.options.update_width(UNLIMITED)).maximum > console.width
    if not is_one and not (is_wide and len(values) <= MAX_LISTS):
        console.print(table)
        return
    for number, value in enumerate(values):
        console.print(*([""] if number else []), _fields(value, columns), sep="\n", soft_wrap=True)


def _fields(value: Any, columns: Sequence[str]) -> "Text":
    from rich.text import Text

    width = max(map(len, columns))
    lines = [Text.assemble((name.ljust(width), "bold"), "  ", _shown(value, name)) for name in columns]
    return Text("\n").join(lines)


def _grid(values: Sequence[Any], columns: Sequence[str], *, is_unicode: bool) -> "Table":
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD if is_unicode else box.ASCII, pad_edge=False)
    for name in columns:
        numbers = all(isinstance(cell(row, name), int | float | Decimal | None) for row in values)
        table.add_column(Text(name), justify="right" if numbers else "left", overflow="fold")
    for row in values:
        table.add_row(*(Text(_shown(row, name)) for name in columns))
    return table


def _shown(row: Any, name: str) -> str:
    value = cell(row, name)
    if isinstance(value, dt.datetime):
        return value.strftime("%Y-%m-%d %H:%M")
    return printable(text(value))


def discard_output() -> None:
    """Point the standard output at nothing, so that the interpreter does not fail to flush it at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
