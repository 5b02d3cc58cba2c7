"""Accounts that pay in advance, what a fax costs, and whose program calls the PamFax API."""

import sqlalchemy as sa
from alembic import op

from gateway.spool.schema import Moment

revision = "r0004"
down_revision = "r0003"


def upgrade() -> None:
    op.add_column("account", sa.Column("prepaid", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("account", sa.Column("digest_hash", sa.String(), nullable=False, server_default=""))
    for name in ("price", "held", "cost"):
        op.add_column("transmission", sa.Column(name, sa.BigInteger()))
    op.create_table(
        "purse",
        sa.Column("account_id", sa.String(length=32), primary_key=True),
        sa.Column("available", sa.BigInteger(), nullable=False),
        sa.Column("held", sa.BigInteger(), nullable=False),
    )
    op.create_table(
        "entry",
        sa.Column("id", sa.String(length=32), primary_key=True),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("kind", sa.String(length=8), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("about", sa.String(length=64), nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.UniqueConstraint("kind", "about", "n"),
    )
    op.create_index("ix_entry_account", "entry", ["account_id", "at", "id"])
    op.create_table(
        "application",
        sa.Column("key", sa.String(length=64), primary_key=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("declared", sa.Boolean(), nullable=False),
        sa.Column("created_at", Moment(), nullable=False),
    )
    op.create_table(
        "profile",
        sa.Column("account_id", sa.String(length=32), primary_key=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("zone", sa.String(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
    )
