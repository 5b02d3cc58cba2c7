"""Chores: forget what is too old to make a repetition, remove what is over and old enough, take orphans off the shelf."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

from gateway.fax import Sha256
from gateway.spool import imap, retention, submissions, usage
from gateway.spool.commit import Transaction
from gateway.work.workshop import Workshop

_log = logging.getLogger(__name__)
#: A document put later than this may belong to a mail that is being accepted just now.
_FRESH = timedelta(days=1)
#: The same, where a fax has let go of its documents early: twin pages of another fax may be named a moment from now.
_TWIN = timedelta(minutes=15)
#: Windows of limits that ended are remembered so long, should the clock be set back.
_WINDOWS = timedelta(days=40)
#: More orphans than this, and more than half of all: then the database is not the one these documents belong to.
_SUSPICIOUS = 100
Verb = Callable[[Transaction, datetime], tuple[int, set[Sha256]]]
_GIVING_UP = (retention.give_up_sent, retention.give_up_received, retention.give_up_forwarded)
_FORGETTING = (retention.forget_sent, retention.forget_received, retention.forget_mails, retention.forget_events)


async def tidy(shop: Workshop) -> None:
    """One round."""
    await shop.store.write(submissions.forget, shop.config.duplicates)
    await shop.store.write(usage.forget, shop.now() - _WINDOWS)
    config, now = shop.config, shop.now()
    for verb in _GIVING_UP:
        await _give_up(shop, verb, now - config.keep_documents)
    while await shop.store.write(imap.forget, now - config.keep_records):
        pass
    forgotten = 0
    for forget in _FORGETTING:
        while count := await shop.store.write(forget, now - config.keep_records):
            forgotten += count
    if forgotten:
        _log.info("forgot %d records", forgotten, extra={"action": "forgotten"})


async def discard(shop: Workshop) -> None:
    """Documents of delivered faxes whose accounts do not keep them."""
    before = shop.now() - _TWIN
    await _give_up(shop, retention.discards, before, before)


async def _give_up(shop: Workshop, verb: Verb, before: datetime, fresh: datetime | None = None) -> None:
    while True:
        count, documents = await shop.store.write(verb, before)
        await _remove(shop, documents, fresh)
        if not count:
            return
        _log.info("%d faxes gave up their documents", count, extra={"action": "shredded"})


async def sweep(shop: Workshop) -> None:
    """Documents that no row names: of mails that were refused after all, or left by a process that died."""
    fresh = shop.now() - _FRESH
    total, orphans = 0, set[Sha256]()
    async for page in shop.documents.pages():
        total += len(page)
        old = {kept.sha256 for kept in page if kept.put_at < fresh}
        orphans |= old - await shop.store.read(retention.needed, old)
    await shop.documents.clear(fresh)
    if len(orphans) > max(_SUSPICIOUS, total // 2):
        text = "%d of %d documents are named by no fax: is this their database? `faxgate fsck --repair` removes them"
        _log.error(text, len(orphans), total, extra={"action": "orphans"})
    else:
        await _remove(shop, orphans)


async def _remove(shop: Workshop, documents: Collection[Sha256], fresh: datetime | None = None) -> None:
    """Take those that nobody needs off the shelf. One that was put lately stays for the sweep to judge."""
    if not documents:
        return
    for sha256 in set(documents) - await shop.store.read(retention.needed, documents):
        await shop.documents.remove(sha256, fresh or shop.now() - _FRESH)
