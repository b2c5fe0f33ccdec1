"""`sporeprint monitor`: whether new rows, and the answers to them, are still what they were."""

from pathlib import Path
from typing import Annotated

import typer

from sporeprint.command import ALL, Session, command
from sporeprint.console import Result


def add_to(app: typer.Typer, panel: str) -> None:
    """Make `monitor` a command of the application, in one of its panels."""
    command(
        app,
        ALL,
        panel=panel,
        examples="sporeprint monitor --current today.csv\n"
        "sporeprint monitor --current today.parquet --reference january.parquet\n"
        "sporeprint monitor --current labelled.csv --model xgboost/v2 --json",
    )(monitor)


def monitor(
    session: Session,
    current: Annotated[Path, typer.Option(metavar="FILE", help="Rows to look at, CSV or Parquet, labelled or not.", show_default=False)],
    reference: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="What to hold them against. Left out: the rows the model was validated on.", show_default=False),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Whose answers to look at. Left out: production, if there is one.", show_default=False),
    ] = None,
) -> Result:
    """Tell whether rows, and the answers to them, have changed. Ends with 10 for an alarm, 11 if not all could be computed."""
    from sporeprint import monitor as monitoring

    return monitoring.monitor(session.settings, session.workdir, current, reference=reference, model=model, steps=session.screen.steps())
