"""The row of a line on disk: what a journal, or a batch in a ledger, knows of it."""

import json
import zlib
from collections.abc import Sequence
from typing import Any, Final, get_args

import attrs

from roamify_async.ledger.rows import Status

STATUSES: Final = frozenset(get_args(Status))


@attrs.define(kw_only=True)
class Entry:
    """A line in the journal. Requests, responses and errors are JSON."""

    position: int
    digest: str
    """Digest of the items and the caller's reference."""
    request: str
    reference: str
    """The caller's reference, or the one created for the line."""
    status: Status
    final: bool = False
    """Whether later runs skip the line."""
    first_sent: str | None = None
    """ISO time at which it was first about to be sent."""
    looked_first: bool = False
    """Whether the reference was new, or was looked up before it was sent."""
    resent: bool = False
    """Whether it may have been sent more than once. Later runs check whether it was booked more than once."""
    order_id: str | None = None
    total: str | None = None
    """Its cost, or its cost if it was booked."""
    was_found: bool = False
    """Whether the order existed before the line was sent."""
    answer: str | None = None
    esims: str | None = None
    error: str | None = None


COLUMNS: Final = tuple(field.name for field in attrs.fields(Entry))
FLAGS: Final = ("final", "looked_first", "resent", "was_found")


def checksum(row: Sequence[Any]) -> int:
    """Return the checksum of the values of a row, in the order of its columns."""
    return zlib.crc32(json.dumps(row).encode())
