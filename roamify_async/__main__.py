"""Command line of the tour: ``python -m roamify_async``."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from .sandbox import Sandbox


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m roamify_async",
        description="A tour of the library: from the list of countries to a topped-up eSIM, with the async client and"
        " then the blocking one, against a sandbox on this machine. No account is needed and no money is spent.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--packages", type=int, default=28_000, metavar="N", help="number of packages in the catalogue (default: 28000)"
    )
    return parser


def _print_error(text: str) -> None:
    print(text, file=sys.stderr)


def _run(sandbox: Sandbox) -> int:
    try:
        from .tour import StepError, tour
    except ModuleNotFoundError as missing:
        name = (missing.name or "").partition(".")[0]
        if name not in {"rich", "segno"}:
            raise
        _print_error(f"The tour needs {name}: pip install 'roamify-async[tour]'")
        return 2
    with ExitStack() as stack:
        try:
            stack.enter_context(sandbox)
        except OSError as error:
            _print_error(f"The sandbox could not start: {error}")
            return 2
        try:
            tour(sandbox)
        except StepError as error:
            _print_error(str(error))
            return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the tour and return the exit code: 0, 1 if a step fails, 2 if it cannot start, 130 after Ctrl-C."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        sandbox = Sandbox(packages=options.packages)
    except ValueError as error:
        parser.error(str(error))
    try:
        return _run(sandbox)
    except KeyboardInterrupt:
        _print_error("Interrupted.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
