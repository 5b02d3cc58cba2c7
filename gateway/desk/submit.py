"""The one way in: store the document, then one transmission for each called number, in one transaction.

When `submit` returns, the fax is durable and the door may say 250. The same account, sender, Message-ID,
Resent-Message-ID, content, number and sub-address within `duplicates` is the same fax (clients repeat when our 250 got lost);
without a Message-ID nothing is a repetition. A mail that proves itself, wherever it comes from, is known by what its signature
keeps.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from types import MappingProxyType

from gateway import log, message, metrics, options
from gateway.desk.admission import Admission
from gateway.desk.blocks import Blocks
from gateway.desk.bounces import Bounces, Notice, Verdict
from gateway.desk.bounces import read as read_notice
from gateway.desk.identity import Identity
from gateway.desk.limits import Limits
from gateway.desk.prices import Prices
from gateway.errors import NoCredit, NotAdmitted, Refused, TooMany, Unavailable
from gateway.fax import (
    Account,
    AccountId,
    CoverPage,
    Document,
    Envelope,
    OutboxId,
    Recipient,
    Sha256,
    Submission,
    SubmissionId,
    TransmissionId,
    by_call,
    new_id,
)
from gateway.message import Headers, Octets
from gateway.number import FaxNumber
from gateway.spool import inbounds, ledger, outbox, submissions, usage
from gateway.spool.approvals import Toll
from gateway.spool.commit import Transaction
from gateway.spool.documents import Documents
from gateway.spool.store import Store
from gateway.spool.submissions import Accepted, Call
from gateway.units import eur

_log = logging.getLogger(__name__)
_NOTED = {
    Verdict.DELAYED: "mail delayed",
    Verdict.DELIVERED: "mail arrived",
    Verdict.AUTOMATIC: "automatic answer",
    Verdict.NOTE: "answer",
}
_SHORT = 64 * 1024  # octets that are hashed on the spot: sooner done than handed to a thread
_REFERENCES = 10  # Message-IDs kept for threading


class Desk:
    """Takes submissions and mail for the operator."""

    def __init__(
        self,
        *,
        store: Store,
        documents: Documents,
        identity: Identity,
        admission: Admission,
        prices: Prices,
        limits: Limits,
        default_carrier: str,
        bounces: Bounces,
        waiting: int = 200,
        duplicates: timedelta = submissions.MEMORY,
    ) -> None:
        """`waiting`: unfinished faxes that an account may have when it hands in one for a later time."""
        self.blocks, self.bounces = Blocks(store), bounces
        self._store, self._documents = store, documents
        self._identity, self._admission, self._prices, self.limits = identity, admission, prices, limits
        self._default_carrier, self._waiting, self._duplicates = default_carrier, waiting, duplicates

    async def route(self, account: AccountId, caller: str = "") -> tuple[str, str]:
        """Carrier and caller (our line) for faxes of an account: those of its line `caller`, or of its first one, else the
        default carrier. Raises NotAdmitted where `caller` is not its line."""
        for line in await self._identity.lines():
            if line.account == account and caller in ("", line.number):
                return line.carrier, line.number
        if caller:
            raise NotAdmitted(f"{caller} is not one of this account's lines.")
        return self._default_carrier, ""

    async def admit(self, account: Account, recipient: Recipient, earlier: int = 0, *, caller: str = "") -> None:
        """May this account fax this number now, from its line `caller`, beside `earlier` ones of the same mail? Raises Refused
        or Unavailable with the reply and the reason."""
        carrier, _ = await self.route(account.id, caller)
        await self._check(account, [recipient], carrier)
        now = self._store.now()
        if first := self.limits.first(account, recipient.number, now):
            used = Counter(await self._store.read(usage.used, [allowance.key for allowance, _ in first]))
            used.update({allowance.key: earlier for allowance in self.limits.faxes(account, now)})
            self.limits.check(first, used, now)
        if (price := self._price(account, recipient.number)) is None:
            return
        if (credit := await self._store.read(ledger.of, account.id)).available < price:
            raise NoCredit(f"A page to this number costs {eur(price)}; this account has {eur(credit.available)} left.")

    async def toll(self, account: Account, called: str, pages: int) -> Toll:
        """What would stand between the pages of a fax and its hand-over now; nothing is counted."""
        toll = self.limits.toll(account, called, pages, now := self._store.now())
        used = await self._store.read(usage.used, [allowance.key for allowance, _ in toll.counts])
        try:
            self.limits.check(toll.counts, used, now)
        except (Refused, Unavailable) as error:
            return replace(toll, refused=toll.refused or error.text)
        return toll

    async def submit(
        self,
        account: Account,
        envelope: Envelope,
        recipients: Sequence[Recipient],
        *,
        trace: bytes,
        content: Octets,
        not_before: datetime | None = None,
        fingerprint: str = "",
        before: Callable[[Transaction], None] | None = None,
        caller: str = "",
    ) -> SubmissionId:
        """Accept one mail, whose faxes begin `not_before` a time. Durable when it returns.

        caller       our line it is sent from, E.164; "" = the account's first
        fingerprint  what makes it the same mail, whoever hands it in; "" = sender, Message-ID and content
        before  is done in the transaction that accepts it; what it raises accepts nothing
        Raises Refused, OverLimit, SpoolUnavailable.
        """
        carrier, caller = await self.route(account.id, caller)
        await self._check(account, recipients, carrier)
        document, content_hash = await self._kept(content, trace)
        headers = message.headers(content)
        submission = self._submission(account, envelope, headers, document.sha256, content_hash)
        counted = self.limits.faxes(account, self._store.now())
        calls = [
            Call(
                recipients=group,
                carrier=carrier,
                caller=caller,
                key=_key(submission, number, sub_address, fingerprint),
                memory=self._duplicates,
                price=self._price(account, number),
                not_before=_latest(not_before, options.begins(group[0])),
                counted=counted,
            )
            for (number, sub_address), group in by_call(recipients).items()
        ]
        most = None if all(call.not_before is None for call in calls) else self._waiting
        if (accepted := await self._accepted(submission, calls, most, before)) is None:
            raise NotAdmitted("This account has too many faxes waiting already.", reply="552 5.2.2")
        self._tell_log(accepted, envelope, recipients)
        return accepted.submission

    async def submit_call(
        self,
        account: Account,
        envelope: Envelope,
        recipients: Sequence[Recipient],
        mail: bytes,
        *,
        cover: CoverPage,
        caller: str = "",
        most: int | None = None,
        pages: int | None = None,
        ids: Mapping[str, TransmissionId] = MappingProxyType({}),
        not_before: datetime | None = None,
        before: Callable[[Transaction], None] | None = None,
        own: SubmissionId | None = None,
    ) -> list[TransmissionId]:
        """Accept what a program posted at an API door, made into a mail (`desk.posted`); the transmission of each recipient.

        caller  our line it is sent from, E.164; "" = the account's first
        most    faxes that the account may have on their way with these; None = any number
        pages   how many it certainly has: an account that pays in advance then pays now; None = not known yet
        ids     transmissions that were chosen before, by the number they call
        not_before  nothing is done with the faxes earlier
        own     id of the submission, chosen before; None: a new one
        before  is done in the transaction that accepts them; what it raises accepts none
        Durable when it returns. With a Message-ID the same call within 48 h gives the same transmissions. Raises Refused,
        NoCredit, TooMany, SpoolUnavailable.
        """
        carrier, caller = await self.route(account.id, caller)
        await self._check(account, recipients, carrier)
        document, content_hash = await self._kept(mail)
        submission = self._submission(account, envelope, message.headers(mail), document.sha256, content_hash)
        submission = replace(submission, id=own or submission.id, cover=cover, redial=account.settings.redial)
        grouped, counted = by_call(recipients), self.limits.faxes(account, self._store.now())
        calls = [
            Call(
                recipients=group,
                carrier=carrier,
                caller=caller,
                key=_key(submission, number, sub_address),
                price=self._price(account, number),
                pages=pages,
                id=ids.get(number),
                not_before=not_before,
                counted=counted,
                early=self._admission.delays(carrier),
            )
            for (number, sub_address), group in grouped.items()
        ]
        if (accepted := await self._accepted(submission, calls, most, before)) is None:
            raise TooMany(too_many(most or 0))
        self._tell_log(accepted, envelope, recipients)
        called = dict(zip(grouped, accepted.calls, strict=True))
        return [called[recipient.number, recipient.sub_address] for recipient in recipients]

    def call(self, account: Account, recipients: Sequence[Recipient], *, carrier: str, caller: str) -> Call:
        """One called number of a mail that was accepted before, counted and paid like a new one. Nothing is a repetition."""
        return Call(
            recipients=tuple(recipients),
            carrier=carrier,
            caller=caller,
            key="",
            price=self._price(account, recipients[0].number),
            counted=self.limits.faxes(account, self._store.now()),
        )

    async def _accepted(
        self,
        submission: Submission,
        calls: Sequence[Call],
        most: int | None,
        before: Callable[[Transaction], None] | None = None,
    ) -> Accepted | None:
        """Durable when it returns. None, and nothing is stored: the account has `most` faxes on their way already."""
        if before is not None:
            return await self._store.write(submissions.accept_with, before, submission, calls, most)
        if most is None:
            return await self._store.write(submissions.accept, submission, calls)
        return await self._store.write(submissions.accept_within, submission, calls, most)

    async def _kept(self, content: Octets, trace: bytes = b"") -> tuple[Document, str]:
        """Store a mail below its trace; and what makes its content recognisable. Raises SpoolUnavailable."""
        if len(content) <= _SHORT:
            return await self._documents.put(trace, content), message.content_hash(content)
        # Hashing tens of megabytes takes as long as writing them: side by side, and off the event loop.
        return await asyncio.gather(self._documents.put(trace, content), asyncio.to_thread(message.content_hash, content))

    async def _check(self, account: Account, recipients: Sequence[Recipient], carrier: str) -> None:
        """Whether an account may ever fax these numbers. Raises Refused, Unavailable."""
        for recipient in recipients:
            self._admission.check(account, recipient, carrier)
            await self.blocks.check(account, recipient.number)

    def _price(self, account: Account, called: str) -> int | None:
        """Of a page, micro-EUR; None where the account does not pay in advance."""
        return self._prices.page(FaxNumber(called)).amount if account.prepaid else None

    def _submission(
        self, account: Account, envelope: Envelope, headers: Headers, document: Sha256, content_hash: str
    ) -> Submission:
        return Submission(
            id=SubmissionId(new_id("sub")),
            account=account.id,
            envelope=envelope,
            message_id=headers.message_id,
            resent_message_id=headers.resent_message_id,
            content_hash=content_hash,
            subject=headers.subject,
            from_header=headers.from_header,
            references=" ".join((*headers.references[-_REFERENCES:], headers.message_id)).strip(),
            auto_submitted=headers.auto_submitted != "no",
            document=document,
            content_type="message/rfc822",
            accepted_at=self._store.now(),
        )

    def is_bounce(self, address: str) -> bool:
        """Whether an address is one that a mail of ours was sent from."""
        return self.bounces.is_known(address)

    async def for_operator(self, envelope: Envelope, recipients: Sequence[str], *, trace: bytes, content: Octets) -> None:
        """Take mail for a person (postmaster), and what comes back of the mails with received faxes. Durable when it returns.
        Raises SpoolUnavailable.
        """
        back = [outbox for outbox in map(self.bounces.outbox, recipients) if outbox]
        notice = await asyncio.to_thread(read_notice, bytes(content)) if back else None
        people = [one for one in recipients if not self.bounces.outbox(one)]
        is_read = bool(people) or (notice is not None and notice.verdict is Verdict.NOTE)
        document = (await self._documents.put(trace, content)).sha256 if is_read else None

        def record(t: Transaction) -> None:
            to = list(people)
            for mail in back:
                assert notice is not None
                to += _came_back(t, mail, notice)
            if to:
                outbox.owe(
                    t, kind=outbox.FORWARD, about=new_id("mail"), subject=", ".join(to), text=envelope.sender,
                    document=document,
                )  # fmt: skip

        await self._store.write(record)
        if notice is not None:
            metrics.BOUNCES.labels(notice.verdict).inc(len(back))
            _log.warning("%s: %s: %s", ", ".join(back), notice.verdict, notice.words, extra={"action": "mail_back"})

    def _tell_log(self, accepted: Accepted, envelope: Envelope, recipients: Sequence[Recipient]) -> None:
        metrics.ACCEPTED.labels(envelope.door).inc(len(accepted.transmissions))
        metrics.DUPLICATES.inc(len(accepted.repeated))
        to = ", ".join(log.shown(recipient.number) for recipient in recipients)
        for transmission in accepted.transmissions:
            _log.info(
                "accepted %s for %s from %s as %s",
                transmission,
                to,
                log.printable(envelope.sender),
                accepted.submission,
                extra={"action": "accepted", "transmission": transmission},
            )
        for transmission in accepted.repeated:
            _log.info("duplicate of %s", transmission, extra={"action": "duplicate", "transmission": transmission})


def _came_back(t: Transaction, mail: OutboxId, notice: Notice) -> list[str]:
    """What somebody said about the mail with a received fax; as what the operator reads it, where a person has to."""
    if notice.verdict is Verdict.FAILED:
        inbounds.returned(t, mail, notice.words)
        return []
    owed = inbounds.noted(t, mail, _NOTED[notice.verdict], notice.words)
    if notice.verdict is not Verdict.NOTE:
        return []
    return [f"the mail with {owed.about_id} to {owed.recipient}" if owed else "a mail that is forgotten"]


def _latest(*times: datetime | None) -> datetime | None:
    return max((time for time in times if time is not None), default=None)


def too_many(most: int) -> str:
    """In the words that programs know from the HelloFax API."""
    return f"Please wait. You already have at least {most} transmissions that are currently pending or transmitting."


def _key(submission: Submission, number: str, sub_address: str, fingerprint: str = "") -> str:
    """QUE-07 to QUE-09."""
    if not submission.message_id and not fingerprint:
        return ""
    mail = (
        submission.envelope.sender,
        submission.message_id,
        submission.resent_message_id,
        submission.content_hash,
    )
    parts = (submission.account, *((fingerprint,) if fingerprint else mail), number, sub_address)
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogateescape")).hexdigest()
