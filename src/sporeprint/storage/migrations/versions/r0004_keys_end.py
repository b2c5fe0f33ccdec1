"""API keys that end."""

from sqlalchemy import Column

from sporeprint.storage.migrations.steps import add_columns, drop_columns
from sporeprint.storage.oltp.tables import MICROSECONDS

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add when a key ends."""
    add_columns("api_key", Column("expires_us", MICROSECONDS))


def downgrade() -> None:
    """Remove it: keys that were to end no longer do."""
    drop_columns("api_key", "expires_us")
