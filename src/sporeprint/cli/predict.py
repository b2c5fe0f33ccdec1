"""`sporeprint predict` and `sporeprint explain`: a registered model on a file, and on one observation."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from sporeprint.cli.command import ALL, PLACE, Session, command, group
from sporeprint.cli.console import Result
from sporeprint.cli.etl import EngineName, with_engine
from sporeprint.cli.panels import USE
from sporeprint.errors import UsageError

prediction_commands = group()

#: What an empty cell of a file can mean.
EMPTY = ("as-declared", "not-observed")


@command(
    prediction_commands,
    ALL,
    panel=USE,
    examples="sporeprint predict new.csv --out answers.csv\n"
    "sporeprint predict new.parquet --out answers.parquet --model xgboost\n"
    "sporeprint predict new.csv --out answers.csv --model xgboost/v2\n"
    "sporeprint predict new.parquet --out scores.parquet --scores    no verdicts: for analysis, twice as fast\n"
    "sporeprint predict observations/ --out answers/ --engine spark://host:7077    a part file for each file, on a cluster",
)
def predict(
    session: Session,
    file: Annotated[str, typer.Argument(metavar="FILE", help="Rows to predict: a file, folder, pattern or address.", show_default=False)],
    out: Annotated[
        Path,
        typer.Option(
            metavar="FILE",
            help="File to write, CSV or Parquet by its suffix. A name without one is a folder of part files.",
            show_default=False,
        ),
    ],
    model: Annotated[str, typer.Option(metavar="NAME", help="production, a model's name, or one version of it as name/v2.")] = "production",
    scores: Annotated[
        bool, typer.Option("--scores", help="Only classifier output and probability, without verdicts: for analysis.")
    ] = False,
    empty: Annotated[
        str, typer.Option(metavar="MEANING", help="What an empty cell means: as-declared (by the configuration), or not-observed.")
    ] = "as-declared",
    engine: EngineName = None,
) -> Result:
    """Predict the rows of a file; adds verdict, probability and novelty p-value."""
    from sporeprint.common.files import is_same_file
    from sporeprint.common.optional_dependencies import leave_out
    from sporeprint.pipelines import batch_prediction

    if is_same_file(file, str(out)):
        raise UsageError(f"--out {out} is the file to score itself; name another one")
    if empty not in EMPTY:
        raise UsageError(f"--empty {empty}: expected {' or '.join(EMPTY)}")
    observed = empty == EMPTY[0]
    if not out.suffix:
        from sporeprint.pipelines.folder_prediction import predict_folder

        settings, steps = with_engine(session.settings, engine), session.screen.steps()
        return predict_folder(
            settings, session.workdir, file, out, model=model, guarded=not scores, empty_is_observed=observed, steps=steps
        )
    if engine is not None:
        raise UsageError(f"--engine writes a folder of part files, and --out {out} names a file; leave out its suffix")
    leave_out("xgboost", "pandas", "sklearn")
    return batch_prediction.predict(
        session.workdir, file, out, model=model, guarded=not scores, empty_is_observed=observed, steps=session.screen.steps()
    )


@command(
    prediction_commands,
    PLACE,
    panel=USE,
    examples="sporeprint explain cap-diameter=15.3 cap-shape=convex cap-color=orange stem-height=17\n"
    "sporeprint explain cap-shape=x cap-color=o --model xgboost/v2 --json",
)
def explain(
    session: Session,
    fields: Annotated[list[str], typer.Argument(metavar="FIELD=VALUE...", help="One observation, by code or word.", show_default=False)],
    model: Annotated[str, typer.Option(metavar="NAME", help="production, a model's name, or one version of it as name/v2.")] = "production",
) -> Result:
    """Predict one observation, with feature attributions and the nearest training row."""
    from sporeprint.pipelines import explanation

    return explanation.explain(session.workdir, fields, model=model)


@command(
    prediction_commands,
    PLACE,
    panel=USE,
    examples="sporeprint identify\nsporeprint identify cap-shape=convex cap-color=orange\n"
    "sporeprint identify cap-shape=convex cap-color=orange --json    one question and what fits, without a dialogue",
)
def identify(
    session: Session,
    fields: Annotated[
        list[str] | None, typer.Argument(metavar="[FIELD=VALUE...]", help="What is known already, by code or word.", show_default=False)
    ] = None,
    model: Annotated[str, typer.Option(metavar="NAME", help="production, a model's name, or one version of it as name/v2.")] = "production",
) -> Result:
    """Ask one question at a time until there is a verdict, and say which known groups still fit."""
    from sporeprint.cli.identify import dialogue
    from sporeprint.pipelines import explanation

    if session.screen.json or not sys.stdin.isatty():
        return explanation.identify(session.workdir, fields or [], model=model)
    ref, bundle = explanation.open_model(session.workdir, model)
    return dialogue((ref, bundle), explanation.fields_of(fields or [], bundle.schema))
