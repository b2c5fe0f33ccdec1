"""Deletes old predictions and their outcomes, a small batch at a time: never what an open A/B test needs, or the warehouse has not read.

Each batch is one transaction: a kill leaves whole predictions with all their outcomes, and the next run goes on.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, delete, func, not_, or_, select

from sporeprint.common.progress import Progress
from sporeprint.common.timestamps import DAY_US
from sporeprint.errors import UsageError
from sporeprint.settings import PruneSettings
from sporeprint.storage.engine import reading, writing
from sporeprint.storage.oltp.read_progress import ReadProgress
from sporeprint.storage.oltp.tables import ab_test, outcome, prediction

#: Pause after each batch, as a share of what it took: whoever waits for the lock gets it.
PAUSE = 0.5
LEAST_PAUSE_S = 0.005
#: What `ab_test.status` says of a test that needs its predictions no more.
CONCLUDED = "concluded"
NOTHING_READ = ReadProgress()


@dataclass(frozen=True)
class WarehouseProgress:
    """How far a warehouse has read the tables. What it has not read is lost to it when it is deleted here."""

    predictions: ReadProgress = NOTHING_READ
    outcomes: ReadProgress = NOTHING_READ
    batches: ReadProgress = NOTHING_READ


@dataclass(frozen=True)
class PruneResult:
    """What went, or would go.

    Attributes:
        before_us: predictions made before this time, microseconds since 1970 UTC.
        predictions: how many of them went.
        outcomes: how many revisions of outcomes went with them.
        retained: how many of them stay, because an A/B test that is not concluded needs them.
        unsynced: how many of them stay, because the warehouse has not read them, or an outcome of theirs.
        longest_s: the longest time that one transaction took.
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
    condition = _prunable(before_us, warehouse)
    with reading(engine) as connection:
        old, prunable = _count(connection, prediction.c.created_us < before_us), _count(connection, condition)
        unsynced = 0 if warehouse is None else _count(connection, _prunable(before_us, None)) - prunable
        remaining = old - prunable - unsynced
        # Counted before, for a dry run; afterwards what really went is counted.
        outcomes = _outcomes(connection, condition) if dry_run else 0
    if dry_run:
        return PruneResult(before_us, prunable, outcomes, remaining, unsynced, 0.0, dry_run=True)
    progress.total(prunable)
    gone, longest, from_us = 0, 0.0, None
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


def _prunable(before_us: int, warehouse: WarehouseProgress | None) -> ColumnElement[bool]:
    """Old enough, read by the warehouse, and of no A/B test, or of one that is concluded. A test nobody knows keeps its rows too."""
    concluded = select(ab_test.c.test_id).where(ab_test.c.status == CONCLUDED)
    condition = and_(prediction.c.created_us < before_us, or_(prediction.c.test_id.is_(None), prediction.c.test_id.in_(concluded)))
    if warehouse is None:
        return condition
    unread = select(outcome.c.prediction_id).where(not_(was_read(outcome.c.seq, warehouse.outcomes)))
    return and_(condition, was_read(prediction.c.seq, warehouse.predictions), prediction.c.prediction_id.not_in(unread))


def was_read(seq: ColumnElement[int], progress: ReadProgress) -> ColumnElement[bool]:
    """Whether a row with this number was read."""
    return and_(seq <= progress.high, *(not_(seq.between(gap.first, gap.last)) for gap in progress.gaps))


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
    gone = connection.execute(delete(prediction).where(prediction.c.seq.in_([row.seq for row in rows]))).rowcount
    ids = [row.prediction_id for row in rows]
    return gone, connection.execute(delete(outcome).where(outcome.c.prediction_id.in_(ids))).rowcount
