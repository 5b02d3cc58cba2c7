"""What would be taken from a mailbox now, and why not the rest: looked at, and nothing changed, stored or sent.

The folders are opened for looking only (EXAMINE), the mails read without marking them as seen.
"""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from gateway import message
from gateway.config import Config
from gateway.errors import BadAddress, MailboxRefused, Refused, Unavailable
from gateway.fax import Recipient
from gateway.intake import address, delivery, imap, session
from gateway.intake.authentication import Accounts
from gateway.intake.entrance import Entrance
from gateway.intake.fetched import Fetched
from gateway.intake.mailbox import is_old, is_skipped, place_of, sign_in
from gateway.intake.pickup import client_of
from gateway.intake.session import Listed, Session
from gateway.intake.wishes import Wishes
from gateway.mailboxes import ImapSection
from gateway.spool.imap import Place

_PATIENCE = 30.0  # seconds for an answer of the server
Json = dict[str, Any]
Places = Callable[[str, int], Awaitable[tuple[Place | None, set[int]]]]
"""Of a folder with this UIDVALIDITY: how far it is dealt with, and mails behind that which are."""


class Preview:
    """Of one mailbox of the configuration, the `n`-th."""

    def __init__(self, config: Config, n: int, accounts: Accounts, now: Callable[[], datetime]) -> None:
        """Raises ConfigError."""
        self._config, self._section, self._now = config, config.imap[n], now
        self._context, self._tokens = imap.context(config, n), imap.tokens(config.imap[n])
        self._entrance, self._wishes = Entrance(config, accounts), Wishes(config, now)

    async def look(self, places: Places, most: int) -> Json:
        """Folders, and of each that is read at most so many mails. Raises MailboxRefused, MailboxUnavailable, ConfigError."""
        section = self._section
        connecting = session.opened(
            section.host, section.its_port, self._context, starttls=section.tls == "starttls", patience=_PATIENCE
        )
        try:
            async with connecting as connection:
                await sign_in(section, self._config.secret(section), self._tokens, connection)
                names = await connection.folders()
                able = sorted(word.decode("ascii", "replace") for word in connection.able)
                read = [await self._folder(connection, name, places, most) for name in section.folders if name in names]
        finally:
            self._entrance.close()
        made = [name for name in (section.done_folder, section.refused_folder) if name and name not in names]
        missing = [name for name in section.folders if name not in names]
        return {"folders": names, "able": able, "read": read, "missing": missing, "would_make": made}

    async def _folder(self, connection: Session, name: str, places: Places, most: int) -> Json:
        folder = await connection.open(name, only_look=True)
        before, known = await places(name, folder.validity)
        place = place_of(self._section, before, folder, self._now())
        uids = [uid for uid in await connection.search(place.next_uid) if uid not in known]
        mails = [await self._mail(connection, place, one) async for one in connection.listed(uids[:most])]
        keeps = folder.keeps(self._section.done_keyword)
        return {"folder": name, "mails": folder.exists, "new": len(uids), "keyword_kept": keeps, "looked_at": mails}

    async def _mail(self, connection: Session, place: Place, one: Listed) -> Json:
        section = self._section
        told: Json = {"uid": one.uid, "size": one.size, "arrived": one.arrived.isoformat(), "from": "", "subject": ""}
        told |= {"account": "", "results": [], "recipients": [], "taken": False, "reason": ""}
        if is_old(section, place, one, self._now()):
            return told | {"reason": "It was there before the mailbox was read, or arrived too long ago: it is left alone."}
        if is_skipped(section, one):
            return told | {"reason": f"Its flags leave it alone: {' '.join(sorted(one.flags))}"}
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.closing(Fetched(Path(folder) / "mail", section.max_size)) as mail,
        ):
            try:
                mail.expect(one.size)
                async for piece in connection.pieces(one.uid):
                    mail.add(piece)
                content = mail.content()
                headers = message.headers(content)
                told |= {"from": headers.from_header, "subject": headers.subject}
                return told | await self._judged(headers, content)
            except MailboxRefused:
                raise
            except (Refused, Unavailable) as error:
                return told | {"reason": error.text}

    async def _judged(self, headers: message.Headers, content: message.Octets) -> Json:
        section, client = self._section, client_of(self._section)
        label = delivery.label(content, section)
        sender = "" if label.return_path == "" or not headers.from_addresses else headers.from_addresses[0]
        wanted = self._recipients(section, label, content)
        verdict = await self._entrance.judge(content, client=client, sender=sender, recipients=wanted)
        account = verdict.standing.account if verdict.standing else None
        if account is not None and not verdict.reason:
            wanted = self._wishes.of_mail(account, [self._wishes.of_address(account, one) for one in wanted], headers, content)
        return {
            "account": account.name if account else "",
            "results": [f"{one.method}={one.result}" for one in verdict.results],
            "recipients": [{"written": one.written, "number": one.number, "sub_address": one.sub_address} for one in wanted],
            "taken": not verdict.reason,
            "reason": verdict.reason,
        }

    def _recipients(self, section: ImapSection, label: delivery.Label, content: message.Octets) -> list[Recipient]:
        """Raises Refused."""
        if section.number in ("subject", "recipient"):
            return [Recipient(written=section.own_address, number=section.recipient)]
        found = []
        for written, path in delivery.addressed(section, label, content, self._config.domain):
            one = address.parse(path, domains=self._config.domain, region=self._config.region)
            if not isinstance(one, Recipient):
                raise BadAddress(f"Mail to {written} goes to the operator.")
            found.append(replace(one, written=written))
        return found
