"""The mail about what came of a command that somebody has mailed."""

from __future__ import annotations

from datetime import timedelta

from gateway.report.compose import Mail
from gateway.spool import commands, queries, steering
from gateway.spool.outbox import Owed
from gateway.work.workshop import Workshop

#: It waits so long for what was asked to be done; then it says that it will be.
_PATIENCE = timedelta(minutes=1)
_NOTED = "noted; it is done as soon as the step in hand is over"


async def is_open(shop: Workshop, owed: Owed) -> bool:
    """Whether what was asked by mail has not been looked at yet, and may be soon."""
    asked = await shop.store.read(commands.of, owed.about)
    if asked is None or not asked.wish or shop.now() - owed.created_at > _PATIENCE:
        return False
    found: str | None = await shop.store.read(steering.answered, asked.wish)
    return found is None


async def mail(shop: Workshop, owed: Owed) -> Mail | None:
    """The mail for a row of the outbox; None: its fax has been forgotten."""
    asked = await shop.store.read(commands.of, owed.about)
    case = await shop.store.read_one(queries.cases, owed.about_id)
    if asked is None or case is None:
        return None
    account, answer = await shop.identity.by_id(case.transmission.account), asked.answer
    if asked.wish:
        found: str | None = await shop.store.read(steering.answered, asked.wish)
        answer = found or _NOTED
    return shop.composer.answer(
        outbox=owed.id,
        submission=case.submission,
        transmission=case.transmission,
        recipients=case.recipients,
        to=owed.recipient,
        words=asked.words,
        answer=answer,
        message_id=asked.message_id,
        made_at=shop.now(),
        languages=shop.config.languages_of(account.name if account else ""),
    )
