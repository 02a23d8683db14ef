"""Types of options that several commands share."""

import datetime as dt
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import Annotated, Any, TypeVar

from cyclopts import App, Group, Parameter, Token

FunctionT = TypeVar("FunctionT", bound=Callable[..., object])


def _money(_: Any, tokens: tuple[Token, ...]) -> Decimal:
    try:
        amount = Decimal(tokens[0].value)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or amount < 0:
        raise ValueError(f"{tokens[0].value!r} is no amount of money, such as 49.90")
    return amount


def _day(_: Any, tokens: tuple[Token, ...]) -> dt.date:
    try:
        return dt.date.fromisoformat(tokens[0].value)
    except ValueError:
        raise ValueError(f"{tokens[0].value!r} is no ISO date, such as 2027-07-01") from None


Flag = Annotated[bool, Parameter(negative="", show_default=False)]
"""An option without a value."""
Iccid = Annotated[str, Parameter(name="ICCID")]
"""The ICCID of an eSIM, as an argument."""
PackageId = Annotated[str, Parameter(name="PACKAGE_ID")]
"""The id of a package, as an argument."""
Money = Annotated[Decimal | None, Parameter(converter=_money)]
"""An amount of money."""
Day = Annotated[dt.date | None, Parameter(converter=_day)]
"""A day."""
Reference = Annotated[str | None, Parameter(name="--ref")]
"""The reference of a purchase."""
Quantity = Annotated[int, Parameter(name=("--quantity", "-n"))]
"""A number of eSIMs, policies or vouchers."""
Output = Annotated[str | None, Parameter(name=("--output", "-o"))]
"""The path of a file to write."""


def subcommand(
    app: App, name: str, *, help: str | None = None, group: Group | tuple[()] = ()
) -> Callable[[FunctionT], FunctionT]:
    """Return a decorator that adds a function to an application, with its own name.

    A command without one is shown with the name of the running program, such as ``python -m pytest``.
    """

    def add(function: FunctionT) -> FunctionT:
        command = App(name=name, help=help, group=group)
        command.default(function)
        app.command(command)
        return function

    return add
