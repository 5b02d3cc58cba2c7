"""The mail that shows a fax to its sender before it is sent: exactly the pages that will be."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from gateway.desk.approval import APPROVE, REJECT
from gateway.desk.replies import Scope
from gateway.errors import BadDocument, ConverterUnavailable
from gateway.fax import Sha256
from gateway.pages.assemble import Print
from gateway.report import facts
from gateway.report.compose import Mail
from gateway.spool import queries
from gateway.spool.outbox import Owed
from gateway.work.workshop import Workshop

_FIRST = "page-001.png"
#: How long the pages of a private account are shown where the proof does not expire.
_SHOWN = timedelta(days=7)


async def mail(shop: Workshop, owed: Owed) -> Mail | None:
    """The mail for a row of the outbox; None: the fax does not wait for its sender any more. The pages of a private account are
    behind a link, unless it wants them in its mails."""
    case = await shop.store.read_one(queries.cases, owed.about_id)
    if case is None or case.transmission.document is None or not facts.waits_for_proof(case.transmission):
        return None
    fax, document = case.transmission, case.transmission.document
    account = await shop.identity.by_id(case.transmission.account)
    name = account.name if account else ""
    private = shop.config.is_private(name) and not shop.config.reports_of(name).content
    seconds, picture = await _printed(shop, document)
    until, linked = fax.due_at or shop.now() + _SHOWN, bool(shop.config.http.public_url)
    return shop.composer.proof(
        outbox=owed.id,
        submission=case.submission,
        transmission=fax,
        recipients=case.recipients,
        account=name,
        cost=shop.limits.cost(fax.number, fax.pages),
        links=(shop.links.link(fax.id, APPROVE), shop.links.link(fax.id, REJECT)) if linked else ("", ""),
        seconds=seconds,
        to=owed.recipient,
        pdf=b"" if private else await shop.documents.get(document),
        first_page=b"" if private else picture,
        link=(shop.views.link(fax.id, until), until) if private and linked else None,
        made_at=shop.now(),
        languages=shop.config.languages_of(name),
        reply_to=shop.replies.address(Scope.STEER, fax.id, owed.recipient, shop.now()),
    )


async def _printed(shop: Workshop, document: Sha256) -> tuple[float, bytes]:
    """How long the pages are on the wire, seconds, and the first one as PNG; nothing of both where they cannot be drawn:
    they are attached all the same."""
    try:
        async with shop.documents.local(document) as source:
            with shop.documents.scratch() as folder:
                measures = await shop.fence.run("gateway.pages.printed:render", Print(source=source, out=folder))
                assert isinstance(measures, tuple)
                picture = await asyncio.to_thread((folder / _FIRST).read_bytes)
    except (BadDocument, ConverterUnavailable):
        return 0.0, b""
    from gateway.pages import wire  # its library draws: only where pages were drawn

    return sum(wire.seconds(mmr) for _, _, mmr, _ in measures), picture
