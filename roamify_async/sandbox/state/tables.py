"""Records of one kind, kept in a table of their own beside orders and eSIMs."""

from typing import Generic, TypeVar

from attrs import AttrsInstance, astuple, fields

from .store import SHOWN, Store

T = TypeVar("T", bound=AttrsInstance)


class Shelf(Generic[T]):
    """The records of one table, whose columns are their fields; those with an `order_id` hide with their order."""

    def __init__(self, store: Store, table: str, record: type[T]) -> None:
        """Keep them in the store's file."""
        self._store, self._table, self._record = store, table, record
        self._names = [field.name for field in fields(record)]
        self._columns = ", ".join(self._names)

    def keep(self, *records: T) -> None:
        """Add records."""
        places = ", ".join("?" * len(self._names))
        self._store.db.executemany(
            f"INSERT INTO {self._table} ({self._columns}) VALUES ({places})",  # noqa: S608 - columns of the class
            [astuple(record) for record in records],
        )

    def listed(self, *, hidden: bool = False, **named: str | None) -> list[T]:
        """List the records whose fields have these values, None is any, newest first, with or without hidden ones."""
        wanted = {name: value for name, value in named.items() if value is not None}
        where = "".join(f" AND {name} = ?" for name in wanted)
        order_id = "order_id" if "order_id" in self._names else "''"
        rows = self._store.db.execute(
            f"SELECT {self._columns} FROM {self._table}"  # noqa: S608 - columns of the class
            f" WHERE {order_id} {SHOWN}{where} ORDER BY n DESC",
            (self._store.until(hidden), *wanted.values()),
        )
        return [self._record(*row) for row in rows.fetchall()]

    def change(self, id: str, **values: str | float) -> None:
        """Set fields of one record, and when it was updated."""
        values["updated_at"] = int(self._store.now())
        changes = ", ".join(f"{name} = ?" for name in values)
        self._store.db.execute(
            f"UPDATE {self._table} SET {changes} WHERE id = ?",  # noqa: S608 - columns of the class
            (*values.values(), id),
        )
