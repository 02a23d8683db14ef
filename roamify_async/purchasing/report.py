"""The outcome of a bulk order, read from its journal line by line."""

import html
import itertools
import json
import weakref
from collections.abc import Iterator
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Any, Final, Self, Union, cast, overload

import attrs
import cattrs
from cattrs.strategies import configure_tagged_union

from roamify_async import errors
from roamify_async._serde.converter import structure, unstructure
from roamify_async.errors import PurchaseInDoubtError, RoamifyError
from roamify_async.ledger.rows import Status
from roamify_async.models._text import money
from roamify_async.models.esims import Esim, ReadyEsim
from roamify_async.models.orders import CreateOrder, Order

from .batch import Batch
from .journal import JournalFile
from .journal_rows import Entry

OUTCOMES: Final[tuple[Status, ...]] = ("ordered", "refused", "in_doubt", "not_sent")
"""The possible outcomes of a line."""
SHOWN: Final = 20
"""Number of lines in the HTML view."""
NO_REQUEST: Final = "null"
"""Request and digest of a line whose value was not a request."""


@attrs.frozen(kw_only=True)
class BulkLine:
    """A request of a bulk order, and its outcome."""

    position: int
    """From 0, in the order of the requests."""
    request: CreateOrder
    """The request, with its reference. Without items if the caller's value was not a request; see ``error``."""
    status: Status
    """``"ordered"``, ``"refused"``, ``"in_doubt"`` or ``"not_sent"``; ``"sending"`` while a run is sending the line."""
    reference_id: str
    order: Order | None = None
    esims: tuple[ReadyEsim, ...] = ()
    """With ``apply=True``, the eSIMs that are ready."""
    error: RoamifyError | None = None


def request_of(entry: Entry, reference_id: str | None = None) -> CreateOrder:
    """Return the request of a journal entry, as the caller made it, or with its reference."""
    if entry.request == NO_REQUEST:
        request = CreateOrder.__new__(CreateOrder)  # It has no items, which the class refuses.
        object.__setattr__(request, "items", ())
        object.__setattr__(request, "reference_id", reference_id)
        return request
    request = structure(json.loads(entry.request), CreateOrder)
    return request if reference_id is None else attrs.evolve(request, reference_id=reference_id)


def line_of(entry: Entry) -> BulkLine:
    """Return the line of a journal entry."""
    request = request_of(entry, entry.reference)
    error = None if entry.error is None else read_error(entry.error)
    if error is not None:
        error.reference_id = error.reference_id or entry.reference
    if isinstance(error, PurchaseInDoubtError):
        error.request = request
    esims: list[Any] = json.loads(entry.esims) if entry.esims else []
    order = None if entry.answer is None else structure(json.loads(entry.answer), Order)
    if order is not None:
        order.was_found = entry.was_found
    return BulkLine(
        position=entry.position,
        request=request,
        status=entry.status,
        reference_id=entry.reference,
        order=order,
        esims=tuple(structure(esim, ReadyEsim) for esim in esims),
        error=error,
    )


# ---------------------------------------------------------------- errors as JSON


def write_error(error: RoamifyError) -> str:
    """Return an error as JSON, without what its line holds anyway."""
    return json.dumps(_errors().unstructure(error, _STORED))


def read_error(text: str) -> RoamifyError:
    """Return the error of a text by ``write_error``."""
    return cast("RoamifyError", _errors().structure(json.loads(text), _STORED))


_ERROR_CLASSES: Final = tuple(
    kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, RoamifyError)
)
_STORED: Final[Any] = Union[(*_ERROR_CLASSES, Order, Esim, ReadyEsim)]
"""What an error in a journal may be or hold. A name in the file selects one of these, and nothing else."""
_TAG: Final = "kind"


@cache
def _errors() -> cattrs.Converter:
    converter = cattrs.Converter()
    for kind in _ERROR_CLASSES:
        converter.register_unstructure_hook(kind, _write)
        converter.register_structure_hook(kind, _read)
    for model in (Order, Esim, ReadyEsim):
        converter.register_unstructure_hook(model, unstructure)
        converter.register_structure_hook(model, structure)
    configure_tagged_union(_STORED, converter, tag_name=_TAG)
    return converter


def _write(error: RoamifyError) -> dict[str, Any]:
    facts = {name: _pack(value) for name, value in vars(error).items() if name not in {"request", "__notes__"}}
    return {"message": str(error.args[0]) if error.args else "", "facts": facts}


def _read(value: dict[str, Any], kind: type[RoamifyError]) -> RoamifyError:
    error = kind.__new__(kind, value["message"])
    error.args = (value["message"],)
    facts: dict[str, Any] = value["facts"]
    for name, fact in facts.items():
        setattr(error, name, _unpack(fact))
    if isinstance(error, PurchaseInDoubtError):
        error.request = None
    return error


