"""The partitions of the table of predictions on MariaDB: one for each day, so that a day goes as a whole and its disk with it.

The key is the id, which begins with the microsecond of its making: so an id is unique alone, as before, and is searched for in one
partition. No row needs its day to be there: `p_later` takes ids of the days to come, `p_other` ids that begin with no time, and the
first day whatever is before it.
"""

import re
from collections.abc import Sequence
from datetime import UTC, datetime

from sqlalchemy import Connection, text

from sporeprint.common.timestamps import DAY_US

TABLE = "prediction"
#: Days that are made ahead, and how few may be left of them. A prune once a week makes the next in time.
AHEAD_DAYS, LEAST_AHEAD_DAYS = 14, 10
#: Most days of rows that are there already get a partition each; the first takes what is older.
MOST_DAYS = 400
LATER, OTHER = "p_later", "p_other"
#: Ids of a time begin with 0, until the year 2112.
AFTER_TIMES = "1"
#: A day that was taken out of the table, until its outcomes have gone, too.
DETACHED = f"{TABLE}_p"
_DAY = re.compile(r"p([0-9]{8})")
DIALECTS = frozenset({"mysql", "mariadb"})


def first_id(time_us: int) -> str:
    """What sorts before every id of this time and after, and behind every earlier one."""
    return f"{time_us:014x}"


def partition_name(day_us: int) -> str:
    """The name of the partition of the day that begins then."""
    return f"p{datetime.fromtimestamp(day_us // 1_000_000, UTC):%Y%m%d}"


def day_of(partition: str) -> int | None:
    """When the day of a partition begins, microseconds since 1970 UTC; None where it has none."""
    named = _DAY.fullmatch(partition)
    return None if named is None else int(datetime.strptime(named[1], "%Y%m%d").replace(tzinfo=UTC).timestamp()) * 1_000_000


def partitioned(first_us: int, now_us: int) -> str:
    """The statement that partitions the table, with days from the first row's to some ahead. It makes the table anew."""
    first = max(min(first_us, now_us), now_us - MOST_DAYS * DAY_US)
    definitions = [*_days(first, now_us + AHEAD_DAYS * DAY_US), _bound(LATER, f"'{AFTER_TIMES}'"), _bound(OTHER, "MAXVALUE")]
    key = "DROP PRIMARY KEY, ADD PRIMARY KEY (seq, prediction_id)"
    return f"ALTER TABLE {TABLE} {key} PARTITION BY RANGE COLUMNS (prediction_id) ({', '.join(definitions)})"


def whole() -> str:
    """The statement that takes the partitions away. It makes the table anew."""
    return f"ALTER TABLE {TABLE} DROP PRIMARY KEY, ADD PRIMARY KEY (seq) REMOVE PARTITIONING"


def extended(partitions: Sequence[str], now_us: int) -> str | None:
    """The statement that makes the coming days, out of the partition that has taken their rows until then; None where enough are there."""
    days = [day for day in map(day_of, partitions) if day is not None]
    if LATER not in partitions or (days and days[-1] + DAY_US > now_us + LEAST_AHEAD_DAYS * DAY_US):
        return None
    first = max(days[-1] + DAY_US, now_us - MOST_DAYS * DAY_US) if days else now_us
    definitions = [*_days(first, now_us + AHEAD_DAYS * DAY_US), _bound(LATER, f"'{AFTER_TIMES}'")]
    return f"ALTER TABLE {TABLE} REORGANIZE PARTITION {LATER} INTO ({', '.join(definitions)})"


def _days(first_us: int, last_us: int) -> list[str]:
    begins = range(first_us - first_us % DAY_US, last_us + 1, DAY_US)
    return [_bound(partition_name(day), f"'{first_id(day + DAY_US)}'") for day in begins]


def _bound(name: str, bound: str) -> str:
    return f"PARTITION {name} VALUES LESS THAN ({bound})"


def first_time(connection: Connection) -> int | None:
    """The time of the lowest id that begins with one, microseconds since 1970 UTC; None where no id does."""
    query = text(f"SELECT MIN(prediction_id) FROM {TABLE} WHERE prediction_id BETWEEN '0' AND :last")  # noqa: S608 -- a constant
    lowest = connection.execute(query, {"last": AFTER_TIMES}).scalar()
    named = None if lowest is None else re.match(r"0[0-9a-f]{13}", lowest)
    return None if named is None else int(named[0], 16)


def present(connection: Connection) -> list[str]:
    """The partitions of the table, in order; none where it has none."""
    if connection.dialect.name not in DIALECTS:
        return []
    query = (
        "SELECT partition_name FROM information_schema.partitions WHERE table_schema = DATABASE() AND table_name = :name "
        "AND partition_name IS NOT NULL ORDER BY partition_ordinal_position"
    )
    return list(connection.execute(text(query), {"name": TABLE}).scalars())


def detached(connection: Connection) -> list[str]:
    """Tables of days that were taken out and are not gone yet: a run was killed."""
    if connection.dialect.name not in DIALECTS:
        return []
    query = "SELECT table_name FROM information_schema.tables WHERE table_schema = DATABASE() ORDER BY table_name"
    return [name for name in connection.execute(text(query)).scalars() if re.fullmatch(f"{DETACHED}[0-9]{{8}}", name)]


def next_number(connection: Connection) -> int:
    """The number that the next row gets."""
    query = "SELECT auto_increment FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = :name"
    return int(connection.execute(text(query), {"name": TABLE}).scalar_one())
