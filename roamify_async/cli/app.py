"""The application: its global options, its commands, and how it ends."""

import importlib
import signal
import sys
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Annotated, Any, Final, Literal

import attrs
from cyclopts import App, CycloptsError, Group, Parameter

from roamify_async._version import __version__
from roamify_async.errors import RoamifyError

from . import failures
from .accounts import Choice
from .context import Context, Format, split_columns, using
from .delegates import delegate
from .exits import EXIT_CODES, INTERRUPTED, PARTLY, REFUSED, USAGE, CommandError
from .parameters import subcommand
from .table import DELEGATED, GROUPS, SECTIONS, Call, Command

HELP: Final = """\
Buy and run travel eSIMs with Roamify's partner API.

On a terminal, results are tables. In a pipe they are tab-separated values without a header, in the same columns. \
Everything else, such as questions and errors, is on the standard error. Purchases ask first, or need --yes.

The API key comes from --token-file, --profile, the variable ROAMIFY_TOKEN, or the profile of "roamify login". \
To try any command without an account, add --sandbox. "roamify COMMAND --help" shows how a command is used."""

GLOBAL: Final = Group("Global options", sort_key=1000)
_Flag = Annotated[bool, Parameter(group=GLOBAL, negative="", show_default=False)]


NAMES: Final = {row.name.split()[0] for rows in GROUPS.values() for row in rows}
"""First words of all commands. The help without one is not rendered as Markdown, whose library takes long to import."""


@attrs.define
class _Run:
    """The context of a run, once the global options are parsed."""

    context: Context


def create_app(run: _Run | None = None, words: Iterable[str] | None = None) -> App:
    """Create the application.

    Args:
        run: Where the context is kept.
        words: Arguments of the run. Only commands that are among them are imported; by default all.
    """
    app = App(
        name="roamify",
        help=HELP,
        help_epilogue=EXIT_CODES,
        help_format="plaintext" if words is not None and not NAMES & {*words} else "markdown",
        version=__version__,
        result_action="return_value",
        suppress_keyboard_interrupt=False,
    )
    for flag in ("--help", "--version"):
        app[flag].group = GLOBAL
    sections: dict[str, App] = {}
    for number, (title, rows) in enumerate(GROUPS.items()):
        group = Group(title, sort_key=number)
        for row in rows:
            section, _, name = row.name.rpartition(" ")
            if section and section not in sections:
                sections[section] = App(name=section, help=SECTIONS[section], group=group)
                app.command(sections[section])
            is_wanted = words is None or row.name.split()[0] in words
            _add(sections.get(section, app), name, row, group, is_wanted=is_wanted)
    programs = Group("Programs", sort_key=len(GROUPS))
    for name, (_, text) in DELEGATED.items():
        subcommand(app, name, help=text, group=programs)(_never)
    app.meta.suppress_keyboard_interrupt = False
    app.meta.default(_launcher(app, run or _Run(Context())))
    return app


def _never() -> None:
    """Stand for a program, which parses its own arguments."""


def _add(app: App, name: str, row: Call | Command, group: Group, *, is_wanted: bool) -> None:
    """Add a command. One that is not wanted is imported only if it is called."""
    options: dict[str, Any] = {} if app.name != ("roamify",) else {"group": group}
    target = f"calls:{row.name.replace(' ', '_')}" if isinstance(row, Call) else row.target
    module, _, attribute = target.partition(":")
    path = f"{__package__}.{module}"
    if not is_wanted:
        app.command(f"{path}:{attribute}", name=name, help=row.help, **options)
        return
    found: Any = getattr(importlib.import_module(path), attribute)
    if isinstance(found, App):
        found.group = options.get("group", ())
        found.help = row.help
        app.command(found)
    else:
        subcommand(app, name, **options)(found)


