"""Search for leaked tokens in logs, errors, tracebacks with local variables, pickles and warnings."""

import logging
import pickle
import traceback
import warnings
from pathlib import Path
from typing import Any

import aiohttp
import pytest

import roamify_async
from roamify_async import RoamifyError
from roamify_async._http.transport import Transport

TOKENS = (
    "roamify_sandbox_not_a_real_token",
    "secret-token",
    "not-the-right-token",
    "whsec_sandbox_not_a_real_secret",
)
CLIENT = Path(roamify_async.__file__).parent
AIOHTTP = Path(aiohttp.__file__).parent


class Watch(logging.Handler):
    """Collects the text of every log record, every error that is created, and what cancels a request."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Watch the root logger at DEBUG, errors and warnings."""
        super().__init__(logging.DEBUG)
        self.setFormatter(logging.Formatter("%(name)s %(message)s"))
        self.texts: list[str] = []
        self.errors: list[RoamifyError] = []
        make, show, send = RoamifyError.__init__, warnings.showwarning, Transport.send

        def creating(error: RoamifyError, *args: object, **kwargs: object) -> None:
            self.errors.append(error)
            make(error, *args, **kwargs)

        def showing(message: Warning | str, *args: object, **kwargs: object) -> None:
            self.texts.append(str(message))
            show(message, *args, **kwargs)

        async def sending(*args: Any, **kwargs: Any) -> Any:
            try:
                return await send(*args, **kwargs)
            except BaseException as error:
                self.texts += frames(error)
                raise

        monkeypatch.setattr(Transport, "send", sending)
        monkeypatch.setattr(RoamifyError, "__init__", creating)
        monkeypatch.setattr(warnings, "showwarning", showing)

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the text of a record, and the ``repr`` of its arguments."""
        self.texts += [self.format(record), repr(record.args)]

    def shown(self) -> list[str]:
        """Return all texts in which a token might appear."""
        texts = [*self.texts]
        for error in self.errors:
            texts += [str(error), repr(error), repr(pickle.dumps(error)), *frames(error)]
        return texts


def frames(error: BaseException | None) -> list[str]:
    """Return the local variables in the frames of the library and of aiohttp's client, of an error and its causes."""
    shown: list[str] = []
    while error is not None:
        for frame, _ in traceback.walk_tb(error.__traceback__):
            if _is_watched(Path(frame.f_code.co_filename)):
                shown += [
                    f"{frame.f_code.co_name} {name} = {safe_repr(value)}" for name, value in frame.f_locals.items()
                ]
        error = error.__cause__ or error.__context__
    return shown


def _is_watched(path: Path) -> bool:
    if path.is_relative_to(CLIENT):
        return not {"sandbox", "tour"} & set(path.relative_to(CLIENT).parts)
    return path.is_relative_to(AIOHTTP) and not path.name.startswith("web")


def safe_repr(value: object) -> str:
    """Return the ``repr`` of a value, or why it has none."""
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 -- a repr may fail in any way
        return f"no repr: {error}"
