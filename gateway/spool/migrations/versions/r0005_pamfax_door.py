"""What programs of the PamFax API have in hand: their sessions, the fax they are putting together, its files, their marks."""

import sqlalchemy as sa
from alembic import op

from gateway.spool.schema import Moment

revision = "r0005"
down_revision = "r0004"


def upgrade() -> None:
    op.create_table(
        "pamfax_session",
        sa.Column("token", sa.String(length=64), primary_key=True),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("application", sa.String(length=64), nullable=False),
        sa.Column("used_at", Moment(), nullable=False),
        sa.Column("lifetime", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
    )
    op.create_index("ix_pamfax_session_used_at", "pamfax_session", ["used_at"])
    op.create_table(
        "pamfax_job",
        sa.Column("id", sa.String(length=32), primary_key=True),
        sa.Column("account_id", sa.String(length=32), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("changed_at", Moment(), nullable=False),
    )
    op.create_index("ix_pamfax_job_changed_at", "pamfax_job", ["changed_at"])
    op.create_table(
        "pamfax_file",
        sa.Column("id", sa.String(length=32), primary_key=True),
        sa.Column("job_id", sa.String(length=32), nullable=False),
        sa.Column("document", sa.String(length=64), nullable=False),
    )
    op.create_index("ix_pamfax_file_job_id", "pamfax_file", ["job_id"])
    op.create_index("ix_pamfax_file_document", "pamfax_file", ["document"])
    op.create_table(
        "pamfax_mark",
        sa.Column("account_id", sa.String(length=32), primary_key=True),
        sa.Column("about", sa.String(length=40), primary_key=True),
        sa.Column("kind", sa.String(length=12), primary_key=True),
        sa.Column("n", sa.Integer(), primary_key=True),
        sa.Column("at", Moment(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
    )
