"""Alembic's entry: runs on the connection it is handed by `reactivation_resources.database.engine.migrate`."""

from alembic import context

from reactivation_resources.database.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection, target_metadata=Base.metadata, version_table="reactivation_schema", transactional_ddl=True
)
with context.begin_transaction():
    context.run_migrations()
