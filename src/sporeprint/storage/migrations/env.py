"""What Alembic runs; `sporeprint.storage.oltp.migrate` gives it the connection."""

from alembic import context

from sporeprint.storage.oltp.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
