"""What carriers say of a call beside its end: speed and resolution."""

import sqlalchemy as sa
from alembic import op

revision = "r0014"
down_revision = "r0013"


def upgrade() -> None:
    for table in ("event", "attempt"):
        op.add_column(table, sa.Column("speed", sa.Integer()))
        op.add_column(table, sa.Column("resolution", sa.String(length=12), nullable=False, server_default=""))
