"""What becomes of a sender, a recipient and a mail: the judgement behind the mail listeners.

Knows no protocol: raises `Refused` or `Unavailable`, whose replies the listener gives.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime
from typing import Any, Protocol

from gateway import message
from gateway.config import Config
from gateway.errors import NotAdmitted, Refused
from gateway.fax import Account, Envelope, Recipient, SubmissionId
from gateway.intake import address, authentication, results, trace
from gateway.intake.address import Special
from gateway.intake.authentication import Client, Identity
from gateway.intake.entrance import Entrance
from gateway.intake.results import Result
from gateway.intake.transaction import Transaction

_SHORT = 16 * 1024  # octets of header block that are read on the spot


class Desk(Protocol):
    """What is asked of `desk.submit`."""

    async def admit(self, account: Account, recipient: Recipient) -> None: ...

    async def submit(
        self, account: Account, envelope: Envelope, recipients: Sequence[Recipient], *, trace: bytes, content: bytes
    ) -> SubmissionId: ...

    async def for_operator(self, envelope: Envelope, recipients: Sequence[str], *, trace: bytes, content: bytes) -> None: ...


class Reception:
    """Between the listeners and the desk."""

    def __init__(self, config: Config, *, identity: Identity, desk: Desk, now: Callable[[], datetime]) -> None:
        self._domains, self._region, self._host = frozenset(config.domain), config.region, config.host
        self._staffed = frozenset({config.mail.from_.lower()})
        self._identity, self._desk, self._now = identity, desk, now
        self._entrance = Entrance(config, identity)
        self._ids = frozenset({self._host.lower(), *self._domains})
        self._storing: set[asyncio.Task[str]] = set()

    async def sign_in(self, login: str, password: str) -> Account | None:
        """The account, None = wrong. Raises SpoolUnavailable."""
        return await self._identity.by_password(login, password)

    def sender(self, client: Client, path: str) -> str:
        """Read the path of MAIL; who signed in may use the own addresses only."""
        sender = address.sender(path)
        if client.account:
            authentication.check_sender(self._identity, client.account, sender)
        return sender

    async def recipient(self, client: Client, transaction: Transaction, path: str) -> Recipient | Special:
        """Read the path of RCPT and decide whether it may be faxed. The operator may be written to by anybody."""
        found = address.parse(path, domains=self._domains, region=self._region, staffed=self._staffed)
        if isinstance(found, Special):
            return found
        if transaction.standing is None:
            transaction.standing = await self._entrance.standing(client, transaction.sender)
        try:
            await self._desk.admit(transaction.standing.account, found)
        except Refused as error:
            if transaction.proven:
                raise
            # Whoever only claims to be the sender learns nothing of the account's countries and credit.
            text = "The account of this sender may not fax this number; who signs in is told why."
            raise NotAdmitted(text, reply=error.reply) from error
        return found

    async def mail(self, envelope: Envelope, client: Client, transaction: Transaction, content: bytes) -> str:
        """Take one mail; durable when this returns. The text for the answer."""
        headers = await _headers(content)
        self._entrance.check_loop(headers)
        proven: list[Result] = []
        if standing := transaction.standing:
            proven = await self._entrance.check(standing, headers, content, client, transaction.sender, transaction.recipients)
        field = trace.received(client, host=self._host, recipients=transaction.written, at=self._now())
        if proven:
            field += results.written(self._host, proven)
        return await self._unhurt(self._store(envelope, transaction, field, results.cleansed(content, self._ids)))

    async def _store(self, envelope: Envelope, transaction: Transaction, field: bytes, content: bytes) -> str:
        # The operator's copy first: when the second step fails the client repeats both, and a second mail to the
        # operator costs less than a second fax.
        if transaction.specials:
            await self._desk.for_operator(envelope, transaction.specials, trace=field, content=content)
        if not transaction.account or not transaction.recipients:
            return "accepted for the operator"
        submission = await self._desk.submit(
            transaction.account, envelope, transaction.recipients, trace=field, content=content
        )
        return f"accepted as {submission}"

    async def _unhurt(self, work: Coroutine[Any, Any, str]) -> str:
        """Await `work`, which goes on to its end even when the client leaves in the middle."""
        task = asyncio.create_task(work)
        self._storing.add(task)
        task.add_done_callback(self._stored)
        return await asyncio.shield(task)

    def _stored(self, task: asyncio.Task[str]) -> None:
        self._storing.discard(task)
        if not task.cancelled():
            task.exception()  # looked at, so that a client who left leaves no complaint behind

    async def drained(self) -> None:
        """Return when everything that was begun is stored."""
        if self._storing:
            await asyncio.wait(self._storing)
        self._entrance.close()


async def _headers(content: bytes) -> message.Headers:
    """The header block read; a long one in a thread, because a hostile one takes a second and everybody else waits."""
    if content.find(b"\r\n\r\n", 0, _SHORT) >= 0 or len(content) < _SHORT:
        return message.headers(content)
    return await asyncio.to_thread(message.headers, content)
