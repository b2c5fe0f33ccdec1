"""The warehouse's tables, once, as values: the tables of both engines are made from them.

A star: facts (what happened) with the keys of dimensions (what it happened to), and counts of the facts by hour, model and arm.
The counts only ever grow by what was added, so that a report reads a number of rows that does not depend on the traffic.
Times are microseconds since 1970 UTC, in columns that end in `_us`. `test_id` and `arm` are '' outside of a test.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum

#: Counts up with every change of the tables below. A warehouse of another one is refused, with what to do ...
STAR = 2
#: ... but for these earlier ones: what they lack are columns that can be missing, and the next sync adds them.
EXTENDABLE = frozenset({1})
#: `hour_us` and `created_us` of an outcome whose prediction has not come yet.
WAITING_US = -1
#: Most characters of a nominal value that is counted by itself.
VALUE_LENGTH = 64


class ColumnType(StrEnum):
    """What a column holds."""

    INTEGER = "integer"
    NUMBER = "number"
    NAME = "name"
    TEXT = "text"


class TableKind(StrEnum):
    """How a table grows.

    FACT: rows are added, by day. COUNT: numbers are added up by key, by day. DIMENSION: rows are replaced by key; few.
    """

    FACT = "fact"
    COUNT = "count"
    DIMENSION = "dimension"


@dataclass(frozen=True, slots=True)
class StarColumn:
    """A column: its name, what it holds, most characters of a name, whether a value can be missing, what it says."""

    name: str
    type: ColumnType = ColumnType.INTEGER
    length: int = 64
    null: bool = False
    says: str = ""


@dataclass(frozen=True, slots=True)
class StarTable:
    """A table.

    Attributes:
        name: on both engines.
        kind: how it grows.
        columns: in order.
        key: columns that tell one row from another.
        counts: columns that are added up, of a table of counts.
        by: column of the time that its rows are kept by; None for dimensions.
        indexes: further columns that rows are looked up by.
    """

    name: str
    kind: TableKind
    columns: tuple[StarColumn, ...]
    key: tuple[str, ...]
    counts: tuple[str, ...] = ()
    by: str | None = None
    indexes: tuple[tuple[str, ...], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)


def _integers(*names: str) -> tuple[StarColumn, ...]:
    return tuple(StarColumn(name) for name in names)


def _numbers(*names: str, null: bool = True) -> tuple[StarColumn, ...]:
    return tuple(StarColumn(name, ColumnType.NUMBER, null=null) for name in names)


def _name(name: str, length: int = 64, *, null: bool = False, says: str = "") -> StarColumn:
    return StarColumn(name, ColumnType.NAME, length, null, says)


def _text(name: str, *, null: bool = False, says: str = "") -> StarColumn:
    return StarColumn(name, ColumnType.TEXT, null=null, says=says)


#: Last in its tables, so that earlier ones can be extended by it.
_ROW_HASH = StarColumn("row_hash", null=True, says="equal rows have the same; NULL: an earlier release did not tell rows apart")

#: What every count is kept by.
CELL = (StarColumn("hour_us"), _name("model"), StarColumn("version"), _name("test_id"), _name("arm", 1))
CELL_NAMES = tuple(column.name for column in CELL)

FACT_PREDICTION = StarTable(
    "fact_prediction",
    TableKind.FACT,
    (
        *(_name("prediction_id"), StarColumn("seq", says="of the row it was made from"), _name("batch_id", null=True)),
        *(StarColumn("created_us"), *CELL, _name("prediction", says="class code"), *_numbers("probability")),
        *(_name("verdict"), *_numbers("novelty_p", "threshold")),
        *(_text("unseen", says="JSON list of columns"), _text("features", says="JSON object, as given")),
        *(_name("unit_id", 255, null=True), _text("shadow", null=True, says="JSON: the other arm's answer"), StarColumn("latency_us")),
        _ROW_HASH,
    ),
    key=("created_us", "prediction_id"),
    by="created_us",
    indexes=(("prediction_id",), ("hour_us",)),
)
FACT_OUTCOME = StarTable(
    "fact_outcome",
    TableKind.FACT,
    (
        *(_name("prediction_id"), StarColumn("revision"), StarColumn("seq"), _name("outcome", says="class code"), _name("source", 255)),
        *(*_integers("observed_us", "recorded_us"), StarColumn("latest", says="1 for the last revision, else 0")),
        *(StarColumn("created_us", says="of the prediction; -1 while it has not come"), *CELL, _name("verdict"), _name("prediction")),
        _ROW_HASH,
    ),
    key=("prediction_id", "revision"),
    by="created_us",
    indexes=(("hour_us",),),
)
FACT_METRIC = StarTable(
    "fact_metric",
    TableKind.DIMENSION,
    (
        *(_name("run_id"), _name("model"), _name("part", says="what it was measured on"), _name("metric")),
        *(
            *_numbers("value", "low", "high"),
            StarColumn("rows_measured", null=True),
            StarColumn("created_us"),
            StarColumn("simulated", says="1 or 0"),
        ),
    ),
    key=("run_id", "model", "part", "metric"),
)
DIM_MODEL = StarTable(
    "dim_model",
    TableKind.DIMENSION,
    (
        *(_name("model"), StarColumn("version"), _name("ref", 80, says="model/v<version>")),
        *(
            StarColumn("created_us", null=True, says="when it was registered"),
            StarColumn("simulated", null=True, says="1: of invented rows"),
        ),
        _name("run_id", null=True, says="that made it"),
    ),
    key=("model", "version"),
)
DIM_TEST = StarTable(
    "dim_test",
    TableKind.DIMENSION,
    (
        *(_name("test_id"), _name("name", 128), StarColumn("created_us"), _name("mode", 16), _name("status", 16)),
        *(_name("model_a"), StarColumn("version_a"), _name("model_b"), StarColumn("version_b"), *_numbers("traffic_split", null=False)),
        *(StarColumn("concluded_us", null=True), _name("verdict", 16, null=True)),
    ),
    key=("test_id",),
)
DIM_TIME = StarTable(
    "dim_time",
    TableKind.DIMENSION,
    (
        StarColumn("hour_us"),
        _name("day", 10, says="2026-01-31, UTC"),
        *_integers("year", "month", "day_of_month", "hour"),
        StarColumn("weekday"),
    ),
    key=("hour_us",),
)
DIM_VERDICT = StarTable(
    "dim_verdict",
    TableKind.DIMENSION,
    (_name("verdict"), _name("kind", 16, says="positive, negative or unknown")),
    key=("verdict",),
)
DIM_CLASS = StarTable(
    "dim_class",
    TableKind.DIMENSION,
    (_name("code", says="as in prediction and outcome"), _name("word"), StarColumn("positive", says="1 or 0")),
    key=("code",),
)

#: Answers, and what they took. The sum of squares makes variances; as a number, because it outgrows an integer.
HOUR_ANSWERS = StarTable(
    "hour_answers",
    TableKind.COUNT,
    (*CELL, _name("verdict"), *_integers("answers", "latency_sum_us"), *_numbers("latency_sum_us2", null=False)),
    key=(*CELL_NAMES, "verdict"),
    counts=("answers", "latency_sum_us", "latency_sum_us2"),
    by="hour_us",
)
#: Latency as a histogram: low_us <= latency < high_us.
HOUR_LATENCY = StarTable(
    "hour_latency",
    TableKind.COUNT,
    (*CELL, *_integers("low_us", "high_us", "answers")),
    key=(*CELL_NAMES, "low_us", "high_us"),
    counts=("answers",),
    by="hour_us",
)
#: Every feature as a histogram. kind: value (a nominal one), number (low <= x < high), missing
#: (recorded as empty), absent (not observed; earlier releases counted it as missing), unseen, invalid.
HOUR_FEATURES = StarTable(
    "hour_features",
    TableKind.COUNT,
    (*CELL, _name("feature"), _name("kind", 8), _name("value", VALUE_LENGTH), *_numbers("low", "high", null=False), StarColumn("answers")),
    key=(*CELL_NAMES, "feature", "kind", "value", "low", "high"),
    counts=("answers",),
    by="hour_us",
)
#: Answers whose outcome is known, by the outcome's last revision.
HOUR_OUTCOMES = StarTable(
    "hour_outcomes",
    TableKind.COUNT,
    (*CELL, _name("verdict"), _name("prediction"), _name("outcome"), StarColumn("answers")),
    key=(*CELL_NAMES, "verdict", "prediction", "outcome"),
    counts=("answers",),
    by="hour_us",
)

TABLES: dict[str, StarTable] = {
    table.name: table
    for table in (
        *(FACT_PREDICTION, FACT_OUTCOME, FACT_METRIC, DIM_MODEL, DIM_TEST, DIM_TIME, DIM_VERDICT, DIM_CLASS),
        *(HOUR_ANSWERS, HOUR_LATENCY, HOUR_FEATURES, HOUR_OUTCOMES),
    )
}

#: What an outcome takes over from its prediction.
OF_PREDICTION: Sequence[str] = ("created_us", *CELL_NAMES, "verdict", "prediction", "row_hash")

_DUCKDB = {ColumnType.INTEGER: "BIGINT", ColumnType.NUMBER: "DOUBLE", ColumnType.NAME: "VARCHAR", ColumnType.TEXT: "VARCHAR"}
_MARIADB = {ColumnType.INTEGER: "BIGINT", ColumnType.NUMBER: "DOUBLE", ColumnType.TEXT: "LONGTEXT"}
#: Text is compared byte by byte, blanks at the end included, as in the OLTP database and in DuckDB.
MARIADB_OPTIONS = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin ROW_FORMAT=DYNAMIC"


def duckdb_type(column: StarColumn) -> str:
    """A column's type in DuckDB."""
    return _DUCKDB[column.type]


