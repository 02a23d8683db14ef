"""What the walks put on the screen: a line for each step, and a bill at the end."""

import io
import sys
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from datetime import date
from decimal import Decimal
from time import perf_counter

import attrs
import segno
from rich.console import Console
from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task
from rich.table import Column, Table
from rich.text import Text

from roamify_async import Country, Esim, Order, Package, TopUpPackage, Usage

from .bill import Bill

WIDEST = 96
"""Columns that the tour fills at the most."""
BLOCKS = "\u2580\u2584\u2588"
"""What a QR code is drawn with."""


class StepError(Exception):
    """A step of the tour failed; its cause is what went wrong."""


@attrs.frozen
class Walked:
    """One walk, looked back upon."""

    client: str
    bill: Bill
    requests: int
    seconds: float


class Pace(ProgressColumn):
    """How many packages came, and how fast: the API tells no total."""

    def render(self, task: Task) -> Text:
        """Show it now."""
        rate = task.completed / task.elapsed if task.elapsed else 0
        return Text(f"{task.completed:,.0f} packages, {rate:,.0f} a second")


class Show:
    """The screen."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, WIDEST)
        self._client = ""
        self._result = Text()
        self._details: list[Text] = []

    @contextmanager
    def step(self, words: str) -> Generator[None, None, None]:
        """Print a line about the step when it is done; raises ``StepError`` where it fails."""
        self._result, self._details, start = Text(), [], perf_counter()
        try:
            yield
        except Exception as error:
            raise StepError(
                f"The tour stopped: with {self._client}, it could not {words}.\n{type(error).__name__}: {error}"
            ) from error
        line = Table.grid(Column(width=32), Column(ratio=1), Column(width=9, justify="right"), expand=True)
        line.add_row(f"  {words}", self._result, Text(f"{(perf_counter() - start) * 1000:,.0f} ms", "dim"))
        self._console.print(line, width=self._width)
        for detail in self._details:
            self._console.print(detail, soft_wrap=True)  # a code must stay in one piece to be copied

    @contextmanager
    def counting(self) -> Generator[Callable[[Package], Package], None, None]:
        """Give a function that counts each package it is given, and gives it back; a terminal shows the count."""
        if not self._console.is_interactive:
            yield lambda package: package
            return
        with Progress(SpinnerColumn("line"), Pace(), console=self._console, transient=True) as progress:
            task = progress.add_task("", total=None)

            def counted(package: Package) -> Package:
                progress.advance(task)
                return package

            yield counted

    def opening(self, url: str) -> None:
        """Say what is about to be seen."""
        self._console.print(Text("A tour of roamify_async", "bold"))
        self._console.print(f"A sandbox at {url} answers; no real money is spent.")

    def chapter(self, client: str, manner: str) -> None:
        """Begin the walk with a client."""
        self._client = client
        self._console.print()
        self._console.print(Text.assemble((client, "bold cyan"), f", {manner}"))

    def balance(self, balance: Decimal) -> None:
        """Show what can be spent."""
        self._result = money(balance)

    def countries(self, countries: Sequence[Country]) -> None:
        """Count the countries and the groups of them."""
        kinds = Counter(country.geography for country in countries)
        self._result = Text(f"{kinds['local']} countries, {kinds['regional']} regional, {kinds['global']} worldwide")

    def catalogue(self, catalogue: Sequence[Package]) -> None:
        """Count the packages and what they are for."""
        destinations = {package.destination.id for package in catalogue}
        self._result = Text(f"{len(catalogue):,} packages, {len(destinations)} destinations")

    def package(self, package: Package) -> None:
        """Show a package and its price."""
        self._result = Text.assemble(f"{package.destination.country_name}, {package.package}, ", money(package.price))

    def order(self, order: Order) -> None:
        """Show what an order cost."""
        self._result = Text.assemble(f"{len(order.items)} eSIM{'s'[: len(order.items) - 1]}, ", money(order.total))

    def esims(self, esims: Sequence[Esim], start: date | None = None) -> None:
        """Show what a phone needs to install each eSIM."""
        ready = sum(esim.is_installable for esim in esims)
        self._result = Text(f"{ready} of {len(esims)} ready to install{f', for {start}' if start else ''}")
        for esim in esims:
            self._details.append(Text(f"    {esim.iccid}", "dim"))
            self._details.append(Text(f"    {esim.esim.lpa_code}"))

    def qr_code(self, esim: Esim) -> None:
        """Draw the QR code that a phone scans, where the screen can draw one."""
        try:
            BLOCKS.encode(self._console.encoding)
        except UnicodeEncodeError:
            self._details.append(Text("    (no QR code: this screen's encoding has no blocks to draw one with)", "dim"))
            return
        drawn = io.StringIO()
        segno.make(esim.esim.lpa_code or "", micro=False).terminal(drawn, border=2, compact=True)
        light = "bright_white on black"  # the blocks are the light modules of the code
        self._details += [Text.assemble("    ", (line, light)) for line in drawn.getvalue().splitlines()]

    def usage(self, usage: Usage) -> None:
        """Show how much data is left."""
        if usage.allowed_data is None or usage.remaining_data is None:
            self._result = Text("unlimited data")
        else:
            self._result = Text(f"{usage.remaining_data:,} of {usage.allowed_data:,} MB")

    def offers(self, offers: Sequence[TopUpPackage]) -> None:
        """Count the top-ups and show the first."""
        if offers:
            first = offers[0]
            self._result = Text.assemble(f"{len(offers)} fit, first {first.package}, ", money(first.price))
        else:
            self._result = Text("none fits")

    def bill(self, bill: Bill) -> None:
        """Show that it adds up."""
        spent = " - ".join(f"{total:,.2f}" for total in bill.totals)
        self._result = Text.assemble(f"{bill.before:,.2f} - {spent} = ", (f"{bill.after:,.2f}", "green"))

    def summary(self, walks: Sequence[Walked]) -> None:
        """Set the walks side by side."""
        requests, seconds = sum(walked.requests for walked in walks), sum(walked.seconds for walked in walks)
        spent = sum((walked.bill.spent for walked in walks), Decimal(0))
        table = Table.grid(Column(), *(Column(justify="right") for _ in walks), padding=(0, 4, 0, 0))
        table.add_row("In short", *(walked.client for walked in walks), style="bold")
        table.add_row("  balance before", *(f"{walked.bill.before:,.2f}" for walked in walks))
        table.add_row("  spent", *(f"{walked.bill.spent:,.2f}" for walked in walks))
        table.add_row("  balance after", *(f"{walked.bill.after:,.2f}" for walked in walks), style="green")
        table.add_row("  requests", *(f"{walked.requests:,}" for walked in walks))
        table.add_row("  ms", *(f"{walked.seconds * 1000:,.0f}" for walked in walks))
        self._console.print()
        self._console.print(table)
        self._console.print()
        self._console.print(
            f"Both balances add up to the cent: {spent:,.2f} USD, {requests:,} requests, {seconds:.1f} s."
        )


def terminal() -> Console:
    """Open the standard output; what it cannot encode becomes a question mark."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="replace")
    return Console(markup=False, emoji=False, highlight=False)


def money(amount: Decimal) -> Text:
    """Write an amount of money to the cent."""
    return Text(f"{amount:,.2f} USD", "green")
