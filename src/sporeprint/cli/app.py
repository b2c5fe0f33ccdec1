"""The command line: reads what was asked for, calls the pipeline, shows the result. It computes nothing.

Everything that takes time to import is imported inside the command that needs it, so that `--help` answers at once.
"""

import os
import re
import signal
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import FrameType, TracebackType
from typing import Annotated, Any, NoReturn

import typer
import typer.main

from sporeprint.cli.ab_test import ab_test
from sporeprint.cli.alerts import alerts
from sporeprint.cli.command import ALL, COMMON, OUTPUT, PLACE, SETTINGS, Facts, Session, command, group, user
from sporeprint.cli.console import ReaderGoneError, Result, Screen, causes, described
from sporeprint.cli.db import db
from sporeprint.cli.keys import keys
from sporeprint.cli.models import models
from sporeprint.cli.monitor import add_to as add_monitor
from sporeprint.cli.serve import add_to as add_serve
from sporeprint.cli.warehouse import warehouse
from sporeprint.common.optional_dependencies import missing
from sporeprint.common.text_table import Table
from sporeprint.errors import SporeprintError, StorageError, UsageError

#: What a shell says of a process that a signal ended: 128 and the signal's number.
INTERRUPTED, READER_GONE, TERMINATED = 128 + signal.SIGINT, 128 + signal.SIGPIPE, 128 + signal.SIGTERM

_WHOLE, _STEPS, _USE, _TOOLS = "The whole run", "Its steps, one at a time", "Using the models", "Around it"

app = group(
    help="From a table of labelled observations to a classifier that people can trust.",
    epilog="sporeprint etl                                    the whole run, with config/config.yaml\n"
    "sporeprint etl --source observations.csv          of another table\n"
    "sporeprint predict new.csv --out answers.csv      what the best model says of new rows\n"
    "sporeprint serve                                  the same over HTTP\n"
    "sporeprint models list                            what is registered",
)
config = group(help="Check the configuration.")


