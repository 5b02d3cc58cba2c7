"""Mailboxes that are read, and what became of their mails."""

import sqlalchemy as sa
from alembic import op

from gateway.spool.schema import Moment

revision = "r0011"
down_revision = "r0010"


def upgrade() -> None:
    op.create_table(
        "imap_mailbox",
        sa.Column("name", sa.String(length=40), primary_key=True),
        sa.Column("token", sa.String(length=32)),
        sa.Column("node", sa.String(), nullable=False),
        sa.Column("until", Moment(), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("since", Moment(), nullable=False),
    )
    op.create_table(
        "imap_folder",
        sa.Column("mailbox", sa.String(length=40), primary_key=True),
        sa.Column("folder", sa.String(), primary_key=True),
        sa.Column("validity", sa.BigInteger(), nullable=False),
        sa.Column("next_uid", sa.BigInteger(), nullable=False),
        sa.Column("found_uid", sa.BigInteger(), nullable=False),
        sa.Column("since", Moment(), nullable=False),
        sa.Column("left_alone", sa.Integer(), nullable=False),
    )
    op.create_table(
        "imap_mail",
        sa.Column("mailbox", sa.String(length=40), primary_key=True),
        sa.Column("folder", sa.String(), primary_key=True),
        sa.Column("validity", sa.BigInteger(), primary_key=True),
        sa.Column("uid", sa.BigInteger(), primary_key=True),
        sa.Column("key", sa.String(length=64)),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("notified", sa.Boolean(), nullable=False),
        sa.Column("marked", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
        sa.UniqueConstraint("mailbox", "key"),
    )
    op.create_index("ix_imap_mail_at", "imap_mail", ["at"])
