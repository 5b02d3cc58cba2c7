"""Where received faxes went and why, how they looked, and callers whose faxes nobody gets."""

import sqlalchemy as sa
from alembic import op

from gateway.spool.schema import Moment

revision = "r0010"
down_revision = "r0008"


def upgrade() -> None:
    op.add_column("inbound", sa.Column("route", sa.Text(), nullable=False, server_default=""))
    op.add_column("inbound", sa.Column("released", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("inbound", sa.Column("mailbox", sa.Text(), nullable=False, server_default="[]"))
    op.add_column("inbound", sa.Column("withheld_from", sa.String(length=32), nullable=False, server_default=""))
    op.add_column("inbound", sa.Column("resolution", sa.String(length=16), nullable=False, server_default=""))
    op.add_column("inbound", sa.Column("damaged", sa.Integer(), nullable=False, server_default="0"))
    op.create_table(
        "blocked_caller",
        sa.Column("pattern", sa.String(length=17), primary_key=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
    )
