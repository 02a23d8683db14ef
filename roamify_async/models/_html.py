"""HTML tables of values, for notebooks. Everything in them is escaped."""

import html
from collections.abc import Mapping, Sequence
from typing import Any, Final

from ._value import Value

SHOWN: Final = 20
"""Number of rows in a table."""

Cells = Mapping[str, object]
"""What is shown of a value, by label. ``None`` and empty texts are left out."""


def cells(value: Value) -> Cells:
    """Return what is shown of a value."""
    return value._html_cells()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _text(value: object) -> str:
    return "" if value is None else html.escape(str(value))


def _row(values: Sequence[object], tag: str = "td") -> str:
    return f"<tr>{''.join(f'<{tag}>{_text(value)}</{tag}>' for value in values)}</tr>"


def card(value: Value) -> str | None:
    """Return a table with a row for each label, or ``None`` for a value that has none."""
    facts = [(label, fact) for label, fact in cells(value).items() if fact not in {None, ""}]
    rows = "".join(f"<tr><th>{_text(label)}</th><td>{_text(fact)}</td></tr>" for label, fact in facts)
    return f"<p><b>{type(value).__name__}</b></p><table>{rows}</table>" if facts else None


def table(title: str, values: Sequence[Value]) -> str:
    """Return a table with a row for each of the first values, and the number of the others."""
    rows = [*map(cells, values[:SHOWN])]
    labels = [*dict.fromkeys(label for row in rows for label, fact in row.items() if fact not in {None, ""})]
    body = "".join(_row([row.get(label) for label in labels]) for row in rows)
    more = f"<p>and {len(values) - SHOWN} more</p>" if len(values) > SHOWN else ""
    return f"<p>{_text(title)}</p><table>{_row(labels, 'th')}{body}</table>{more}"


def tuple_html(values: tuple[object, ...]) -> str | None:
    """Return a table of values that are shown as such, or ``None`` for any other tuple."""
    known = [value for value in values if isinstance(value, Value)]
    if not known or len(known) < len(values) or not all(map(cells, known[:SHOWN])):
        return None
    return table(f"{len(known)} x {type(known[0]).__name__}", known)


def load_ipython_extension(ipython: Any) -> None:
    """Show tuples of values as tables in a notebook, after ``%load_ext roamify_async``."""
    ipython.display_formatter.formatters["text/html"].for_type(tuple, tuple_html)