def _needs_command(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        typer.echo(context.get_help(), err=True)
        raise typer.Exit(UsageError.exit_code)


def _print_version(asked: bool) -> None:
    if asked:
        from sporeprint import __version__

        Screen.standard().write(f"sporeprint {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    context: typer.Context,
    _version: Annotated[bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")] = False,
) -> None:
    _needs_command(context)


models.callback()(_needs_command)
ab_test.callback()(_needs_command)
keys.callback()(_needs_command)
alerts.callback()(_needs_command)
warehouse.callback()(_needs_command)
db.callback()(_needs_command)
config.callback()(_needs_command)


# --- the whole run, and its steps ----------------------------------------------------------------------------------------

Source = Annotated[
    str | None, typer.Option(metavar="FILE|URL", help="Table to read instead of the configuration's: a file, an address, a database.")
]


@command(
    app,
    ALL,
    panel=_WHOLE,
    examples="sporeprint etl\n"
    "sporeprint etl --source observations.csv --workdir /tmp/trial\n"
    "sporeprint etl --source https://example.org/observations.zip\n"
    "sporeprint etl --set split.seed=11 --set evaluation.folds=10\n"
    "sporeprint etl --from-warehouse --since 90d\n"
    "sporeprint etl --json > run.json",
)
def etl(
    session: Session,
    source: Source = None,
    from_warehouse: Annotated[
        bool, typer.Option("--from-warehouse", help="Add the answers of the warehouse whose outcome is known to the table.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="With --from-warehouse: only those given since 90d, or 2026-03-29T01:00Z.", show_default=False),
    ] = None,
) -> Result:
    """Do it all: read, check, split, train, evaluate, register."""
    if since is not None and not from_warehouse:
        raise UsageError("--since belongs to --from-warehouse")
    from sporeprint.pipelines.etl import run_etl
    from sporeprint.pipelines.extract import Outcomes

    outcomes = Outcomes(None if since is None else _since(since)) if from_warehouse else None
    return run_etl(session.settings, session.workdir, source=source, outcomes=outcomes, steps=session.screen.steps())


def _since(text: str) -> int:
    """Microseconds of a time, or of one so long ago."""
    import time

    from sporeprint.monitoring.windows import parse_duration, parse_instant

    return parse_instant(text, "--since") if "-" in text else time.time_ns() // 1000 - parse_duration(text, "--since")


@command(app, ALL, panel=_USE, examples="sporeprint retrain\nsporeprint retrain --since 90d --json")
def retrain(
    session: Session,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only answers since 90d, or 2026-03-29T01:00Z. Left out: retrain.days.")
    ] = None,
) -> Result:
    """Make a challenger from what came true, and hold it against production in a shadow test. Nothing is promoted."""
    from sporeprint.pipelines import retraining

    wanted = None if since is None else _since(since)
    return retraining.retrain(session.settings, session.workdir, since_us=wanted, actor=f"cli:{user()}", steps=session.screen.steps())


@command(app, ALL, panel=_STEPS, examples="sporeprint extract\nsporeprint extract --source observations.parquet")
def extract(session: Session, source: Source = None) -> Result:
    """Find, download or simulate the table, and note where it came from."""
    from sporeprint.pipelines.extract import run_extract

    return run_extract(session.settings, session.workdir, source=source, steps=session.screen.steps())


@command(app, ALL, panel=_STEPS, examples="sporeprint validate\nsporeprint validate --set validation.max_rejected_share=0.05")
def validate(session: Session) -> Result:
    """Check what extract found, row by row, and change nothing."""
    from sporeprint.pipelines.transform import run_validate

    return run_validate(session.settings, session.workdir, steps=session.screen.steps())


@command(app, ALL, panel=_STEPS, examples="sporeprint transform\nsporeprint transform --set validation.max_rejected_share=0.05")
def transform(session: Session) -> Result:
    """Check, clean and split what extract found; nothing is replaced yet."""
    from sporeprint.pipelines.transform import run_transform

    return run_transform(session.settings, session.workdir, steps=session.screen.steps())


@command(app, ALL, panel=_STEPS, examples="sporeprint load\nsporeprint load --run 20260329T010000Z-3f9c")
def load(
    session: Session,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Only this run of transform; nothing is done where it is published already.")
    ] = None,
) -> Result:
    """Publish what transform staged: the tables in data/."""
    from sporeprint.pipelines.load import run_load

    return run_load(session.settings, session.workdir, run_id=run, steps=session.screen.steps())


@dataclass(frozen=True)
class Versions:
    """The versions that `train --new-version` made."""

    results: tuple[Result, ...] = field(default=())

    def to_dict(self) -> Mapping[str, Any]:
        """As JSON values."""
        return {"versions": [result.to_dict() for result in self.results]}

    def tables(self) -> Sequence[Table]:
        """As people read it."""
        return [table for result in self.results for table in result.tables()]


@command(
    app,
    ALL,
    panel=_STEPS,
    examples="sporeprint train\n"
    "sporeprint train --model xgboost --model decision_tree\n"
    "sporeprint train --model xgboost --new-version --set models.xgboost.params.max_depth=8",
)
def train(
    session: Session,
    model: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this model; can be given several times.")] = None,
    new_version: Annotated[
        bool, typer.Option("--new-version", help="Register what was trained as a further version, without promoting it.")
    ] = False,
) -> Result:
    """Fit the configuration's models on the loaded training rows."""
    from sporeprint.pipelines.etl import run_new_version
    from sporeprint.pipelines.train import run_train

    if not new_version:
        return run_train(session.settings, session.workdir, models=model, steps=session.screen.steps())
    steps = session.screen.steps()
    names = model or list(session.settings.models)
    return Versions(tuple(run_new_version(session.settings, session.workdir, name, steps=steps) for name in dict.fromkeys(names)))


@command(app, ALL, panel=_STEPS, examples="sporeprint evaluate\nsporeprint evaluate --full")
def evaluate(
    session: Session,
    full: Annotated[
        bool,
        typer.Option(
            "--full", help="Hold groups out one at a time, and the promises to their word on random splits: minutes, not seconds."
        ),
    ] = False,
) -> Result:
    """Measure the trained models on seen and on unseen groups; write the report."""
    from sporeprint.pipelines.evaluate import run_evaluate

    return run_evaluate(session.settings, session.workdir, full=full, steps=session.screen.steps())


@command(app, ALL, panel=_STEPS, examples="sporeprint register\nsporeprint register --no-promote")
def register(
    session: Session,
    promote: Annotated[bool, typer.Option("--promote/--no-promote", help="Whether champions and production move through the gate.")] = True,
) -> Result:
    """Give the trained models a version each, and make the best one production."""
    from sporeprint.pipelines.register import run_register

    return run_register(session.settings, session.workdir, promote=promote, steps=session.screen.steps())


# --- using the models ----------------------------------------------------------------------------------------------------


@command(
    app,
    PLACE,
    panel=_USE,
    examples="sporeprint predict new.csv --out answers.csv\n"
    "sporeprint predict new.parquet --out answers.parquet --model xgboost\n"
    "sporeprint predict new.csv --out answers.csv --model xgboost/v2\n"
    "sporeprint predict new.parquet --out scores.parquet --scores    no verdicts: for analysis, twice as fast",
)
def predict(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The rows to score, CSV or Parquet.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="Answers to write, CSV or Parquet by the name's ending.", show_default=False)],
    model: Annotated[str, typer.Option(metavar="NAME", help="production, a model's name, or one version of it as name/v2.")] = "production",
    scores: Annotated[
        bool, typer.Option("--scores", help="Prediction and probability only, whether the model knows such rows or not: nothing to act on.")
    ] = False,
) -> Result:
    """Answer the rows of a file: its columns, then verdict, probability and how novel each row is."""
    from sporeprint.common.optional_dependencies import leave_out
    from sporeprint.pipelines import batch_prediction as scoring

    if out.exists() and file.exists() and file.samefile(out):
        raise UsageError(f"--out {out} is the file to score itself; name another one")
    leave_out("xgboost", "pandas", "sklearn")
    return scoring.predict(session.workdir, file, out, model=model, guarded=not scores, steps=session.screen.steps())


