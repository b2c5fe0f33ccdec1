"""Lets whole days of predictions go at once: on MariaDB, where each day is a partition. What cannot go so is deleted row by row.

A day is taken out of the table as a table of its own, in a moment in which nobody else writes; checked once more, for what came in the
meantime, which goes back; then its outcomes go, and it is dropped. Killed anywhere, the next run goes on with the tables that it finds.
"""

import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from sqlalchemy import (
    Connection,
    Engine,
    MetaData,
    Table,
    delete,
    exc,
    exists,
    func,
    insert,
    inspect,
    literal,
    quoted_name,
    select,
    text,
)

from sporeprint.common.timestamps import DAY_US
from sporeprint.errors import StorageUnavailableError
from sporeprint.storage.engine import AccessDeniedError, database_errors, reading, writing
from sporeprint.storage.oltp import day_partitions
from sporeprint.storage.oltp.prunable_rows import WarehouseProgress, reasons_to_stay, was_read
from sporeprint.storage.oltp.tables import outcome, prediction

log = logging.getLogger(__name__)

#: Seconds to wait for the table. Whoever comes later waits behind this, so it is short; a day that is not free now goes with the next run.
LOCK_S = 3
#: MariaDB from this version on takes a partition out as a table in one step.
CONVERTS = (10, 7, 1)
#: Rows that go back at a time.
BACK_ROWS = 1_000


@dataclass(frozen=True)
class DroppedDays:
    """What went.

    Attributes:
        predictions: how many.
        outcomes: revisions of outcomes that went with them.
        longest_s: the longest time that others had to wait.
    """

    predictions: int = 0
    outcomes: int = 0
    longest_s: float = 0.0

    def plus(self, other: "DroppedDays") -> "DroppedDays":
        """Both."""
        return DroppedDays(self.predictions + other.predictions, self.outcomes + other.outcomes, max(self.longest_s, other.longest_s))


def make_days(engine: Engine, now_us: int) -> None:
    """Make partitions for the coming days, where there are few. Rows need none: without them they lie in one for all, until the next time.

    Raises:
        StorageError, StorageUnavailableError: see `storage.engine`.
    """
    with reading(engine) as connection:
        statement = day_partitions.extended(day_partitions.present(connection), now_us)
    if statement is None:
        return
    try:
        with _alone(engine) as connection:
            _keeping_numbers(connection, statement)
    except (AccessDeniedError, StorageUnavailableError) as error:
        log.warning("partitions for the coming days cannot be made now: %s", error)


def drop_days(engine: Engine, *, before_us: int, warehouse: WarehouseProgress | None, batch_rows: int) -> DroppedDays:
    """Let whole days before a time go, of which nothing has to stay, each with its outcomes.

    Args:
        engine: of the OLTP database; on SQLite there are no days.
        before_us: microseconds since 1970 UTC.
        warehouse: see `retention.prune`.
        batch_rows: outcomes that one transaction deletes.

    Raises:
        StorageError, StorageUnavailableError: see `storage.engine`.
    """
    done = DroppedDays()
    with reading(engine) as connection:
        left, partitions = day_partitions.detached(connection), day_partitions.present(connection)
        can_convert = (connection.dialect.server_version_info or ()) >= CONVERTS
    for name in left:
        done = done.plus(_finish(engine, name, before_us, warehouse, batch_rows))
    days = [(name, day) for name in partitions if (day := day_partitions.day_of(name)) is not None]
    for name, day_us in days if can_convert else ():
        if day_us + DAY_US > before_us:
            break
        if _something_stays(engine, name, before_us, warehouse):
            continue
        try:
            waited_s = _detach(engine, name)
        except (AccessDeniedError, StorageUnavailableError) as error:
            log.warning("whole days cannot be dropped now, so their rows are deleted one by one: %s", error)
            break
        done = done.plus(_finish(engine, f"{day_partitions.TABLE}_{name}", before_us, warehouse, batch_rows))
        done = done.plus(DroppedDays(longest_s=waited_s))
    return done


def put_back(connection: Connection) -> None:
    """Put the rows of days that were taken out and are not gone yet into the table again."""
    for name in day_partitions.detached(connection):
        columns = ", ".join(f"`{column['name']}`" for column in inspect(connection).get_columns(name))
        into = f"INSERT IGNORE INTO {day_partitions.TABLE} ({columns})"
        connection.execute(text(f"{into} SELECT {columns} FROM {name}"))  # noqa: S608 -- names only
        connection.execute(text(f"DROP TABLE {name}"))


