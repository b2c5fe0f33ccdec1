"""`sporeprint etl` and its steps, one command each; and `sporeprint retrain`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sporeprint.cli.command import ALL, CONFIG, Session, command, group, user
from sporeprint.cli.console import Result
from sporeprint.cli.init import Positive, Target, split_codes
from sporeprint.cli.panels import STEPS, USE, WHOLE
from sporeprint.common.redaction import redacted
from sporeprint.common.text_table import Table
from sporeprint.errors import UsageError

if TYPE_CHECKING:
    from sporeprint.settings import Settings

etl_commands = group()

Simulate = Annotated[bool, typer.Option("--simulate", help="Simulate a table if it is missing and cannot be downloaded.")]
AllowSimulated = Annotated[bool, typer.Option("--allow-simulated", help="Permit promotion of models trained on simulated data.")]

Source = Annotated[
    str | None,
    typer.Option(
        metavar="FILE|FOLDER|URL", help="Table to read: a file, folder, pattern, address or database. Default: the configuration's."
    ),
]

EngineName = Annotated[
    str | None,
    typer.Option("--engine", metavar="MASTER", help="local, spark://HOST:7077 or Dask's tcp://HOST:8786. Default: the configuration's."),
]


@command(
    etl_commands,
    ALL,
    panel=WHOLE,
    examples="sporeprint etl\n"
    "sporeprint etl --source observations.csv --workdir /tmp/trial\n"
    "sporeprint etl --source churn.csv --target churned    of a table without a configuration: drafts one, as init does\n"
    "sporeprint etl --source https://example.org/observations.zip\n"
    "sporeprint etl --set split.seed=11 --set evaluation.folds=10\n"
    "sporeprint etl --from-warehouse --since 90d\n"
    "sporeprint etl --engine spark://host:7077    checks and splits on a cluster that sees the work directory\n"
    "sporeprint etl --json > run.json",
)
def etl(
    session: Session,
    source: Source = None,
    target: Target = None,
    positive: Positive = None,
    simulate: Simulate = False,
    allow_simulated: AllowSimulated = False,
    from_warehouse: Annotated[
        bool, typer.Option("--from-warehouse", help="Add predictions with known outcomes from the warehouse.")
    ] = False,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="With --from-warehouse: only predictions since 90d, or 2026-03-29T01:00Z.", show_default=False),
    ] = None,
    track: Annotated[
        str | None,
        typer.Option(metavar="URI", help="Log the run to this MLflow tracking server: http://host:5000, or a folder.", show_default=False),
    ] = None,
    engine: EngineName = None,
) -> Result:
    """Run all steps: extract, transform, load, train, evaluate, register."""
    if since is not None and not from_warehouse:
        raise UsageError("--since belongs to --from-warehouse")
    from sporeprint.pipelines.etl import run_etl
    from sporeprint.pipelines.extract import Outcomes

    outcomes = Outcomes(None if since is None else _since(since)) if from_warehouse else None
    settings = session.settings if target is None else _drafted(session, source, target, positive)
    settings = with_engine(_with_simulation(settings, simulate), engine)
    source = source if target is None else None  # the drafted configuration names it
    result = run_etl(
        settings, session.workdir, source=source, outcomes=outcomes, allow_simulated=allow_simulated, steps=session.screen.steps()
    )
    if track is not None:
        from sporeprint.pipelines.mlflow_tracking import track_run

        run_id = track_run(session.settings, session.workdir, result, track)
        session.screen.say(
            f"not tracked by MLflow at {redacted(track)}: see the log" if run_id is None else f"tracked by MLflow as run {run_id}"
        )
    return result


def _drafted(session: Session, source: str | None, target: str, positive: str | None) -> "Settings":
    """The settings of a new configuration for a table, which is written beside the others."""
    from sporeprint.pipelines.draft import draft_configuration, write_draft
    from sporeprint.settings import load_settings

    if source is None:
        raise UsageError("--target belongs to --source: it drafts a configuration for a table, as sporeprint init does")
    path = session.workdir / CONFIG
    if path.exists():
        raise UsageError(f"{path} exists, and is not replaced; leave --target out to use it, or name another --workdir")
    drafted = draft_configuration(source, session.workdir, target=target, positive=split_codes(positive))
    write_draft(drafted, path)
    chosen = drafted.target
    session.screen.say(f"wrote {path}; change there what is wrong")
    session.screen.say(f"the class that must not be missed: {chosen.positive} ({chosen.reason})")
    return load_settings(path, overrides=session.overrides)


def _with_simulation(settings: "Settings", simulate: bool) -> "Settings":
    """The settings, with a simulated table for a missing one where that is asked for."""
    if not simulate:
        return settings
    return settings.model_copy(update={"source": settings.source.model_copy(update={"fallback": "simulate"})})


def with_engine(settings: "Settings", name: str | None) -> "Settings":
    """The settings, with the engine that a command names: local, or the master of a cluster."""
    if name is None:
        return settings
    kind = "local" if name == "local" else "dask" if name.startswith(("tcp://", "tls://")) else "spark"
    where = {"kind": kind, "master": None if kind == "local" else name}
    return settings.model_copy(update={"engine": settings.engine.model_copy(update=where)})


@command(
    etl_commands,
    ALL,
    panel=STEPS,
    examples="sporeprint extract\nsporeprint extract --source observations.parquet\n"
    "sporeprint extract --source spark:catalog.table --engine spark://host:7077    a table of a Spark catalogue",
)
def extract(session: Session, source: Source = None, simulate: Simulate = False, engine: EngineName = None) -> Result:
    """Find, download or simulate the table."""
    from sporeprint.pipelines.extract import run_extract

    settings = with_engine(_with_simulation(session.settings, simulate), engine)
    return run_extract(settings, session.workdir, source=source, steps=session.screen.steps())


@command(etl_commands, ALL, panel=STEPS, examples="sporeprint validate\nsporeprint validate --set validation.max_rejected_share=0.05")
def validate(session: Session, engine: EngineName = None) -> Result:
    """Check every row of the extracted table; write nothing."""
    from sporeprint.pipelines.transform import run_validate

    return run_validate(with_engine(session.settings, engine), session.workdir, steps=session.screen.steps())


@command(etl_commands, ALL, panel=STEPS, examples="sporeprint transform\nsporeprint transform --set validation.max_rejected_share=0.05")
def transform(session: Session, engine: EngineName = None) -> Result:
    """Check, clean and split the extracted table into a staging folder."""
    from sporeprint.pipelines.transform import run_transform

    return run_transform(with_engine(session.settings, engine), session.workdir, steps=session.screen.steps())


@command(etl_commands, ALL, panel=STEPS, examples="sporeprint load\nsporeprint load --run 20260329T010000Z-3f9c")
def load(
    session: Session,
    run: Annotated[
        str | None, typer.Option(metavar="RUN", help="Only this run of transform; does nothing if it is published already.")
    ] = None,
) -> Result:
    """Publish the staged tables in data/."""
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
    etl_commands,
    ALL,
    panel=STEPS,
    examples="sporeprint train\n"
    "sporeprint train --model xgboost --model decision_tree\n"
    "sporeprint train --model xgboost --new-version --set models.xgboost.params.max_depth=8",
)
def train(
    session: Session,
    model: Annotated[list[str] | None, typer.Option(metavar="NAME", help="Only this model. Repeatable.")] = None,
    new_version: Annotated[
        bool, typer.Option("--new-version", help="Register the model as a further version without promoting it.")
    ] = False,
    engine: EngineName = None,
) -> Result:
    """Train the configured models."""
    from sporeprint.pipelines.etl import run_new_version
    from sporeprint.pipelines.train import run_train

    settings, steps = with_engine(session.settings, engine), session.screen.steps()
    if not new_version:
        return run_train(settings, session.workdir, models=model, steps=steps)
    names = model or list(settings.models)
    return Versions(tuple(run_new_version(settings, session.workdir, name, steps=steps) for name in dict.fromkeys(names)))


@command(etl_commands, ALL, panel=STEPS, examples="sporeprint evaluate\nsporeprint evaluate --full")
def evaluate(
    session: Session,
    full: Annotated[
        bool,
        typer.Option("--full", help="Hold out every group in turn, and check the risk bounds on random splits (minutes)."),
    ] = False,
) -> Result:
    """Evaluate the trained models on seen and on held-out groups; write the report."""
    from sporeprint.pipelines.evaluate import run_evaluate

    return run_evaluate(session.settings, session.workdir, full=full, steps=session.screen.steps())


@command(etl_commands, ALL, panel=STEPS, examples="sporeprint register\nsporeprint register --no-promote")
def register(
    session: Session,
    promote: Annotated[bool, typer.Option("--promote/--no-promote", help="Promote champions and production through the gate.")] = True,
    allow_simulated: AllowSimulated = False,
) -> Result:
    """Register the trained models; promote the best one to production."""
    from sporeprint.pipelines.register import run_register

    return run_register(session.settings, session.workdir, promote=promote, allow_simulated=allow_simulated, steps=session.screen.steps())


@command(etl_commands, ALL, panel=USE, examples="sporeprint retrain\nsporeprint retrain --since 90d --json")
def retrain(
    session: Session,
    since: Annotated[
        str | None, typer.Option(metavar="TIME", help="Only predictions since 90d, or 2026-03-29T01:00Z. Default: retrain.days.")
    ] = None,
) -> Result:
    """Train a challenger on reported outcomes and start a shadow test against production."""
    from sporeprint.pipelines import retraining

    since_us = None if since is None else _since(since)
    return retraining.retrain(session.settings, session.workdir, since_us=since_us, actor=f"cli:{user()}", steps=session.screen.steps())


def _since(text: str) -> int:
    """Microseconds of a time, or of one so long ago."""
    import time

    from sporeprint.monitoring.windows import parse_duration, parse_instant

    return parse_instant(text, "--since") if "-" in text else time.time_ns() // 1000 - parse_duration(text, "--since")
