"""What becomes of a sender, a recipient and a mail: the judgement behind the mail listeners.

Knows no protocol: raises `Refused` or `Unavailable`, whose replies the listener gives.
"""

from __future__ import annotations

import asyncio
import errno
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, Protocol, TypeVar

from gateway import message
from gateway.config import Config
from gateway.desk.commands import Wanted
from gateway.desk.replies import Scope, Ticket
from gateway.errors import BadAddress, NotAdmitted, OverLimit, Refused, Unavailable
from gateway.fax import Account, Envelope, Recipient, SubmissionId, by_call
from gateway.intake import address, authentication, order, proof, results, screening, trace
from gateway.intake.address import Reply, Special
from gateway.intake.authentication import Accounts, Client, Proof
from gateway.intake.entrance import Entrance
from gateway.intake.results import Result
from gateway.intake.transaction import Transaction
from gateway.intake.wishes import Wishes
from gateway.message import Octets
from gateway.spool.commit import Transaction as Write

T = TypeVar("T")
_SHORT = 16 * 1024  # octets of header block that are read on the spot
Answer = str | Refused | Unavailable
"""What one recipient is told: the text of a 250, or why not."""


class Desk(Protocol):
    """What is asked of `desk.submit`."""

    async def admit(self, account: Account, recipient: Recipient, earlier: int = 0, *, caller: str = "") -> None: ...

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
        before: Callable[[Write], None] | None = None,
        caller: str = "",
    ) -> SubmissionId: ...

    def is_bounce(self, address: str) -> bool: ...

    async def for_operator(self, envelope: Envelope, recipients: Sequence[str], *, trace: bytes, content: Octets) -> None: ...


class Throttle(Protocol):
    """What is asked of `desk.throttle`."""

    async def by_password(self, client: str, login: str, password: str) -> Account | None: ...


class Commands(Protocol):
    """What is asked of `desk.commands`."""

    def read(self, local: str, now: datetime) -> Ticket: ...

    async def caller(self, ticket: Ticket) -> tuple[str, str]: ...

    async def do(self, ticket: Ticket, account: Account, author: str, also_from: str, wanted: Wanted) -> None: ...


