"""The batches that were submitted, in the tables of the ledger, and what is done with one in a transaction."""

import json
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final, Literal

import attrs

from roamify_async.errors import LedgerError
from roamify_async.ledger.database import Session
from roamify_async.purchasing.batch_statements import DROP_LINES, IS_OPEN, LEFT_OPEN, STATE
from roamify_async.purchasing.report import OUTCOMES
from roamify_async.settings import OnDoubt, Settings

State = Literal["open", "cancelled", "stopped"]
"""State of a batch: workers take lines of open ones only. One was stopped because the balance is used up."""

_COLUMNS: Final = "name, id, applies, options, state, reason"
_IS_WANTED: Final = "options IS NOT NULL AND (CAST(:name AS TEXT) IS NULL OR name = :name)"
_IS_LIVE: Final = "owner IS NOT NULL AND lease_until >= {now}"

LIST: Final = f"SELECT {_COLUMNS} FROM {{table}}batches WHERE {_IS_WANTED} ORDER BY created, name"  # noqa: S608
FREE: Final = f"""
    SELECT {_COLUMNS} FROM {{table}}batches
    WHERE {_IS_WANTED} AND state = 'open' AND EXISTS (
        SELECT 1 FROM {{table}}lines
        WHERE batch = {{table}}batches.id AND final = 0 AND ended IS NULL AND NOT ({_IS_LIVE})
    )
    ORDER BY created, name
"""  # noqa: S608
LEFT: Final = f"""
    SELECT name, (SELECT count(*) FROM {{table}}lines WHERE batch = {{table}}batches.id AND final = 0 AND ended IS NULL)
    FROM {{table}}batches WHERE {_IS_WANTED} AND state = 'open'
"""  # noqa: S608
ACTIVATE: Final = "UPDATE {table}batches SET options = :options WHERE id = :batch AND options IS NULL"
SIZE: Final = "SELECT count(*) FROM {table}lines WHERE batch = :batch"
WORKED_ON: Final = f"SELECT count(*) FROM {{table}}lines WHERE batch = :batch AND {_IS_LIVE}"  # noqa: S608
WORKERS: Final = f"SELECT count(DISTINCT owner) FROM {{table}}lines WHERE batch = :batch AND {_IS_LIVE}"  # noqa: S608
_CLOSE: Final = "UPDATE {table}batches SET state = :state, reason = :reason WHERE id = :batch AND state = 'open'"
_OPEN: Final = "UPDATE {table}batches SET state = 'open', reason = NULL WHERE id = :batch"
_END_ALL: Final = f"""
    UPDATE {{table}}lines SET ended = {{now}}, owner = NULL, tries = tries + 1
    WHERE {IS_OPEN} AND (NOT ({_IS_LIVE}) OR status NOT IN ('sending', 'ordered'))
"""  # noqa: S608
"""What a worker holds and has not sent is taken away from it: the number of its attempt is not the line's any more."""
_ENDED: Final = "batch = :batch AND final = 0 AND ended IS NOT NULL AND owner IS NULL AND status IN ({tokens})"
_COUNT_ENDED: Final = f"SELECT count(*) FROM {{table}}lines WHERE {_ENDED}"  # noqa: S608
_REOPEN: Final = f"UPDATE {{table}}lines SET ended = NULL WHERE {_ENDED}"  # noqa: S608
_IS_UNTOUCHED: Final = """
    SELECT 1 FROM {table}batches WHERE id = :batch AND options IS NULL
        AND NOT EXISTS (SELECT 1 FROM {table}lines WHERE batch = :batch AND tries > 0)
"""
_DELETE: Final = "DELETE FROM {table}batches WHERE id = :batch"


