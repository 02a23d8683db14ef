"""Output of the tour: a line for each step and a summary at the end."""

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

MAX_WIDTH = 96
"""Maximum width of a line, in columns."""
QR_BLOCKS = "\u2580\u2584\u2588"
"""Characters of a QR code."""


class StepError(Exception):
    """A step of the tour failed; the cause is the original error."""


@attrs.frozen
class Spending:
    """The balance before and after the steps, and the total of each order.

    Raises ``ArithmeticError`` if the balance did not decrease by exactly the sum of the totals.
    """

    before: Decimal
    after: Decimal
    totals: Sequence[Decimal]

    def __attrs_post_init__(self) -> None:
        """Check the sum."""
        if self.before - self.total != self.after:
            raise ArithmeticError(f"{self.before} - {self.total} is not {self.after}, the balance of the account")

    @property
    def total(self) -> Decimal:
        """Sum of the orders."""
        return sum(self.totals, Decimal(0))


@attrs.frozen
class Result:
    """Result of the steps with one client."""

    client: str
    spending: Spending
    requests: int
    seconds: float


class RateColumn(ProgressColumn):
    """Number of packages and packages per second; there is no percentage, since the API returns no total."""

    def render(self, task: Task) -> Text:
        """Return the text of the column."""
        rate = task.completed / task.elapsed if task.elapsed else 0
        return Text(f"{task.completed:,.0f} packages, {rate:,.0f} a second")


