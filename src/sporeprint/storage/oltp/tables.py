"""The tables of the OLTP database, as values. The migrations make them; a test holds the two to the same.

Times are microseconds since 1970 UTC, in columns that end in `_us`. Text that is looked up is compared byte by byte on
both databases, spaces at the end included (on MariaDB: `nopad`); JSON is text, as it was given. What is marked append-only
has no statement that changes it.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    event,
)
from sqlalchemy.dialects.mysql import LONGBLOB, LONGTEXT, VARCHAR

from sporeprint.common.timestamps import now_us
from sporeprint.storage.oltp import day_partitions

#: One name per constraint, the same on both databases: a migration has to be able to name what it drops.
metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: What every table says to its database. Row format and collation are stated, because a server's defaults can be changed.
_SAID = {"engine": "InnoDB", "charset": "utf8mb4", "collate": "utf8mb4_nopad_bin", "row_format": "DYNAMIC"}
OPTIONS: dict[str, Any] = {f"{dialect}_{option}": value for dialect in ("mysql", "mariadb") for option, value in _SAID.items()}
#: A number is never given twice, also after the rows with the highest ones were pruned: the warehouse knows rows by it.
OPTIONS["sqlite_autoincrement"] = True

#: A number that counts rows. SQLite counts only in a column that is called INTEGER, which has 64 bits there too.
SEQUENCE = BigInteger().with_variant(Integer, "sqlite")
#: Microseconds since 1970 UTC.
MICROSECONDS = BigInteger()
#: Text of any length: JSON, reasons.
LONG = Text().with_variant(LONGTEXT(charset="utf8mb4", collation="utf8mb4_nopad_bin"), "mysql", "mariadb")
#: Bytes of any number.
BYTES = LargeBinary().with_variant(LONGBLOB(), "mysql", "mariadb")


def name(length: int) -> String:
    """Text that is looked up: compared byte by byte, and no longer than an index takes."""
    return String(length).with_variant(VARCHAR(length, charset="utf8mb4", collation="utf8mb4_nopad_bin"), "mysql", "mariadb")


#: Every answer, once. Shipped from the journals, so that it may come late and out of order of `created_us`. On MariaDB in a partition
#: for each day (`day_partitions`), whose key, `prediction_id`, is there the second column of the primary key.
prediction = Table(
    "prediction",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("prediction_id", name(64), nullable=False),
    Column("batch_id", name(64)),
    Column("created_us", MICROSECONDS, nullable=False),
    Column("model", name(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("prediction", name(64), nullable=False, comment="class code"),
    Column("probability", Double, comment="of the positive class"),
    Column("verdict", name(64), nullable=False),
    Column("novelty_p", Double),
    Column("threshold", Double),
    Column("unseen", LONG, nullable=False, comment="JSON list of column names"),
    Column("features", LONG, nullable=False, comment="JSON object, as given"),
    Column("test_id", name(64)),
    Column("arm", name(1), comment="a or b"),
    Column("unit_id", name(255)),
    Column("shadow", LONG, comment="JSON: the other arm's answer, in a shadow test"),
    Column("latency_us", Integer, nullable=False),
    Column("worker", name(64), nullable=False),
    Column("recorded_us", MICROSECONDS, nullable=False, comment="when it was shipped"),
    UniqueConstraint("prediction_id"),
    Index(None, "created_us"),
    Index(None, "test_id", "created_us"),
    **OPTIONS,
)


def _partition(_: Table, connection: Connection, **__: Any) -> None:
    if connection.dialect.name in day_partitions.DIALECTS:
        connection.exec_driver_sql(day_partitions.partitioned(now_us(), now_us()))


event.listen(prediction, "after_create", _partition)

#: One file of answers: the Parquet artefact holds the rows, whose ids are `<batch_id>:<row>`.
batch = Table(
    "batch",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("batch_id", name(64), nullable=False),
    Column("created_us", MICROSECONDS, nullable=False),
    Column("model", name(64), nullable=False),
    Column("version", Integer, nullable=False),
    Column("rows", BigInteger, nullable=False),
    Column("verdicts", LONG, nullable=False, comment="JSON object: verdict -> rows"),
    Column("artefact", String(1024), nullable=False, comment="path below the work directory"),
    Column("sha256", name(64), nullable=False),
    Column("bytes", BigInteger, nullable=False),
    UniqueConstraint("batch_id"),
    Index(None, "created_us"),
    **OPTIONS,
)

#: Ground truth, append-only: revision 1, 2, ... of one prediction. It may come before its prediction: no foreign key.
outcome = Table(
    "outcome",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("prediction_id", name(64), nullable=False),
    Column("revision", Integer, nullable=False),
    Column("outcome", name(64), nullable=False, comment="class code"),
    Column("source", name(255), nullable=False, comment="who says so"),
    Column("observed_us", MICROSECONDS, nullable=False),
    Column("recorded_us", MICROSECONDS, nullable=False),
    Column("idempotency_key", name(255)),
    UniqueConstraint("prediction_id", "revision"),
    UniqueConstraint("idempotency_key"),
    Index(None, "recorded_us"),
    **OPTIONS,
)

#: A test of two versions. What is fixed before the first unit stands in `rule`; names are never used again.
ab_test = Table(
    "ab_test",
    metadata,
    Column("test_id", name(64), primary_key=True),
    Column("name", name(128), nullable=False),
    Column("created_us", MICROSECONDS, nullable=False),
    Column("mode", name(16), nullable=False, comment="split or shadow"),
    Column("status", name(16), nullable=False, comment="running or concluded"),
    Column("model_a", name(64), nullable=False),
    Column("version_a", Integer, nullable=False),
    Column("sha256_a", name(64), nullable=False),
    Column("model_b", name(64), nullable=False),
    Column("version_b", Integer, nullable=False),
    Column("sha256_b", name(64), nullable=False),
    Column("traffic_split", Double, nullable=False, comment="share of the units that go to b"),
    Column("salt", name(64), nullable=False),
    Column("rule", LONG, nullable=False, comment="JSON: the decision rule"),
    Column("concluded_us", MICROSECONDS),
    Column("verdict", name(16), comment="a, b, equivalent or inconclusive"),
    UniqueConstraint("name"),
    Index(None, "status"),
    **OPTIONS,
)

#: What happened to a test, by whom and why. Append-only.
ab_event = Table(
    "ab_event",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("test_id", name(64), nullable=False),
    Column("at_us", MICROSECONDS, nullable=False),
    Column("actor", name(128), nullable=False),
    Column("event", name(64), nullable=False),
    Column("details", LONG, nullable=False, comment="JSON object"),
    Index(None, "test_id", "seq"),
    **OPTIONS,
)

#: The units of running tests, each with the one answer that it counts with: its first, or the first whose truth is known.
ab_unit = Table(
    "ab_unit",
    metadata,
    Column("test_id", name(64), primary_key=True),
    Column("unit_id", name(255), primary_key=True),
    Column("prediction_seq", BigInteger, nullable=False),
    Column("prediction_id", name(64), nullable=False),
    Column("arm", name(1), nullable=False),
    Column("answer", SmallInteger, nullable=False, comment="0 negative, 1 positive, 2 unknown, 3 failed"),
    Column("shadow_answer", SmallInteger, nullable=False, comment="the same of the other version in a shadow test, otherwise -1"),
    Column("truth", SmallInteger, nullable=False, comment="0 negative, 1 positive, -1 not known"),
    Column("latency_us", BigInteger, nullable=False),
    Column("shadow_latency_us", BigInteger, nullable=False),
    Column("awaits_label", SmallInteger, nullable=False, comment="1: both answered, not the same, and the truth is not known"),
    Index(None, "test_id", "awaits_label", "prediction_seq"),
    **OPTIONS,
)

#: Who has an item of a shadow test in hand to label it, until when, and its label. One row an item: no two people have the same.
ab_lease = Table(
    "ab_lease",
    metadata,
    Column("test_id", name(64), primary_key=True),
    Column("prediction_id", name(64), primary_key=True),
    Column("holder", name(255), nullable=False, comment="who has it, or had it last"),
    Column("until_us", MICROSECONDS, nullable=False),
    Column("label", name(64), comment="class code or cannot_tell; null: not labelled yet"),
    Column("labelled_us", MICROSECONDS),
    Column("note", LONG),
    Index(None, "test_id", "holder"),
    **OPTIONS,
)

#: How many units of a test there are of each kind. Its size does not grow with the units.
ab_total = Table(
    "ab_total",
    metadata,
    Column("test_id", name(64), primary_key=True),
    Column("arm", name(1), primary_key=True),
    Column("answer", SmallInteger, primary_key=True, autoincrement=False),
    Column("shadow_answer", SmallInteger, primary_key=True, autoincrement=False),
    Column("truth", SmallInteger, primary_key=True, autoincrement=False),
    Column("units", BigInteger, nullable=False),
    Column("latency_us", Double, nullable=False, comment="sum"),
    Column("latency_us2", Double, nullable=False, comment="sum of squares"),
    Column("shadow_latency_us", Double, nullable=False),
    Column("shadow_latency_us2", Double, nullable=False),
    Column("slow", BigInteger, comment="units beyond the latency limit; in a shadow test, in A alone"),
    Column("shadow_slow", BigInteger, comment="in a shadow test, units beyond the latency limit in B alone"),
    **OPTIONS,
)

#: Interim analyses of the tests. The last one is replaced as long as little has changed since the one before it.
ab_interim_analysis = Table(
    "ab_interim_analysis",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("test_id", name(64), nullable=False),
    Column("at_us", MICROSECONDS, nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("labels", BigInteger, nullable=False),
    Column("figures", LONG, nullable=False, comment="JSON object: totals, analysis, decision"),
    Index(None, "test_id", "seq"),
    **OPTIONS,
)

#: How far background work has come, and who does it. A change names the number that it read.
checkpoint = Table(
    "checkpoint",
    metadata,
    Column("name", name(64), primary_key=True),
    Column("number", BigInteger, nullable=False),
    Column("value", LONG, nullable=False, comment="JSON"),
    **OPTIONS,
)

#: Who may call the service. Only a hash of the key is kept; its roles are separated by commas, its label is its name.
api_key = Table(
    "api_key",
    metadata,
    Column("key_id", name(64), primary_key=True),
    Column("hash", name(128), nullable=False, comment="sha256 of the key, in hex"),
    Column("role", name(32), nullable=False),
    Column("label", name(128), nullable=False),
    Column("created_us", MICROSECONDS, nullable=False),
    Column("revoked_us", MICROSECONDS),
    Column("expires_us", MICROSECONDS),
    UniqueConstraint("hash"),
    **OPTIONS,
)

#: Who changed what. Append-only.
audit = Table(
    "audit",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("at_us", MICROSECONDS, nullable=False),
    Column("actor", name(128), nullable=False),
    Column("action", name(64), nullable=False),
    Column("subject", name(255), nullable=False),
    Column("details", LONG, nullable=False, comment="JSON object"),
    Index(None, "at_us"),
    Index(None, "subject"),
    **OPTIONS,
)

#: One thing that is or was wrong; `fingerprint` is what makes two reports of it the same alert.
alert = Table(
    "alert",
    metadata,
    Column("alert_id", name(64), primary_key=True),
    Column("fingerprint", name(128), nullable=False),
    Column("monitor", name(64), nullable=False),
    Column("severity", name(16), nullable=False),
    Column("status", name(16), nullable=False, comment="raised, acknowledged or recovered"),
    Column("first_us", MICROSECONDS, nullable=False),
    Column("last_us", MICROSECONDS, nullable=False),
    Column("summary", LONG, nullable=False),
    Index(None, "fingerprint", "last_us"),
    Index(None, "status"),
    **OPTIONS,
)

#: What happened to an alert: raised, delivered, suppressed, recovered. Append-only.
alert_event = Table(
    "alert_event",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("alert_id", name(64), nullable=False),
    Column("at_us", MICROSECONDS, nullable=False),
    Column("event", name(32), nullable=False),
    Column("details", LONG, nullable=False, comment="JSON object"),
    Index(None, "alert_id", "seq"),
    **OPTIONS,
)

#: What is to be delivered to a channel, and what became of it.
alert_delivery = Table(
    "alert_delivery",
    metadata,
    Column("seq", SEQUENCE, primary_key=True, autoincrement=True),
    Column("alert_id", name(64), nullable=False),
    Column("channel", name(64), nullable=False),
    Column("kind", name(16), nullable=False, comment="raised, reminded or recovered"),
    Column("title", LONG, nullable=False),
    Column("body", LONG, nullable=False),
    Column("created_us", MICROSECONDS, nullable=False),
    Column("due_us", MICROSECONDS, nullable=False, comment="when to try next"),
    Column("attempts", SmallInteger, nullable=False),
    Column("status", name(16), nullable=False, comment="waiting, delivered or given up"),
    Column("last_error", LONG),
    Index(None, "status", "due_us"),
    Index(None, "alert_id"),
    **OPTIONS,
)

#: One run of the pipeline or of one of its steps.
pipeline_run = Table(
    "pipeline_run",
    metadata,
    Column("run_id", name(64), primary_key=True),
    Column("command", name(64), nullable=False),
    Column("started_us", MICROSECONDS, nullable=False),
    Column("finished_us", MICROSECONDS),
    Column("status", name(16), nullable=False, comment="running, done or failed"),
    Column("exit_code", SmallInteger),
    Column("rows", BigInteger),
    Column("data_sha256", name(64)),
    Column("details", LONG, nullable=False, comment="JSON object"),
    Index(None, "started_us"),
    **OPTIONS,
)

#: What a run measured: one number of one model on one part of the data, with its interval.
run_metric = Table(
    "run_metric",
    metadata,
    Column("run_id", name(64), primary_key=True),
    Column("model", name(64), primary_key=True),
    Column("part", name(64), primary_key=True, comment="what it was measured on"),
    Column("metric", name(64), primary_key=True),
    Column("value", Double),
    Column("low", Double),
    Column("high", Double),
    Column("rows", BigInteger),
    **OPTIONS,
)

#: What the monitor evaluated. The newest of a stream keep all that was computed, and the page; older ones their summary.
monitor_evaluation = Table(
    "monitor_evaluation",
    metadata,
    Column("evaluation_id", name(64), primary_key=True),
    Column("stream_id", name(64), nullable=False, comment="of what it is held against, by a hash of its words"),
    Column("stream", LONG, nullable=False, comment="the same in words"),
    Column("at_us", MICROSECONDS, nullable=False),
    Column("status", name(16), nullable=False, comment="alarm, not computed or no alarm"),
    Column("summary", LONG, nullable=False, comment="JSON object, 16 kB at most"),
    Column("details", LONG, comment="JSON object: all that was computed"),
    Column("report", BYTES, comment="the page, packed by gzip"),
    Index(None, "at_us"),
    Index(None, "stream_id", "at_us"),
    **OPTIONS,
)
