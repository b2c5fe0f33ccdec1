"""Keys, the audit trail, alerts, and pipeline runs with what they measured."""

from sqlalchemy import BigInteger, Column, Double, PrimaryKeyConstraint, SmallInteger, UniqueConstraint

from sporeprint.storage.migrations.steps import create_index, create_table, drop_tables
from sporeprint.storage.oltp.tables import LONG, MICROSECONDS, SEQUENCE, name

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    create_table(
        "api_key",
        Column("key_id", name(64), nullable=False),
        Column("hash", name(128), nullable=False, comment="sha256 of the key, in hex"),
        Column("role", name(32), nullable=False),
        Column("label", name(128), nullable=False),
        Column("created_us", MICROSECONDS, nullable=False),
        Column("revoked_us", MICROSECONDS),
        PrimaryKeyConstraint("key_id", name="pk_api_key"),
        UniqueConstraint("hash", name="uq_api_key_hash"),
    )
    create_table(
        "audit",
        Column("seq", SEQUENCE, nullable=False, autoincrement=True),
        Column("at_us", MICROSECONDS, nullable=False),
        Column("actor", name(128), nullable=False),
        Column("action", name(64), nullable=False),
        Column("subject", name(255), nullable=False),
        Column("details", LONG, nullable=False, comment="JSON object"),
        PrimaryKeyConstraint("seq", name="pk_audit"),
    )
    create_index("audit", "at_us")
    create_index("audit", "subject")
    create_table(
        "alert",
        Column("alert_id", name(64), nullable=False),
        Column("fingerprint", name(128), nullable=False),
        Column("monitor", name(64), nullable=False),
        Column("severity", name(16), nullable=False),
        Column("status", name(16), nullable=False, comment="raised, acknowledged or recovered"),
        Column("first_us", MICROSECONDS, nullable=False),
        Column("last_us", MICROSECONDS, nullable=False),
        Column("summary", LONG, nullable=False),
        PrimaryKeyConstraint("alert_id", name="pk_alert"),
    )
    create_index("alert", "fingerprint", "last_us")
    create_index("alert", "status")
    create_table(
        "alert_event",
        Column("seq", SEQUENCE, nullable=False, autoincrement=True),
        Column("alert_id", name(64), nullable=False),
        Column("at_us", MICROSECONDS, nullable=False),
        Column("event", name(32), nullable=False),
        Column("details", LONG, nullable=False, comment="JSON object"),
        PrimaryKeyConstraint("seq", name="pk_alert_event"),
    )
    create_index("alert_event", "alert_id", "seq")
    create_table(
        "pipeline_run",
        Column("run_id", name(64), nullable=False),
        Column("command", name(64), nullable=False),
        Column("started_us", MICROSECONDS, nullable=False),
        Column("finished_us", MICROSECONDS),
        Column("status", name(16), nullable=False, comment="running, done or failed"),
        Column("exit_code", SmallInteger),
        Column("rows", BigInteger),
        Column("data_sha256", name(64)),
        Column("details", LONG, nullable=False, comment="JSON object"),
        PrimaryKeyConstraint("run_id", name="pk_pipeline_run"),
    )
    create_index("pipeline_run", "started_us")
    create_table(
        "run_metric",
        Column("run_id", name(64), nullable=False),
        Column("model", name(64), nullable=False),
        Column("part", name(64), nullable=False, comment="what it was measured on"),
        Column("metric", name(64), nullable=False),
        Column("value", Double),
        Column("low", Double),
        Column("high", Double),
        Column("rows", BigInteger),
        PrimaryKeyConstraint("run_id", "model", "part", "metric", name="pk_run_metric"),
    )


def downgrade() -> None:
    """Remove the tables."""
    drop_tables("run_metric", "pipeline_run", "alert_event", "alert", "audit", "api_key")
