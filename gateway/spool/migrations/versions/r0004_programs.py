"""Programs fax too: an account's name in the HelloFax API, what it wants to be told, and what a call asked of its fax."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "r0004"
down_revision = "r0002"


def upgrade() -> None:
    op.add_column("account", sa.Column("guid", sa.String(length=40), nullable=False, server_default=""))
    op.add_column("account", sa.Column("settings", sa.Text(), nullable=False, server_default="{}"))
    op.add_column("submission", sa.Column("cover", sa.Text(), nullable=False, server_default=""))
    op.add_column("submission", sa.Column("redial", sa.Boolean(), nullable=False, server_default=sa.true()))
    account = sa.table("account", sa.column("id"), sa.column("guid"))
    for row in op.get_bind().execute(sa.select(account.c.id)).all():
        op.execute(sa.update(account).where(account.c.id == row.id).values(guid=secrets.token_hex(20)))
    op.create_index("ix_account_guid", "account", ["guid"], unique=True)
