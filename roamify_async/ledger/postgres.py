"""A ledger in a PostgreSQL database, for the processes of many machines.

It works through pgbouncer in transaction mode: nothing depends on a session, and no statement is prepared on the
server.
"""

import re
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import attrs

from roamify_async.errors import ConfigurationError, LedgerError

from .database import Dialect, migrate, spell, version_of
from .limits import SharedLimits
from .statements import VERSION
from .store import LEASE, TIMEOUT, SqlLedger

try:
    import psycopg
    from psycopg_pool import ConnectionPool, PoolTimeout
except ImportError as _missing:
    raise ConfigurationError(
        f"a ledger in PostgreSQL needs the extra postgres: pip install 'roamify-async[postgres]' ({_missing})"
    ) from None

T = TypeVar("T")

CONNECTIONS: Final = 4
"""Maximum number of connections of a process."""
RECONNECT: Final = 1.0
"""Seconds after which an attempt to connect is given up for a new one, so that the pauses between them stay short."""
PAUSE: Final = 0.05
"""Seconds before work is done again after its connection was lost."""
MIGRATION_LOCK: Final = 0x526F614C
"""Key of the advisory lock under which the tables are changed. It ends with its transaction."""


class PostgresLedger(SqlLedger):
    """A ledger in a PostgreSQL database, which many machines share. Needs the extra ``postgres``.

    Args:
        url: URL of the database, such as ``"postgresql://user:password@host/name"``; also one of pgbouncer.
        schema: Name of the schema of the tables, which is created.
        migrate: Whether to bring the tables to this version at the first use. If not, run
            ``python -m roamify_async.ledger migrate`` before, as a user who may create tables.
        limits: Limits that all processes share.
        lease: Seconds, after a process was killed, until another one may take over its purchases.
        timeout: Seconds to wait for the database.
    """

    def __init__(
        self,
        url: str,
        schema: str = "roamify",
        migrate: bool = True,  # noqa: FBT001, FBT002 -- a name and a flag, as documented
        *,
        limits: SharedLimits | None = None,
        lease: float = LEASE,
        timeout: float = TIMEOUT,
    ) -> None:
        if re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", schema) is None:
            raise ValueError(f"schema must be a plain name in lower case, not {schema!r}")
        self._url = url
        self._schema = schema
        super().__init__(
            lambda: PostgresDatabase(url, schema, timeout, may_migrate=migrate), limits, lease=lease, timeout=timeout
        )

    def __repr__(self) -> str:
        """Return the host and the database, but neither user nor password."""
        parts = urlsplit(self._url)
        return f"PostgresLedger({parts.hostname or ''}{parts.path}, schema {self._schema})"

    def migrate(self) -> None:
        """Bring the tables to this version, also if the ledger does not do so by itself."""
        database = PostgresDatabase(self._url, self._schema, self._timeout, may_migrate=True)
        try:
            database.submit(version_of).result()
        finally:
            database.close()


@attrs.define
class _Session:
    connection: "psycopg.Connection[tuple[Any, ...]]"
    dialect: Dialect

    def rows(self, statement: str, /, **parameters: Any) -> list[tuple[Any, ...]]:
        cursor = self.connection.execute(spell(statement, self.dialect).encode(), parameters)
        return cursor.fetchall() if cursor.description is not None else []


class PostgresDatabase:
    """Connections to a PostgreSQL database, and the threads that use them."""

    def __init__(self, url: str, schema: str, timeout: float, *, may_migrate: bool) -> None:
        self._schema = schema
        self._may_migrate = may_migrate
        self._timeout = timeout
        self._is_ready = False
        self._dialect = Dialect(
            now="CAST(extract(epoch from clock_timestamp()) AS DOUBLE PRECISION)",
            greatest="greatest",
            tokens="SELECT jsonb_array_elements_text(CAST(:tokens AS jsonb))",
            has_table=f"SELECT 1 WHERE to_regclass('{schema}.facts') IS NOT NULL",
            skip_locked="FOR UPDATE SKIP LOCKED",
            table=f"{schema}.",
            parameter=r"%(\1)s",
        )
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="roamify_async postgres")
        self._pool: ConnectionPool[psycopg.Connection[tuple[Any, ...]]] = ConnectionPool(
            url,
            kwargs={"autocommit": True, "prepare_threshold": None, "connect_timeout": max(1, int(timeout))},
            min_size=1,
            max_size=CONNECTIONS,
            reconnect_timeout=RECONNECT,
            name="roamify_async",
            open=False,
        )

    def submit(self, work: Callable[[_Session], T], *, is_atomic: bool = True) -> "Future[T]":
        """Run *work* in a thread. With *is_atomic* all of it is one transaction."""
        try:
            return self._threads.submit(self._run, work, is_atomic)
        except RuntimeError:
            raise LedgerError("the ledger was closed") from None

    def close(self) -> None:
        """Finish the work that was submitted, and close the connections."""
        self._threads.shutdown()
        self._pool.close()

    def _run(self, work: Callable[[_Session], T], is_atomic: bool) -> T:  # noqa: FBT001
        """Run *work*, again if the connection was lost: those in the pool may be as old as the last restart."""
        self._pool.open()
        end = time.monotonic() + self._timeout
        while True:
            try:
                with self._pool.connection(timeout=min(RECONNECT, self._timeout)) as connection:
                    self._prepare(connection)
                    return self._once(connection, work, is_atomic=is_atomic)
            except psycopg.errors.DiskFull as error:
                raise LedgerError(f"the ledger cannot be used: {error}") from None
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if time.monotonic() >= end:
                    raise LedgerError(f"the ledger cannot be reached: {error}") from None
                if not isinstance(error, PoolTimeout):
                    time.sleep(PAUSE)
            except (psycopg.Error, OSError) as error:
                raise LedgerError(f"the ledger cannot be used: {error}") from None

    def _once(
        self, connection: "psycopg.Connection[tuple[Any, ...]]", work: Callable[[_Session], T], *, is_atomic: bool
    ) -> T:
        session = _Session(connection, self._dialect)
        if not is_atomic:
            return work(session)
        with connection.transaction():
            return work(session)

    def _prepare(self, connection: "psycopg.Connection[tuple[Any, ...]]") -> None:
        """Bring the tables to this version, before the first work."""
        if self._is_ready:
            return
        session = _Session(connection, self._dialect)
        if version_of(session) < VERSION:
            if not self._may_migrate:
                raise LedgerError("the tables of the ledger are missing or old: python -m roamify_async.ledger migrate")
            with connection.transaction():
                session.rows("SELECT pg_advisory_xact_lock(:key)", key=MIGRATION_LOCK)
                # "IF NOT EXISTS" alone may trust a cache that is as old as the wait for the lock.
                if not session.rows("SELECT 1 FROM pg_namespace WHERE nspname = :name", name=self._schema):
                    session.rows(f"CREATE SCHEMA {self._schema}")
                migrate(session)
        self._is_ready = True
