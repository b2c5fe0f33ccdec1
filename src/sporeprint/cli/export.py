"""`sporeprint export`: a registered version in the form of other tools."""

from pathlib import Path
from typing import Annotated

import typer

from sporeprint.cli.command import PLACE, Facts, Session, command, group
from sporeprint.cli.console import Result
from sporeprint.common.text_table import Table

export = group(help="Write a registered model in the form of another tool.")


@command(
    export,
    PLACE,
    examples="sporeprint export mlflow production --out mlflow_model\nmlflow models serve -m mlflow_model --env-manager local",
)
def mlflow(
    session: Session,
    model: Annotated[str, typer.Argument(metavar="REF", show_default=False, help="production, a model's name (its champion), or name/v2.")],
    out: Annotated[Path, typer.Option(metavar="DIR", show_default=False, help="Folder to write; empty, or not there yet.")],
) -> Result:
    """Write an MLflow model: a folder without pickles that MLflow loads, serves and stores, with the same verdicts."""
    from sporeprint.common.workdir import Workdir
    from sporeprint.pipelines.mlflow_export import export_mlflow
    from sporeprint.registry.registry import Registry

    registry = Registry(Workdir(session.workdir).registry)
    ref = registry.resolve(model).ref
    with session.screen.busy("export"):
        folder = export_mlflow(registry, ref, out)
    values = {"model": ref, "out": str(folder)}
    return Facts(values, (Table("Exported", ("", ""), (("model", ref), ("MLflow model", str(folder)))),))
