"""Transmission reports of carriers, and attempts that a carrier was told to make at a time."""

import sqlalchemy as sa
from alembic import op

from gateway.spool.schema import Moment

revision = "r0007"
down_revision = "r0006"


def upgrade() -> None:
    op.add_column("attempt", sa.Column("planned_at", Moment()))
    op.add_column("attempt", sa.Column("report", sa.String(length=64)))
    kept = sa.text("report IS NOT NULL")
    op.create_index("ix_attempt_report", "attempt", ["report"], sqlite_where=kept, postgresql_where=kept)
