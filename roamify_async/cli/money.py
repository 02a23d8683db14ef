"""What precedes a purchase: a quote, limits, a question; and what is told if it is interrupted."""

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final
from uuid import uuid4

import attrs

from roamify_async.errors import BudgetError, RoamifyError

from .context import Context
from .exits import IN_DOUBT, REFUSED, USAGE, CommandError
from .output import View, show

if TYPE_CHECKING:
    from roamify_async import Roamify


@attrs.frozen(kw_only=True)
class Terms:
    """The options of a command that spends money."""

    reference: str | None = None
    yes: bool = False
    dry_run: bool = False
    max_spend: Decimal | None = None


@attrs.frozen(kw_only=True)
class Quote:
    """What a purchase costs, and what is there to pay it."""

    package_id: str
    quantity: int
    price: Decimal
    """Price of one."""
    total: Decimal
    balance: Decimal
    currency: str


QUOTE: Final = View.of("packageId quantity price total balance currency", Quote)


def quote(client: "Roamify", package_id: str, quantity: int, price: Decimal) -> Quote:
    """Return the cost of a number of packages, with the balance as it is now."""
    found = client.account.balance()
    return Quote(
        package_id=package_id, quantity=quantity, price=price, total=price * quantity, balance=found.balance,
        currency=found.currency,
    )  # fmt: skip


def agree(context: Context, terms: Terms, total: Decimal, balance: Decimal, question: str) -> None:
    """Check the limits, and ask.

    Raises ``BudgetError`` if a limit is exceeded, and ``CommandError`` unless somebody agrees.
    """
    if terms.max_spend is not None and total > terms.max_spend:
        raise BudgetError(f"it costs {total:f}, and --max-spend is {terms.max_spend:f}")
    if total > balance:
        raise BudgetError(f"it costs {total:f}, and the balance is {balance:f}")
    if terms.yes or terms.dry_run:
        return
    if not context.can_ask:
        raise CommandError(
            "nobody is there to agree to the price, so nothing was bought", USAGE,
            "pass --yes to buy without a question, or --dry-run to see the price",
        )  # fmt: skip
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().lower() not in {"y", "yes"}:
        raise CommandError("nothing was bought", REFUSED)


def buy(
    context: Context,
    terms: Terms,
    words: tuple[str, ...],
    *,
    is_known: Callable[[str], bool],
    price: Callable[[], Quote],
    create: Callable[[str], Any],
) -> Any:
    """Buy once, after a question. Returns what *create* returns, and ``None`` after a dry run.

    Args:
        context: The global options.
        terms: The options of the purchase.
        words: The command that continues the purchase, without its reference.
        is_known: Returns whether a purchase exists under a reference.
        price: Returns the quote.
        create: Buys under a reference. A purchase that exists under it is returned instead.
    """
    if terms.reference is not None and not terms.dry_run and is_known(terms.reference):
        context.say(f"reference {terms.reference} is known: nothing is bought again")
    else:
        offer = price()
        if terms.dry_run:
            show(context, offer, QUOTE)
        ask = f"Buy {offer.quantity} x {offer.package_id} for {offer.total:f} {offer.currency}"
        agree(context, terms, offer.total, offer.balance, f"{ask}, from a balance of {offer.balance:f}?")
        if terms.dry_run:
            return None
    reference = terms.reference or str(uuid4())
    limit = () if terms.max_spend is None else ("--max-spend", f"{terms.max_spend:f}")
    continuing = context.command(*words, "--ref", reference, *limit, "--yes")
    if terms.reference is None:  # It is told before anything is sent, in case the process is killed.
        context.say(f"reference {reference}", always=True)
    with told(reference, continuing, context.command("reconcile", reference)):
        bought = create(reference)
    context.paid.append(continuing)
    return bought


@contextmanager
def told(reference: str, continuing: str, looking: str) -> Generator[None, None, None]:
    """Tell the reference of a purchase, and how to continue, with whatever ends the block."""
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.add_note(f"reference {reference}; to continue, without buying anything twice: {continuing}")
        raise
    except RoamifyError as error:
        error.reference_id = error.reference_id or reference
        raise
    except (ValueError, TypeError):  # wrong arguments, before anything is sent
        raise
    except Exception as error:
        raise CommandError(
            f"internal error during the purchase with reference {reference}: {error!r}", IN_DOUBT,
            f"money may have moved; look again with: {looking}",
        ) from error  # fmt: skip
