"""Tables of one kind of record, beside those of orders and eSIMs."""

from typing import Generic, TypeVar

from attrs import AttrsInstance, astuple, fields

from .store import DELIVERED, Store, matching_reference

T = TypeVar("T", bound=AttrsInstance)


class Table(Generic[T]):
    """A table whose columns are the fields of a record class.

    Records with an `order_id` are hidden together with their order, and while it is PENDING.
    """

    def __init__(self, store: Store, name: str, record: type[T]) -> None:
        """Use the table of this name in the store's database."""
        self._store, self._name, self._record = store, name, record
        self._names = [field.name for field in fields(record)]
        self._columns = ", ".join(self._names)

    def insert(self, *records: T) -> None:
        """Insert records."""
        places = ", ".join("?" * len(self._names))
        self._store.db.executemany(
            f"INSERT INTO {self._name} ({self._columns}) VALUES ({places})",  # noqa: S608 - columns of the class
            [astuple(record) for record in records],
        )

    def select(self, *, hidden: bool = False, prefixes: bool = False, **equal: str | None) -> list[T]:
        """Return the records whose fields have these values (None matches any), newest first.

        With *prefixes* a `reference_id` need only begin with its value.

        Hidden records are left out unless *hidden* is true.
        """
        wanted = {name: value for name, value in equal.items() if value is not None}
        tests = {name: f"{name} = :{name}" for name in wanted} | {"reference_id": matching_reference(prefix=prefixes)}
        where = "".join(f" AND {tests[name]}" for name in wanted)
        order_id = "order_id" if "order_id" in self._names else "''"
        rows = self._store.db.execute(
            f"SELECT {self._columns} FROM {self._name}"  # noqa: S608 - columns of the class
            f" WHERE {order_id} {DELIVERED}{where} ORDER BY n DESC",
            self._store.visibility(hidden) | wanted,
        )
        return [self._record(*row) for row in rows.fetchall()]

    def update(self, id: str, **values: str | float) -> None:
        """Set fields of one record, and its time of update."""
        values["updated_at"] = int(self._store.now())
        changes = ", ".join(f"{name} = ?" for name in values)
        self._store.db.execute(
            f"UPDATE {self._name} SET {changes} WHERE id = ?",  # noqa: S608 - columns of the class
            (*values.values(), id),
        )
