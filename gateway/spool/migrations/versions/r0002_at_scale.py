"""Fairness between accounts and limits on calls: where a step stands in its lane, and which call an attempt is."""

import sqlalchemy as sa
from alembic import op

from gateway.spool.schema import Moment

revision = "r0002"
down_revision = "r0001"

#: What waits already: each account's steps, oldest first, as if they had been accepted one by one.
_BANDS = """
UPDATE step SET band = counted.band FROM (
    SELECT subject, CASE WHEN n <= 10 THEN 1 WHEN n <= 100 THEN 2 WHEN n <= 1000 THEN 3 ELSE 4 END AS band FROM (
        SELECT subject, row_number() OVER (PARTITION BY account_id ORDER BY age, subject) AS n FROM step WHERE account_id <> ''
    ) AS numbered
) AS counted WHERE counted.subject = step.subject
"""
_ACCOUNTS = """
UPDATE step SET account_id = transmission.account_id FROM transmission WHERE transmission.id = step.subject
"""
_RANKS = "UPDATE step SET rank = CASE WHEN kind IN ('track', 'held') OR nudged OR token IS NOT NULL THEN 0 ELSE band END"
#: Attempts that are open now have their slots; of two to one number, which was possible until now, the first has the number.
_SLOTS = """
UPDATE attempt SET dialling = open.number, slot = open.slot FROM (
    SELECT attempt.id AS id, transmission.number AS number,
        row_number() OVER (PARTITION BY attempt.carrier ORDER BY attempt.id) AS slot,
        row_number() OVER (PARTITION BY transmission.number ORDER BY attempt.id) AS n
    FROM attempt JOIN transmission ON transmission.id = attempt.transmission_id
    WHERE attempt.state IN ('opening', 'submitted', 'uncertain') AND transmission.state = 'sending'
) AS open WHERE open.id = attempt.id AND open.n = 1
"""


def upgrade() -> None:
    op.add_column("step", sa.Column("account_id", sa.String(length=32), nullable=False, server_default=""))
    op.add_column("step", sa.Column("band", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("step", sa.Column("rank", sa.Integer(), nullable=False, server_default="1"))
    op.add_column("step", sa.Column("waits_for", sa.String(length=16), nullable=True))
    op.add_column("attempt", sa.Column("dialling", sa.String(length=16), nullable=True))
    op.add_column("attempt", sa.Column("slot", sa.Integer(), nullable=True))
    for statement in (_ACCOUNTS, _BANDS, _RANKS, _SLOTS):
        op.execute(statement)
    op.drop_index("ix_step_due", "step")
    op.create_index("ix_step_due", "step", ["lane", "rank", "due_at", "subject"], unique=False)
    op.create_index(op.f("ix_step_account_id"), "step", ["account_id"], unique=False)
    op.create_index("ix_attempt_submitted", "attempt", ["carrier", "submitted_at"], unique=False)
    _partial("ix_step_waits", "step", ["waits_for", "band", "age"], "waits_for IS NOT NULL", unique=False)
    _partial("ix_attempt_dialling", "attempt", ["dialling"], "slot IS NOT NULL", unique=True)
    _partial("ix_attempt_slot", "attempt", ["carrier", "slot"], "slot IS NOT NULL", unique=True)
    _keeping()


def _keeping() -> None:
    """What is over, by age; and who needs a document."""
    op.add_column("transmission", sa.Column("shredded_at", Moment(), nullable=True))
    _partial("ix_transmission_kept", "transmission", ["finished_at"], "shredded_at IS NULL AND finished_at IS NOT NULL")
    _partial("ix_transmission_shredded", "transmission", ["finished_at"], "shredded_at IS NOT NULL")
    _partial("ix_inbound_kept", "inbound", ["announced_at"], "original IS NOT NULL")
    _partial("ix_outbox_kept", "outbox", ["created_at"], "document IS NOT NULL")
    op.create_index("ix_outbox_created", "outbox", ["created_at"], unique=False)
    op.create_index("ix_outbox_subject", "outbox", [sa.text("substr(about, 1, 29)")], unique=False)
    op.create_index("ix_event_received", "event", ["received_at"], unique=False)
    op.create_index("ix_submission_document", "submission", ["document"], unique=False)
    for table, column in (
        ("transmission", "document"),
        ("inbound", "document"),
        ("inbound", "original"),
        ("outbox", "document"),
    ):
        _partial(f"ix_{table}_{column}", table, [column], f"{column} IS NOT NULL")


def _partial(name: str, table: str, columns: list[str], where: str, *, unique: bool = False) -> None:
    op.create_index(name, table, columns, unique=unique, sqlite_where=sa.text(where), postgresql_where=sa.text(where))
