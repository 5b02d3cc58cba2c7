"""Whose mail may prove itself by DMARC, and who may fax bulk mail."""

import sqlalchemy as sa
from alembic import op

revision = "r0008"
down_revision = "r0007"


def upgrade() -> None:
    op.add_column("account", sa.Column("dmarc", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("account", sa.Column("bulk", sa.Boolean(), nullable=False, server_default=sa.false()))
