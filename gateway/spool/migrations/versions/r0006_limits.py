"""The do-not-fax list, what accounts have used of their limits, and faxes that must be approved."""

import sqlalchemy as sa
from alembic import op

from gateway.spool.schema import Moment

revision = "r0006"
down_revision = "r0005"


def upgrade() -> None:
    op.add_column("transmission", sa.Column("counted", sa.Text()))
    op.create_table(
        "blocked",
        sa.Column("number", sa.String(length=16), primary_key=True),
        sa.Column("account_id", sa.String(length=32), primary_key=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked_by", sa.Text(), nullable=False),
        sa.Column("at", Moment(), nullable=False),
    )
    op.create_table(
        "usage",
        sa.Column("key", sa.String(length=80), primary_key=True),
        sa.Column("used", sa.BigInteger(), nullable=False),
        sa.Column("ends_at", Moment(), nullable=False),
    )
    op.create_index("ix_usage_ends_at", "usage", ["ends_at"])
    op.create_table(
        "approval",
        sa.Column("transmission_id", sa.String(length=32), primary_key=True),
        sa.Column("approver", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("asked_at", Moment(), nullable=False),
        sa.Column("decided_at", Moment()),
        sa.Column("verdict", sa.String(length=12), nullable=False),
        sa.Column("words", sa.Text(), nullable=False),
        sa.Column("send_at", Moment()),
    )
