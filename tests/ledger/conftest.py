"""Ledgers of both kinds, empty for each test."""

from support.ledger_fixtures import ledger, open_ledger, replica, running_cluster

__all__ = ["ledger", "open_ledger", "replica", "running_cluster"]
