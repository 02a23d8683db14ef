"""What came of a bulk order, read from its journal line by line."""

import html
import itertools
import json
import weakref
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any, ClassVar, Final, Generic, Self, TypeVar, overload

import attrs

from roamify_async import errors
from roamify_async._engine.codec import read, write
from roamify_async.errors import PurchaseInDoubtError, RoamifyError

from .journal import Entry, Ledger, Status

OrderT = TypeVar("OrderT")
EsimT = TypeVar("EsimT")

OUTCOMES: Final[tuple[Status, ...]] = ("ordered", "refused", "in_doubt", "not_sent")
"""What may become of a line."""
SHOWN: Final = 20
"""Lines that the HTML view shows."""


@attrs.frozen(kw_only=True)
class BulkLine(Generic[OrderT, EsimT]):
    """One request of a bulk order, and what came of it."""

    position: int
    """From 0, in the order of the requests."""
    request: Any
    """With its reference."""
    status: Status
    reference_id: str
    order: OrderT | None = None
    esims: tuple[EsimT, ...] = ()
    """With ``apply=True``: the eSIMs that are ready."""
    error: RoamifyError | None = None


@attrs.frozen
class Forms:
    """The classes whose values a journal's texts are."""

    request: type[Any]
    order: type[Any]
    esim: type[Any]

    def line(self, entry: Entry) -> BulkLine[Any, Any]:
        """Make a line of what the journal holds."""
        request = attrs.evolve(self.request_of(entry), reference_id=entry.reference)
        error = None if entry.error is None else _error(json.loads(entry.error), self._classes)
        if error is not None:
            error.reference_id = error.reference_id or entry.reference
        if isinstance(error, PurchaseInDoubtError):
            error.request = request
        esims: list[Any] = json.loads(entry.esims) if entry.esims else []
        return BulkLine(
            position=entry.position,
            request=request,
            status=entry.status,
            reference_id=entry.reference,
            order=None if entry.answer is None else read(json.loads(entry.answer), self.order),
            esims=tuple(read(esim, self.esim) for esim in esims),
            error=error,
        )

    def request_of(self, entry: Entry) -> Any:
        """Make the request as the caller gave it."""
        return read(json.loads(entry.request), self.request)

    @property
    def _classes(self) -> Mapping[str, type[Any]]:
        return {kind.__name__: kind for kind in (self.order, self.esim)}


def error_text(error: RoamifyError) -> str:
    """Write an error as JSON, without what its line holds anyway."""
    return json.dumps(_state(error))


def _state(error: RoamifyError) -> dict[str, Any]:
    facts = {name: _plain(value) for name, value in vars(error).items() if name not in {"request", "__notes__"}}
    return {"kind": type(error).__name__, "message": str(error.args[0]) if error.args else "", "facts": facts}


def _plain(value: Any) -> Any:
    """Make JSON of a fact; what is no JSON by itself goes under the name of what it is."""
    if isinstance(value, RoamifyError):
        return {"error": _state(value)}
    if value.__class__ is dict:
        return {"dict": {key: _plain(item) for key, item in value.items()}}
    if value.__class__ is tuple:
        return [_plain(item) for item in value]
    return {type(value).__name__: write(value)} if attrs.has(value.__class__) else value


def _error(state: dict[str, Any], classes: Mapping[str, type[Any]]) -> RoamifyError:
    kind: type[RoamifyError] = getattr(errors, state["kind"])
    error = kind.__new__(kind, state["message"])
    error.args = (state["message"],)
    for name, value in state["facts"].items():
        setattr(error, name, _value(value, classes))
    if isinstance(error, PurchaseInDoubtError):
        error.request = None
    return error


def _value(value: Any, classes: Mapping[str, type[Any]]) -> Any:
    if value.__class__ is list:
        return tuple(_value(item, classes) for item in value)
    if value.__class__ is not dict:
        return value
    ((name, inner),) = value.items()
    if name == "error":
        return _error(inner, classes)
    if name == "dict":
        return {key: _value(item, classes) for key, item in inner.items()}
    return read(inner, classes[name]) if name in classes else inner