def duckdb_empty(table: StarTable) -> str:
    """A query of DuckDB that gives the table without a row."""
    columns = ", ".join(f'CAST(NULL AS {duckdb_type(column)}) AS "{column.name}"' for column in table.columns)
    return f"SELECT {columns} WHERE false"


def mariadb_ddl(table: StarTable) -> str:
    """The statement that makes the table in MariaDB."""
    lines = [_mariadb_column(column) for column in table.columns]
    lines.append(f"PRIMARY KEY ({_quoted(table.key)})")
    lines += [f"KEY `ix_{table.name}_{'_'.join(index)}` ({_quoted(index)})" for index in table.indexes]
    body = ",\n  ".join(lines)
    return f"CREATE TABLE IF NOT EXISTS `{table.name}` (\n  {body}\n) {MARIADB_OPTIONS}"


def mariadb_extension(table: StarTable, there: Collection[str]) -> str | None:
    """The statement that adds what a table of an earlier release lacks; None where it lacks nothing."""
    lacking = [f"ADD COLUMN {_mariadb_column(column)}" for column in table.columns if column.name not in there]
    return f"ALTER TABLE `{table.name}` {', '.join(lacking)}" if lacking else None


def _mariadb_column(column: StarColumn) -> str:
    kind = f"VARCHAR({column.length})" if column.type is ColumnType.NAME else _MARIADB[column.type]
    comment_text = column.says.replace("'", "''")
    comment = f" COMMENT '{comment_text}'" if comment_text else ""
    return f"`{column.name}` {kind}{'' if column.null else ' NOT NULL'}{comment}"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
