"""Mails that came back after a server had taken them."""

import sqlalchemy as sa
from alembic import op

revision = "r0009"
down_revision = "r0008"


def upgrade() -> None:
    op.add_column("outbox", sa.Column("returned", sa.Text(), nullable=False, server_default=""))
