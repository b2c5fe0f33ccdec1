"""What A/B tests have come to: their units, totals and interim analyses, and how far the counting is."""

from sqlalchemy import BigInteger, Column, Double, PrimaryKeyConstraint, SmallInteger

from sporeprint.storage.migrations.steps import create_index, create_table, drop_tables
from sporeprint.storage.oltp.tables import LONG, MICROSECONDS, SEQUENCE, name

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    create_table(
        "ab_unit",
        Column("test_id", name(64), nullable=False),
        Column("unit_id", name(255), nullable=False),
        Column("prediction_seq", BigInteger, nullable=False),
        Column("prediction_id", name(64), nullable=False),
        Column("arm", name(1), nullable=False),
        Column("answer", SmallInteger, nullable=False, comment="0 negative, 1 positive, 2 unknown, 3 failed"),
        Column("other", SmallInteger, nullable=False, comment="the same of the other version in a shadow test, otherwise -1"),
        Column("truth", SmallInteger, nullable=False, comment="0 negative, 1 positive, -1 not known"),
        Column("latency_us", BigInteger, nullable=False),
        Column("other_us", BigInteger, nullable=False),
        Column("waiting", SmallInteger, nullable=False, comment="1: both answered, not the same, and the truth is not known"),
        PrimaryKeyConstraint("test_id", "unit_id", name="pk_ab_unit"),
    )
    create_index("ab_unit", "test_id", "waiting", "prediction_seq")
    create_table(
        "ab_total",
        Column("test_id", name(64), nullable=False),
        Column("arm", name(1), nullable=False),
        Column("answer", SmallInteger, nullable=False, autoincrement=False),
        Column("other", SmallInteger, nullable=False, autoincrement=False),
        Column("truth", SmallInteger, nullable=False, autoincrement=False),
        Column("units", BigInteger, nullable=False),
        Column("latency_us", Double, nullable=False, comment="sum"),
        Column("latency_us2", Double, nullable=False, comment="sum of squares"),
        Column("other_us", Double, nullable=False),
        Column("other_us2", Double, nullable=False),
        PrimaryKeyConstraint("test_id", "arm", "answer", "other", "truth", name="pk_ab_total"),
    )
    create_table(
        "ab_look",
        Column("seq", SEQUENCE, nullable=False, autoincrement=True),
        Column("test_id", name(64), nullable=False),
        Column("at_us", MICROSECONDS, nullable=False),
        Column("units", BigInteger, nullable=False),
        Column("labels", BigInteger, nullable=False),
        Column("look", LONG, nullable=False, comment="JSON object: totals, analysis, decision"),
        PrimaryKeyConstraint("seq", name="pk_ab_look"),
    )
    create_index("ab_look", "test_id", "seq")
    create_table(
        "ab_progress",
        Column("name", name(64), nullable=False),
        Column("number", BigInteger, nullable=False),
        Column("value", LONG, nullable=False, comment="JSON"),
        PrimaryKeyConstraint("name", name="pk_ab_progress"),
    )


def downgrade() -> None:
    """Remove the counts; the tests and their answers stay."""
    drop_tables("ab_progress", "ab_look", "ab_total", "ab_unit")
