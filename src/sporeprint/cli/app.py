"""The command line: reads options, calls the pipeline, shows the result. It computes nothing.

Everything that takes time to import is imported inside the command that needs it, so that `--help` answers at once.
"""

import gc
import os
import re
import signal
import sys
from collections.abc import Iterable, Sequence
from types import FrameType, TracebackType
from typing import Annotated, NoReturn

import typer
import typer.main

from sporeprint.cli.ab_test import ab_test
from sporeprint.cli.alerts import alerts
from sporeprint.cli.command import COMMON, group
from sporeprint.cli.config import config, tools
from sporeprint.cli.console import Screen, causes, described
from sporeprint.cli.db import db
from sporeprint.cli.engine import engine_commands
from sporeprint.cli.etl import etl_commands
from sporeprint.cli.export import export
from sporeprint.cli.init import init_commands
from sporeprint.cli.keys import keys
from sporeprint.cli.models import models
from sporeprint.cli.monitor import add_monitor_to
from sporeprint.cli.monitor_simulation import monitor_simulation_commands
from sporeprint.cli.panels import TOOLS, USE
from sporeprint.cli.predict import prediction_commands
from sporeprint.cli.serve import add_serve_to
from sporeprint.cli.simulate import simulation_commands
from sporeprint.cli.terminal import ReaderGoneError
from sporeprint.cli.threshold import threshold_commands
from sporeprint.cli.warehouse import warehouse
from sporeprint.common.optional_dependencies import missing
from sporeprint.errors import SporeprintError, StorageError, UsageError, expectation

#: What a shell says of a process that a signal ended: 128 and the signal's number.
INTERRUPTED, READER_GONE, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGPIPE, 128 + signal.SIGTERM

app = group(
    help="From a table of labelled observations to a classifier that people can trust.",
    epilog="sporeprint etl                                    the whole run, with config/config.yaml\n"
    "sporeprint etl --source observations.csv          of another table\n"
    "sporeprint predict new.csv --out answers.csv      what the best model says of new rows\n"
    "sporeprint serve                                  the same over HTTP\n"
    "sporeprint models list                            what is registered",
)


def _needs_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(UsageError.exit_code)


def _print_version(version: bool) -> None:
    if version:
        from sporeprint import __version__

        Screen.standard().write(f"sporeprint {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    _version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    _needs_command(context)


add_serve_to(prediction_commands, USE)
add_monitor_to(prediction_commands, USE)
for commands in (
    init_commands,
    etl_commands,
    prediction_commands,
    simulation_commands,
    threshold_commands,
    monitor_simulation_commands,
    tools,
):
    app.add_typer(commands)
for name, panel, commands in (
    ("models", USE, models),
    ("ab-test", USE, ab_test),
    ("export", USE, export),
    ("keys", USE, keys),
    ("alerts", USE, alerts),
    ("warehouse", USE, warehouse),
    ("db", TOOLS, db),
    ("config", TOOLS, config),
    ("engine", TOOLS, engine_commands),
):
    commands.callback()(_needs_command)
    app.add_typer(commands, name=name, rich_help_panel=panel)


# --- start and end -------------------------------------------------------------------------------------------------------


def main() -> NoReturn:
    """Run the command line of this process and end it with the exit code."""
    # Threads of a fit that wait for each other look only a short while before they sleep: with the default, on a machine that
    # does other work too, fits took many times as long. Read when the first OpenMP library is loaded; who set it knows better.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
    # A command is short, and most of what it makes at its start stays: looking for garbage as often as Python does
    # took a tenth of its time.
    gc.set_threshold(100_000, 20, 20)
    sys.excepthook = _unexpected
    signal.signal(signal.SIGTERM, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if reconfigure := getattr(stream, "reconfigure", None):  # absent where somebody has put another stream there
            reconfigure(errors="backslashreplace")
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run one command line; every error ends here, and here only becomes a message and an exit code.

    Returns:
        0 fine, 2 usage, 3 configuration, 4 data, 5 registry, 6 storage, 10 alarm, 11 not all computed, 75 retryable, 130 interrupted,
        141 nobody reads.
    """
    screen = _screen_of(arguments)
    try:
        code = typer.main.get_command(app).main(args=list(arguments), prog_name="sporeprint", standalone_mode=False)
    except ModuleNotFoundError as error:
        if (lacking := missing(error)) is None:
            raise
        _report(screen, lacking)
        return lacking.exit_code
    except (SporeprintError, OSError) as error:
        _report(screen, error)
        return getattr(error, "exit_code", StorageError.exit_code)
    except typer.TyperException as error:
        screen.error("UsageError", _usage(error))
        return error.exit_code
    except ReaderGoneError:
        return READER_GONE
    if code == INTERRUPTED:  # typer's translation of KeyboardInterrupt
        screen.error("Interrupted", "interrupted; run the command again, no half-written file is left", retryable=True)
    return code if isinstance(code, int) else 0


def _screen_of(arguments: Iterable[str]) -> Screen:
    """The screen that a command line asks for, also where it cannot be parsed."""
    options = list(arguments)
    verbose = any(re.fullmatch("--verbose|-q?v", option) for option in options)
    return Screen.standard(json="--json" in options, verbose=verbose)


def _report(screen: Screen, error: BaseException) -> None:
    if screen.verbose:
        screen.trace(causes(error))
    kind, message, retryable = described(error)
    screen.error(kind, message, retryable=retryable)


def _usage(error: typer.TyperException) -> str:
    """A usage error's message, and where to read on."""
    message = error.format_message()
    if (faults := getattr(error.__cause__, "errors", None)) is not None:  # pydantic's, without the value
        first = faults()[0]
        message = f"{message.partition(': ')[0]}: {expectation(first)}, not {str(first['input'])!r}"
    parameter = getattr(error, "param", None)
    if message.startswith("Missing option") and parameter is not None:
        message = f"{message} {parameter.help}"
    where = getattr(getattr(error, "ctx", None), "command_path", "sporeprint")
    option = getattr(error, "option_name", None)
    if option in COMMON and where == "sporeprint":
        message = f"{option} stands after the command, as in: sporeprint etl {option}"
    return f"{message}\n{where} --help lists the options"


def _unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:  # noqa: ARG001 -- the hook's signature
    """What the interpreter calls for an exception that nobody expected; it ends with exit code 1 afterwards."""
    screen = _screen_of(sys.argv[1:])
    if isinstance(error, KeyboardInterrupt):
        screen.error("Interrupted", "interrupted", retryable=True)
        return
    if screen.verbose:
        screen.trace(causes(error))
    if isinstance(error, MemoryError):
        screen.error(
            "MemoryError", "not enough memory; a smaller runtime.most_rows needs less from train on, a smaller runtime.batch_mb before"
        )
        return
    hint = "" if screen.verbose else " Run it again with --verbose to see where."
    screen.error(kind.__name__, f"unexpected {kind.__name__}: {error}\nThis is a fault in sporeprint, not in what you gave it.{hint}")


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 -- a signal handler's signature
    """End as an interrupt would, so that temporary files go."""
    raise SystemExit(TERMINATED)
