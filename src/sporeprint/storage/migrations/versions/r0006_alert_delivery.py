"""Messages to people about alerts, and what became of them."""

from sqlalchemy import Column, PrimaryKeyConstraint, SmallInteger

from sporeprint.storage.migrations.steps import create_index, create_table, drop_tables
from sporeprint.storage.oltp.tables import LONG, MICROSECONDS, SEQUENCE, name

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    create_table(
        "alert_delivery",
        Column("seq", SEQUENCE, nullable=False, autoincrement=True),
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
        PrimaryKeyConstraint("seq", name="pk_alert_delivery"),
    )
    create_index("alert_delivery", "status", "due_us")
    create_index("alert_delivery", "alert_id")


def downgrade() -> None:
    """Remove the messages; the alerts stay."""
    drop_tables("alert_delivery")
