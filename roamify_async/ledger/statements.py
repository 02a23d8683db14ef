"""The SQL of a ledger, which SQLite and PostgreSQL both read.

Parameters are written as ``:name``, and so are fragments that differ between databases: ``{now}``, the database's
clock in seconds since 1970, ``{table}``, a prefix of the tables, ``{greatest}``, and ``{tokens}``, the texts in a list
that is passed as JSON. Each statement stands on its own, so that nothing depends on a session: it works through
pgbouncer in transaction mode.
"""

from typing import Any, Final

import attrs

from .rows import Row

APPLICATION_ID: Final = 0x526F614C
"""SQLite application id of a ledger."""

MIGRATIONS: Final[tuple[tuple[str, ...], ...]] = (
    (
        """
        CREATE TABLE {table}purchases (
            reference TEXT NOT NULL,
            action TEXT NOT NULL,
            kind TEXT NOT NULL,
            digest TEXT NOT NULL,
            packages TEXT NOT NULL,
            status TEXT NOT NULL,
            owner TEXT,
            lease_until DOUBLE PRECISION NOT NULL DEFAULT 0,
            first_sent DOUBLE PRECISION,
            looked_first SMALLINT NOT NULL DEFAULT 0,
            resent SMALLINT NOT NULL DEFAULT 0,
            order_id TEXT,
            price TEXT,
            total TEXT,
            account TEXT,
            reserved BIGINT NOT NULL DEFAULT 0,
            error TEXT,
            tries INTEGER NOT NULL DEFAULT 1,
            created DOUBLE PRECISION NOT NULL,
            updated DOUBLE PRECISION NOT NULL,
            PRIMARY KEY (reference, action)
        )
        """,
        "CREATE INDEX purchases_by_owner ON {table}purchases (owner) WHERE owner IS NOT NULL",
        "CREATE INDEX purchases_open ON {table}purchases (first_sent) WHERE status IN ('sending', 'in_doubt')",
        """
        CREATE TABLE {table}limits (
            account TEXT PRIMARY KEY,
            spent BIGINT NOT NULL DEFAULT 0,
            next_at DOUBLE PRECISION NOT NULL DEFAULT 0
        )
        """,
    ),
    (
        """
        CREATE TABLE {table}batches (
            name TEXT PRIMARY KEY,
            id TEXT NOT NULL,
            digest TEXT NOT NULL,
            spent BIGINT NOT NULL DEFAULT 0,
            created DOUBLE PRECISION NOT NULL
        )
        """,
        """
        CREATE TABLE {table}lines (
            batch TEXT NOT NULL,
            position INTEGER NOT NULL,
            digest TEXT NOT NULL,
            request TEXT NOT NULL,
            reference TEXT NOT NULL,
            status TEXT NOT NULL,
            final SMALLINT NOT NULL DEFAULT 0,
            first_sent TEXT,
            looked_first SMALLINT NOT NULL DEFAULT 0,
            resent SMALLINT NOT NULL DEFAULT 0,
            order_id TEXT,
            total TEXT,
            was_found SMALLINT NOT NULL DEFAULT 0,
            answer TEXT,
            esims TEXT,
            error TEXT,
            counted BIGINT NOT NULL DEFAULT 0,
            owner TEXT,
            lease_until DOUBLE PRECISION NOT NULL DEFAULT 0,
            tries INTEGER NOT NULL DEFAULT 0,
            ended DOUBLE PRECISION,
            PRIMARY KEY (batch, position)
        )
        """,
        "CREATE INDEX lines_by_owner ON {table}lines (owner) WHERE owner IS NOT NULL",
        "CREATE INDEX lines_open ON {table}lines (batch, position) WHERE final = 0",
        "CREATE INDEX lines_by_reference ON {table}lines (batch, reference)",
    ),
    (
        "ALTER TABLE {table}batches ADD COLUMN applies SMALLINT NOT NULL DEFAULT 0",
        "ALTER TABLE {table}batches ADD COLUMN options TEXT",
        "ALTER TABLE {table}batches ADD COLUMN state TEXT NOT NULL DEFAULT 'open'",
        "ALTER TABLE {table}batches ADD COLUMN reason TEXT",
        "CREATE INDEX lines_left ON {table}lines (batch, position) WHERE final = 0 AND ended IS NULL",
    ),
)
"""The statements that migrate each version of the schema to the next."""
VERSION: Final = len(MIGRATIONS)
"""Version of the schema."""

_ROW: Final = """
    reference, action, kind, digest, packages, status, owner, owner IS NOT NULL AND lease_until >= {now},
    {now} - first_sent, looked_first, resent, order_id, total, account, reserved, error, tries
"""
_FLAGS: Final = frozenset({"is_live", "looked_first", "resent"})
_FIELDS: Final = tuple(field.name for field in attrs.fields(Row))