@command(
    app,
    PLACE,
    panel=_USE,
    examples="sporeprint explain cap-diameter=15.3 cap-shape=convex cap-color=orange stem-height=17\n"
    "sporeprint explain cap-shape=x cap-color=o --model xgboost/v2 --json",
)
def explain(
    session: Session,
    fields: Annotated[list[str], typer.Argument(metavar="FIELD=VALUE...", help="One observation, by code or word.", show_default=False)],
    model: Annotated[str, typer.Option(metavar="NAME", help="production, a model's name, or one version of it as name/v2.")] = "production",
) -> Result:
    """Answer one observation, with what moved the score and the nearest one that is known."""
    from sporeprint.pipelines import explanation as explaining

    given: dict[str, str] = {}
    for text in fields:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{text!r}: expected FIELD=VALUE, as in cap-shape=convex")
        if name in given:
            raise UsageError(f"field {name!r} is given twice")
        given[name] = value
    return explaining.explain(session.workdir, given, model=model)


add_serve(app, _USE)
add_monitor(app, _USE)

# --- around it -----------------------------------------------------------------------------------------------------------


def _words(given: Iterable[str] | None) -> tuple[str, ...]:
    """Words of an option that can be given several times, or once with commas."""
    return tuple(word.strip() for words in given or () for word in words.split(",") if word.strip())


def _count(given: str | int) -> int:
    """A whole number, also as 61_000_000, 61,000,000, 61M, 5k."""
    text = str(given).replace("_", "").replace(",", "")
    factor = {"k": 1_000, "M": 1_000_000}.get(text[-1:], 1)
    try:
        return int(text if factor == 1 else text[:-1]) * factor
    except ValueError:
        raise typer.BadParameter(f"{str(given)!r} is no whole number; write it as in 61069, 5k or 61M") from None


def _number(given: str | float) -> float:
    try:
        return float(given)
    except ValueError:
        raise typer.BadParameter(f"{given!r} is no number; write it as in 0.02") from None


_DRIFT, _SPOIL = "Drift", "Bad rows"


