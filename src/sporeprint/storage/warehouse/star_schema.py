"""The warehouse's tables, once, as values: the tables of both engines are made from them.

A star: facts (what happened) with the keys of dimensions (what it happened to), and counts of the facts by hour, model and arm.
The counts only ever grow by what was added, so that a report reads a number of rows that does not depend on the traffic.
Times are microseconds since 1970 UTC, in columns that end in `_us`. `test_id` and `arm` are '' outside of a test.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

#: Counts up with every change of the tables below. A warehouse of another one is refused, with what to do.
STAR = 1
#: `hour_us` and `created_us` of an outcome whose prediction has not come yet.
WAITING_US = -1
#: Most characters of a nominal value that is counted by itself.
VALUE_LENGTH = 64


class Type(StrEnum):
    """What a column holds."""

    INTEGER = "integer"
    NUMBER = "number"
    NAME = "name"
    TEXT = "text"


class Kind(StrEnum):
    """How a table grows.

    FACT: rows are added, by day. COUNT: numbers are added up by key, by day. DIMENSION: rows are replaced by key; few.
    """

    FACT = "fact"
    COUNT = "count"
    DIMENSION = "dimension"


@dataclass(frozen=True, slots=True)
class Column:
    """A column: its name, what it holds, most characters of a name, whether a value can be missing, what it says."""

    name: str
    type: Type = Type.INTEGER
    length: int = 64
    null: bool = False
    says: str = ""


@dataclass(frozen=True, slots=True)
class Table:
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
    kind: Kind
    columns: tuple[Column, ...]
    key: tuple[str, ...]
    counts: tuple[str, ...] = ()
    by: str | None = None
    indexes: tuple[tuple[str, ...], ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(column.name for column in self.columns)


def _integers(*names: str) -> tuple[Column, ...]:
    return tuple(Column(name) for name in names)


def _numbers(*names: str, null: bool = True) -> tuple[Column, ...]:
    return tuple(Column(name, Type.NUMBER, null=null) for name in names)


def _name(name: str, length: int = 64, *, null: bool = False, says: str = "") -> Column:
    return Column(name, Type.NAME, length, null, says)


def _text(name: str, *, null: bool = False, says: str = "") -> Column:
    return Column(name, Type.TEXT, null=null, says=says)


#: What every count is kept by.
CELL = (Column("hour_us"), _name("model"), Column("version"), _name("test_id"), _name("arm", 1))
CELL_NAMES = tuple(column.name for column in CELL)

FACT_PREDICTION = Table(
    "fact_prediction",
    Kind.FACT,
    (
        *(_name("prediction_id"), Column("seq", says="of the row it was made from"), _name("batch_id", null=True)),
        *(Column("created_us"), *CELL, _name("prediction", says="class code"), *_numbers("probability")),
        *(_name("verdict"), *_numbers("novelty_p", "threshold")),
        *(_text("unseen", says="JSON list of columns"), _text("features", says="JSON object, as given")),
        *(_name("unit_id", 255, null=True), _text("shadow", null=True, says="JSON: the other arm's answer"), Column("latency_us")),
    ),
    key=("created_us", "prediction_id"),
    by="created_us",
    indexes=(("prediction_id",), ("hour_us",)),
)
FACT_OUTCOME = Table(
    "fact_outcome",
    Kind.FACT,
    (
        *(_name("prediction_id"), Column("revision"), Column("seq"), _name("outcome", says="class code"), _name("source", 255)),
        *(*_integers("observed_us", "recorded_us"), Column("latest", says="1 for the last revision, else 0")),
        *(Column("created_us", says="of the prediction; -1 while it has not come"), *CELL, _name("verdict"), _name("prediction")),
    ),
    key=("prediction_id", "revision"),
    by="created_us",
    indexes=(("hour_us",),),
)
FACT_METRIC = Table(
    "fact_metric",
    Kind.DIMENSION,
    (
        *(_name("run_id"), _name("model"), _name("part", says="what it was measured on"), _name("metric")),
        *(*_numbers("value", "low", "high"), Column("rows_measured", null=True), Column("created_us"), Column("simulated", says="1 or 0")),
    ),
    key=("run_id", "model", "part", "metric"),
)
DIM_MODEL = Table(
    "dim_model",
    Kind.DIMENSION,
    (
        *(_name("model"), Column("version"), _name("ref", 80, says="model/v<version>")),
        *(Column("created_us", null=True, says="when it was registered"), Column("simulated", null=True, says="1: of invented rows")),
        _name("run_id", null=True, says="that made it"),
    ),
    key=("model", "version"),
)
DIM_TEST = Table(
    "dim_test",
    Kind.DIMENSION,
    (
        *(_name("test_id"), _name("name", 128), Column("created_us"), _name("mode", 16), _name("status", 16)),
        *(_name("model_a"), Column("version_a"), _name("model_b"), Column("version_b"), *_numbers("traffic_split", null=False)),
        *(Column("concluded_us", null=True), _name("verdict", 16, null=True)),
    ),
    key=("test_id",),
)
DIM_TIME = Table(
    "dim_time",
    Kind.DIMENSION,
    (Column("hour_us"), _name("day", 10, says="2026-01-31, UTC"), *_integers("year", "month", "day_of_month", "hour"), Column("weekday")),
    key=("hour_us",),
)
DIM_VERDICT = Table(
    "dim_verdict",
    Kind.DIMENSION,
    (_name("verdict"), _name("kind", 16, says="positive, negative or unknown")),
    key=("verdict",),
)
DIM_CLASS = Table(
    "dim_class",
    Kind.DIMENSION,
    (_name("code", says="as in prediction and outcome"), _name("word"), Column("positive", says="1 or 0")),
    key=("code",),
)

#: Answers, and what they took. The sum of squares makes variances; as a number, because it outgrows an integer.
HOUR_ANSWERS = Table(
    "hour_answers",
    Kind.COUNT,
    (*CELL, _name("verdict"), *_integers("answers", "latency_sum_us"), *_numbers("latency_sum_us2", null=False)),
    key=(*CELL_NAMES, "verdict"),
    counts=("answers", "latency_sum_us", "latency_sum_us2"),
    by="hour_us",
)
#: Latency as a histogram: low_us <= latency < high_us.
HOUR_LATENCY = Table(
    "hour_latency",
    Kind.COUNT,
    (*CELL, *_integers("low_us", "high_us", "answers")),
    key=(*CELL_NAMES, "low_us", "high_us"),
    counts=("answers",),
    by="hour_us",
)
#: Every feature as a histogram. kind: value (a nominal one), number (low <= x < high), missing, unseen, invalid.
HOUR_FEATURES = Table(
    "hour_features",
    Kind.COUNT,
    (*CELL, _name("feature"), _name("kind", 8), _name("value", VALUE_LENGTH), *_numbers("low", "high", null=False), Column("answers")),
    key=(*CELL_NAMES, "feature", "kind", "value", "low", "high"),
    counts=("answers",),
    by="hour_us",
)
#: Answers whose outcome is known, by the outcome's last revision.
HOUR_OUTCOMES = Table(
    "hour_outcomes",
    Kind.COUNT,
    (*CELL, _name("verdict"), _name("prediction"), _name("outcome"), Column("answers")),
    key=(*CELL_NAMES, "verdict", "prediction", "outcome"),
    counts=("answers",),
    by="hour_us",
)

TABLES: dict[str, Table] = {
    table.name: table
    for table in (
        *(FACT_PREDICTION, FACT_OUTCOME, FACT_METRIC, DIM_MODEL, DIM_TEST, DIM_TIME, DIM_VERDICT, DIM_CLASS),
        *(HOUR_ANSWERS, HOUR_LATENCY, HOUR_FEATURES, HOUR_OUTCOMES),
    )
}

#: What an outcome takes over from its prediction.
OF_PREDICTION: Sequence[str] = ("created_us", *CELL_NAMES, "verdict", "prediction")

_DUCKDB = {Type.INTEGER: "BIGINT", Type.NUMBER: "DOUBLE", Type.NAME: "VARCHAR", Type.TEXT: "VARCHAR"}
_MARIADB = {Type.INTEGER: "BIGINT", Type.NUMBER: "DOUBLE", Type.TEXT: "LONGTEXT"}
#: Text is compared byte by byte, blanks at the end included, as in the OLTP database and in DuckDB.
MARIADB_OPTIONS = "ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_nopad_bin ROW_FORMAT=DYNAMIC"


def duckdb_type(column: Column) -> str:
    """A column's type in DuckDB."""
    return _DUCKDB[column.type]


def duckdb_empty(table: Table) -> str:
    """A query of DuckDB that gives the table without a row."""
    columns = ", ".join(f'CAST(NULL AS {duckdb_type(column)}) AS "{column.name}"' for column in table.columns)
    return f"SELECT {columns} WHERE false"


def mariadb_ddl(table: Table) -> str:
    """The statement that makes the table in MariaDB."""
    lines = [_mariadb_column(column) for column in table.columns]
    lines.append(f"PRIMARY KEY ({_quoted(table.key)})")
    lines += [f"KEY `ix_{table.name}_{'_'.join(index)}` ({_quoted(index)})" for index in table.indexes]
    body = ",\n  ".join(lines)
    return f"CREATE TABLE IF NOT EXISTS `{table.name}` (\n  {body}\n) {MARIADB_OPTIONS}"


def _mariadb_column(column: Column) -> str:
    kind = f"VARCHAR({column.length})" if column.type is Type.NAME else _MARIADB[column.type]
    said = column.says.replace("'", "''")
    comment = f" COMMENT '{said}'" if said else ""
    return f"`{column.name}` {kind}{'' if column.null else ' NOT NULL'}{comment}"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
