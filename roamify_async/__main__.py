"""The tour from the command line: ``python -m roamify_async``."""

import argparse
import sys
from collections.abc import Sequence
from contextlib import ExitStack

from .sandbox import Sandbox


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m roamify_async",
        description="A tour of the client: from the list of countries to a topped-up eSIM, awaited and then blocking,"
        " against a sandbox on this machine. No account is needed and no money is spent.",
        allow_abbrev=False,
    )
    parser.add_argument("--packages", type=int, default=28_000, metavar="N", help="size of the catalogue (28000)")
    return parser


def _complain(about: str) -> None:
    print(about, file=sys.stderr)


def _run(sandbox: Sandbox) -> int:
    try:
        from .tour import StepError, tour
    except ModuleNotFoundError as missing:
        name = (missing.name or "").partition(".")[0]
        if name not in {"rich", "segno"}:
            raise
        _complain(f"The tour needs {name}: pip install 'roamify-async[tour]'")
        return 2
    with ExitStack() as stack:
        try:
            stack.enter_context(sandbox)
        except OSError as refusal:
            _complain(f"The sandbox could not start: {refusal}")
            return 2
        try:
            tour(sandbox)
        except StepError as failure:
            _complain(str(failure))
            return 1
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Take the tour; give the exit code: 1 where a step failed, 2 where it cannot start, 130 after Ctrl-C."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    try:
        sandbox = Sandbox(packages=chosen.packages)
    except ValueError as refusal:
        parser.error(str(refusal))
    try:
        return _run(sandbox)
    except KeyboardInterrupt:
        _complain("Interrupted.")
        return 130


if __name__ == "__main__":
    sys.exit(main())
