"""The command ``bulk``: the orders of a CSV file, each bought once however often the command is repeated."""

from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import attrs
from cyclopts import App, Parameter

from roamify_async.errors import NotFoundError, PackageNotFoundError, RoamifyError
from roamify_async.models.esims import Esim
from roamify_async.purchasing import Journal
from roamify_async.purchasing.report import BulkLine, BulkReport

from . import failures
from .bulk_files import OUTCOMES, OrderFile, ResultFile, Row
from .context import Context, current
from .exits import DONE, IN_DOUBT, PARTLY, REFUSED, CommandError
from .money import Terms, agree
from .output import View, show, text
from .parameters import Flag, Money, Output, subcommand

if TYPE_CHECKING:
    from roamify_async import Progress, Roamify

CONCURRENCY: Final = 16
"""Number of profiles that are generated at once, unless ``--concurrency`` says otherwise."""
STATUS: Final = View.of("position reference_id package_id quantity status order_id price error")
SUMMARY: Final = View.of("ordered refused inDoubt notSent spent")

bulk: Final = App(name="bulk")


@attrs.frozen(kw_only=True)
class Summary:
    """Number of lines by outcome, and what they cost."""

    ordered: int
    refused: int
    in_doubt: int
    not_sent: int
    spent: Decimal
    journal: str


@attrs.frozen(kw_only=True)
class Offer:
    """What the lines of a file cost."""

    lines: int
    """Lines that are not bought yet."""
    esims: int
    total: Decimal
    balance: Decimal
    currency: str
    unknown: tuple[str, ...]
    """Packages that do not exist; their lines will be refused."""


@attrs.frozen(kw_only=True)
class Job:
    """A run: its file, its journal, and how its profiles are generated."""

    orders: OrderFile
    journal: Path
    is_applied: bool
    concurrency: int | None

    @property
    def is_dated(self) -> bool:
        """Whether lines have a date, which the client's bulk order does not take."""
        return any(row.start_date is not None for row in self.orders.rows)


@bulk.default
def buy(
    orders: Annotated[str, Parameter(name="IN.csv", allow_leading_hyphen=True)],
    /,
    *,
    output: Output = None,
    journal: Path | None = None,
    apply: Flag = False,
    max_spend: Money = None,
    concurrency: int | None = None,
    rate: float | None = None,
    dry_run: Flag = False,
    yes: Flag = False,
) -> int:
    """Buy the orders of a CSV file.

    The file has a header with `package_id`, and if you like `reference_id`, `quantity` and `start_date`. Commas,
    semicolons and tabs are read, and Excel's files. The result has the same columns, and `status` (ordered, refused,
    in_doubt, not_sent), `order_id`, `iccid`, `lpa_code`, `price` and `error`.

    Each line is written to the journal before it is sent. After an interruption of any kind, the same command
    continues: what was bought is not bought again. Keep the journal until the job is done, and use another file name
    for another job. `roamify bulk status JOURNAL` shows how far it is.

    Args:
        orders: The file; `-` is the standard input, which needs --journal.
        output: File for the result; by default it is printed.
        journal: File in which the lines are recorded; by default IN.csv.journal.
        apply: Also generate the profiles of the eSIMs, for `iccid` and `lpa_code`.
        max_spend: Highest total in USD, over all runs of the journal.
        concurrency: Maximum number of orders in flight; 16 by default.
        rate: Maximum number of requests per second.
        dry_run: Only show what the lines cost, and the balance.
        yes: Buy without a question.
    """
    context = current()
    if orders == "-" and journal is None:
        raise ValueError("the standard input needs --journal")
    file = OrderFile.read(orders)
    job = Job(orders=file, journal=journal or Path(f"{orders}.journal"), is_applied=apply, concurrency=concurrency)
    if output and Path(output).resolve() in {job.journal.resolve(), Path(orders).resolve()}:
        raise ValueError("--output must be another file than the orders and the journal")
    view = View(file.result_columns())
    terms = Terms(yes=yes, dry_run=dry_run, max_spend=max_spend)
    words = ("bulk", orders, "--journal", str(job.journal), *(("--output", output) if output else ()))
    words += ("--apply",) if apply else ()
    words += ("--max-spend", f"{max_spend:f}") if max_spend is not None else ()
    with _result(output) as result, context.client() as client:
        if not _is_agreed(context, client, job, terms):
            return DONE
        context.say(f"journal {job.journal}; after an interruption, the same command continues")
        try:
            lines, summary = _buy(context, client, job, max_spend=max_spend, rate=rate)
        except BaseException as error:
            _interrupted(error, job, result, view.columns, context.command(*words, "--yes"))
            raise
        context.paid.append(context.command(*words, "--yes"))
        _print(context, job, lines, summary, result, view)
    return _exit_code(context, summary, lines)


