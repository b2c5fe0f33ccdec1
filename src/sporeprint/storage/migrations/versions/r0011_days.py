"""On MariaDB, predictions lie in a partition for each day, which `db prune` drops as a whole."""

from alembic import op

from sporeprint.common.timestamps import now_us
from sporeprint.storage.oltp import day_partitions, dropped_days

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the partitions, with the rows that are there: one statement, done or not."""
    connection = op.get_bind()
    if connection.dialect.name in day_partitions.DIALECTS and not day_partitions.present(connection):
        op.execute(day_partitions.partitioned(day_partitions.first_time(connection) or now_us(), now_us()))


def downgrade() -> None:
    """Take them away. The rows stay, also those of days that a killed prune had taken out."""
    connection = op.get_bind()
    dropped_days.put_back(connection)
    if day_partitions.present(connection):
        op.execute(day_partitions.whole())