@attrs.frozen(kw_only=True)
class Options:
    """What the workers use of the client that submitted a batch."""

    max_spend: Decimal | None
    on_doubt: OnDoubt
    reconcile_window: float
    look_first: bool
    check_packages: bool

    @classmethod
    def of(cls, settings: Settings, max_spend: Decimal | None) -> "Options":
        """Take them from the settings of a client."""
        return cls(
            max_spend=max_spend,
            on_doubt=settings.on_doubt,
            reconcile_window=settings.reconcile_window,
            look_first=settings.look_first,
            check_packages=settings.check_packages,
        )

    def to_json(self) -> str:
        """Return them as they are stored."""
        return json.dumps(attrs.asdict(self), default=str)

    @classmethod
    def from_json(cls, text: str) -> "Options":
        """Read what ``to_json`` returned. Those of a later version are ignored."""
        stored: dict[str, Any] = json.loads(text)
        facts = {field.name: stored[field.name] for field in attrs.fields(cls)}
        if facts["max_spend"] is not None:
            facts["max_spend"] = Decimal(facts["max_spend"])
        return cls(**facts)

    def apply_to(self, settings: Settings) -> Settings:
        """Return the settings with which a worker buys."""
        return settings.changed(
            on_doubt=self.on_doubt,
            reconcile_window=self.reconcile_window,
            look_first=self.look_first,
            check_packages=self.check_packages,
        )


@attrs.frozen(kw_only=True)
class Submitted:
    """A batch that was submitted."""

    name: str
    id: str
    applies: bool
    options: Options
    state: State
    reason: str | None
    """Why it was stopped."""


def find(session: Session, name: str) -> Submitted | None:
    """Return the batch of a name, if it was submitted."""
    rows = session.rows(LIST, name=name)
    return _read(rows[0]) if rows else None


def find_all(session: Session) -> list[Submitted]:
    """Return all batches that were submitted, in that order."""
    return [_read(row) for row in session.rows(LIST, name=None)]


def find_free(session: Session) -> list[Submitted]:
    """Return the open batches that have lines on which nobody works, oldest first."""
    return [_read(row) for row in session.rows(FREE, name=None)]


def left(session: Session) -> dict[str, int]:
    """Return the number of lines without an outcome of each open batch."""
    return {name: int(count) for name, count in session.rows(LEFT, name=None)}


def _read(row: Sequence[Any]) -> Submitted:
    name, batch, applies, options, state, reason = row
    read = Options.from_json(options)
    return Submitted(name=name, id=batch, applies=bool(applies), options=read, state=state, reason=reason)


def count_workers(session: Session, batch: str) -> int:
    """Return the number of workers that hold lines of a batch."""
    return int(session.rows(WORKERS, batch=batch)[0][0])


def is_worked_on(session: Session, name: str, batch: str) -> bool:
    """Return whether lines of a batch may still get an outcome. Raises ``LedgerError`` if it was purged."""
    found = find(session, name)
    if found is None or found.id != batch:
        raise LedgerError(f"the batch {name!r} was purged")
    if found.state == "open":
        return bool(session.rows(LEFT_OPEN, batch=batch))
    return bool(session.rows(WORKED_ON, batch=batch)[0][0])


def close(session: Session, *, batch: str, state: State, reason: str | None = None) -> None:
    """Cancel or stop a batch. Lines that are being sent are finished, and no others are sent."""
    session.rows(_END_ALL, batch=batch)
    session.rows(_CLOSE, batch=batch, state=state, reason=reason)


def reopen(session: Session, *, batch: str, statuses: Sequence[str]) -> int:
    """Open a batch, and give lines with some statuses to the workers again. Return the number of these lines."""
    if session.rows(STATE, batch=batch) != [("open",)]:
        session.rows(_END_ALL, batch=batch)  # Else lines that a worker gave back would be bought as well.
        session.rows(_OPEN, batch=batch)
    tokens = json.dumps([*statuses, *(["sending"] if "in_doubt" in statuses else [])])
    ((count,),) = session.rows(_COUNT_ENDED, batch=batch, tokens=tokens)
    session.rows(_REOPEN, batch=batch, tokens=tokens)
    return int(count)


def drop_untouched(session: Session, batch: str) -> None:
    """Delete a batch that was not submitted, and of which no line was ever taken."""
    if session.rows(_IS_UNTOUCHED, batch=batch):
        session.rows(DROP_LINES, id=batch)
        session.rows(_DELETE, batch=batch)


def outcomes(counts: dict[str, int]) -> dict[str, int]:
    """Return counts by outcome. What was being sent when its worker was killed is in doubt."""
    found = dict.fromkeys(map(str, OUTCOMES), 0)
    for status, count in counts.items():
        found["in_doubt" if status == "sending" else status] += count
    return found
