"""Evaluations of the monitor are in the database, so that the server need not share its disk."""

from sqlalchemy import Column, PrimaryKeyConstraint

from sporeprint.storage.migrations.steps import create_index, create_table, drop_tables
from sporeprint.storage.oltp.tables import BYTES, LONG, MICROSECONDS, name

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    create_table(
        "monitor_evaluation",
        Column("evaluation_id", name(64), nullable=False),
        Column("stream_id", name(64), nullable=False, comment="of what it is held against, by a hash of its words"),
        Column("stream", LONG, nullable=False, comment="the same in words"),
        Column("at_us", MICROSECONDS, nullable=False),
        Column("status", name(16), nullable=False, comment="alarm, not computed or no alarm"),
        Column("summary", LONG, nullable=False, comment="JSON object, 16 kB at most"),
        Column("details", LONG, comment="JSON object: all that was computed"),
        Column("report", BYTES, comment="the page, packed by gzip"),
        PrimaryKeyConstraint("evaluation_id", name="pk_monitor_evaluation"),
    )
    create_index("monitor_evaluation", "at_us")
    create_index("monitor_evaluation", "stream_id", "at_us")


def downgrade() -> None:
    """Remove it, with what is in it."""
    drop_tables("monitor_evaluation")
