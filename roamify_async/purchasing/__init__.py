"""Purchases: made exactly once, alone or in bulk."""

from .report import BulkLine, BulkReport, Journal, Lines

__all__ = ["BulkLine", "BulkReport", "Journal", "Lines"]
