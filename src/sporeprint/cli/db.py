"""`sporeprint db`: schema and retention of the OLTP database."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sporeprint.cli.command import ALL, Facts, Session, command, group
from sporeprint.cli.console import Result
from sporeprint.common.text_table import Table
from sporeprint.errors import UsageError

if TYPE_CHECKING:  # slow to import, and `--help` does not need it
    from sqlalchemy import Engine

    from sporeprint.storage.oltp.migrate import Status
    from sporeprint.storage.oltp.prunable_rows import WarehouseProgress

db = group(
    help="Migrate the database of predictions and outcomes, and delete old rows.\n\n"
    "The database is the one of SPOREPRINT_OLTP_URL, else of storage.oltp, else data/sporeprint.db below the work directory. Its password "
    "comes from SPOREPRINT_OLTP_PASSWORD, or from the file that SPOREPRINT_OLTP_PASSWORD_FILE names. On a server, upgrade, downgrade and "
    "prune need the account that owns the tables.",
    epilog="sporeprint db status\nsporeprint db upgrade\nsporeprint db prune --older-than 90d --dry-run",
)

_SCHEMA, _ROWS = "Its schema", "Its rows"
_STATES = {
    "empty": "no tables yet; run: sporeprint db upgrade",
    "current": "up to date",
    "behind": "older than this version; run: sporeprint db upgrade",
    "ahead": "newer than this version; install the newer sporeprint",
    "foreign": "tables of another program; name another database",
    "unfinished": "a migration was killed; run: sporeprint db upgrade",
}
_UNITS_US = {"h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000}


#: Seconds after which a server counts as gone that is changing a table: making a large one anew takes hours.
_CHANGE_S = 24 * 3600


@contextmanager
def _engine(session: Session, answer_s: int | None = None) -> "Iterator[Engine]":
    from sporeprint.storage import urls
    from sporeprint.storage.engine import ANSWER_TIMEOUT_S, connect

    engine = connect(urls.oltp(session.settings.storage, session.workdir), answer_s=answer_s or ANSWER_TIMEOUT_S)
    try:
        yield engine
    finally:
        engine.dispose()


def _shown(status: "Status", done: str = "") -> Facts:
    pending = [{"revision": revision.id, "says": revision.summary} for revision in status.pending]
    values: dict[str, Any] = {
        "database": status.database,
        "state": status.state,
        "revision": status.current,
        "expected": status.expected,
        "pending": pending,
    }
    rows = [
        ("database", status.database),
        ("revision", status.current or "none"),
        ("this version works with", status.expected),
        ("that is", _STATES[status.state]),
        *((f"to come: {revision.id}", revision.summary) for revision in status.pending),
    ]
    return Facts(values, (Table(done, ("", ""), tuple(rows)),))


@command(db, ALL, panel=_SCHEMA, examples="sporeprint db status\nsporeprint db status --json")
def status(session: Session) -> Result:
    """Show the revision of the schema, and the one this version needs."""
    from sporeprint.storage.oltp import migrate

    with _engine(session) as engine:
        return _shown(migrate.status(engine))


@command(
    db,
    ALL,
    panel=_SCHEMA,
    examples="sporeprint db upgrade\n"
    "SPOREPRINT_OLTP_URL=mysql+pymysql://sporeprint_owner@localhost:3307/sporeprint \\\n"
    "    SPOREPRINT_OLTP_PASSWORD_FILE=owner.txt sporeprint db upgrade",
)
def upgrade(
    session: Session,
    revision: Annotated[
        str | None, typer.Argument(metavar="[REVISION]", help="Target revision. Default: the newest.", show_default=False)
    ] = None,
) -> Result:
    """Create the tables, or migrate them to this version. Rows are retained."""
    from sporeprint.storage.oltp import migrate

    with _engine(session, _CHANGE_S) as engine, session.screen.busy("upgrade"):
        return _shown(migrate.upgrade(engine, revision), "Schema changed")


@command(db, ALL, panel=_SCHEMA, examples="sporeprint db downgrade 0002 --yes\nsporeprint db downgrade base --yes")
def downgrade(
    session: Session,
    revision: Annotated[str, typer.Argument(metavar="REVISION", help="Target revision; base: before the first.", show_default=False)],
    yes: Annotated[bool, typer.Option("--yes", help="Delete the tables and columns of later revisions with their rows.")] = False,
) -> Result:
    """Migrate back to an earlier schema; deletes what later revisions added."""
    from sporeprint.storage.oltp import migrate

    with _engine(session, _CHANGE_S) as engine:
        undone = migrate.removed_by(migrate.status(engine).current, revision)
        if undone and not yes:
            lost = "; ".join(f"{each.id}, {each.summary}" for each in undone)
            raise UsageError(f"this deletes tables and columns with all that is in them ({lost}); make a backup, then add --yes")
        with session.screen.busy("downgrade"):
            return _shown(migrate.downgrade(engine, revision), "Schema changed")


def _warehouse_progress(session: Session) -> "WarehouseProgress":
    """How far the warehouse has read; nothing, where there is none yet."""
    from contextlib import closing

    from sporeprint.storage import urls
    from sporeprint.storage.oltp.prunable_rows import WarehouseProgress
    from sporeprint.storage.oltp.read_progress import ReadProgress
    from sporeprint.storage.warehouse.factory import open_warehouse
    from sporeprint.storage.warehouse.sync import BATCHES, OUTCOMES, PREDICTIONS

    with closing(open_warehouse(urls.olap(session.settings.storage, session.workdir))) as warehouse:
        return WarehouseProgress(*(ReadProgress.from_json(warehouse.get_note(name)) for name in (PREDICTIONS, OUTCOMES, BATCHES)))


def _age(text: str | int) -> int:
    """An age in microseconds, from 90d, 12w, 36h."""
    match = re.fullmatch(r"([0-9]{1,6})([hdw])", str(text))
    if match is None:
        raise typer.BadParameter(f"{str(text)!r} is no age; write it as in 90d, 12w or 36h")
    return int(match[1]) * _UNITS_US[match[2]]


@command(
    db,
    ALL,
    panel=_ROWS,
    examples="sporeprint db prune --older-than 90d --dry-run\nsporeprint db prune --older-than 26w --set storage.prune.batch_rows=200",
)
def prune(
    session: Session,
    older_than: Annotated[
        int,
        typer.Option("--older-than", parser=_age, metavar="AGE", help="Minimum age of rows to delete: 90d, 12w, 36h.", show_default=False),
    ],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count, delete nothing.")] = False,
    unsynced: Annotated[bool, typer.Option("--unsynced", help="Also delete rows that the warehouse has not read.")] = False,
) -> Result:
    """Delete old predictions, outcomes and batches, but never those that an open A/B test needs.

    On MariaDB whole days are dropped at once, if nothing of them has to stay. All else goes in small steps: other writers wait for one
    step at most. Rows that the warehouse has not read are kept, unless --unsynced is given: deleted rows cannot
    be synced. Run `sporeprint warehouse sync` first.
    """
    import time

    from sporeprint.storage.oltp import batch_index, migrate, retention
    from sporeprint.storage.oltp.batch_file import BatchStore

    with _engine(session, _CHANGE_S) as engine, session.screen.steps().step("prune") as progress:
        migrate.check(engine)
        settings, now_us = session.settings.storage.prune, time.time_ns() // 1000
        warehouse = None if unsynced else _warehouse_progress(session)
        done = retention.prune(
            engine, settings, older_than_us=older_than, now_us=now_us, dry_run=dry_run, progress=progress, warehouse=warehouse
        )
        store = BatchStore(session.workdir, session.settings.storage.batches.folder)
        files, answers = batch_index.forget(engine, store, before_us=done.before_us, dry_run=dry_run, warehouse=warehouse)
    before = datetime.fromtimestamp(done.before_us / 1e6, UTC).isoformat(timespec="seconds")
    values = {
        "before": before,
        "predictions": done.predictions,
        "outcomes": done.outcomes,
        "batches": files,
        "answers_of_batches": answers,
        "kept_for_ab_tests": done.retained,
        "kept_for_the_warehouse": done.unsynced,
        "longest_transaction_s": round(done.longest_s, 4),
        "dry_run": done.dry_run,
    }
    rows = (
        ("made before", before),
        ("predictions", f"{done.predictions:,}"),
        ("their outcomes", f"{done.outcomes:,}"),
        ("batches, with their files", f"{files:,}, of {answers:,} rows"),
        ("retained for open A/B tests", f"{done.retained:,}"),
        ("retained for the warehouse", f"{done.unsynced:,}"),
    )
    return Facts(values, (Table("This would go" if done.dry_run else "Gone", ("", ""), rows),))
