"""Alembic's environment: runs on the connection and in the transaction that `registry.metadata.schema` opened."""

from alembic import context

from registry.metadata.access_models import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, compare_type=True)
context.run_migrations()
