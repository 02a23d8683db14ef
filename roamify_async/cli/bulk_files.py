"""The files of a bulk order: orders as CSV, and the same lines with their outcomes."""

import csv
import datetime as dt
import io
import os
import sys
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

import attrs

from roamify_async.models.orders import CreateOrder, OrderItem

from .exits import REFUSED, CommandError
from .output import csv_line

INPUTS: Final = ("reference_id", "package_id", "quantity", "start_date")
"""Columns that are read."""
OUTCOMES: Final = ("status", "order_id", "iccid", "lpa_code", "price", "error")
"""Columns that are added."""
BOMS: Final = ((b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16"))
"""Marks of Excel's Unicode text."""
SHOWN: Final = 5
"""Number of wrong lines that an error names."""


@attrs.frozen
class Row:
    """A line of the file."""

    cells: Mapping[str, str]
    """All its cells, by column."""
    request: CreateOrder
    start_date: dt.date | None


@attrs.frozen
class OrderFile:
    """The orders of a file."""

    columns: tuple[str, ...]
    rows: tuple[Row, ...]

    @classmethod
    def read(cls, path: str) -> Self:
        """Read a file, or the standard input.

        Commas, semicolons and tabs separate columns, as in the first line. Raises ``CommandError`` that names the wrong
        lines; nothing is bought then.
        """
        lines = csv.reader(io.StringIO(text := _text(path), newline=""), delimiter=_delimiter(text))
        try:
            header = [name.strip().lower().replace(" ", "_") for name in next(lines, list[str]())]
            if "package_id" not in header:
                raise CommandError(f"{path} needs a header with the column package_id; others are {', '.join(INPUTS)}")
            if len(set(header)) < len(header):
                raise CommandError(f"{path} names a column twice: {', '.join(header)}")
            numbered = [(lines.line_num, cells) for cells in lines if any(cell.strip() for cell in cells)]
        except csv.Error as error:
            raise CommandError(f"{path} is not CSV: {error}") from None
        return cls(tuple(header), tuple(_checked(path, header, numbered)))

    def result_columns(self) -> tuple[str, ...]:
        """Return the columns of the result: those of the file, the reference, and the outcome."""
        reference = () if "reference_id" in self.columns else ("reference_id",)
        return (*self.columns, *reference, *(name for name in OUTCOMES if name not in self.columns))


def _text(path: str) -> str:
    try:
        content = sys.stdin.buffer.read() if path == "-" else Path(path).read_bytes()
        encoding = next((encoding for mark, encoding in BOMS if content.startswith(mark)), "utf-8-sig")
        return content.decode(encoding)
    except OSError as error:
        raise CommandError(f"{path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise CommandError(f"{path} is not UTF-8: save it as CSV UTF-8") from None


def _delimiter(text: str) -> str:
    header = text.partition("\n")[0]
    return max(",;\t", key=header.count)


def _checked(path: str, header: Sequence[str], numbered: Iterable[tuple[int, list[str]]]) -> Iterator[Row]:
    """Yield the rows. All wrong ones are reported together, after the last."""
    problems: list[str] = []
    for number, cells in numbered:
        try:
            yield _row(header, cells)
        except (ValueError, TypeError) as error:
            problems.append(f"line {number}: {error}")
    if problems:
        more = f"; and {len(problems) - SHOWN} more" if len(problems) > SHOWN else ""
        raise CommandError(f"{path}: {'; '.join(problems[:SHOWN])}{more}", hint="nothing was bought")


def _row(header: Sequence[str], values: Sequence[str]) -> Row:
    if len(values) > len(header) and any(value.strip() for value in values[len(header) :]):
        raise ValueError(f"{len(values)} cells under {len(header)} columns")
    cells = dict(zip(header, (value.strip() for value in values), strict=False))
    quantity, start = cells.get("quantity") or "1", cells.get("start_date")
    if not (quantity.isascii() and quantity.isdigit()):
        raise ValueError(f"quantity {quantity!r} is no whole number")
    try:
        start_date = dt.date.fromisoformat(start) if start else None
    except ValueError:
        raise ValueError(f"start_date {start!r} is no ISO date, such as 2027-07-01") from None
    item = OrderItem(cells.get("package_id", ""), int(quantity))
    return Row(cells, CreateOrder([item], reference_id=cells.get("reference_id") or None), start_date)


class ResultFile:
    """A file that is written beside the old one, and then takes its place, so that it is never half of one.

    Only its owner may read it, since whoever has an activation code can install the eSIM.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
        except OSError as error:
            raise CommandError(f"{path} cannot be written: {error.strerror}", hint="nothing was bought") from None
        os.close(handle)
        self._temporary = Path(name)

    def write(self, columns: Sequence[str], rows: Iterable[Mapping[str, str]]) -> None:
        """Write the file."""
        try:
            with self._temporary.open("w", encoding="utf-8", newline="") as file:
                file.write(csv_line(columns))
                for row in rows:
                    file.write(csv_line(row.get(name, "") for name in columns))
            self._temporary.replace(self.path)
        except OSError as error:
            raise CommandError(f"{self.path} cannot be written: {error.strerror}", REFUSED) from None

    def discard(self) -> None:
        """Remove what was not written."""
        self._temporary.unlink(missing_ok=True)
