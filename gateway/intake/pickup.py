"""The judgement about a mail from a mailbox: as at the other mail doors, but nobody is there to be told at once.

Its author is who the mailbox's own servers say it is (Authentication-Results), or who signed it (DKIM). A sender is told that a
mail is not faxed only where that proof holds for one of an account's senders: everybody else would be told of mail that others
wrote in their name. Rows IMP-10, IMP-11, IMP-14, AUR-01, AUR-02, MDN-08.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import partial

from gateway import message
from gateway.config import Config
from gateway.errors import NotAdmitted, Refused, Unavailable
from gateway.fax import Door, Recipient
from gateway.intake import delivery
from gateway.intake.authentication import Client
from gateway.intake.parameters import MailParameters
from gateway.intake.reception import Reception
from gateway.intake.session import Folder
from gateway.intake.transaction import Transaction
from gateway.mailboxes import ImapSection
from gateway.message import Octets
from gateway.spool import imap
from gateway.spool.imap import Lease, Mail, Notice
from gateway.spool.store import Store

_TOO_OLD = "This mail arrived too long ago to be faxed."


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Why a mail is not faxed, and what its sender is told."""

    reason: str
    reply: str = "550 5.0.0"
    notice: Notice | None = None


class Pickup:
    """Of one mailbox."""

    def __init__(self, config: Config, section: ImapSection, *, reception: Reception, store: Store) -> None:
        self._domains, self._section = config.domain, section
        self._reception, self._entrance, self._store = reception, reception.entrance, store
        self.client = client_of(section)

    async def take(self, content: Octets, flags: frozenset[str], folder: Folder, lease: Lease, row: Mail) -> bool:
        """Take a mail with its row; durable when it returns. Whether a disposition notification was promised.

        Raises Refused, Unavailable, MailTaken, LeaseLost.
        """
        headers, label = message.headers(content), delivery.label(content, self._section)
        transaction = self._transaction(headers, label)
        transaction.disposition_to = delivery.disposition_to(
            self._section, headers, content, label, flags, kept=folder.keeps("$MDNSent")
        )
        notified = bool(transaction.disposition_to)
        transaction.before = partial(imap.take, lease=lease, mail=replace(row, notified=notified))
        for written, path in self._addressed(content, label):
            found = await self._reception.recipient(self.client, transaction, path) if path else await self._fixed(transaction)
            transaction.accepted.append(replace(found, written=written))
        await self._reception.mail(self.client, transaction, content)
        if not transaction.recipients:  # for the operator alone, or an answer to one of our mails
            await self._store.write(imap.take, lease=lease, mail=row)
            return False
        return notified

    def _addressed(self, content: Octets, label: delivery.Label) -> list[tuple[str, str]]:
        """Addresses as written, and as RCPT would have them; "" where the address does not say the number."""
        if self._section.number in ("subject", "recipient"):  # an answer to a mail of ours is no fax to that number
            answers = delivery.answered(content, self._domains)
            return [(one, one) for one in answers] or [(self._section.own_address, "")]
        return delivery.addressed(self._section, label, content, self._domains)

    async def _fixed(self, transaction: Transaction) -> Recipient:
        """The number that is always called; or none, where the subject says it."""
        wanted = Recipient(written=self._section.own_address, number=self._section.recipient)
        return await self._reception.admitted(self.client, transaction, wanted)

    def _transaction(self, headers: message.Headers, label: delivery.Label) -> Transaction:
        """The author is the sender: nothing else about the sender can be proven here. Raises NotAdmitted."""
        if headers.from_fields != 1 or len(headers.from_addresses) != 1 or headers.from_group:
            raise NotAdmitted("The From field of a mail to be faxed names exactly one address.")
        sender = "" if label.return_path == "" else headers.from_addresses[0]
        return Transaction(sender=sender, wishes=MailParameters())

    async def too_old(self, content: Octets) -> Verdict:
        """About a mail that waited in the mailbox for too long."""
        return await self.verdict(content, NotAdmitted(_TOO_OLD))

    async def verdict(self, content: Octets, why: Refused) -> Verdict:
        """A refusal, and what the sender is told of it."""
        return Verdict(reason=why.text, reply=why.reply, notice=await self._notice(content, why.text))

    async def _notice(self, content: Octets, reason: str) -> Notice | None:
        """None: who wrote it is not proven, or a program did."""
        headers, label = message.headers(content), delivery.label(content, self._section)
        automatic = headers.auto_submitted != "no" or headers.list_id or headers.precedence or headers.answers_by_itself
        if automatic or headers.loop_marks or headers.content_type == "multipart/report":
            return None
        try:
            sender = self._transaction(headers, label).sender
            named = [Recipient(written=written, number="") for written, _ in self._addressed(content, label)]
            standing = await self._entrance.standing(self.client, sender)
            await self._entrance.prove(standing, headers, content, self.client, sender, named)
        except (Refused, Unavailable):
            return None
        thread = {
            "message_id": headers.message_id,
            "references": list(headers.references[-10:]),
            "reason": reason,
            "languages": [*headers.languages, *headers.reads],
        }
        return Notice(recipient=sender, subject=headers.subject, text=json.dumps(thread))


def client_of(section: ImapSection) -> Client:
    """The other side: servers that have the mail from anybody, and write on it whom they have proven."""
    return Client(
        address="",
        helo=section.host,
        door=Door.IMAP,
        tls="TLS",
        authserv_ids=frozenset(name.lower() for name in section.authserv_ids),
        hops=section.received,
    )
