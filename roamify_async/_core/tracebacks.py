"""Tracebacks that show the caller's line and the call, and not the machinery between them."""

from types import TracebackType
from typing import Final

from roamify_async.errors import RoamifyError

_PACKAGE: Final = __name__.partition(".")[0]
_MACHINERY: Final = frozenset({_PACKAGE, "anyio", "asyncio", "attr", "cattrs", "concurrent", "contextlib", "threading"})
_GENERATED: Final = "<attrs generated"


def trim(error: Exception) -> None:
    """Remove the frames of the machinery below a call from the traceback of a refusal, or of a wrong argument.

    Frames of the caller's own code, such as callbacks, stay. So does the whole traceback of an exception that was not
    raised on purpose: one that is neither a ``RoamifyError``, nor a ``TypeError`` or ``ValueError`` raised by this
    package.
    """
    surface = error.__traceback__
    if surface is None:
        return
    entries: list[TracebackType] = []
    entry = surface.tb_next
    while entry is not None:
        entries.append(entry)
        entry = entry.tb_next
    if not entries or not (isinstance(error, RoamifyError) or _is_refusal(error, entries[-1])):
        return
    kept = [entry for entry in entries if not _is_machinery(entry)]
    below: TracebackType | None = None
    for entry in reversed([surface, *kept]):
        below = TracebackType(below, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    error.__traceback__ = below


def _is_refusal(error: Exception, innermost: TracebackType) -> bool:
    name: str = innermost.tb_frame.f_globals.get("__name__", "")
    is_own = name.partition(".")[0] == _PACKAGE or innermost.tb_frame.f_code.co_filename.startswith(_GENERATED)
    return isinstance(error, TypeError | ValueError) and is_own


def _is_machinery(entry: TracebackType) -> bool:
    name: str = entry.tb_frame.f_globals.get("__name__", "")
    return name.partition(".")[0] in _MACHINERY or entry.tb_frame.f_code.co_filename.startswith(_GENERATED)
