"""What was asked by mail, pages that are sent again as they were, and faxes that wait for their own sender."""

import sqlalchemy as sa
from alembic import op

from gateway.spool.schema import Moment

revision = "r0012"
down_revision = "r0011"


def upgrade() -> None:
    op.create_table(
        "command",
        sa.Column("id", sa.String(length=32), primary_key=True),
        sa.Column("mail", sa.String(length=64), nullable=False, unique=True),
        sa.Column("once", sa.String(length=64), unique=True),
        sa.Column("transmission_id", sa.String(length=32), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=False),
        sa.Column("wish", sa.String(length=32)),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
    )
    op.create_index("ix_command_transmission_id", "command", ["transmission_id"])
    op.create_table(
        "again",
        sa.Column("transmission_id", sa.String(length=32), primary_key=True),
        sa.Column("document", sa.String(length=64), nullable=False),
        sa.Column("first", sa.Integer(), nullable=False),
        sa.Column("last", sa.Integer(), nullable=False),
    )
    op.create_index("ix_again_document", "again", ["document"])
    op.add_column("approval", sa.Column("proof", sa.Boolean(), nullable=False, server_default=sa.false()))
