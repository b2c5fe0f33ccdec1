"""Slow answers are counted among the totals of A/B tests."""

from sqlalchemy import BigInteger, Column

from sporeprint.storage.migrations.steps import add_columns, drop_columns

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns: null in the totals that are there, which were made without a limit."""
    add_columns(
        "ab_total",
        Column("slow", BigInteger, comment="units beyond the latency limit; in a shadow test, in A alone"),
        Column("shadow_slow", BigInteger, comment="in a shadow test, units beyond the latency limit in B alone"),
    )


def downgrade() -> None:
    """Remove them."""
    drop_columns("ab_total", "shadow_slow", "slow")