def _launcher(app: App, run: _Run) -> Callable[..., Any]:
    def launch(
        *tokens: Annotated[str, Parameter(show=False, allow_leading_hyphen=True)],
        json: _Flag = False,
        jsonl: _Flag = False,
        csv: _Flag = False,
        tsv: _Flag = False,
        columns: Annotated[list[str] | None, Parameter(group=GLOBAL, negative="")] = None,
        profile: Annotated[str | None, Parameter(group=GLOBAL)] = None,
        token_file: Annotated[str | None, Parameter(group=GLOBAL, allow_leading_hyphen=True)] = None,
        base_url: Annotated[str | None, Parameter(group=GLOBAL)] = None,
        dev: _Flag = False,
        sandbox: _Flag = False,
        window: Annotated[float | None, Parameter(group=GLOBAL)] = None,
        quiet: Annotated[
            bool, Parameter(name=("--quiet", "-q"), group=GLOBAL, negative="", show_default=False)
        ] = False,
        verbose: Annotated[int, Parameter(name=("--verbose", "-v"), group=GLOBAL, count=True, show_default=False)] = 0,
    ) -> Any:
        """Run a command.

        Args:
            json: Print one JSON document: what the call returns, with the names of the API.
            jsonl: Print a line of JSON for each result.
            csv: Print CSV with a header.
            tsv: Print tab-separated values, also on a terminal.
            columns: Columns to print, separated by commas, with the names of --json; for example id,esim.lpaCode.
            profile: Use the key of this profile, from "roamify login --profile NAME".
            token_file: Read the API key from this file; "-" is the standard input.
            base_url: Base URL of the API.
            dev: Use Roamify's development environment.
            sandbox: Use a sandbox on this machine, which keeps its state. No account is needed, no money spent.
            window: Seconds for which a purchase in doubt is looked up; 30 by default.
            quiet: Print only errors, and the references of purchases, on the standard error.
            verbose: Log what is sent; twice for more.
        """
        run.context = Context(
            choice=_choice(profile, token_file, base_url, dev=dev, sandbox=sandbox),
            format=_format({"json": json, "jsonl": jsonl, "csv": csv, "tsv": tsv}),
            columns=split_columns(columns or ()),
            quiet=quiet,
            verbose=verbose,
            window=window,
        )
        _log(run.context)
        with using(run.context):
            return app(tokens)

    return launch


def _choice(profile: str | None, token_file: str | None, base_url: str | None, *, dev: bool, sandbox: bool) -> Choice:
    if (base_url is not None) + dev + sandbox > 1:
        raise CommandError("pass only one of --base-url, --dev and --sandbox")
    if sandbox and (profile or token_file):
        raise CommandError("--sandbox needs no --profile and no --token-file")
    if profile and token_file:
        raise CommandError("pass only one of --profile and --token-file")
    if dev:
        from roamify_async import settings

        base_url = settings.DEVELOPMENT
    return Choice(profile=profile, token_file=token_file, base_url=base_url, sandbox=sandbox)


def _format(flags: "dict[Format, bool]") -> Format:
    chosen: list[Format] = [name for name, is_given in flags.items() if is_given]
    if len(chosen) > 1:
        raise CommandError(f"pass only one of {', '.join(f'--{name}' for name in chosen)}")
    return chosen[0] if chosen else "table" if sys.stdout.isatty() else "tsv"


def _log(context: Context) -> None:
    import logging

    level = (logging.WARNING, logging.INFO, logging.DEBUG)[min(context.verbose, 2)]
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    logger = logging.getLogger("roamify_async")
    logger.handlers[:] = [handler]
    logger.setLevel(logging.ERROR if context.quiet else level)


# ---------------------------------------------------------------- running


def run(arguments: Sequence[str]) -> int:
    """Run the application, and return the exit code."""
    state = _Run(Context(format="json" if {"--json", "--jsonl"} & {*arguments} else "tsv"))
    for number in (signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else [])):
        with suppress(ValueError):  # not in the main thread
            signal.signal(number, signal.default_int_handler)
    try:
        code = delegate(arguments)
        if code is None:
            code = create_app(state, arguments).meta(list(arguments), exit_on_error=False, print_error=False)
        sys.stdout.flush()
    except BaseException as error:  # noqa: BLE001 -- every failure has an exit code
        return _failed(state.context, error)
    return code if isinstance(code, int) else 0


def _failed(context: Context, error: BaseException) -> int:
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, KeyboardInterrupt):
        return _interrupted(context, error)
    if isinstance(error, CycloptsError):
        hint = f"{' '.join(('roamify', *(error.command_chain or ())))} --help shows how it is used"
        return failures.report(context, CommandError(str(error), USAGE, hint))
    if isinstance(error, BrokenPipeError):
        from .output import discard_output

        discard_output()
    if context.paid and not isinstance(error, RoamifyError):
        context.say(f"error: it is paid, but was not shown: {error}", always=True)
        context.say(f"hint: this shows it, without buying anything twice: {context.paid[-1]}", always=True)
        return PARTLY
    if isinstance(error, BrokenPipeError):
        return REFUSED
    if context.verbose and not isinstance(error, CommandError | RoamifyError):
        import traceback

        traceback.print_exception(error)
    return failures.report(context, error)


def _interrupted(context: Context, error: KeyboardInterrupt) -> int:
    context.say("interrupted", always=True)
    for note in getattr(error, "__notes__", ()):
        context.say(note, always=True)
    return INTERRUPTED


def completion(shell: Literal["bash", "zsh", "fish", "powershell"], /) -> None:
    """Print a completion script for a shell.

    For example, `roamify completion bash > ~/.local/share/bash-completion/completions/roamify`.

    Args:
        shell: The shell.
    """
    sys.stdout.write(create_app().generate_completion(prog_name="roamify", shell=shell))