INSERT: Final = """
    INSERT INTO {table}purchases (
        reference, action, kind, digest, packages, status, owner, lease_until, first_sent, looked_first, price,
        created, updated
    )
    VALUES (
        :reference, :action, :kind, :digest, :packages, :status, :token, {now} + :lease,
        {now} - CAST(:sent_ago AS DOUBLE PRECISION), :looked_first, :price, {now}, {now}
    )
    ON CONFLICT (reference, action) DO NOTHING
    RETURNING reference
"""
SELECT: Final = f"SELECT {_ROW} FROM {{table}}purchases WHERE reference = :reference AND action = :action"  # noqa: S608
_IS_UNCHANGED: Final = """
    reference = :reference AND action = :action AND tries = :tries AND status = :status
    AND (owner IS NULL OR lease_until < {now})
"""
TAKE_AS_NEW: Final = f"""
    UPDATE {{table}}purchases
    SET kind = :kind, digest = :digest, packages = :packages, owner = :token, lease_until = {{now}} + :lease,
        status = :new_status, first_sent = {{now}} - CAST(:sent_ago AS DOUBLE PRECISION), looked_first = 0, resent = 0,
        order_id = NULL, price = NULL, total = NULL, error = NULL, tries = tries + 1, updated = {{now}}
    WHERE {_IS_UNCHANGED}
    RETURNING reference
"""  # noqa: S608
TAKE: Final = f"""
    UPDATE {{table}}purchases
    SET owner = :token, lease_until = {{now}} + :lease, tries = tries + 1, updated = {{now}}
    WHERE {_IS_UNCHANGED}
    RETURNING reference
"""  # noqa: S608
RENEW_LINES: Final = """
    UPDATE {table}lines SET lease_until = {now} + :lease WHERE owner IN ({tokens}) RETURNING owner
"""
_IS_MINE: Final = "reference = :reference AND action = :action AND owner = :token"
START: Final = f"""
    UPDATE {{table}}purchases
    SET status = 'sending', first_sent = coalesce(first_sent, {{now}}), lease_until = {{now}} + :lease, price = :price,
        looked_first = :looked_first, resent = :resent, updated = {{now}}
    WHERE {_IS_MINE}
    RETURNING reserved
"""  # noqa: S608
RESERVE: Final = f"UPDATE {{table}}purchases SET account = :account, reserved = :reserved WHERE {_IS_MINE}"  # noqa: S608
RENEW: Final = """
    UPDATE {table}purchases SET lease_until = {now} + :lease WHERE owner IN ({tokens}) RETURNING owner
"""
SETTLE: Final = f"""
    UPDATE {{table}}purchases
    SET status = :status, order_id = coalesce(:order_id, order_id), total = :total, error = :error, resent = :resent,
        reserved = :reserved, owner = CASE WHEN :keeps = 1 THEN owner END, updated = {{now}}
    WHERE {_IS_MINE}
    RETURNING reference
"""  # noqa: S608
RELEASE: Final = f"UPDATE {{table}}purchases SET owner = NULL WHERE {_IS_MINE}"  # noqa: S608
RESOLVE: Final = """
    UPDATE {table}purchases
    SET status = 'ordered', order_id = :order_id, total = :total, error = NULL, owner = NULL, updated = {now}
    WHERE reference = :reference AND action = 'buy' AND status IN ('sending', 'in_doubt')
        AND (owner IS NULL OR lease_until < {now})
    RETURNING reference
"""
OPEN: Final = f"""
    SELECT {_ROW} FROM {{table}}purchases
    WHERE status = 'in_doubt' OR (status = 'sending' AND (owner IS NULL OR lease_until < {{now}}))
    ORDER BY first_sent
"""  # noqa: S608
COUNTS: Final = "SELECT status, count(*) FROM {table}purchases GROUP BY status ORDER BY status"
PURGE: Final = """
    DELETE FROM {table}purchases
    WHERE status IN ('ordered', 'refused', 'not_sent') AND updated < {now} - :seconds
        AND (owner IS NULL OR lease_until < {now})
    RETURNING reference
"""

_IS_OLD: Final = """
    created < {now} - :seconds AND NOT EXISTS (
        SELECT 1 FROM {table}lines WHERE batch = {table}batches.id AND (
            status IN ('sending', 'in_doubt') OR (owner IS NOT NULL AND lease_until >= {now})
        )
    )
"""
PURGE_LINES: Final = f"""
    DELETE FROM {{table}}lines WHERE batch IN (SELECT id FROM {{table}}batches WHERE {_IS_OLD})
"""  # noqa: S608
PURGE_BATCHES: Final = f"DELETE FROM {{table}}batches WHERE {_IS_OLD}"  # noqa: S608

ADD_ACCOUNT: Final = "INSERT INTO {table}limits (account) VALUES (:account) ON CONFLICT (account) DO NOTHING"
SPEND: Final = """
    UPDATE {table}limits SET spent = spent + :amount
    WHERE account = :account AND spent + :amount <= :max_spend
    RETURNING spent
"""
ADJUST: Final = "UPDATE {table}limits SET spent = spent + :amount WHERE account = :account"
LIMITS: Final = "SELECT account, spent FROM {table}limits ORDER BY account"
TURN: Final = """
    UPDATE {table}limits SET next_at = {greatest}(next_at, {now}) + :interval
    WHERE account = :account
    RETURNING next_at - :interval - {now}
"""
PAUSE: Final = """
    UPDATE {table}limits SET next_at = {greatest}(next_at, {now} + :seconds) WHERE account = :account
"""


def read_row(values: tuple[Any, ...]) -> Row:
    """Convert what ``SELECT`` returned."""
    columns: dict[str, Any] = dict(zip(_FIELDS, values, strict=True))
    columns |= {name: bool(columns[name]) for name in _FLAGS}
    return Row(**columns)