@command(
    app,
    SETTINGS,
    panel=_TOOLS,
    examples="sporeprint simulate --out sample.csv\n"
    "sporeprint simulate --rows 61000000 --species 500 --out big.parquet\n"
    "sporeprint simulate --out drifted.csv --draw 1 --drift-shift 0.5 --drift-missing 0.1\n"
    "sporeprint simulate --out bad.csv --spoil 0.02 --spoil-kinds not_a_number,unknown_code",
)
def simulate(
    session: Session,
    out: Annotated[Path, typer.Option(metavar="FILE", help="Table to write, CSV or Parquet by the name's ending.", show_default=False)],
    rows: Annotated[int, typer.Option(parser=_count, metavar="N", help="Rows to invent.")] = 61_069,
    species: Annotated[
        int, typer.Option(parser=_count, metavar="S", help="Groups (species) they belong to, one block of rows each.")
    ] = 173,
    seed: Annotated[int, typer.Option(parser=_count, metavar="N", help="Of the world: another one has other species.")] = 7,
    draw: Annotated[int, typer.Option(parser=_count, metavar="N", help="Of the rows: another one has other rows of the same species.")] = 0,
    names: Annotated[Path | None, typer.Option(metavar="FILE", help="Write the groups' names to this CSV file too.")] = None,
    missing: Annotated[bool, typer.Option("--missing/--no-missing", help="Whether values may be missing.")] = True,
    drift_start: Annotated[
        float, typer.Option(parser=_number, metavar="SHARE", rich_help_panel=_DRIFT, help="Share of the rows before anything changes.")
    ] = 0.0,
    drift_shift: Annotated[
        float,
        typer.Option(
            parser=_number, metavar="SD", rich_help_panel=_DRIFT, help="Added to every number, in standard deviations of its species."
        ),
    ] = 0.0,
    drift_new: Annotated[
        float,
        typer.Option(parser=_number, metavar="SHARE", rich_help_panel=_DRIFT, help="Share of the rows that get a code no other row has."),
    ] = 0.0,
    drift_undeclared: Annotated[
        bool, typer.Option("--drift-undeclared", rich_help_panel=_DRIFT, help="Make that code one that the configuration does not list.")
    ] = False,
    drift_missing: Annotated[
        float,
        typer.Option(parser=_number, metavar="SHARE", rich_help_panel=_DRIFT, help="Share of the rows that lose a value, in each column."),
    ] = 0.0,
    drift_columns: Annotated[
        list[str] | None,
        typer.Option(metavar="NAMES", rich_help_panel=_DRIFT, help="Columns that change, commas between. Left out: all."),
    ] = None,
    spoil: Annotated[
        float,
        typer.Option(parser=_number, metavar="SHARE", rich_help_panel=_SPOIL, help="Share of the rows to spoil; a ledger says which."),
    ] = 0.0,
    spoil_kinds: Annotated[
        list[str] | None,
        typer.Option(metavar="KINDS", rich_help_panel=_SPOIL, help="Ways to spoil them, commas between. Left out: all."),
    ] = None,
) -> Result:
    """Invent a table of any size, with species, drift and bad rows on demand."""
    from sporeprint.simulation.generator import Drift, Spoil, simulate_names
    from sporeprint.simulation.generator import simulate as invent

    schema = session.settings.dataset
    drift = Drift(
        start=drift_start,
        numeric_shift=drift_shift,
        new_category=drift_new,
        undeclared=drift_undeclared,
        missing=drift_missing,
        columns=_words(drift_columns),
    )
    with session.screen.steps().step("simulate") as progress:
        made = invent(
            schema,
            out,
            rows=rows,
            groups=species,
            seed=seed,
            draw=draw,
            drift=drift,
            spoil=Spoil(share=spoil, kinds=_words(spoil_kinds)),
            missing=missing,
            progress=progress,
        )
        if names is not None:
            simulate_names(schema, names, groups=species, seed=seed)
    facts = {**asdict(made), "names": names}
    values = {key: str(value) if isinstance(value, Path) else value for key, value in facts.items()}
    shown = tuple((key.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value)) for key, value in facts.items() if value)
    return Facts({**values, "simulated": True}, (Table("Simulated: invented data", ("", ""), shown),))


@command(
    config,
    ALL,
    name="check",
    examples="sporeprint config check\nsporeprint config check --show --set split.seed=11",
)
def config_check(
    session: Session,
    show: Annotated[bool, typer.Option("--show", help="Show every setting as it will be used, defaults included.")] = False,
) -> Result:
    """Read and check the configuration, the environment and --set, as every run does first."""
    settings = session.settings
    groups = settings.dataset.groups
    rows = (
        ("file", str(session.config)),
        ("dataset", settings.dataset.name),
        ("target", f"{settings.dataset.target.column}, positive: {settings.dataset.target.values[settings.dataset.target.positive]}"),
        ("features", f"{len(settings.dataset.numeric)} numeric, {len(settings.dataset.nominal)} nominal"),
        ("groups", "none" if groups is None else groups.name),
        ("models", ", ".join(settings.models)),
    )
    values: dict[str, Any] = {"ok": True, "config": str(session.config), "models": list(settings.models)}
    if show:
        values["settings"] = _masked(settings.model_dump(mode="json", exclude_none=True))
        if not session.screen.json:
            session.screen.write(_yaml(values["settings"]))
            return Facts(values, ())
    return Facts(values, (Table("The configuration is good", ("", ""), rows),))


