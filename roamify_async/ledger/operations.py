"""What a ledger does in a transaction. Each function may run again if its connection was lost."""

import json
from collections.abc import Collection
from decimal import Decimal
from typing import Any, Final

from roamify_async.errors import BudgetError, ConflictError, LedgerError

from . import statements as sql
from .database import Session
from .lease import Lease, LeaseLostError
from .limits import SharedLimits
from .rows import MICROS, Outcome, Row, Start, Verdict, Wanted, judge, to_micros

RACES: Final = 50
"""How often a claim is tried again because others changed the row meanwhile."""


def claim_row(session: Session, *, wanted: Wanted, token: str, lease: float) -> tuple[Verdict, Row | None, bool]:
    """Claim a reference. Return what its row meant, the row as it was, and whether it is claimed."""
    facts = {
        "reference": wanted.reference, "action": wanted.action, "kind": wanted.kind, "digest": wanted.digest,
        "packages": json.dumps(dict(wanted.packages)), "token": token, "lease": lease, "sent_ago": wanted.sent_ago,
    }  # fmt: skip
    status = "not_sent" if wanted.sent_ago is None else "sending"
    for _ in range(RACES):
        if session.rows(sql.INSERT, **facts, status=status, looked_first=0, price=None):
            return Verdict.FREE, None, True
        rows = session.rows(sql.SELECT, reference=wanted.reference, action=wanted.action)
        if not rows:
            continue
        row = sql.read_row(rows[0])
        if row.owner == token:  # Claimed before the connection was lost.
            return Verdict.FREE if row.sent_ago is None else Verdict.TAKE_OVER, row, True
        verdict = judge(row, wanted)
        if verdict in {Verdict.OTHER, Verdict.WAIT} or (verdict is Verdict.BOUGHT and not wanted.holds):
            return verdict, row, False
        seen: dict[str, Any] = {"tries": row.tries, "status": row.status}
        if verdict is Verdict.FREE:
            taken = session.rows(sql.TAKE_AS_NEW, **facts, **seen, new_status=status)
        else:
            key = {name: facts[name] for name in ("reference", "action", "token", "lease")}
            taken = session.rows(sql.TAKE, **key, **seen)
        if taken:
            return verdict, row, True
    raise LedgerError(f"too many processes ask for {wanted.reference!r} at once")


def start_row(
    session: Session, *, lease: Lease, wanted: Wanted, start: Start, limits: SharedLimits | None, seconds: float
) -> tuple[str | None, int]:
    """Record that a purchase may be sent. Return the account in which its cost is reserved, and that."""
    facts: dict[str, Any] = {
        "lease": seconds, "looked_first": int(start.looked_first), "resent": int(start.resent),
        "price": text_of(start.price),
    }  # fmt: skip
    rows: list[tuple[Any, ...]] = []
    if not lease.is_written:
        new = {"kind": wanted.kind, "digest": wanted.digest, "packages": json.dumps(dict(wanted.packages))}
        state = {"lease": seconds, "looked_first": 1, "price": facts["price"], "status": "sending", "sent_ago": 0.0}
        rows = [(0,) for _ in session.rows(sql.INSERT, **key_of(lease), **new, **state)]
    if not rows and not (rows := session.rows(sql.START, **key_of(lease), **facts)):
        if lease.is_written:
            raise LeaseLostError(f"another process took over the purchase {lease.reference!r}")
        raise ConflictError(
            f"another purchase has the reference {lease.reference!r}; nothing was sent",
            status=409, sent="no", reference_id=lease.reference,
        )  # fmt: skip
    reserved = int(rows[0][0])
    if limits is None or limits.max_spend is None or start.price is None:
        return lease.account, reserved
    amount = to_micros(start.price)
    _spend(session, limits.account, limits.max_spend, amount - reserved, start.price)
    session.rows(sql.RESERVE, **key_of(lease), account=limits.account, reserved=amount)
    return limits.account, amount


def _spend(session: Session, account: str, limit: Decimal, amount: int, price: Decimal) -> None:
    session.rows(sql.ADD_ACCOUNT, account=account)
    if amount and not session.rows(sql.SPEND, account=account, amount=amount, max_spend=to_micros(limit)):
        spent = next(micros for name, micros in session.rows(sql.LIMITS) if name == account)
        left = limit - Decimal(spent) / MICROS
        raise BudgetError(
            f"this purchase would cost {price} and exceed the shared max_spend of {account!r}: "
            f"{left} of {limit} is left"
        )


def renew_rows(session: Session, *, tokens: Collection[str], seconds: float) -> frozenset[str]:
    """Renew claims. Return those that are still held."""
    facts: dict[str, Any] = {"tokens": json.dumps([*tokens]), "lease": seconds}
    rows = session.rows(sql.RENEW, **facts) + session.rows(sql.RENEW_LINES, **facts)
    return frozenset(token for (token,) in rows)


def settle_row(session: Session, *, lease: Lease, outcome: Outcome, keeps: bool) -> bool:
    """Record what became of a purchase. Return whether it was still held."""
    reserved = lease.reserved
    if lease.account is not None and outcome.status == "ordered":
        reserved = reserved if outcome.total is None else to_micros(outcome.total)
    elif outcome.status != "in_doubt":
        reserved = 0
    facts: dict[str, Any] = {
        "status": outcome.status, "order_id": outcome.order_id, "total": text_of(outcome.total),
        "error": outcome.error, "resent": int(outcome.resent), "reserved": reserved, "keeps": int(keeps),
    }  # fmt: skip
    if not session.rows(sql.SETTLE, **key_of(lease), **facts):
        return False
    if lease.account is not None and reserved != lease.reserved:
        session.rows(sql.ADJUST, account=lease.account, amount=reserved - lease.reserved)
    return True


def key_of(lease: Lease) -> dict[str, str]:
    """Return the parameters that name a claim."""
    return {"reference": lease.reference, "action": lease.action, "token": lease.token}


def text_of(amount: Decimal | None) -> str | None:
    """Return an amount as it is stored."""
    return None if amount is None else str(amount)
