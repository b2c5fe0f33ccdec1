"""Deletes old predictions and their outcomes: never what an open A/B test needs, or the warehouse has not read.

Whole days go at once where the table has partitions (`dropped_days`), what is left a small batch at a time. Each batch is one transaction:
a kill leaves whole predictions with all their outcomes, and the next run goes on.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Engine, Row, delete, func, select

from sporeprint.common.progress import Progress
from sporeprint.common.timestamps import DAY_US
from sporeprint.errors import UsageError
from sporeprint.settings import PruneSettings
from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp.dropped_days import DroppedDays, drop_days, make_days
from sporeprint.storage.oltp.prunable_rows import WarehouseProgress, prunable
from sporeprint.storage.oltp.tables import outcome, prediction

#: Pause after each batch, as a share of what it took: whoever waits for the lock gets it.
PAUSE = 0.5
LEAST_PAUSE_S = 0.005


@dataclass(frozen=True)
class PruneResult:
    """What went, or would go.

    Attributes:
        before_us: predictions made before this time, microseconds since 1970 UTC.
        predictions: how many of them went.
        outcomes: how many revisions of outcomes went with them.
        retained: how many of them stay, because an A/B test that is not concluded needs them.
        unsynced: how many of them stay, because the warehouse has not read them, or an outcome of theirs.
        longest_s: the longest time that one transaction took, or that others waited for the table while a day went.
        dry_run: whether nothing was done.
    """

    before_us: int
    predictions: int
    outcomes: int
    retained: int
    unsynced: int
    longest_s: float
    dry_run: bool


def prune(
    engine: Engine,
    settings: PruneSettings,
    *,
    older_than_us: int,
    now_us: int,
    dry_run: bool,
    progress: Progress,
    warehouse: WarehouseProgress | None,
) -> PruneResult:
    """Delete predictions that were made longer ago than `older_than_us`, with their outcomes.

    Args:
        engine: of the OLTP database.
        settings: the least age, and the size of a batch.
        older_than_us: age, microseconds.
        now_us: the time.
        dry_run: only count.
        progress: counts predictions.
        warehouse: how far the warehouse has read; None: what it has not read goes, too.

    Raises:
        UsageError: the age is below storage.prune.min_days.
        StorageUnavailableError: the database does not answer; what was deleted until then is gone, the rest untouched.
        StorageError: the database refuses; the account must be one that may delete.
    """
    if older_than_us < settings.min_days * DAY_US:
        raise UsageError(
            f"--older-than {older_than_us / DAY_US:g} days is below storage.prune.min_days: {settings.min_days}; "
            "ask for an older age, or change the setting"
        )
    before_us = now_us - older_than_us
    days = DroppedDays()
    if not dry_run:
        make_days(engine, now_us)
        days = drop_days(engine, before_us=before_us, warehouse=warehouse, batch_rows=settings.batch_rows)
    condition = prunable(prediction, before_us, warehouse)
    with reading(engine) as connection:
        old, going = _count(connection, prediction.c.created_us < before_us), _count(connection, condition)
        unsynced = 0 if warehouse is None else _count(connection, prunable(prediction, before_us, None)) - going
        remaining = old - going - unsynced
        # Counted before, for a dry run; afterwards what really went is counted.
        outcomes = _outcomes(connection, condition) if dry_run else 0
    if dry_run:
        return PruneResult(before_us, going, outcomes, remaining, unsynced, 0.0, dry_run=True)
    progress.total(going)
    gone, outcomes, longest, from_us = days.predictions, days.outcomes, days.longest_s, None
    while True:
        began = time.monotonic()
        with writing(engine) as connection:
            rows = _oldest(connection, condition, from_us, settings.batch_rows)
            deleted = _delete(connection, rows)
        took = time.monotonic() - began
        if not rows:
            return PruneResult(before_us, gone, outcomes, remaining, unsynced, longest, dry_run=False)
        gone, outcomes, longest = gone + deleted[0], outcomes + deleted[1], max(longest, took)
        from_us = rows[-1].created_us
        progress.advance(len(rows))
        time.sleep(max(LEAST_PAUSE_S, PAUSE * took))


def _count(connection: Connection, condition: ColumnElement[bool]) -> int:
    return connection.execute(select(func.count()).select_from(prediction).where(condition)).scalar_one()


def _outcomes(connection: Connection, condition: ColumnElement[bool]) -> int:
    joined = outcome.join(prediction, outcome.c.prediction_id == prediction.c.prediction_id)
    return connection.execute(select(func.count()).select_from(joined).where(condition)).scalar_one()


def _oldest(connection: Connection, condition: ColumnElement[bool], from_us: int | None, rows: int) -> Sequence[Row[int, str, int]]:
    """The next batch; what is older than `from_us` was looked at and stays."""
    query = select(prediction.c.seq, prediction.c.prediction_id, prediction.c.created_us).where(condition)
    if from_us is not None:
        query = query.where(prediction.c.created_us >= from_us)
    return connection.execute(query.order_by(prediction.c.created_us).limit(rows)).all()


def _delete(connection: Connection, rows: Sequence[Row[int, str, int]]) -> tuple[int, int]:
    """Delete predictions and their outcomes: how many of both."""
    if not rows:
        return 0, 0
    # The outcomes last: one that comes in between is of a prediction that is gone, and goes with it.
    # By their ids: a partition knows those that it can have.
    ids = [row.prediction_id for row in rows]
    gone = connection.execute(delete(prediction).where(prediction.c.prediction_id.in_(ids))).rowcount
    return gone, connection.execute(delete(outcome).where(outcome.c.prediction_id.in_(ids))).rowcount
