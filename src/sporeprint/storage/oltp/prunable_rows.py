"""Which predictions may go: old enough, needed by no A/B test, and read by the warehouse with all their outcomes."""

from dataclasses import dataclass

from sqlalchemy import ColumnElement, FromClause, and_, not_, select

from sporeprint.storage.oltp.read_progress import ReadProgress
from sporeprint.storage.oltp.tables import ab_test, outcome

#: What `ab_test.status` says of a test that needs its predictions no more.
CONCLUDED = "concluded"
NOTHING_READ = ReadProgress()


@dataclass(frozen=True)
class WarehouseProgress:
    """How far a warehouse has read the tables. What it has not read is lost to it when it is deleted here."""

    predictions: ReadProgress = NOTHING_READ
    outcomes: ReadProgress = NOTHING_READ
    batches: ReadProgress = NOTHING_READ


def reasons_to_stay(table: FromClause, before_us: int, warehouse: WarehouseProgress | None) -> list[ColumnElement[bool]]:
    """Conditions, each of which keeps a row: too young; of a test that is not concluded, or unknown; unread; an outcome unread.

    Args:
        table: predictions.
        before_us: from this time on, microseconds since 1970 UTC, they are too young.
        warehouse: how far it has read; None: that is no reason.
    """
    concluded = select(ab_test.c.test_id).where(ab_test.c.status == CONCLUDED)
    reasons = [table.c.created_us >= before_us, and_(table.c.test_id.is_not(None), table.c.test_id.not_in(concluded))]
    if warehouse is None:
        return reasons
    unread = select(outcome.c.prediction_id).where(not_(was_read(outcome.c.seq, warehouse.outcomes)))
    return [*reasons, not_(was_read(table.c.seq, warehouse.predictions)), table.c.prediction_id.in_(unread)]


def prunable(table: FromClause, before_us: int, warehouse: WarehouseProgress | None) -> ColumnElement[bool]:
    """None of the reasons."""
    return and_(*(not_(reason) for reason in reasons_to_stay(table, before_us, warehouse)))


def was_read(seq: ColumnElement[int], progress: ReadProgress) -> ColumnElement[bool]:
    """Whether a row with this number was read."""
    return and_(seq <= progress.high, *(not_(seq.between(gap.first, gap.last)) for gap in progress.gaps))
