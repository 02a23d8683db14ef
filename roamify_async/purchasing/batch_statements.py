"""The SQL of a batch in a ledger, and what is done in one transaction. See ``roamify_async.ledger.statements``."""

import json
from collections.abc import Sequence
from decimal import Decimal
from functools import cache
from typing import Any, Final

from roamify_async.errors import BudgetError
from roamify_async.ledger.database import Session
from roamify_async.ledger.rows import MICROS, to_micros

from .journal_rows import COLUMNS, FLAGS, Entry

_COLUMNS: Final = ", ".join(COLUMNS)
_NEW: Final = ("position", "digest", "request", "reference")
"""Columns of a line that was not taken yet."""
_OUTCOME: Final = tuple(name for name in COLUMNS if name not in _NEW)

AT_ONCE: Final = 200
"""Number of lines that one statement inserts: old versions of SQLite accept 999 parameters."""

_IS_FREE: Final = "(owner IS NULL OR lease_until < {now})"
IS_OPEN: Final = "batch = :batch AND final = 0 AND ended IS NULL"
"""Condition of the lines that have not ended in any run."""
_IS_LEFT: Final = "batch = :batch AND final = 0 AND (ended IS NULL OR ended < :began)"
"""Condition of the lines of a run: those that have not ended since it began."""
_IS_MINE: Final = "batch = :batch AND position = :position AND tries = :tries"
_HAS_STATUS: Final = "batch = :batch AND (:every = 1 OR status IN ({tokens}))"

FIND: Final = "SELECT id, digest, applies FROM {table}batches WHERE name = :name"
DRAFT: Final = """
    INSERT INTO {table}batches (name, id, digest, created) VALUES (:id, :id, '', {now}) ON CONFLICT (name) DO NOTHING
"""
PUBLISH: Final = """
    INSERT INTO {table}batches (name, id, digest, applies, created)
    SELECT :name, id, :digest, :applies, {now} FROM {table}batches WHERE name = :id
    ON CONFLICT (name) DO NOTHING
    RETURNING id
"""
DROP_DRAFT: Final = "DELETE FROM {table}batches WHERE name = :id"
DROP_LINES: Final = "DELETE FROM {table}lines WHERE batch = :id"
REFUSE_TWINS: Final = """
    WITH numbered AS MATERIALIZED (
        SELECT position, row_number() OVER (PARTITION BY reference ORDER BY position) AS place
        FROM {table}lines WHERE batch = :id
    ), twins AS MATERIALIZED (SELECT position FROM numbered WHERE place > 1)
    UPDATE {table}lines SET status = 'refused', final = 1, error = :error
    WHERE batch = :id AND position IN (SELECT position FROM twins)
"""
"""Materialized, since PostgreSQL has no statistics of new lines, and would find the twins again for each of them."""
STATE: Final = "SELECT state FROM {table}batches WHERE id = :batch"


def _take(is_left: str) -> str:
    """Return the statement that takes lines which fulfil a condition."""
    return f"""
        WITH free AS MATERIALIZED (
            SELECT position FROM {{table}}lines WHERE {is_left} AND {_IS_FREE}
            ORDER BY position LIMIT :number {{skip_locked}}
        )
        UPDATE {{table}}lines SET owner = :token, lease_until = {{now}} + :lease, tries = tries + 1
        WHERE batch = :batch AND {_IS_FREE} AND position IN (SELECT position FROM free)
        RETURNING {_COLUMNS}, tries
    """  # noqa: S608