@contextmanager
def _result(output: str | None) -> Generator[ResultFile | None, None, None]:
    file = None if output is None else ResultFile(Path(output))
    try:
        yield file
    finally:
        if file is not None:
            file.discard()


# ---------------------------------------------------------------- before


def _is_agreed(context: Context, client: "Roamify", job: Job, terms: Terms) -> bool:
    """Show what the lines cost, and ask. Returns whether lines are to be bought."""
    bought = _bought(job.journal)
    rows = [row for position, row in enumerate(job.orders.rows) if position not in bought]
    if not rows and not terms.dry_run:
        context.say("all lines are bought already")
        return True
    offer = _offer(client, rows)
    if terms.dry_run:
        show(context, offer, View.of("lines esims total balance currency unknown"))
    for package_id in offer.unknown:
        context.say(f"there is no package {package_id!r}: its lines will be refused")
    question = f"Buy {offer.esims} eSIMs in {offer.lines} orders for {offer.total:f} {offer.currency}"
    known = attrs.evolve(terms, max_spend=None) if bought else terms  # The client counts what was spent before.
    agree(context, known, offer.total, offer.balance, f"{question}, from a balance of {offer.balance:f}?")
    return not terms.dry_run


def _bought(journal: Path) -> set[int]:
    """Return the positions of the lines that earlier runs ordered."""
    if not journal.exists():
        return set()
    with Journal.open(journal) as report:
        return {line.position for line in report.ordered}


def _offer(client: "Roamify", rows: Sequence[Row]) -> Offer:
    """Return the cost of some lines. A reference that exists already is counted, since it is not looked up here."""
    quantities: dict[str, int] = {}
    for row in rows:
        for package_id, quantity in row.request.packages().items():
            quantities[package_id] = quantities.get(package_id, 0) + quantity
    total, unknown = Decimal(0), list[str]()
    for package_id, quantity in quantities.items():
        try:
            total += client.packages.get(package_id).price * quantity
        except (PackageNotFoundError, NotFoundError):
            unknown.append(package_id)
    found = client.account.balance()
    return Offer(
        lines=len(rows), esims=sum(quantities.values()), total=total, balance=found.balance, currency=found.currency,
        unknown=tuple(unknown),
    )  # fmt: skip


# ---------------------------------------------------------------- buying


def _buy(
    context: Context, client: "Roamify", job: Job, *, max_spend: Decimal | None, rate: float | None
) -> tuple[list[dict[str, Any]], Summary]:
    """Buy all lines, and return them with their outcomes."""
    requests = [row.request for row in job.orders.rows]
    with _progress(context, len(requests)) as on_progress:
        report = client.orders.bulk(
            requests, journal=job.journal, concurrency=job.concurrency, rate=rate, max_spend=max_spend,
            apply=job.is_applied and not job.is_dated, on_progress=on_progress,
        )  # fmt: skip
    with report:
        esims = _apply_dated(client, job, report) if job.is_applied and job.is_dated else {}
        return [_outcome(context, line, esims.get(line.position)) for line in report.lines], _summary(report, job)


