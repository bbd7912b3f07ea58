"""What Alembic runs: the steps, on the connection that `open_database` hands over."""

from __future__ import annotations

from alembic import context

from clarion_controller.state.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
