"""Alembic migrations of the spool; applied when a service starts."""