class Reception:
    """Between the listeners and the desk."""

    def __init__(
        self,
        config: Config,
        *,
        identity: Accounts,
        throttle: Throttle,
        desk: Desk,
        now: Callable[[], datetime],
        commands: Commands | None = None,
    ) -> None:
        """`commands`: None where our mails cannot be answered."""
        self._commands = commands
        self._domains, self._region, self._host = frozenset(config.domain), config.region, config.host
        self._staffed, self._number_in_subject = frozenset({config.mail.from_.lower()}), frozenset(config.number_in_subject)
        self._identity, self._throttle, self._desk, self.now = identity, throttle, desk, now
        self.entrance, self._wishes = Entrance(config, identity), Wishes(config, now)
        self._ids = frozenset({self._host.lower(), *self._domains})
        self._storing: set[asyncio.Task[Any]] = set()

    async def sign_in(self, client: Client, login: str, password: str) -> Account | None:
        """The account, None = wrong. Raises TooMany, SpoolUnavailable."""
        return await self._throttle.by_password(client.address, login, password)

    def sender(self, client: Client, path: str) -> str:
        """Read the path of MAIL; who signed in may use the own addresses only."""
        sender = address.sender(path)
        if client.account:
            authentication.check_sender(self._identity, client.account, sender)
        return sender

    async def recipient(self, client: Client, transaction: Transaction, path: str) -> Recipient | Special | Reply:
        """Read the path of RCPT and decide whether it may be faxed. The operator may be written to by anybody."""
        if transaction.ticket is not None:
            raise Refused("An answer goes alone: send it to the others in another mail.", reply="452 4.5.3")
        found = address.parse(
            path,
            domains=self._domains,
            region=self._region,
            staffed=self._staffed,
            number_in_subject=self._number_in_subject,
        )
        if isinstance(found, Special):
            if found.name == "bounce" and not self._desk.is_bounce(found.written):
                raise BadAddress("There is nobody by that name here.", reply="550 5.1.1")
            return found
        if isinstance(found, Reply):
            if transaction.standing is None:
                transaction.standing = await self.entrance.standing(client, transaction.sender)
            answered = await self._answered(transaction, found)
            if isinstance(answered, Reply):
                return answered
            found = answered
        return await self.admitted(client, transaction, found)

    async def admitted(self, client: Client, transaction: Transaction, found: Recipient) -> Recipient:
        """Whether a recipient may be faxed, and what its address asks understood."""
        if transaction.standing is None:
            transaction.standing = await self.entrance.standing(client, transaction.sender)
        account = transaction.standing.account
        try:
            found = self._wishes.of_address(account, found)
            if found.number:
                await self._desk.admit(account, found, len(transaction.recipients), caller=transaction.line)
        except (Refused, OverLimit) as error:
            transaction.ticket, transaction.line = None, ""
            if transaction.proven:
                raise
            # Whoever only claims to be the sender learns nothing of the account's countries, limits and credit.
            if isinstance(error, OverLimit):
                text = "The account of this sender may not fax now; who signs in is told why."
                raise OverLimit(text, retry_after=error.retry_after) from error
            text = "The account of this sender may not fax this number; who signs in is told why."
            raise NotAdmitted(text, reply=error.reply) from error
        return found

    async def _answered(self, transaction: Transaction, found: Reply) -> Recipient | Reply:
        """What an address for answers is about: a fax to the caller of a received one, or a command. Raises Refused."""
        if transaction.accepted:
            raise Refused("An answer goes alone: send it to the others in another mail.", reply="452 4.5.3")
        if self._commands is None:
            raise BadAddress("Mails of this gateway are not answered by mail.", reply="550 5.1.1")
        ticket = self._commands.read(found.local, self.now())
        if ticket.scope is not Scope.FAX:
            transaction.ticket = ticket
            return found
        called, line = await self._commands.caller(ticket)
        transaction.ticket, transaction.line = ticket, line
        return Recipient(written=found.written, number=called)

    async def mail(self, client: Client, transaction: Transaction, content: Octets) -> str:
        """Take one mail, for all recipients or for none; durable when this returns. The text for the answer."""
        field, content = await self._checked(client, transaction, content)
        if transaction.commands:
            return await self._unhurt(self._commanded(client, transaction, field, content))
        return await self._unhurt(self._store(transaction.envelope(client), transaction, field, content))

    async def each(self, client: Client, transaction: Transaction, content: Octets) -> list[Answer]:
        """Take one mail for each recipient who may have it. An answer for each, in the order of the RCPT commands."""
        field, content = await self._checked(client, transaction, content)
        if transaction.commands:
            return [await self._unhurt(self._commanded(client, transaction, field, content))]
        return await self._unhurt(self._store_each(transaction.envelope(client), transaction, field, content))

    async def _checked(self, client: Client, transaction: Transaction, content: Octets) -> tuple[bytes, Octets]:
        """Whether the mail itself may be faxed; our fields for it, and the mail as it is kept. Raises Refused, Unavailable."""
        headers = await _headers(content)
        self.entrance.check_loop(headers)
        proven: list[Result] = []
        if transaction.commands:
            screening.check_written_by_hand(headers)
        if standing := transaction.standing:
            proven = await self.entrance.check(standing, headers, content, client, transaction.sender, transaction.to_prove)
            if standing.proof is Proof.DMARC and not proof.is_by_way(proven):
                transaction.fingerprint = await asyncio.to_thread(proof.fingerprint, content)
            if not transaction.commands:
                await self._read_wishes(transaction, standing.account, headers, content)
        field = trace.received(client, host=self._host, recipients=transaction.written, at=self.now())
        return (field + results.written(self._host, proven) if proven else field), results.cleansed(content, self._ids)

    async def _read_wishes(self, transaction: Transaction, account: Account, headers: message.Headers, content: Octets) -> None:
        """What the mail asks, and the numbers that are in its subject."""
        before = transaction.recipients
        asked = self._wishes.of_mail(account, before, headers, content)
        for earlier, (was, now) in enumerate(zip(before, asked, strict=True)):
            if now != was:
                await self._desk.admit(account, now, earlier, caller=transaction.line)
        changed = iter(asked)
        transaction.accepted = [next(changed) if isinstance(one, Recipient) else one for one in transaction.accepted]

    async def _store(self, envelope: Envelope, transaction: Transaction, field: bytes, content: Octets) -> str:
        # The operator's copy first: when the second step fails the client repeats both, and a second mail to the
        # operator costs less than a second fax.
        if specials := transaction.specials:
            await self._desk.for_operator(envelope, specials, trace=field, content=content)
        if not (recipients := transaction.recipients):
            return "accepted for the operator"
        return await self._submitted(envelope, transaction, recipients, field, content)

    async def _store_each(self, envelope: Envelope, transaction: Transaction, field: bytes, content: Octets) -> list[Answer]:
        async def operators() -> str:
            await self._desk.for_operator(envelope, transaction.specials, trace=field, content=content)
            return "accepted for the operator"

        async def faxed(some: list[Recipient]) -> str:
            return await self._submitted(envelope, transaction, some, field, content)

        special = await _answer(operators()) if transaction.specials else ""
        recipients = transaction.recipients
        together = await _answer(faxed(recipients)) if recipients else ""
        alone: dict[tuple[str, str], Answer] = {}
        if isinstance(together, Refused | OverLimit):  # perhaps because of one of them: nothing was stored
            for call, group in by_call(recipients).items():  # spellings of one number stay together, or it would ring twice
                alone[call] = await _answer(faxed(list(group))) if len(group) < len(recipients) else together
        return [
            alone.get((one.number, one.sub_address), together) if isinstance(one, Recipient) else special
            for one in transaction.accepted
        ]

    async def _submitted(
        self, envelope: Envelope, transaction: Transaction, recipients: list[Recipient], field: bytes, content: Octets
    ) -> str:
        assert transaction.account is not None  # found at the first recipient
        submission = await self._desk.submit(
            transaction.account,
            envelope,
            recipients,
            trace=field,
            content=content,
            not_before=transaction.wishes.not_before,
            fingerprint=transaction.fingerprint,
            before=transaction.before,
            caller=transaction.line,
        )
        return f"accepted as {submission}"

    async def _commanded(self, client: Client, transaction: Transaction, field: bytes, content: Octets) -> str:
        """An answer to one of our mails that asks something; durable when this returns. What is no command is for a person."""
        assert self._commands is not None
        assert transaction.ticket is not None
        assert transaction.standing is not None
        asked, headers = await asyncio.to_thread(order.read, bytes(content)), message.headers(content)
        proven = transaction.standing.proof is not authentication.Proof.DMARC
        wanted = Wanted(
            verb=asked.verb if asked else "",
            words=asked.words if asked else "",
            pages=asked.pages if asked else None,
            number=asked.number if asked else "",
            message_id=headers.message_id,
            mail=await asyncio.to_thread(message.content_hash, content),
        )
        author = headers.from_addresses[0]  # there is exactly one: `_checked`
        envelope_sender = transaction.sender if proven else ""
        await self._commands.do(transaction.ticket, transaction.standing.account, author, envelope_sender, wanted)
        if asked is None:
            envelope = transaction.envelope(client)
            await self._desk.for_operator(envelope, transaction.written, trace=field, content=content)
        return "noted; the answer follows by mail"

    async def _unhurt(self, work: Coroutine[Any, Any, T]) -> T:
        """Await `work`, which goes on to its end even when the client leaves in the middle."""
        task = asyncio.create_task(work)
        self._storing.add(task)
        task.add_done_callback(self._stored)
        return await asyncio.shield(task)

    def _stored(self, task: asyncio.Task[Any]) -> None:
        self._storing.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that a client who left leaves no complaint behind

    async def drained(self) -> None:
        """Return when everything that was begun is stored."""
        if self._storing:
            await asyncio.wait(self._storing)
        self.entrance.close()


def answer(why_not: Refused | Unavailable) -> str:
    """The whole answer to who cannot be served. No room is said as such, so that the client's operator knows (SMT-07)."""
    cause = why_not.__cause__
    full = isinstance(why_not, Unavailable) and isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT)
    return f"{'452 4.3.1' if full else why_not.reply} {why_not.text}"


async def _answer(work: Coroutine[Any, Any, str]) -> Answer:
    try:
        return await work
    except (Refused, Unavailable) as error:
        return error


async def _headers(content: Octets) -> message.Headers:
    """The header block read; a long one in a thread, because a hostile one takes a second and everybody else waits."""
    if content.find(b"\r\n\r\n", 0, _SHORT) >= 0 or len(content) < _SHORT:
        return message.headers(content)
    return await asyncio.to_thread(message.headers, content)
