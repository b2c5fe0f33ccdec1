"""`sporeprint engine`: where checking and splitting run."""

from sporeprint.cli.command import ALL, Facts, Session, command, group
from sporeprint.cli.console import Result
from sporeprint.cli.etl import EngineName, with_engine
from sporeprint.common.text_table import Table

engine_commands = group(
    help="Where checking and splitting run: this machine, or a cluster of Spark or Dask.",
    epilog="sporeprint engine check --engine spark://master:7077",
)


@command(engine_commands, ALL, examples="sporeprint engine check --engine spark://master:7077 --workdir /mnt/share/run")
def check(session: Session, engine: EngineName = None) -> Result:
    """Start the engine; ask every worker for its Python, packages and the share. A minute at most."""
    from sporeprint.common.engine import LocalEngine
    from sporeprint.common.workdir import Workdir
    from sporeprint.pipelines.engines import open_engine

    settings = with_engine(session.settings, engine)
    session.workdir.mkdir(parents=True, exist_ok=True)
    with session.screen.busy("engine"), open_engine(settings, Workdir(session.workdir)) as running:
        if isinstance(running, LocalEngine):
            rows = [("this machine", f"{running.workers} processes")]
            return Facts({"kind": "local", "workers": running.workers}, (Table("Engine", ("", ""), tuple(rows)),))
        reports = running.reports
    values = {"kind": settings.engine.kind, "master": settings.engine.master, "workers": [vars(report) for report in reports]}
    cells = tuple((report.host, report.python, f"{report.packages['sporeprint']}", "yes") for report in reports)
    return Facts(values, (Table("Engine", ("worker", "Python", "sporeprint", "sees the work directory"), cells),))