def _something_stays(engine: Engine, partition: str, before_us: int, warehouse: WarehouseProgress | None) -> bool:
    """Whether a day has a row that must not go. Each reason has an index of its own: most days have no such row."""
    day = _table(f"{day_partitions.TABLE} PARTITION ({partition})").alias("day")
    with reading(engine) as connection:
        return any(
            connection.execute(select(literal(1)).select_from(day).where(reason).limit(1)).first()
            for reason in reasons_to_stay(day, before_us, warehouse)
        )


def _detach(engine: Engine, partition: str) -> float:
    """Take a day out, as a table of its own. Returns: seconds in which nobody else could use the table."""
    with _alone(engine) as connection:
        began = time.monotonic()
        _keeping_numbers(
            connection, f"ALTER TABLE {day_partitions.TABLE} CONVERT PARTITION {partition} TO TABLE {day_partitions.TABLE}_{partition}"
        )
    return time.monotonic() - began


@contextmanager
def _alone(engine: Engine) -> Iterator[Connection]:
    """Nobody else reads or writes the table meanwhile. Ended with the connection, whatever happens."""
    with database_errors(engine.url), engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.detach()  # what is set and locked here ends with it
        connection.execute(text(f"SET SESSION lock_wait_timeout = {LOCK_S}"))
        connection.execute(text(f"LOCK TABLES {day_partitions.TABLE} WRITE"))
        try:
            yield connection
        finally:
            with suppress(exc.DBAPIError):
                connection.execute(text("UNLOCK TABLES"))


def _keeping_numbers(connection: Connection, statement: str) -> None:
    """Change the partitions, and go on counting where the table was.

    Each partition remembers how far it has counted, and the table counts on from the highest of those that are there. The warehouse
    would take a row with a number that it has read for one that it knows. So all of them get the number first.
    """
    connection.execute(text(f"ALTER TABLE {day_partitions.TABLE} AUTO_INCREMENT = {day_partitions.next_number(connection)}"))
    connection.execute(text(statement))


def _finish(engine: Engine, name: str, before_us: int, warehouse: WarehouseProgress | None, batch_rows: int) -> DroppedDays:
    """Let a day go that was taken out: what came into it at the last moment goes back first, and so does what got an unread outcome."""
    day = _table(name)
    _return_stragglers(engine, day, before_us, warehouse)
    outcomes, longest = _delete_outcomes(engine, day, warehouse, batch_rows)
    _return_stragglers(engine, day, before_us, warehouse)
    with writing(engine) as connection:
        predictions = connection.execute(select(func.count()).select_from(day)).scalar_one()
        connection.execute(text(f"DROP TABLE {name}"))
    return DroppedDays(predictions, outcomes, longest)


def _return_stragglers(engine: Engine, day: Table, before_us: int, warehouse: WarehouseProgress | None) -> None:
    for reason in reasons_to_stay(day, before_us, warehouse):
        while True:
            with writing(engine) as connection:
                ids = connection.execute(select(day.c.prediction_id).where(reason).limit(BACK_ROWS)).scalars().all()
                if not ids:
                    break
                # With the numbers they had. An id that was shipped once more meanwhile stays as it is.
                rows = select(day).where(day.c.prediction_id.in_(ids))
                connection.execute(insert(prediction).prefix_with("IGNORE").from_select(list(day.c.keys()), rows))
                connection.execute(delete(day).where(day.c.prediction_id.in_(ids)))


def _delete_outcomes(engine: Engine, day: Table, warehouse: WarehouseProgress | None, batch_rows: int) -> tuple[int, float]:
    """Delete the outcomes of a day, in steps of one transaction each: how many, and the longest step."""
    with reading(engine) as connection:
        first, last = connection.execute(select(func.min(day.c.prediction_id), func.max(day.c.prediction_id))).one()
    gone, longest, after = 0, 0.0, ""
    while first is not None:
        began = time.monotonic()
        with writing(engine) as connection:
            query = select(outcome.c.prediction_id).distinct().where(exists().where(day.c.prediction_id == outcome.c.prediction_id))
            query = query.where(outcome.c.prediction_id.between(first, last), outcome.c.prediction_id > after)
            ids = connection.execute(query.order_by(outcome.c.prediction_id).limit(batch_rows)).scalars().all()
            if not ids:
                break
            read = () if warehouse is None else (was_read(outcome.c.seq, warehouse.outcomes),)
            gone += connection.execute(delete(outcome).where(outcome.c.prediction_id.in_(ids), *read)).rowcount
        after, longest = ids[-1], max(longest, time.monotonic() - began)
    return gone, longest


def _table(name: str) -> Table:
    """The table of a day that was taken out, or a partition under its own name: with the columns of predictions."""
    return prediction.to_metadata(MetaData(), name=quoted_name(name, quote=False))
