"""Purchases for tests of ledgers."""

from typing import Any

from roamify_async.ledger import Wanted
from roamify_async.ledger.rows import digest_of

HOST = "http://127.0.0.1:1"


def wanted(reference: str = "r", *, packages: dict[str, int] | None = None, **changes: Any) -> Wanted:
    """Return a purchase that asks for its reference."""
    quantities, kind = packages or {"a": 1}, changes.pop("kind", "order")
    facts: dict[str, Any] = {
        "reference": reference, "kind": kind, "digest": digest_of(kind, {"packages": quantities}, reference),
        "packages": quantities, "base_url": HOST,
    }  # fmt: skip
    return Wanted(**{**facts, **changes})


async def expire(ledger: Any, reference: str = "r") -> None:
    """End the lease of a purchase, as the database sees it."""
    statement = "UPDATE {table}purchases SET lease_until = 1 WHERE reference = :reference"
    await ledger._ask(lambda session: session.rows(statement, reference=reference))


class Wrapped:
    """A ledger some of whose methods a test replaces."""

    def __init__(self, ledger: Any, **methods: Any) -> None:
        """Take the ledger, and methods that take it as their first argument."""
        self._ledger, self._methods = ledger, methods

    def __getattr__(self, name: str) -> Any:
        """Return a replaced method, or that of the ledger."""
        if name not in self._methods:
            return getattr(self._ledger, name)
        method = self._methods[name]
        return lambda *args, **options: method(self._ledger, *args, **options)
