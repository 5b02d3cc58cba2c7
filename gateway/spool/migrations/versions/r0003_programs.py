"""Programs fax too: an account's name in the HelloFax API, what it wants to be told, and what a call asked of its fax."""

import secrets

import sqlalchemy as sa
from alembic import op

from gateway.spool.schema import Moment

revision = "r0003"
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
    op.add_column("line", sa.Column("added_at", Moment()))
    op.create_index("ix_transmission_account", "transmission", ["account_id", "accepted_at", "id"])
    op.add_column("inbound", sa.Column("account_id", sa.String(length=32), nullable=False, server_default=""))
    inbound, line = (
        sa.table("inbound", sa.column("line"), sa.column("account_id")),
        sa.table("line", sa.column("number"), sa.column("account_id")),
    )
    of_line = sa.select(line.c.account_id).where(line.c.number == inbound.c.line).scalar_subquery()
    op.execute(sa.update(inbound).values(account_id=sa.func.coalesce(of_line, "")))
    op.create_index("ix_inbound_account", "inbound", ["account_id", "announced_at", "id"])
    op.add_column("outbox", sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("outbox", sa.Column("tried_at", Moment()))
    op.create_table(
        "discarded",
        sa.Column("sha256", sa.String(length=64), primary_key=True),
        sa.Column("at", Moment(), nullable=False),
    )
    op.create_index("ix_discarded_at", "discarded", ["at"])
