"""Commands that are programs of their own, which parse their own arguments."""

import importlib
import os
from collections.abc import Sequence
from typing import Any, Final

from .accounts import Choice, resolve
from .exits import USAGE, CommandError
from .table import DELEGATED

WITH_VALUE: Final = {"--profile": "profile", "--token-file": "token_file", "--base-url": "base_url"}
"""Global options that may precede the name of a program."""
EXTRAS: Final = {"worker": "durable", "tour": "tour", "sandbox": "sandbox", "ledger": "postgres"}
"""The extras of programs, if one of their packages is missing."""
WITH_TOKEN: Final = {"ledger", "worker"}
"""Programs that take the token and the base URL from the environment."""


def delegate(arguments: Sequence[str]) -> int | None:
    """Run the program that the arguments name, and return its exit code; ``None`` if they name none."""
    options, rest = dict[str, Any](), list(arguments)
    while rest and rest[0].startswith("-"):
        name, equals, value = rest.pop(0).partition("=")
        if name not in WITH_VALUE or not (equals or rest):
            return None
        options[WITH_VALUE[name]] = value if equals else rest.pop(0)
    if not rest or rest[0] not in DELEGATED:
        return None
    name, *own = rest
    if name in WITH_TOKEN and options:
        account = resolve(Choice(**options))
        os.environ["ROAMIFY_TOKEN"] = account.token
        if account.base_url is not None:
            os.environ["ROAMIFY_BASE_URL"] = account.base_url
    return _run(name, own)


def _run(name: str, arguments: list[str]) -> int:
    path, _ = DELEGATED[name]
    try:
        module = importlib.import_module(path)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if missing.startswith("roamify_async"):
            raise CommandError(f"roamify {name} needs {missing}, which this version of roamify-async lacks") from None
        extra = EXTRAS[name]
        raise CommandError(f"roamify {name} needs {missing}", USAGE, f"pip install 'roamify-async[{extra}]'") from None
    code: object = module.main(arguments)
    return code if isinstance(code, int) else 0
