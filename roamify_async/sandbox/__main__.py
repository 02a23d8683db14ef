"""Runs a sandbox from the command line until it is interrupted or terminated."""

import argparse
import asyncio
import json
import signal
import sqlite3
import sys
from collections.abc import Callable, Sequence
from typing import Any, Final, Literal, get_args, get_origin, get_type_hints

from attrs import Attribute, Factory, fields

from .control.api import describe
from .faults.rules import FAULTS
from .options import Options
from .sandbox import Sandbox

_PORT: Final = 8787


def create_parser() -> argparse.ArgumentParser:
    """Create the parser, with one argument for each field of `Options`."""
    parser = argparse.ArgumentParser(
        prog="python -m roamify_async.sandbox",
        usage="%(prog)s [options]",
        description="A stand-in for Roamify's partner API on this machine. Prints one line of JSON with its url,"
        " token and webhookSecret, then serves until it is interrupted or terminated. A dashboard is at /.",
        epilog=_epilog(),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    types = get_type_hints(Options)
    for option in fields(Options):
        _add_argument(parser, option, types[option.name])
    parser.set_defaults(port=_PORT)
    return parser


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sandbox and return the exit code."""
    parser = create_parser()
    options: dict[str, Any] = vars(parser.parse_args(arguments))
    if "latency" in options:
        options["latency"] = dict(options["latency"])
    try:
        asyncio.run(_serve(Sandbox(**options)))
    except (ValueError, OSError, sqlite3.Error) as error:
        parser.error(str(error))
    return 0


async def _serve(sandbox: Sandbox) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with sandbox:
        about = {"url": sandbox.url, "token": sandbox.token, "webhookSecret": sandbox.webhook_secret}
        print(json.dumps(about), flush=True)
        await stop.wait()


def _add_argument(parser: argparse.ArgumentParser, option: "Attribute[Any]", type: object) -> None:
    metadata = option.metadata
    flag = "--" + (metadata["flag"] or option.name).replace("_", "-")
    settings: dict[str, Any] = {"dest": option.name, "help": _help(option)}
    if type is bool:
        parser.add_argument(flag, action=argparse.BooleanOptionalAction, **settings)
        return
    if get_origin(type) is Literal:
        settings["choices"] = get_args(type)
    else:
        settings["type"] = _explained(metadata["parse"]) if metadata["parse"] else type
        settings["metavar"] = metadata["metavar"] or option.name.upper()
    if metadata["repeated"]:
        settings["action"] = "append"
    parser.add_argument(flag, **settings)


def _help(option: "Attribute[Any]") -> str:
    text = str(option.metadata["help"]).replace("%", "%%")
    if option.metadata["repeated"]:
        text += " Repeatable."
    default = _PORT if option.name == "port" else option.default
    if option.name == "latency":
        return f"{text} (default: 0)"
    if default in (None, ()) or isinstance(default, Factory):  # type: ignore[arg-type]
        return text
    return f"{text} (default: {default})"


def _explained(parse: Callable[[str], Any]) -> Callable[[str], Any]:
    """Return a parser whose ValueErrors argparse shows with their own message."""

    def explained(text: str) -> Any:  # a value of the option's type
        try:
            return parse(text)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return explained


def _epilog() -> str:
    calls = "\n".join("\n      ".join(filter(None, (f"  {call}", body, text))) for call, body, text in describe())
    faults = "\n".join(f"  {name:<17} {text}" for name, text in FAULTS.items())
    return f"""\
control API (JSON; no token is needed on this machine):
{calls}

A fault hits the next requests of its method and path (`*` for any) whose query contains all its pairs. The request is
carried out before the fault strikes (after), or not at all (before). With all parameters, a fault is
  {{"method": "POST", "path": "/api/esim/order", "query": {{}}, "fault": "drop", "when": "after", "times": 1,
   "probability": 1.0, "seconds": 0}}
in which times is the number of requests, null for all.

faults:
{faults}
"""


if __name__ == "__main__":
    sys.exit(main())
