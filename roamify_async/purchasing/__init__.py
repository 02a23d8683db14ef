"""Making sure that a purchase exists, once; it knows no room of the API."""

from .report import BulkLine, BulkReport, Journal, Lines

__all__ = ["BulkLine", "BulkReport", "Journal", "Lines"]