@contextmanager
def _progress(context: Context, total: int) -> "Generator[Callable[[Progress], object] | None, None, None]":
    if not context.has_progress:
        yield None
        return
    from rich.console import Console
    from rich.progress import Progress as Bar

    with Bar(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("ordering", total=total)
        yield lambda progress: bar.update(task, completed=progress.done, description=str(progress))


def _apply_dated(client: "Roamify", job: Job, report: BulkReport) -> dict[int, "tuple[Esim, ...] | RoamifyError"]:
    """Generate the profiles of lines that may have dates of travel, and return the eSIMs by line."""

    def ready(line: BulkLine) -> "tuple[Esim, ...] | RoamifyError":
        start = job.orders.rows[line.position].start_date
        try:
            return tuple(
                esim if esim.is_installable else client.esims.apply(esim.id, start_date=start)
                for item in (line.order.items if line.order else ())
                for esim in (client.esims.get(esim_id=item.esim_id),)
            )
        except RoamifyError as error:
            return error

    lines = list(report.ordered)
    with ThreadPoolExecutor(job.concurrency or CONCURRENCY) as pool:
        return dict(zip((line.position for line in lines), pool.map(ready, lines), strict=True))


def _interrupted(
    error: BaseException, job: Job, result: ResultFile | None, columns: Sequence[str], continuing: str
) -> None:
    """Write what is known to the result, and tell how to continue."""
    if not job.journal.exists():
        return
    if not isinstance(error, Exception):
        error.add_note(f"to continue, without buying anything twice: {continuing}")
    if result is not None:
        try:
            with Journal.open(job.journal) as report:
                result.write(columns, _cells(job, [_outcome(None, line, None) for line in report.lines]))
        except (RoamifyError, CommandError) as problem:
            error.add_note(f"the result was not written: {problem}")


# ---------------------------------------------------------------- after


def _outcome(
    context: Context | None, line: BulkLine, esims: "tuple[Esim, ...] | RoamifyError | None"
) -> dict[str, Any]:
    """Return a line for ``--json``, with the objects of its cells."""
    error = esims if isinstance(esims, RoamifyError) else line.error
    shown = esims if isinstance(esims, tuple) else line.esims
    return {
        "position": line.position,
        "referenceId": line.reference_id,
        "status": line.status,
        "request": line.request,
        "order": line.order,
        "esims": list(shown),
        "error": None if error is None else failures.to_json(context or Context(), error)["error"],
    }


def _cells(job: Job, lines: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, str]]:
    """Yield the lines of the file with their outcomes."""
    for line in lines:
        position: int = line["position"]
        yield {**job.orders.rows[position].cells, **cells_of(line)}


def cells_of(line: Mapping[str, Any]) -> dict[str, str]:
    """Return the cells of a line. Several eSIMs are separated by spaces."""
    order, esims = line["order"], line["esims"]
    cells = {
        "reference_id": line["referenceId"],
        "status": line["status"],
        "order_id": "" if order is None else order.id,
        "iccid": text([esim.iccid or "" for esim in esims]),
        "lpa_code": text([esim.esim.lpa_code or "" for esim in esims]),
        "price": "" if order is None else text(order.total),
        "error": "" if line["error"] is None else line["error"]["message"],
    }
    return {name: cells[name] for name in ("reference_id", *OUTCOMES)}


def _summary(report: BulkReport, job: Job) -> Summary:
    return Summary(**report.counts, spent=report.spent, journal=str(job.journal))


def _print(
    context: Context, job: Job, lines: list[dict[str, Any]], summary: Summary, result: ResultFile | None, view: View
) -> None:
    if result is not None:
        result.write(view.columns, _cells(job, lines))
        show(context, summary, SUMMARY)
        return
    show(context, lines if context.is_json else list(_cells(job, lines)), view)
    counts = {"ordered": summary.ordered, "refused": summary.refused, "in doubt": summary.in_doubt}
    counts["not sent"] = summary.not_sent
    said = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
    context.say(f"{said or 'no lines'}; spent {summary.spent:f}")


def _exit_code(context: Context, summary: Summary, lines: Sequence[Mapping[str, Any]]) -> int:
    failed = [line for line in lines if line["error"] is not None]
    if summary.in_doubt:
        references = [line["referenceId"] for line in lines if line["status"] in {"in_doubt", "sending"}]
        context.say(
            f"money may have moved; look again with: {context.command('reconcile', references[0])}", always=True
        )
        return IN_DOUBT
    if not failed:
        return DONE
    context.say(f"the first error: {failed[0]['error']['message']}", always=True)
    return PARTLY if summary.ordered else int(failed[0]["error"].get("exitCode", REFUSED))


@subcommand(bulk, "status")
def status(journal: Annotated[Path, Parameter(name="JOURNAL")], /) -> None:
    """Show the lines of a journal and their outcomes, also while the job runs. Nothing is sent.

    Args:
        journal: The journal of a bulk order.
    """
    context = current()
    with Journal.open(journal) as report:
        lines = [_outcome(context, line, None) for line in report.lines]
        said = repr(report)
    show(context, lines if context.is_json else [_status(line) for line in lines], STATUS)
    context.say(said.strip("<>"))


def _status(line: Mapping[str, Any]) -> dict[str, str]:
    quantities = line["request"].packages()
    return {
        **cells_of(line),
        "position": str(line["position"]),
        "package_id": " ".join(quantities),
        "quantity": str(sum(quantities.values())),
    }