def _masked(value: Any) -> Any:
    """Settings without the secrets of addresses."""
    from sporeprint.ingestion.file_formats import masked

    if isinstance(value, dict):
        return {key: _masked(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_masked(item) for item in value]
    return masked(value) if isinstance(value, str) else value


def _yaml(value: Any) -> str:
    import io

    from ruamel.yaml import YAML

    text, yaml = io.StringIO(), YAML()  # the kind that keeps the order of keys
    yaml.width = 120
    yaml.dump(value, text)
    return text.getvalue().rstrip("\n")


@command(app, OUTPUT, panel=_TOOLS, examples="sporeprint version --json")
def version(session: Session) -> Result:  # noqa: ARG001 -- every command takes one
    """Show the version, and those of what it is built on."""
    import platform
    from importlib.metadata import version as installed

    from sporeprint import __version__

    libraries = {"python": platform.python_version()}
    libraries |= {name: installed(name) for name in ("polars", "scikit-learn", "onnxruntime", "numpy")}
    rows = (("sporeprint", __version__), *libraries.items())
    return Facts({"sporeprint": __version__, "libraries": libraries}, (Table("", ("", ""), rows),))


app.add_typer(models, name="models", rich_help_panel=_USE)
app.add_typer(ab_test, name="ab-test", rich_help_panel=_USE)
app.add_typer(keys, name="keys", rich_help_panel=_USE)
app.add_typer(alerts, name="alerts", rich_help_panel=_USE)
app.add_typer(warehouse, name="warehouse", rich_help_panel=_USE)
app.add_typer(db, name="db", rich_help_panel=_TOOLS)
app.add_typer(config, name="config", rich_help_panel=_TOOLS)


# --- start and end -------------------------------------------------------------------------------------------------------


def main() -> NoReturn:
    """Run the command line of this process and end it with the exit code."""
    # Threads of a fit that wait for each other look only a short while before they sleep: with the default, on a machine that
    # does other work too, fits took many times as long. Read when the first OpenMP library is loaded; who set it knows better.
    os.environ.setdefault("GOMP_SPINCOUNT", "10000")
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
    asked = list(arguments)
    verbose = any(re.fullmatch("--verbose|-q?v", argument) for argument in asked)
    return Screen.standard(json="--json" in asked, verbose=verbose)


def _report(screen: Screen, error: BaseException) -> None:
    if screen.verbose:
        screen.trace(causes(error))
    kind, message, retryable = described(error)
    screen.error(kind, message, retryable=retryable)


def _usage(error: typer.TyperException) -> str:
    """A usage error's message, and where to read on."""
    message = error.format_message()
    where = getattr(getattr(error, "ctx", None), "command_path", "sporeprint")
    option = getattr(error, "option_name", None)
    if option in COMMON and where == "sporeprint":
        message = f"{option} stands after the command, as in: sporeprint etl {option}"
    return f"{message}\n{where} --help shows what can be given"


def _unexpected(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:  # noqa: ARG001 -- the hook's signature
    """What the interpreter calls for an exception that nobody expected; it ends with exit code 1 afterwards."""
    screen = _screen_of(sys.argv[1:])
    if isinstance(error, KeyboardInterrupt):
        screen.error("Interrupted", "interrupted", retryable=True)
        return
    if screen.verbose:
        screen.trace(causes(error))
    if isinstance(error, MemoryError):
        screen.error("MemoryError", "not enough memory; a smaller runtime.batch_mb or fewer runtime.threads need less")
        return
    hint = "" if screen.verbose else " Run it again with --verbose to see where."
    screen.error(kind.__name__, f"unexpected {kind.__name__}: {error}\nThis is a fault in sporeprint, not in what you gave it.{hint}")


def _terminate(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 -- a signal handler's signature
    """End as an interrupt would, so that temporary files go."""
    raise SystemExit(TERMINATED)