class Screen:
    """Prints the tour to a console.

    The methods named after a result set what the line of the current step shows.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._width = min(console.width, MAX_WIDTH)
        self._client = ""
        self._has_qr_code = False
        self._result = Text()
        self._details: list[Text] = []

    @contextmanager
    def step(self, title: str) -> Generator[None, None, None]:
        """Print a line with the title, result and duration of a step; raises ``StepError`` if the step fails."""
        self._result, self._details, start = Text(), [], perf_counter()
        try:
            yield
        except Exception as error:
            raise StepError(
                f"The tour stopped: with {self._client}, it could not {title}.\n{type(error).__name__}: {error}"
            ) from error
        line = Table.grid(Column(width=32), Column(ratio=1), Column(width=9, justify="right"), expand=True)
        line.add_row(f"  {title}", self._result, Text(f"{(perf_counter() - start) * 1000:,.0f} ms", "dim"))
        self._console.print(line, width=self._width)
        for detail in self._details:
            self._console.print(
                detail, soft_wrap=True
            )  # an activation code must not be wrapped, or it cannot be copied

    @contextmanager
    def counter(self) -> Generator[Callable[[Package], Package], None, None]:
        """Yield a function that counts a package and returns it; a terminal shows the count."""
        if not self._console.is_interactive:
            yield lambda package: package
            return
        with Progress(SpinnerColumn("line"), RateColumn(), console=self._console, transient=True) as progress:
            task = progress.add_task("", total=None)

            def count(package: Package) -> Package:
                progress.advance(task)
                return package

            yield count

    def title(self, url: str) -> None:
        """Print the title of the tour."""
        self._console.print(Text("A tour of roamify_async", "bold"))
        self._console.print(f"A sandbox at {url} answers; no real money is spent.")

    def heading(self, client: str, description: str) -> None:
        """Print the heading of the steps with a client."""
        self._client = client
        self._console.print()
        self._console.print(Text.assemble((client, "bold cyan"), f", {description}"))

    def balance(self, balance: Decimal) -> None:
        """Show a balance."""
        self._result = money(balance)

    def countries(self, countries: Sequence[Country]) -> None:
        """Show the number of countries, regions and worldwide destinations."""
        counts = Counter(country.geography for country in countries)
        self._result = Text(f"{counts['local']} countries, {counts['regional']} regional, {counts['global']} worldwide")

    def catalogue(self, catalogue: Sequence[Package]) -> None:
        """Show the number of packages and destinations."""
        destinations = {package.destination.id for package in catalogue}
        self._result = Text(f"{len(catalogue):,} packages, {len(destinations)} destinations")

    def package(self, package: Package) -> None:
        """Show a package with its price."""
        self._result = Text.assemble(f"{package.destination.country_name}, {package.package}, ", money(package.price))

    def order(self, order: Order) -> None:
        """Show the number of eSIMs in an order and its total."""
        self._result = Text.assemble(f"{len(order.items)} eSIM{'s'[: len(order.items) - 1]}, ", money(order.total))

    def esims(self, esims: Sequence[Esim], start: date | None = None) -> None:
        """Show how many eSIMs are installable, and the ICCID and activation code of each."""
        ready = sum(esim.is_installable for esim in esims)
        self._result = Text(f"{ready} of {len(esims)} ready to install{f', for {start}' if start else ''}")
        for esim in esims:
            self._details.append(Text(f"    {esim.iccid}", "dim"))
            self._details.append(Text(f"    {esim.esim.lpa_code}"))

    def qr_code(self, esim: Esim) -> None:
        """Show the activation code as a QR code, once in a tour and only if the console can encode it."""
        if self._has_qr_code:
            return
        self._has_qr_code = True
        try:
            QR_BLOCKS.encode(self._console.encoding)
        except UnicodeEncodeError:
            self._details.append(Text("    (no QR code: the encoding of this console has no block characters)", "dim"))
            return
        drawn = io.StringIO()
        segno.make(esim.esim.lpa_code or "", micro=False).terminal(drawn, border=2, compact=True)
        light = "bright_white on black"  # the characters are the light modules of the code
        self._details += [Text.assemble("    ", (line, light)) for line in drawn.getvalue().splitlines()]

    def usage(self, usage: Usage) -> None:
        """Show how much data is left."""
        if usage.allowed_data is None or usage.remaining_data is None:
            self._result = Text("unlimited data")
        else:
            self._result = Text(f"{usage.remaining_data:,} of {usage.allowed_data:,} MB")

    def topups(self, topups: Sequence[TopUpPackage]) -> None:
        """Show the number of top-up packages and the first of them."""
        if topups:
            first = topups[0]
            self._result = Text.assemble(f"{len(topups)} fit, first {first.package}, ", money(first.price))
        else:
            self._result = Text("none fits")

    def spending(self, spending: Spending) -> None:
        """Show the balance before the steps, the totals of the orders and the balance after."""
        totals = " - ".join(f"{total:,.2f}" for total in spending.totals)
        self._result = Text.assemble(f"{spending.before:,.2f} - {totals} = ", (f"{spending.after:,.2f}", "green"))

    def summary(self, results: Sequence[Result]) -> None:
        """Print a table of the results, one column a client."""
        requests, seconds = sum(result.requests for result in results), sum(result.seconds for result in results)
        spent = sum((result.spending.total for result in results), Decimal(0))
        table = Table.grid(Column(), *(Column(justify="right") for _ in results), padding=(0, 4, 0, 0))
        table.add_row("In short", *(result.client for result in results), style="bold")
        table.add_row("  balance before", *(f"{result.spending.before:,.2f}" for result in results))
        table.add_row("  spent", *(f"{result.spending.total:,.2f}" for result in results))
        table.add_row("  balance after", *(f"{result.spending.after:,.2f}" for result in results), style="green")
        table.add_row("  requests", *(f"{result.requests:,}" for result in results))
        table.add_row("  ms", *(f"{result.seconds * 1000:,.0f}" for result in results))
        self._console.print()
        self._console.print(table)
        self._console.print()
        self._console.print(
            f"Both balances add up to the cent: {spent:,.2f} USD, {requests:,} requests, {seconds:.1f} s."
        )


def terminal() -> Console:
    """Return a console on the standard output, which prints a question mark for characters that it cannot encode."""
    reconfigure = getattr(sys.stdout, "reconfigure", None)
    if reconfigure:
        reconfigure(errors="replace")
    return Console(markup=False, emoji=False, highlight=False)


def money(amount: Decimal) -> Text:
    """Return an amount in dollars and cents."""
    return Text(f"{amount:,.2f} USD", "green")
