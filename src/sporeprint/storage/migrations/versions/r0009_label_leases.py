"""Who has an item of a shadow test in hand to label it."""

from sqlalchemy import Column, PrimaryKeyConstraint

from sporeprint.storage.migrations.steps import create_index, create_table, drop_tables
from sporeprint.storage.oltp.tables import LONG, MICROSECONDS, name

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    create_table(
        "ab_lease",
        Column("test_id", name(64), nullable=False),
        Column("prediction_id", name(64), nullable=False),
        Column("holder", name(255), nullable=False, comment="who has it, or had it last"),
        Column("until_us", MICROSECONDS, nullable=False),
        Column("label", name(64), comment="class code or cannot_tell; null: not labelled yet"),
        Column("labelled_us", MICROSECONDS),
        Column("note", LONG),
        PrimaryKeyConstraint("test_id", "prediction_id", name="pk_ab_lease"),
    )
    create_index("ab_lease", "test_id", "holder")


def downgrade() -> None:
    """Remove it; the outcomes stay."""
    drop_tables("ab_lease")
