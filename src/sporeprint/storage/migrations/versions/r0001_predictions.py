"""Predictions, batches and outcomes."""

from sqlalchemy import BigInteger, Column, Double, Integer, PrimaryKeyConstraint, String, UniqueConstraint

from sporeprint.storage.migrations.steps import create_index, create_table, drop_tables
from sporeprint.storage.oltp.tables import LONG, MICROSECONDS, SEQUENCE, name

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    create_table(
        "prediction",
        Column("seq", SEQUENCE, nullable=False, autoincrement=True),
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
        Column("latency_us", Integer, nullable=False),
        Column("worker", name(64), nullable=False),
        Column("recorded_us", MICROSECONDS, nullable=False, comment="when it was shipped"),
        PrimaryKeyConstraint("seq", name="pk_prediction"),
        UniqueConstraint("prediction_id", name="uq_prediction_prediction_id"),
    )
    create_index("prediction", "created_us")
    create_table(
        "batch",
        Column("seq", SEQUENCE, nullable=False, autoincrement=True),
        Column("batch_id", name(64), nullable=False),
        Column("created_us", MICROSECONDS, nullable=False),
        Column("model", name(64), nullable=False),
        Column("version", Integer, nullable=False),
        Column("rows", BigInteger, nullable=False),
        Column("verdicts", LONG, nullable=False, comment="JSON object: verdict -> rows"),
        Column("artefact", String(1024), nullable=False, comment="path below the work directory"),
        Column("sha256", name(64), nullable=False),
        Column("bytes", BigInteger, nullable=False),
        PrimaryKeyConstraint("seq", name="pk_batch"),
        UniqueConstraint("batch_id", name="uq_batch_batch_id"),
    )
    create_index("batch", "created_us")
    create_table(
        "outcome",
        Column("seq", SEQUENCE, nullable=False, autoincrement=True),
        Column("prediction_id", name(64), nullable=False),
        Column("revision", Integer, nullable=False),
        Column("outcome", name(64), nullable=False, comment="class code"),
        Column("source", name(255), nullable=False, comment="who says so"),
        Column("observed_us", MICROSECONDS, nullable=False),
        Column("recorded_us", MICROSECONDS, nullable=False),
        Column("idempotency_key", name(255)),
        PrimaryKeyConstraint("seq", name="pk_outcome"),
        UniqueConstraint("prediction_id", "revision", name="uq_outcome_prediction_id_revision"),
        UniqueConstraint("idempotency_key", name="uq_outcome_idempotency_key"),
    )
    create_index("outcome", "recorded_us")


def downgrade() -> None:
    """Remove the tables."""
    drop_tables("outcome", "batch", "prediction")