TAKE: Final = _take(_IS_LEFT)
TAKE_OPEN: Final = _take(IS_OPEN)
TAKEN: Final = f"""
    SELECT {_COLUMNS}, tries FROM {{table}}lines
    WHERE owner = :token AND batch = :batch AND NOT CAST(position AS TEXT) IN ({{tokens}})
"""  # noqa: S608
"""Query of lines that were taken before a connection was lost."""
LEFT: Final = f"SELECT 1 FROM {{table}}lines WHERE {_IS_LEFT} LIMIT 1"  # noqa: S608
LEFT_OPEN: Final = f"SELECT 1 FROM {{table}}lines WHERE {IS_OPEN} LIMIT 1"  # noqa: S608
RELEASE: Final = "UPDATE {table}lines SET owner = NULL WHERE owner = :token"
LOCK: Final = f"UPDATE {{table}}lines SET tries = tries WHERE {_IS_MINE} RETURNING counted"  # noqa: S608
PUT: Final = f"""
    UPDATE {{table}}lines
    SET {", ".join(f"{name} = :{name}" for name in _OUTCOME)}, counted = :counted,
        owner = CASE WHEN :is_ended = 1 THEN NULL ELSE owner END,
        ended = CASE WHEN :is_ended = 1 THEN {{now}} ELSE ended END
    WHERE {_IS_MINE}
"""  # noqa: S608
END: Final = f"UPDATE {{table}}lines SET owner = NULL, ended = {{now}} WHERE {_IS_MINE}"  # noqa: S608
SPEND: Final = """
    UPDATE {table}batches SET spent = spent + :amount
    WHERE id = :batch AND (:is_limited = 0 OR spent + :amount <= :max_spend)
    RETURNING spent
"""
SPENT: Final = "SELECT spent FROM {table}batches WHERE id = :batch"
NEXT: Final = f"""
    SELECT {_COLUMNS} FROM {{table}}lines
    WHERE {_HAS_STATUS} AND (:final = -1 OR final = :final) AND position > :last
    ORDER BY position LIMIT 200
"""  # noqa: S608
NTH: Final = f"""
    SELECT {_COLUMNS} FROM {{table}}lines WHERE {_HAS_STATUS} ORDER BY position LIMIT 1 OFFSET :number
"""  # noqa: S608
COUNTS: Final = "SELECT status, count(*) FROM {table}lines WHERE batch = :batch GROUP BY status"
TOTALS: Final = """
    SELECT status, total, count(*) FROM {table}lines
    WHERE batch = :batch AND (:began < 0 OR final = 1 OR ended >= :began)
    GROUP BY status, total
"""


@cache
def _insert(lines: int) -> str:
    """Return the statement that inserts a number of new lines."""
    names = ", ".join(_NEW)
    values = ", ".join(f"(:id, {', '.join(f':{name}_{line}' for name in _NEW)}, 'not_sent')" for line in range(lines))
    return (
        f"INSERT INTO {{table}}lines (batch, {names}, status) VALUES {values} ON CONFLICT (batch, position) DO NOTHING"  # noqa: S608
    )


def add_lines(session: Session, *, batch: str, entries: Sequence[Entry]) -> None:
    """Insert new lines."""
    for start in range(0, len(entries), AT_ONCE):
        some = entries[start : start + AT_ONCE]
        values = {f"{name}_{line}": getattr(entry, name) for line, entry in enumerate(some) for name in _NEW}
        session.rows(_insert(len(some)), id=batch, **values)


def publish(session: Session, *, batch: str, name: str, digest: str, applies: bool, twin_error: str) -> bool:
    """Publish a batch under its name. Return ``False``, and drop its lines, if another process was first."""
    if session.rows(PUBLISH, id=batch, name=name, digest=digest, applies=int(applies)):
        session.rows(REFUSE_TWINS, id=batch, error=twin_error)
        session.rows(DROP_DRAFT, id=batch)
        return True
    rows = session.rows(FIND, name=name)
    if rows and rows[0][0] == batch:  # Published before the connection was lost.
        return True
    drop(session, batch)
    return False


def drop(session: Session, batch: str) -> None:
    """Drop the lines of a batch that has no name."""
    session.rows(DROP_LINES, id=batch)
    session.rows(DROP_DRAFT, id=batch)


