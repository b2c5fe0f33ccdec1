"""A/B tests: their state and events, and which arm gave an answer."""

from sqlalchemy import Column, Double, Integer, PrimaryKeyConstraint, UniqueConstraint

from sporeprint.storage.migrations.steps import add_columns, create_index, create_table, drop_columns, drop_index, drop_tables
from sporeprint.storage.oltp.tables import LONG, MICROSECONDS, SEQUENCE, name

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables, and the columns of `prediction`: null in the rows that are there, which is true of them."""
    create_table(
        "ab_test",
        Column("test_id", name(64), nullable=False),
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
        PrimaryKeyConstraint("test_id", name="pk_ab_test"),
        UniqueConstraint("name", name="uq_ab_test_name"),
    )
    create_index("ab_test", "status")
    create_table(
        "ab_event",
        Column("seq", SEQUENCE, nullable=False, autoincrement=True),
        Column("test_id", name(64), nullable=False),
        Column("at_us", MICROSECONDS, nullable=False),
        Column("actor", name(128), nullable=False),
        Column("event", name(64), nullable=False),
        Column("details", LONG, nullable=False, comment="JSON object"),
        PrimaryKeyConstraint("seq", name="pk_ab_event"),
    )
    create_index("ab_event", "test_id", "seq")
    add_columns(
        "prediction",
        Column("test_id", name(64)),
        Column("arm", name(1), comment="a or b"),
        Column("unit_id", name(255)),
        Column("shadow", LONG, comment="JSON: the other arm's answer, in a shadow test"),
    )
    create_index("prediction", "test_id", "created_us")


def downgrade() -> None:
    """Remove the tests, and which arm gave an answer; the answers stay."""
    drop_index("prediction", "test_id", "created_us")
    drop_columns("prediction", "shadow", "unit_id", "arm", "test_id")
    drop_tables("ab_event", "ab_test")
