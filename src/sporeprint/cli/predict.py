"""`sporeprint predict` and `sporeprint explain`: a registered model on a file, and on one observation."""

from pathlib import Path
from typing import Annotated

import typer

from sporeprint.cli.command import PLACE, Session, command, group
from sporeprint.cli.console import Result
from sporeprint.cli.panels import USE
from sporeprint.errors import UsageError

prediction_commands = group()


@command(
    prediction_commands,
    PLACE,
    panel=USE,
    examples="sporeprint predict new.csv --out answers.csv\n"
    "sporeprint predict new.parquet --out answers.parquet --model xgboost\n"
    "sporeprint predict new.csv --out answers.csv --model xgboost/v2\n"
    "sporeprint predict new.parquet --out scores.parquet --scores    no verdicts: for analysis, twice as fast",
)
def predict(
    session: Session,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Rows to predict, CSV or Parquet.", show_default=False)],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write, CSV or Parquet by its suffix.", show_default=False)],
    model: Annotated[str, typer.Option(metavar="NAME", help="production, a model's name, or one version of it as name/v2.")] = "production",
    scores: Annotated[
        bool, typer.Option("--scores", help="Only classifier output and probability, without verdicts: for analysis.")
    ] = False,
) -> Result:
    """Predict the rows of a file; adds verdict, probability and novelty p-value."""
    from sporeprint.common.optional_dependencies import leave_out
    from sporeprint.pipelines import batch_prediction

    if out.exists() and file.exists() and file.samefile(out):
        raise UsageError(f"--out {out} is the file to score itself; name another one")
    leave_out("xgboost", "pandas", "sklearn")
    return batch_prediction.predict(session.workdir, file, out, model=model, guarded=not scores, steps=session.screen.steps())


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

    row: dict[str, str] = {}
    for text in fields:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise UsageError(f"{text!r}: expected FIELD=VALUE, as in cap-shape=convex")
        if name in row:
            raise UsageError(f"field {name!r} is given twice")
        row[name] = value
    return explanation.explain(session.workdir, row, model=model)