class Lines(Generic[OrderT, EsimT]):
    """Lines of a bulk order, read from the disk as they are asked for."""

    def __init__(self, report: "BulkReport[OrderT, EsimT]", ledger: Ledger, forms: Forms, *statuses: Status) -> None:
        self._report = report  # The file goes with it.
        self._ledger = ledger
        self._forms = forms
        self._statuses = statuses

    def __len__(self) -> int:
        """Count them."""
        return self._ledger.count(*self._statuses)

    def __iter__(self) -> Iterator[BulkLine[OrderT, EsimT]]:
        """Go over them, in the order of the requests."""
        for entry in self._ledger.entries(*self._statuses):
            yield self._forms.line(entry)

    @overload
    def __getitem__(self, place: int) -> BulkLine[OrderT, EsimT]: ...
    @overload
    def __getitem__(self, place: slice) -> tuple[BulkLine[OrderT, EsimT], ...]: ...
    def __getitem__(self, place: int | slice) -> BulkLine[OrderT, EsimT] | tuple[BulkLine[OrderT, EsimT], ...]:
        """Give one of them by its place, or some."""
        length = len(self)
        if isinstance(place, slice):
            places = range(length)[place]
            between = range(min(places, default=0), max(places, default=-1) + 1, abs(places.step))
            entries = self._ledger.entries(*self._statuses)
            lines = [
                self._forms.line(entry)
                for entry in itertools.islice(entries, between.start, between.stop, between.step)
            ]
            return tuple(lines if places.step > 0 else reversed(lines))
        if not -length <= place < length:
            raise IndexError(f"there are {length} lines")
        return self._forms.line(self._ledger.nth(place % length, *self._statuses))

    def __repr__(self) -> str:
        """Show how many there are."""
        return f"<{len(self)} lines>" if self._report.is_open else "<lines of a closed report>"


class BulkReport(Generic[OrderT, EsimT]):
    """What came of a bulk order. Its lines lie on the disk, so memory does not grow with them."""

    def __init__(self, ledger: Ledger, forms: Forms, *, is_own: bool) -> None:
        self._ledger = ledger
        self._forms = forms
        self._finalizer = weakref.finalize(self, ledger.discard if is_own else ledger.close)

    def _of(self, *statuses: Status) -> Lines[OrderT, EsimT]:
        return Lines(self, self._ledger, self._forms, *statuses)

    @property
    def lines(self) -> Lines[OrderT, EsimT]:
        """All lines that were taken, in the order of the requests."""
        return self._of()

    @property
    def ordered(self) -> Lines[OrderT, EsimT]:
        """Lines that were bought."""
        return self._of("ordered")

    @property
    def refused(self) -> Lines[OrderT, EsimT]:
        """Lines that the server, or a check before it, refused; nothing was bought."""
        return self._of("refused")

    @property
    def in_doubt(self) -> Lines[OrderT, EsimT]:
        """Lines that may have been bought."""
        return self._of("in_doubt", "sending")

    @property
    def not_sent(self) -> Lines[OrderT, EsimT]:
        """Lines that were not sent, or too soon; a later run may send them."""
        return self._of("not_sent")

    @property
    def counts(self) -> dict[str, int]:
        """How many lines have each status."""
        counts: dict[str, int] = dict.fromkeys(OUTCOMES, 0)
        for status, count in self._ledger.counts.items():
            counts["in_doubt" if status == "sending" else status] += count
        return counts

    @property
    def spent(self) -> Decimal:
        """What the ordered lines cost together, exact."""
        return self._ledger.spent

    @property
    def is_open(self) -> bool:
        """Whether its lines can be read."""
        return self._finalizer.alive

    def close(self) -> None:
        """Let go of the file; lines cannot be read any more."""
        self._finalizer()

    def __enter__(self) -> Self:
        """Give the report."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    def __repr__(self) -> str:
        """Show the counts and the money."""
        if not self.is_open:
            return f"<{type(self).__name__} closed>"
        told = ", ".join(f"{count} {status.replace('_', ' ')}" for status, count in self.counts.items() if count)
        return f"<{type(self).__name__} {told or 'no lines'}, spent {self.spent}>"

    def _repr_html_(self) -> str:
        """Show the first lines as a table, those that went wrong before the others."""
        rows = "".join(_row(line) for _, line in zip(range(SHOWN), self._by_need(), strict=False))
        head = "<tr><th>#</th><th>status</th><th>reference</th><th>cost</th><th>what went wrong</th></tr>"
        return f"<p>{html.escape(repr(self))}</p><table>{head}{rows}</table>"

    def _by_need(self) -> Iterator[BulkLine[OrderT, EsimT]]:
        for lines in (self.in_doubt, self.refused, self.not_sent, self.ordered):
            yield from lines


def _row(line: BulkLine[Any, Any]) -> str:
    cost = "" if line.order is None else str(line.order.total)
    cells = (str(line.position), line.status.replace("_", " "), line.reference_id, cost, str(line.error or ""))
    return f"<tr>{''.join(f'<td>{html.escape(cell)}</td>' for cell in cells)}</tr>"


class Journal(BulkReport[Any, Any]):
    """A journal that nobody runs, open for reading."""

    forms: ClassVar[Forms]
    """Of the one row that bulk orders go through; its room says so."""

    @classmethod
    def open(cls, path: str | Path) -> Self:
        """Open a journal to look into it.

        Raises ``JournalError`` where there is none, where it is damaged, and while somebody runs it.
        """
        return cls(Ledger(Path(path), run=False), cls.forms, is_own=False)
