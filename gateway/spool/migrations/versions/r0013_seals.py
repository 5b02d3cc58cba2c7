"""What happened to faxes, chained and sealed; what is known of a mail that was sent."""

import sqlalchemy as sa
from alembic import op

from gateway.spool.schema import Moment

revision = "r0013"
down_revision = "r0012"


def upgrade() -> None:
    op.add_column("outbox", sa.Column("message_id", sa.Text(), nullable=False, server_default=""))
    op.add_column("outbox", sa.Column("mail", sa.String(length=64), nullable=False, server_default=""))
    op.create_table(
        "sealing_key",
        sa.Column("n", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.Column("by_previous", sa.String(length=128), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
    )
    op.create_table(
        "seal",
        sa.Column("n", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("statement", sa.Text(), nullable=False),
        sa.Column("signature", sa.String(length=128), nullable=False),
        sa.Column("leaves", sa.LargeBinary(), nullable=False),
        sa.Column("upto", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "chain",
        sa.Column("subject", sa.String(length=32), primary_key=True),
        sa.Column("seal", sa.Integer(), primary_key=True, autoincrement=False),
        sa.Column("place", sa.Integer(), nullable=False),
        sa.Column("links", sa.Integer(), nullable=False),
        sa.Column("head", sa.String(length=64), nullable=False),
        sa.Column("last", sa.BigInteger(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
    )
