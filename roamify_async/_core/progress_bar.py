"""Progress bars of tqdm, for ``progress=True``. tqdm is imported when a bar is created."""

import sys
from functools import partial
from typing import Any

from roamify_async.models._extras import missing

from .callbacks import run_in_caller


class ProgressBar:
    """A bar that is drawn in the caller's thread, in a terminal or a notebook.

    Args:
        unit: What is counted, such as ``" lines"``.
    """

    def __init__(self, unit: str) -> None:
        try:
            from tqdm.auto import tqdm  # pyright: ignore[reportMissingTypeStubs, reportMissingModuleSource, reportUnknownVariableType]
        except ModuleNotFoundError as error:
            raise missing(error, "tqdm", "notebook") from None
        # The monitor is a thread that would stay when the bar is gone.
        self._class: Any = type("Bar", (tqdm,), {"monitor_interval": 0})
        self._unit = unit
        self._bar: Any = None

    async def show(self, done: int, total: int | None, text: str) -> None:
        """Show how much is done, and a text behind the bar."""
        await run_in_caller(partial(self._show, done, total, text))

    def _show(self, done: int, total: int | None, text: str) -> None:
        if self._bar is None:
            self._bar = self._class(total=total, initial=done, unit=self._unit, file=sys.stderr)
        bar = self._bar
        if total is not None and total != bar.total:
            bar.reset(total)
        bar.set_postfix_str(text, refresh=False)
        bar.update(done - bar.n)

    async def finish(self) -> None:
        """Show that all is done, whatever the total was."""
        await run_in_caller(self._finish)

    def _finish(self) -> None:
        if self._bar is not None:
            self._bar.total = self._bar.n
            self.close()

    def close(self, note: str = "") -> None:
        """Leave the bar as it is, with a note below it that says how to go on."""
        if self._bar is not None:
            self._bar.refresh()
            self._bar.close()
            self._bar = None
            if note:
                self._class.write(note, file=sys.stderr)
