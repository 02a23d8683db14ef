"""What is printed about errors, and the exit codes."""

import json
import shlex
import sys
from typing import Any, Final

from roamify_async.errors import (
    APIStatusError,
    AuthenticationError,
    BudgetError,
    ConfigurationError,
    ConflictError,
    EsimsNotReadyError,
    JournalError,
    LedgerError,
    PackageNotFoundError,
    PurchaseFailedError,
    PurchaseInDoubtError,
    RoamifyError,
    TransportError,
)

from .context import Context
from .exits import IN_DOUBT, NO_TOKEN, NOT_SENT, PARTLY, REFUSED, USAGE, CommandError


def exit_code(error: BaseException) -> int:  # noqa: PLR0911 -- one line for each code
    """Return the exit code of an error."""
    if isinstance(error, CommandError):
        return error.code
    if isinstance(error, PurchaseInDoubtError):
        return IN_DOUBT
    if isinstance(error, EsimsNotReadyError):
        return PARTLY
    if isinstance(error, AuthenticationError):
        return NO_TOKEN
    if isinstance(error, TransportError):
        return IN_DOUBT if error.sent == "maybe" and error.method not in {None, "GET", "HEAD"} else NOT_SENT
    if isinstance(error, ConfigurationError | ValueError | TypeError):
        return NO_TOKEN if isinstance(error, ConfigurationError) and "token" in str(error) else USAGE
    return REFUSED


def look_again(context: Context, error: RoamifyError) -> str | None:
    """Return the command that looks up the purchase of an error, if the error has one."""
    reference = error.reference_id
    if reference is None:
        return None
    kind = type(getattr(error, "request", None)).__name__
    commands = {
        "CreateVouchers": ("vouchers", "list", "--ref", reference),
        "OrderInsurance": ("insurance", "order", "--ref", reference),
    }
    return context.command(*commands.get(kind, ("reconcile", reference)))


def hint_for(context: Context, error: BaseException) -> str | None:
    """Return what to do about an error."""
    if isinstance(error, CommandError):
        return error.hint
    if isinstance(error, PackageNotFoundError) and error.nearest:
        return f"did you mean {' or '.join(error.nearest)}?"
    if isinstance(error, ConflictError) and error.is_under_way:
        return "another process is making this purchase; repeat the command later"
    for kind, hint in HINTS.items():
        if isinstance(error, kind):
            look = look_again(context, error) if isinstance(error, RoamifyError) else None
            reference = shlex.quote(getattr(error, "reference_id", None) or "")
            return hint.format(look=look, reference=reference)
    return BY_CODE.get(exit_code(error))


HINTS: Final[dict[type[BaseException], str]] = {
    PurchaseInDoubtError: "money may have moved; look again with: {look}",
    EsimsNotReadyError: "it is paid; repeat the command with --ref {reference} to continue, which buys nothing again",
    PurchaseFailedError: "pass another --ref to buy again",
    BudgetError: "raise --max-spend, or pay into the balance; nothing was sent",
    LedgerError: "ROAMIFY_LEDGER names another ledger, such as a file that can be written",
    JournalError: "repeat the same command to continue; with another --journal, lines without a reference_id that were "
    "bought already are bought again",
}
BY_CODE: Final = {
    NO_TOKEN: "set ROAMIFY_TOKEN, pass --token-file, or run: roamify login",
    IN_DOUBT: "the request may have been carried out; look before repeating it",
    NOT_SENT: "nothing was bought; roamify doctor examines the connection",
}
"""Hints about the other errors, by exit code."""


def to_json(context: Context, error: BaseException) -> dict[str, Any]:
    """Return an error for ``--json``."""
    facts: dict[str, Any] = {"type": type(error).__name__, "message": str(error), "exitCode": exit_code(error)}
    if isinstance(error, RoamifyError):
        facts |= {
            "sent": error.sent,
            "method": error.method,
            "path": error.path,
            "status": error.status if isinstance(error, APIStatusError) else None,
            "referenceId": error.reference_id,
            "packageIds": list(error.package_ids) or None,
            "requestId": error.request_id,
        }
    facts["hint"] = hint_for(context, error)
    if isinstance(error, PurchaseInDoubtError):
        facts["lookAgain"] = look_again(context, error)
    return {"error": {name: value for name, value in facts.items() if value is not None}}


def report(context: Context, error: BaseException) -> int:
    """Print an error on the standard error, and return its exit code."""
    if context.is_json:
        sys.stderr.write(f"{json.dumps(to_json(context, error))}\n")
        return exit_code(error)
    message = str(error) or type(error).__name__
    context.say(f"error: {message}", always=True)
    if hint := hint_for(context, error):
        context.say(f"hint: {hint}", always=True)
    return exit_code(error)