def take_lines(
    session: Session, *, batch: str, token: str, known: Sequence[int], lease: float, began: float, number: int
) -> list[tuple[Entry, int]] | None:
    """Take lines. Return them with the numbers of their attempts, or ``None`` if no line is left, or may be taken.

    *known* are the lines that the process knows that it has taken.
    """
    take, left = (TAKE, LEFT) if began else (TAKE_OPEN, LEFT_OPEN)
    if session.rows(STATE, batch=batch) != [("open",)]:
        return None
    rows = session.rows(TAKEN, batch=batch, token=token, tokens=json.dumps([*map(str, known)]))
    if not rows:
        rows = session.rows(take, batch=batch, token=token, lease=lease, began=began, number=number)
    if not rows and not session.rows(left, batch=batch, began=began):
        return None
    taken = [(read_entry(row[:-1]), int(row[-1])) for row in rows]
    return sorted(taken, key=lambda pair: pair[0].position)


def put_line(
    session: Session, *, batch: str, entry: Entry, tries: int, is_ended: bool, max_spend: Decimal | None
) -> bool:
    """Write a line, and reserve its cost. Return whether it was still held."""
    key = {"batch": batch, "position": entry.position, "tries": tries}
    rows = session.rows(LOCK, **key)
    if not rows:
        return False
    is_counted = entry.status in {"sending", "in_doubt"} or (entry.status == "ordered" and not entry.was_found)
    counted = to_micros(Decimal(entry.total)) if is_counted and entry.total is not None else 0
    amount = counted - int(rows[0][0])
    if amount:
        _spend(session, batch, amount, max_spend if entry.status == "sending" else None)
    facts = {name: getattr(entry, name) for name in _OUTCOME}
    facts |= {name: int(facts[name]) for name in FLAGS}
    facts |= {
        "answer": _without_esims(entry.answer), "error": _without_bodies(entry.error),
        "esims": _without_codes(entry.esims),
    }  # fmt: skip
    session.rows(PUT, **key, **facts, counted=counted, is_ended=int(is_ended))
    return True


def _spend(session: Session, batch: str, amount: int, limit: Decimal | None) -> None:
    facts = {"amount": amount, "is_limited": int(limit is not None), "max_spend": to_micros(limit or Decimal(0))}
    if session.rows(SPEND, batch=batch, **facts):
        return
    left = Decimal(0) if limit is None else limit - reserved(session, batch)
    raise BudgetError(
        f"this line would cost {Decimal(amount) / MICROS} and exceed max_spend: {left} of {limit} is left"
    )


def reserved(session: Session, batch: str) -> Decimal:
    """Return what was bought, or may have been."""
    rows = session.rows(SPENT, batch=batch)
    return Decimal(rows[0][0] if rows else 0) / MICROS


def summary(rows: Sequence[tuple[Any, ...]]) -> tuple[dict[str, int], Decimal]:
    """Return the number of lines by status, and the total cost of the ordered ones."""
    counts, spent = dict[str, int](), Decimal(0)
    for status, total, count in rows:
        counts[status] = counts.get(status, 0) + int(count)
        if status == "ordered" and total is not None:
            spent += Decimal(total) * int(count)
    return counts, spent


def read_entry(values: Sequence[Any]) -> Entry:
    """Convert the columns of a line."""
    columns: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
    columns |= {name: bool(columns[name]) for name in FLAGS}
    return Entry(**columns)


# ---------------------------------------------------------------- activation codes are not written


def _without_esims(answer: str | None) -> str | None:
    """Return an order without what installs its eSIMs."""
    if answer is None:
        return None
    order: dict[str, Any] = json.loads(answer)
    order.pop("esims", None)
    return json.dumps(order)


def _without_codes(esims: str | None) -> str | None:
    """Return only that eSIMs are ready: a ready eSIM is one with the codes that install it."""
    return None if esims is None else "[]"


def _without_bodies(error: str | None) -> str | None:
    """Return an error without the bodies of responses, and without eSIMs."""
    return None if error is None else json.dumps(_cleared(json.loads(error)))


def _cleared(value: Any) -> Any:
    if isinstance(value, list):
        return [_cleared(item) for item in value]  # pyright: ignore[reportUnknownVariableType]
    if not isinstance(value, dict):
        return value
    empty: dict[str, Any] = {"body": "", "esims": []}
    return {name: empty[name] if name in empty else _cleared(item) for name, item in value.items()}  # pyright: ignore[reportUnknownVariableType]
