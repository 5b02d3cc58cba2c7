"""What people ask by answering our mails: whose answer counts, what is done, and what they are told.

The door has proven who wrote the mail; here it is looked whether the address that it answers was given to them. What is done is
done by `desk.steer`, in one transaction with a record of the mail and the answer that is owed: the same mail is taken once,
and a fax is sent again by the same words once.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from datetime import datetime

from gateway import number
from gateway.desk import approval
from gateway.desk.replies import Replies, Scope, Ticket
from gateway.desk.steer import Also, forward, resend, steer
from gateway.desk.submit import Desk
from gateway.errors import NotAdmitted, Refused
from gateway.fax import Account, InboundId, TransmissionId
from gateway.message import addresses, plain_address
from gateway.spool import approvals, commands, inbounds, queries
from gateway.spool.commands import Command, Repeated
from gateway.spool.commit import Transaction
from gateway.spool.queries import Case
from gateway.spool.store import Store

_log = logging.getLogger(__name__)
_KNOWN = (
    "Write STOP, RESEND, RESEND 3-5, FORWARD with a number like +14155550123, APPROVE or REJECT on the first line and nothing "
    "else there."
)
_STEERS = {"stop": "cancel", "approve": approval.APPROVE, "reject": approval.REJECT}


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What an answer asks, as the door has read it."""

    mail: str
    """SHA-256 of the mail, hex."""
    verb: str
    """stop, resend, forward, approve, reject; "" = nothing that is known."""
    words: str
    """The same in one spelling, with what stands beside it."""
    pages: tuple[int, int] | None = None
    number: str = ""
    message_id: str = ""
    """With angle brackets; "" = none."""


class Commands:
    """Over one spool."""

    def __init__(self, store: Store, desk: Desk, replies: Replies) -> None:
        self._store, self._desk, self._replies = store, desk, replies

    def read(self, local: str, now: datetime) -> Ticket:
        """What an address says. Raises BadAddress; what only its addressee can prove is looked at with the mail."""
        ticket = self._replies.read(local, now)
        if ticket.scope is Scope.FAX:
            self._replies.check(ticket, "")
        return ticket

    async def caller(self, ticket: Ticket) -> tuple[str, str]:
        """Who is faxed by the answer to a received fax, and the line that it came in on. Raises NotAdmitted."""
        inbound = await self._store.read(inbounds.get, InboundId(ticket.subject))
        if inbound is None:
            raise NotAdmitted("That fax is not known here any more: write to the number's fax address.")
        return number.parse(inbound.caller, "").e164, inbound.line

    async def do(self, ticket: Ticket, account: Account, author: str, also_from: str, wanted: Wanted) -> None:
        """Do what a proven mail asks, or say why not; durable when it returns, its answer is mailed.

        author     the address in its From field, which gets the answer
        also_from  of the envelope, where that is proven too; ""
        Raises BadAddress or NotAdmitted where the author has no say in that fax: then nothing is answered.
        """
        case = await self._store.read(queries.case, TransmissionId(ticket.subject))
        who = {plain_address(one) for one in (author, also_from) if one}
        if case is not None and plain_address(author) in _authors(case):
            who.add(plain_address(case.submission.envelope.sender))  # where the report of what they wrote went
        self._replies.check(ticket, *who)
        if case is None:
            raise NotAdmitted("That fax is not known here any more.")
        if ticket.scope is Scope.STEER and case.transmission.account != account.id:
            raise NotAdmitted("That fax is another account's.")
        command = Command(
            transmission=case.transmission.id,
            mail=_digest(f"{ticket.mac} {wanted.message_id} {wanted.mail}"),
            once=_digest(f"{ticket.mac} {wanted.words}") if wanted.verb in ("resend", "forward") else "",
            words=wanted.words,
            asked_by=author,
            message_id=wanted.message_id,
        )
        try:
            await self._done(ticket, account, case, command, wanted, who)
        except Repeated as error:
            if error.earlier is not None:
                await self._only_say(command, f"done already, and not a second time: {error.earlier}")
        except Refused as error:
            await self._only_say(command, f"not done: {error.text}")
        _log.info("%s answered with %s", author, wanted.words or "nothing that is known", extra=_about(command))

    async def _done(
        self, ticket: Ticket, account: Account, case: Case, command: Command, wanted: Wanted, who: set[str]
    ) -> None:
        """Raises Repeated, Refused, Unavailable."""
        fax, by = case.transmission.id, command.asked_by
        decides = wanted.verb in approval.VERBS
        if not wanted.verb:
            raise NotAdmitted(f"The first line is no command. {_KNOWN} Your mail was passed on to the operator.")
        if ticket.scope is Scope.DECIDE and not decides:
            raise NotAdmitted("To this mail, APPROVE and REJECT can be answered, and nothing else.")
        if decides:
            await self._check_asked(fax, who)
        if (verb := _STEERS.get(wanted.verb)) is not None:
            await steer(self._store, fax, verb, by=by, patience=0, also=_wish(command))
        elif wanted.verb == "resend":
            await resend(self._store, self._desk, account, fax, pages=wanted.pages, by=by, also=_made(command))
        else:
            called = number.parse(wanted.number, "").e164
            await forward(self._store, self._desk, account, fax, number=called, by=by, also=_made(command))

    async def _check_asked(self, fax: TransmissionId, who: set[str]) -> None:
        """Raises NotAdmitted where somebody else is to agree to a fax, or nobody."""
        found = await self._store.read(approvals.of, fax)
        if found is None or plain_address(found.approver) not in who:
            raise NotAdmitted("You are not asked to approve this fax.")

    async def _only_say(self, command: Command, text: str) -> None:
        def say(t: Transaction) -> None:
            try:
                commands.take(t, _unlimited(command), answer=text)
            except Repeated:  # the same mail, answered before
                return

        await self._store.write(say)


def _authors(case: Case) -> set[str]:
    """Who wrote what is faxed: the envelope may name another address for reports."""
    return {plain_address(one) for one in addresses([case.submission.from_header])} - {""}


def _wish(command: Command) -> Also:
    return lambda t, wish: commands.take(t, command, wish=wish)


def _made(command: Command) -> Also:
    return lambda t, fax: commands.take(t, command, answer=f"sent as {fax}; its report follows")


def _unlimited(command: Command) -> Command:
    """It did nothing: the words may be said again."""
    return Command(
        transmission=command.transmission,
        mail=command.mail,
        words=command.words,
        asked_by=command.asked_by,
        message_id=command.message_id,
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def _about(command: Command) -> dict[str, str]:
    return {"action": "commanded", "transmission": command.transmission}
