"""Run by Alembic: the connection comes from `migrations.upgrade`."""

from alembic import context

from gateway.spool import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    render_as_batch=True,
    transactional_ddl=False,
)
context.run_migrations()