def _pack(value: Any) -> Any:
    if isinstance(value, RoamifyError | Order | Esim):
        return _errors().unstructure(value, _STORED)
    if value.__class__ is dict:
        return {"mapping": {key: _pack(item) for key, item in value.items()}}
    return [_pack(item) for item in value] if value.__class__ is tuple else value


def _unpack(value: Any) -> Any:
    if value.__class__ is list:
        return tuple(_unpack(item) for item in value)
    if value.__class__ is not dict:
        return value
    if _TAG in value:
        return _errors().structure(value, _STORED)
    return {key: _unpack(item) for key, item in value["mapping"].items()}


# ---------------------------------------------------------------- reports


class Lines:
    """Lines of a bulk order, read from disk when accessed."""

    def __init__(self, report: "BulkReport", file: JournalFile | Batch, *statuses: Status) -> None:
        self._report = report  # The file is released with the report.
        self._file = file
        self._statuses = statuses

    def __len__(self) -> int:
        """Return the number of lines."""
        return self._file.count(*self._statuses)

    def __iter__(self) -> Iterator[BulkLine]:
        """Iterate in the order of the requests."""
        for entry in self._file.entries(*self._statuses):
            yield line_of(entry)

    @overload
    def __getitem__(self, place: int) -> BulkLine: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[BulkLine, ...]: ...
    def __getitem__(self, place: int | slice) -> BulkLine | tuple[BulkLine, ...]:
        """Return a line by its index, or several by a slice."""
        length = len(self)
        if isinstance(place, slice):
            places = range(length)[place]
            between = range(min(places, default=0), max(places, default=-1) + 1, abs(places.step))
            entries = self._file.entries(*self._statuses)
            lines = [line_of(entry) for entry in itertools.islice(entries, between.start, between.stop, between.step)]
            return tuple(lines if places.step > 0 else reversed(lines))
        if not -length <= place < length:
            raise IndexError(f"there are {length} lines")
        return line_of(self._file.nth(place % length, *self._statuses))

    def __repr__(self) -> str:
        """Show the number of lines."""
        return f"<{len(self)} lines>" if self._report.is_open else "<lines of a closed report>"


class BulkReport:
    """The outcome of a bulk order. Its lines are on disk, so that memory does not grow with them."""

    def __init__(self, file: JournalFile | Batch, *, is_own: bool) -> None:
        self._file = file
        self._finalizer = weakref.finalize(self, file.discard if is_own else file.close)

    def _of(self, *statuses: Status) -> Lines:
        return Lines(self, self._file, *statuses)

    @property
    def lines(self) -> Lines:
        """All lines, in the order of the requests."""
        return self._of()

    @property
    def ordered(self) -> Lines:
        """Lines that were bought."""
        return self._of("ordered")

    @property
    def refused(self) -> Lines:
        """Lines that the server, or a check before it, refused; nothing was bought."""
        return self._of("refused")

    @property
    def in_doubt(self) -> Lines:
        """Lines that may have been bought."""
        return self._of("in_doubt", "sending")

    @property
    def not_sent(self) -> Lines:
        """Lines that were not sent; a later run may send them."""
        return self._of("not_sent")

    @property
    def counts(self) -> dict[str, int]:
        """Number of lines by status."""
        counts: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        for status, count in self._file.counts.items():
            counts["in_doubt" if status == "sending" else status] += count
        return counts

    @property
    def spent(self) -> Decimal:
        """Total cost of the ordered lines in USD, exact."""
        return self._file.spent

    @property
    def is_open(self) -> bool:
        """Whether its lines can be read."""
        return self._finalizer.alive

    def close(self) -> None:
        """Release the file; lines cannot be read any more."""
        self._finalizer()

    def __enter__(self) -> Self:
        """Return the report."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Show the counts and the money."""
        if not self.is_open:
            return f"<{type(self).__name__} closed>"
        text = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in self.counts.items() if count)
        return f"<{type(self).__name__} {text or 'no lines'}, spent {self.spent}>"

    def _repr_html_(self) -> str:
        """Show the first lines as a table, those with problems before the others."""
        rows = "".join(_row(line) for _, line in zip(range(SHOWN), self._by_severity(), strict=False))
        head = "<tr><th>#</th><th>status</th><th>reference</th><th>cost</th><th>error</th></tr>"
        return f"<p>{html.escape(repr(self))}</p><table>{head}{rows}</table>"

    def _by_severity(self) -> Iterator[BulkLine]:
        for lines in (self.in_doubt, self.refused, self.not_sent, self.ordered):
            yield from lines


def _row(line: BulkLine) -> str:
    cost = "" if line.order is None else money(line.order.total, line.order.currency)
    cells = (str(line.position), line.status.replace("_", " "), line.reference_id, cost, str(line.error or ""))
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


class Journal(BulkReport):
    """A journal, open for reading."""

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a journal for reading.

        Raises ``JournalError`` if it does not exist or is damaged, and if a crash left it half written while another
        process holds it.
        """
        return cls(JournalFile(Path(path), run=False), is_own=False)
