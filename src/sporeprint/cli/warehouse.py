"""`sporeprint warehouse`: bring what was answered into the warehouse, and ask it."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sporeprint.cli.command import ALL, Facts, Session, command, group
from sporeprint.cli.console import Result
from sporeprint.common.text_table import Table
from sporeprint.errors import UsageError

if TYPE_CHECKING:  # slow to import, and `--help` does not need it
    from collections.abc import Mapping, Sequence

    from sporeprint.reports.warehouse_report import WarehouseReport
    from sporeprint.storage.warehouse.protocol import QueryResult, Warehouse

warehouse = group(
    help="Reports and SQL over predictions and outcomes.\n\n"
    "The warehouse is the one of SPOREPRINT_OLAP_URL, else of storage.olap, else data/warehouse/ below the work directory. Its password "
    "comes from SPOREPRINT_OLAP_PASSWORD, or from the file that SPOREPRINT_OLAP_PASSWORD_FILE names.",
    epilog='sporeprint warehouse sync\nsporeprint warehouse report --out report.html\nsporeprint warehouse query "SELECT * FROM dim_model"',
)
#: Default number of rows that a query shows.
ROWS = 100


@contextmanager
def _warehouse(session: Session) -> "Iterator[Warehouse]":
    from sporeprint.storage import urls
    from sporeprint.storage.warehouse.factory import open_warehouse

    opened = open_warehouse(urls.olap(session.settings.storage, session.workdir))
    try:
        yield opened
    finally:
        opened.close()


@command(warehouse, ALL, examples="sporeprint warehouse sync\nsporeprint warehouse sync --json")
def sync(session: Session) -> Result:
    """Load new predictions and outcomes into the warehouse. An interrupted sync continues where it stopped.

    A backlog of 200,000 predictions and more is read and counted in `runtime.threads` processes.
    """
    from contextlib import closing

    from sporeprint.common.engine import LocalEngine
    from sporeprint.storage import urls
    from sporeprint.storage.engine import connect
    from sporeprint.storage.oltp import migrate
    from sporeprint.storage.warehouse.sync import Readers, sync_warehouse

    address = urls.oltp(session.settings.storage, session.workdir)
    engine, tasks = connect(address), LocalEngine(session.settings.threads)
    try:
        migrate.prepare(engine)
        with _warehouse(session) as source, closing(tasks), session.screen.steps().step("sync") as progress:
            done = sync_warehouse(
                engine, source, session.settings.dataset, root=session.workdir, progress=progress, readers=Readers(tasks, address)
            )
            rows = (("predictions", f"{done.predictions:,}"), ("outcomes", f"{done.outcomes:,}"), ("warehouse", source.shown))
    finally:
        engine.dispose()
    waiting = (("waiting", "outcomes whose prediction has not come"),) if done.waiting else ()
    return Facts(done.to_dict(), (Table("", ("", ""), (*rows, *waiting)),))


@dataclass(frozen=True)
class Written:
    """A report, and where it was written."""

    report: "WarehouseReport"
    out: Path | None

    def to_dict(self) -> "Mapping[str, Any]":
        """As JSON values."""
        return {**self.report.to_dict(), "out": None if self.out is None else str(self.out)}

    def tables(self) -> "Sequence[Table]":
        """As people read it."""
        written = () if self.out is None else (Table("", ("", ""), (("written", str(self.out)),)),)
        return (*self.report.tables(), *written)


@command(
    warehouse,
    ALL,
    examples="sporeprint warehouse report\nsporeprint warehouse report --out report.html --days 30\nsporeprint warehouse report --json",
)
def report(
    session: Session,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write an HTML page with charts.", show_default=False)] = None,
    days: Annotated[int, typer.Option(metavar="N", min=0, help="Number of days; 0: all.")] = 90,
) -> Result:
    """Report volume, verdicts, false negatives and latency by day, model and arm."""
    from sporeprint.reports import warehouse_report

    with session.screen.busy("report"), _warehouse(session) as source, source.reading() as reader:
        made = warehouse_report.make_warehouse_report(reader, source.shown, now_us=time.time_ns() // 1000, days=days)
    if out is not None:
        from sporeprint.common.files import atomic_write

        atomic_write(out, warehouse_report.render_warehouse_report(made))
    return Written(made, out)


@command(
    warehouse,
    ALL,
    examples='sporeprint warehouse query "SELECT day, SUM(answers) FROM hour_answers JOIN dim_time USING (hour_us) GROUP BY day"\n'
    'sporeprint warehouse query --json --rows 1000 "SELECT * FROM fact_metric"\n'
    'sporeprint warehouse query "SHOW TABLES"',
)
def query(
    session: Session,
    sql: Annotated[str, typer.Argument(metavar="SQL", show_default=False, help="One read-only statement.")],
    rows: Annotated[int, typer.Option(metavar="N", min=1, max=1_000_000, help="Maximum number of rows.")] = ROWS,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.1, max=3000, help="Time limit.")] = 60.0,
) -> Result:
    """Run one read-only SQL statement on the warehouse."""
    if not sql.strip():
        raise UsageError('expected a statement, as in: sporeprint warehouse query "SELECT * FROM dim_model"')
    with session.screen.busy("query"), _warehouse(session) as source, source.reading(seconds=timeout) as reader:
        answer = reader.user_query(sql, rows=rows)
    return _shown(answer, rows)


def _shown(answer: "QueryResult", limit: int) -> Facts:
    values = {"columns": list(answer.columns), "rows": [[_value(value) for value in row] for row in answer.rows], "more": answer.more}
    table = Table("", answer.columns, tuple(tuple(_cell(value) for value in row) for row in answer.rows))
    note = f"there are more rows; --rows {limit * 10} shows up to {limit * 10:,}" if answer.more else "" if answer.rows else "no rows"
    return Facts(values, (table, *([Table("", ("",), ((note,),))] if note else [])))


def _value(value: Any) -> Any:
    """A value that JSON has: of a user's statement, anything can come."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return str(value)
    return value


def _cell(value: Any) -> str:
    return "" if value is None else str(value)
