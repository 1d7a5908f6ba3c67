"""What Alembic runs: migrations on the connection that `migrate` hands over, in its transaction."""

from __future__ import annotations

from alembic import context

from vidi_gateway.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters little: batches copy a table where they must
    transactional_ddl=True,
)
context.run_migrations()
