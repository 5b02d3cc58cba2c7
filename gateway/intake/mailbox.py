"""One mailbox that is read: each mail is fetched, then committed with its faxes, then marked, so that it is faxed once.

A crash before the commit leaves the mail as it is; one behind it leaves a row that says what is to be marked. News of the
server are hints only: what is new is searched for by number, from the first mail on that is not dealt with. Where a folder is
numbered anew, every mail in it is looked at, and known by its content. A mail is never marked as seen, and not taken for done
because it is.
Rows IMP-01 to IMP-12.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import ssl
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from gateway import log, message, metrics
from gateway.errors import (
    LeaseLost,
    MailboxRefused,
    MailboxUnavailable,
    MailTaken,
    Refused,
    SpoolUnavailable,
    Unavailable,
)
from gateway.intake import delivery, session
from gateway.intake.fetched import Fetched
from gateway.intake.oauth import Tokens
from gateway.intake.pickup import Pickup, Verdict
from gateway.intake.session import Folder, Listed, Session
from gateway.mailboxes import ImapSection
from gateway.spool import imap, outbox
from gateway.spool.documents import Documents
from gateway.spool.imap import Known, Lease, Mail, Place
from gateway.spool.store import Store

_log = logging.getLogger(__name__)
_LONG_AGO = datetime(1970, 1, 1, tzinfo=UTC)
_TOGETHER = 50  # marks that are remembered in one go
_PATIENCE = 60.0  # seconds for an answer of the server


@dataclass(frozen=True, slots=True, kw_only=True)
class Means:
    """What a mailbox is read with."""

    section: ImapSection
    store: Store
    documents: Documents
    pickup: Pickup
    context: ssl.SSLContext
    password: str
    tokens: Tokens | None
    """None: it signs in by password."""


async def sign_in(section: ImapSection, password: str, tokens: Tokens | None, connection: Session) -> None:
    """By password or token; a token that is not taken is asked for anew, once. Raises MailboxRefused, MailboxUnavailable."""
    if tokens is None:
        await connection.sign_in(section.username, password)
        return
    try:
        await connection.sign_in_by_token(section.username, await tokens.get())
    except MailboxRefused:
        tokens.forget()
        await connection.sign_in_by_token(section.username, await tokens.get())


def place_of(section: ImapSection, before: Place | None, folder: Folder, now: datetime) -> Place:
    """How far a folder is dealt with that is seen for the first time, or numbered anew since `before`.

    Raises MailboxRefused.
    """
    validity, next_uid = folder.validity, folder.next_uid
    if before is not None and before.validity == validity:
        return before
    if folder.exists and not next_uid:
        raise MailboxRefused("The server does not say UIDNEXT: which mails are new cannot be told.")
    if before is not None:
        return Place(validity=validity, next_uid=1, found_uid=next_uid, since=before.since)
    if section.existing == "take":
        return Place(validity=validity, next_uid=1, found_uid=next_uid, since=_LONG_AGO)
    return Place(validity=validity, next_uid=max(next_uid, 1), found_uid=max(next_uid, 1), since=now)


def is_old(section: ImapSection, place: Place, one: Listed, now: datetime) -> bool:
    """Whether a mail was there before the mailbox was ours to read, or longer than we may know about mails."""
    if one.uid >= place.found_uid:
        return False
    return one.arrived <= place.since or now - one.arrived > section.max_age


def is_skipped(section: ImapSection, one: Listed) -> bool:
    """Whether the rules leave a mail alone, as long as it is so."""
    unwanted = {"\\deleted", *(flag.lower() for flag in section.skip)}
    return not unwanted.isdisjoint(one.flags) or (section.only_unseen and "\\seen" in one.flags)


class Mailbox:
    """Reads one mailbox over one connection, while the lease is ours."""

    def __init__(self, means: Means, lease: Lease, heard: Callable[[], None]) -> None:
        """`heard` is called whenever all folders have been looked at."""
        self._means, self._lease, self._heard = means, lease, heard
        self._section, self._store = means.section, means.store
        self._shown: list[int] = []  # marked, and not yet remembered as such
        self._stuck: dict[tuple[str, int], tuple[datetime, datetime, float]] = {}  # since when, until when, for how long

    async def read(self) -> None:
        """Until something goes wrong. Raises MailboxUnavailable, MailboxRefused, SpoolUnavailable, LeaseLost."""
        section = self._section
        connecting = session.opened(
            section.host, section.its_port, self._means.context, starttls=section.tls == "starttls", patience=_PATIENCE
        )
        async with connecting as connection:
            await sign_in(section, self._means.password, self._means.tokens, connection)
            await self._make_folders(connection)
            _log.info("reads the mailbox %s at %s", section.name, section.host, extra={"action": "mailbox_opened"})
            said = False
            while True:
                for folder in (*section.folders[1:], section.folders[0]):  # the one that is waited in comes last
                    await self._look(connection, folder)
                self._heard()
                if not said:  # all of it can be read, and not only opened
                    await self._store.write(imap.say, self._lease, imap.READING, "")
                    said = True
                await self._wait(connection)

    async def _make_folders(self, connection: Session) -> None:
        there = await connection.folders()
        for name in (self._section.done_folder, self._section.refused_folder):
            if name and name not in there:
                await connection.create(name)

    async def _wait(self, connection: Session) -> None:
        """For news, or until it is time to look again."""
        section, now = self._section, self._store.now()
        wait = section.idle if b"IDLE" in connection.able and len(section.folders) == 1 else section.poll
        later = [until - now for _, until, _ in self._stuck.values()]
        seconds = 0.0 if connection.news else min([wait, *later]).total_seconds()
        seconds = max(seconds, 0.1)
        if b"IDLE" in connection.able:
            await connection.idle(seconds)
        else:
            await asyncio.sleep(seconds)

    # --- one folder

    async def _look(self, connection: Session, name: str) -> None:
        """Deal with every mail in a folder that is not dealt with."""
        folder = await connection.open(name)
        self._shown.clear()
        place = await self._place(name, folder)
        uids = await connection.search(place.next_uid)
        for key in [key for key in self._stuck if key[0] == name and key[1] not in uids]:
            del self._stuck[key]  # somebody else has taken it away
        known = await self._store.read(imap.known, self._section.name, name, place)
        left, undone = place.left_alone, await self._mark_again(connection, name, folder, uids, known)
        fresh = [uid for uid in uids if uid not in known]
        async for one in connection.listed(fresh):
            if is_old(self._section, place, one, self._store.now()):
                left += 1
            elif is_skipped(self._section, one) or not await self._deal(connection, name, folder, one, place):
                undone.append(one.uid)
        await self._remember(name, folder)
        next_uid = min(undone, default=max([folder.next_uid, *(uid + 1 for uid in uids)]))
        # What was left alone is counted once, where it is behind us.
        now = replace(place, next_uid=max(next_uid, place.next_uid), left_alone=left if not undone else place.left_alone)
        if now != place:
            await self._store.write(imap.put, self._lease, name, now)

    async def _place(self, name: str, folder: Folder) -> Place:
        """How far the folder is dealt with; from its beginning, where it is numbered anew."""
        place = (await self._store.read(imap.places, self._section.name)).get(name)
        if place is not None and place.validity == folder.validity:
            return place
        now = place_of(self._section, place, folder, self._store.now())
        if place is not None:
            text = "the folder %s of the mailbox %s is numbered anew: every mail in it is compared with those that were faxed"
            _log.warning(text, log.printable(name), self._section.name, extra={"action": "mailbox_renumbered"})
        await self._store.write(imap.put, self._lease, name, now)
        return now

    # --- one mail

    async def _deal(self, connection: Session, name: str, folder: Folder, one: Listed, place: Place) -> bool:
        """Take or refuse a mail, and mark it. False: not now."""
        if self._waits(name, one.uid):
            return False
        row = Mail(folder=name, validity=folder.validity, uid=one.uid)
        try:
            state, notified = await self._decide(connection, folder, one, row, place)
            await self._mark(connection, name, folder, one.uid, state, notified=notified)
        except (Refused, Unavailable) as error:
            if isinstance(error, MailboxUnavailable | SpoolUnavailable | LeaseLost):
                raise  # it is not about this mail
            await self._later(row, error)
            return False
        except Exception:  # noqa: BLE001  # a border: one poisonous mail must not stop those behind it
            text = "the gateway stumbled over mail %d in the mailbox %s"
            _log.exception(text, one.uid, self._section.name, extra={"action": "mail_stumbled"})
            await self._later(row, Unavailable("The gateway stumbled over it: its log says more."))
            return False
        self._stuck.pop((name, one.uid), None)
        return True

    def _waits(self, name: str, uid: int) -> bool:
        """Whether it is too early to try a mail again."""
        key = (name, uid)
        return key in self._stuck and self._store.now() < self._stuck[key][1]

    async def _later(self, row: Mail, error: Refused | Unavailable) -> None:
        """A mail that cannot be dealt with now is tried again after longer and longer waits."""
        key, now = (row.folder, row.uid), self._store.now()
        since, _, wait = self._stuck.get(key, (now, now, 0.0))
        wait = min(max(2 * wait, 5.0), 900.0)
        self._stuck[key] = (since, now + timedelta(seconds=_pause(error, wait)), wait)
        await self._complain(row, since, error.text)

    async def _decide(self, connection: Session, folder: Folder, one: Listed, row: Mail, place: Place) -> tuple[str, bool]:
        """What becomes of a mail; durable when it returns. And whether a disposition notification was promised."""
        section = self._section
        if section.done_keyword.lower() in one.flags and one.uid < place.found_uid:
            return await self._settled(replace(row, state=imap.AGAIN)), False  # we said so ourselves, under another number
        with self._means.documents.scratch() as scratch:
            fetched = Fetched(scratch / "mail", section.max_size)
            try:
                fetched.expect(one.size)
                async for piece in connection.pieces(one.uid):
                    fetched.add(piece)
                content = fetched.content()
            except Refused as error:
                if isinstance(error, MailboxRefused):
                    raise
                return await self._refuse(row, Verdict(reason=error.text, reply=error.reply)), False
            finally:
                fetched.close()
            row = replace(row, key=await asyncio.to_thread(known_by, content, delivery.label(content, section).delivered_to))
            if await self._store.read(imap.is_known, section.name, row.key):
                return await self._settled(replace(row, state=imap.AGAIN)), False
            if self._store.now() - one.arrived > section.max_age:
                return await self._refuse(row, await self._means.pickup.too_old(content)), False
            try:
                promised = await self._means.pickup.take(content, one.flags, folder, self._lease, row)
            except MailTaken:
                return await self._settled(replace(row, state=imap.AGAIN)), False
            except Refused as error:
                return await self._refuse(row, await self._means.pickup.verdict(content, error)), False
        self._count(imap.TAKEN)
        return imap.TAKEN, promised

    async def _settled(self, row: Mail) -> str:
        await self._store.write(imap.settle, self._lease, row)
        self._count(row.state)
        return row.state

    async def _refuse(self, row: Mail, verdict: Verdict) -> str:
        section = self._section
        row = replace(row, state=imap.REFUSED, reason=verdict.reason)
        notice = verdict.notice if section.tell else None
        if await self._store.write(imap.settle, self._lease, row, notice):
            self._count(imap.REFUSED)
            metrics.REFUSED.labels(verdict.reply.partition(" ")[2]).inc()
            text = "a mail in %s is not faxed: %s"
            _log.info(text, section.name, log.printable(verdict.reason), extra={"action": "mail_not_taken"})
        return imap.REFUSED

    def _count(self, state: str) -> None:
        metrics.PICKED_UP.labels(self._section.name, state).inc()

    async def _complain(self, row: Mail, since: datetime, why: str) -> None:
        """Tell the operator of a mail that could not be dealt with for long, once."""
        section = self._section
        _log.info("a mail in %s waits: %s", section.name, log.printable(why), extra={"action": "mail_waits"})
        if self._store.now() - since >= section.alarm:
            what = "a mail in a mailbox cannot be dealt with"
            where = f"Mail {row.uid} in {log.printable(row.folder)} of the mailbox {section.name}"
            text = f"{where}, since {since:%Y-%m-%d %H:%M %Z}: {why}"
            await self._store.write(outbox.alarm, about=imap.about(section.name, row), what=what, text=text)

    # --- marks

    async def _mark(
        self, connection: Session, name: str, folder: Folder, uid: int, state: str, *, notified: bool = False
    ) -> None:
        """Show in the mailbox what became of a mail, then remember that it shows it."""
        section = self._section
        flags = [section.done_keyword] if state != imap.REFUSED and folder.keeps(section.done_keyword) else []
        flags += ["$MDNSent"] if notified else []
        if flags := [flag for flag in flags if flag]:
            await connection.flag(uid, *flags)
        if goal := section.refused_folder if state == imap.REFUSED else section.done_folder:
            await connection.move(uid, goal)
        self._shown.append(uid)
        if len(self._shown) >= _TOGETHER:
            await self._remember(name, folder)

    async def _remember(self, name: str, folder: Folder) -> None:
        """That the folder shows what became of some mails. Where we do not come so far, they are marked again."""
        shown, self._shown = self._shown, []
        if shown:
            await self._store.write(imap.mark, self._lease, name, folder.validity, shown)

    async def _mark_again(
        self, connection: Session, name: str, folder: Folder, uids: list[int], known: dict[int, Known]
    ) -> list[int]:
        """What was committed and not marked: a crash or a cut connection came between. Those that still are not."""
        undone = {uid: one for uid, one in known.items() if not one.marked}
        there = undone.keys() & set(uids)
        if gone := undone.keys() - there:
            await self._store.write(imap.mark, self._lease, name, folder.validity, gone)
        left = list[int]()
        for uid in sorted(there):
            if self._waits(name, uid):
                left.append(uid)
                continue
            try:
                await self._mark(connection, name, folder, uid, undone[uid].state, notified=undone[uid].notified)
            except MailboxRefused as error:
                await self._later(Mail(folder=name, validity=folder.validity, uid=uid), error)
                left.append(uid)
            else:
                self._stuck.pop((name, uid), None)
        return left


def known_by(content: message.Octets, delivered_to: str) -> str:
    """What a mail is known by under whatever number: its Message-ID and content; without one, every octet of it.

    delivered_to  two copies of one mail, for two addresses, are two mails
    """
    headers = message.headers(content)
    if headers.message_id:
        said = "\0".join((headers.message_id, headers.resent_message_id, message.content_hash(content), delivered_to.lower()))
        return hashlib.sha256(said.encode("utf-8", "surrogateescape")).hexdigest()
    return hashlib.sha256(content).hexdigest()


def _pause(error: Refused | Unavailable, usual: float) -> float:
    """Seconds until a mail is looked at again."""
    return max(usual, min(getattr(error, "retry_after", None) or 0.0, 3600.0))
